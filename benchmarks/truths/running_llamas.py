"""65 rows of an A100-80GB: Llama-2 of 7B and 13B, five variants, batches of 1 to 64 (7B) or 32 (13B).

Source: huggingface/optimum-benchmark, examples/running-llamas at f75d9f93 (Apache-2.0): prompts of 256 tokens and 512
output tokens. A row's peak memory is what torch allocated while generating; what its cache reserved beyond is given
back under pressure. A memory limit makes a card of so many bytes out of it: a row above does not fit. A batch of 64 of
13B is in no row, and why the source does not say: it is in no space here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.truths.guiding import Guiding, of_another_stack
from benchmarks.truths.limits import binding_quartile, limits_at
from benchmarks.truths.replay import Outcome, Replay
from benchmarks.truths.rows_of_others import (
    data_folder,
    everywhere,
    published,
    replayed,
    transformers_fitted_to,
    workload_of,
)
from benchmarks.truths.truth import Truth
from carbonsweep.bench.roofline import predict_inputs
from carbonsweep.bench.roofline_inputs import Array, Inputs, engine_inputs
from carbonsweep.calibration.cases import DTYPE, cases
from carbonsweep.calibration.fit import as_engine
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.priors import family
from carbonsweep.calibration.rows import LLM_PERF, OPTIMUM_GPU
from carbonsweep.calibration.stacks import changed
from carbonsweep.calibration.table import lines
from carbonsweep.domain import Configuration, Refusal, Slo
from carbonsweep.facts import gpu as gpu_row
from carbonsweep.inputs import scenario
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.units import BYTES_PER_GB, BYTES_PER_MB

FILES: Final = ("Llama-7b_full_report_f75d9f93.csv", "Llama-13b_full_report_f75d9f93.csv")
MODELS: Final = dict(zip(FILES, ("Llama-2-7B", "Llama-2-13B"), strict=True))
MEMORY: Final = "generate.max_memory_allocated(MB)"
GUIDED_BY: Final = (LLM_PERF,)
"""Other GPUs, other models but one shape, batch 1 only. The two older reports of the same folder time the same model on
the same A100, so they stay out as well."""


def truth(seed: int = 0, quantile: float | None = None) -> Truth:
    """Throughput under a latency and a memory limit; the rows are what they are, whatever the `seed`.

    `quantile` sets both limits; None: the rule of `limits`. Raises BadInput without the data.
    """
    folder = data_folder()
    rows = [row for row in published(folder).observations if row.origin.source in FILES]
    named = tuple(_configuration(row) for row in rows)
    memory_bytes = np.array(_memory_bytes(folder, rows))
    latency_s = np.array([_seconds(row) for row in rows])
    tokens_per_s = np.array([row.origin.batch_size * row.origin.output_tokens for row in rows]) / latency_s
    quantities = {"prompt_latency_s": latency_s, "memory_bytes": memory_bytes}
    quantile = quantile or binding_quartile(-tokens_per_s, quantities)
    limits = limits_at(quantities, quantile)
    outcomes = {
        c: _outcome(row, float(memory), limits["memory_bytes"])
        for c, row, memory in zip(named, rows, memory_bytes, strict=True)
    }
    return Truth(
        name="running-llamas",
        title="65 A100 rows of Llama-2 7B and 13B: throughput under latency and memory limits",
        configurations=named,
        workload=workload_of("running-llamas", rows),
        question=Question(
            objectives=objectives(("throughput",)),
            slo=Slo(prompt_latency_s=limits["prompt_latency_s"]),
            scenario=scenario({}, (OPTIMUM_GPU,)),
        ),
        exact=outcomes,
        bench=Replay(outcomes=outcomes, source=" and ".join(FILES), basis="measured"),
        guiding=_guiding(folder, named, rows, limits["memory_bytes"]),
        limits=(
            f"prompt latency {limits['prompt_latency_s']:.1f} s, memory {limits['memory_bytes'] / BYTES_PER_GB:.1f} GB "
            f"(quantile {quantile:g} of the rows)"
        ),
        noise="none is stated; a row is replayed as printed (three digits)",
        quantile=quantile,
        gpu_s=dict(zip(named, latency_s.tolist(), strict=True)),
    )


def _configuration(row: Observation) -> Configuration:
    origin = row.origin
    variant = f"transformers+{origin.attention}" if origin.engine == "transformers" else origin.engine
    return Configuration(
        model=MODELS[origin.source],
        gpu=origin.gpu,
        gpu_count=1,
        batch_size=origin.batch_size,
        dtype=DTYPE,
        engine=variant,
    )


def _memory_bytes(folder: Path, rows: list[Observation]) -> list[float]:
    known = {
        (line.file, line.number): line.quantity(MEMORY) * BYTES_PER_MB
        for name in FILES
        for line in lines(folder / name, (MEMORY,))
    }
    return [known[row.origin.source, row.origin.line] for row in rows]


def _decode_s(row: Observation) -> float:
    assert row.step_s is not None, "every row of this source tells prefill and decode apart"
    return row.step_s * (row.origin.output_tokens - 1)


def _seconds(row: Observation) -> float:
    assert row.prefill_s is not None, "every row of this source tells prefill and decode apart"
    return row.prefill_s + _decode_s(row)


def _outcome(row: Observation, needed_bytes: float, available_bytes: float) -> Outcome:
    if needed_bytes > available_bytes:
        return Refusal(
            kind="does-not-fit",
            reason="above the memory limit",
            needed_bytes=needed_bytes,
            available_bytes=available_bytes,
        )
    return replayed(
        row,
        prefill_s=_seconds(row) - _decode_s(row),
        decode_s=_decode_s(row),
        note="no energy was measured",
        peak_memory_bytes=needed_bytes,
    )


def _guiding(
    folder: Path, named: tuple[Configuration, ...], rows: list[Observation], available_bytes: float
) -> Guiding:
    """Transformers on any GPU, fitted to other GPUs; its quantised variants by their priors alone: they have no row."""
    refit = transformers_fitted_to(folder, GUIDED_BY)
    quantised = family("quantised")
    prior_centres = {**quantised.fixed, **{name: prior.value(0.0) for name, prior in quantised.priors.items()}}
    device = gpu_row(OPTIMUM_GPU)
    plain = engine_inputs(as_engine(refit.elsewhere), device, DTYPE)
    packed = engine_inputs(as_engine(changed(refit.elsewhere, prior_centres)), device, DTYPE)
    is_plain = np.array([row.origin.engine == "transformers" for row in rows])
    engine_fields: dict[str, Array] = {name: np.where(is_plain, plain[name], packed[name]) for name in plain}
    predicted = predict_inputs(Inputs(**cases(rows).facts, **engine_fields))
    own = everywhere(refit.errors, len(rows))
    other = of_another_stack(own)
    given = np.full(len(rows), available_bytes)
    return Guiding(
        configurations=named,
        predicted=dataclasses.replace(predicted, available_bytes=given, fits=predicted.needed_bytes <= given),
        errors={name: np.where(is_plain, own[name], other[name]) for name in own},
        statement=(
            f"the transformers engine fitted to {len(refit.rows)} rows of {' and '.join(refit.files)} (T4 and A10G, "
            "batch 1, no A100); quantised variants: the same with the centres of their priors, fitted to no row"
        ),
        fitted_to=refit.rows,
    )
