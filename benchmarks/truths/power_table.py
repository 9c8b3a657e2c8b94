"""48 rows with power: Llama-2-7B and Llama-3-8B under three serving stacks on A100, H100, GH200; batches 1, 16, 32, 64.

Source: argonne-lcf/LLM-Inference-Bench (BSD-3-Clause): 1024 prompt and 1024 output tokens, whole runs. The table has no
phases: only sums enter objective and limit, and a run is split into prefill and decode as the guiding model would.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from benchmarks.truths.guiding import Guiding, of_another_stack
from benchmarks.truths.limits import binding_quartile, limits_at
from benchmarks.truths.replay import Replay
from benchmarks.truths.rows_of_others import (
    Refit,
    data_folder,
    everywhere,
    published,
    replayed,
    transformers_fitted_to,
    workload_of,
)
from benchmarks.truths.truth import Truth
from carbonsweep.bench.roofline import Prediction
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import DTYPE, Cases, cases, predicted
from carbonsweep.calibration.fit import as_engine
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.rows import ARGONNE, LLM_PERF, OPTIMUM
from carbonsweep.domain import Configuration, Slo
from carbonsweep.facts import gpu as gpu_row
from carbonsweep.inputs import scenario
from carbonsweep.search.objectives import Question, objectives

MODELS: Final = {"meta-llama/Llama-2-7b-hf": "Llama-2-7B", "meta-llama/Meta-Llama-3-8B": "Llama-3.1-8B"}
"""Llama 3 and 3.1 of 8 billion parameters have the same matrices."""
GUIDED_BY: Final = (LLM_PERF, *OPTIMUM)
"""Every published row but this table's: none of a serving stack, none of an H100 or GH200."""


def truth(seed: int = 0, quantile: float | None = None) -> Truth:
    """Joules per output token under a limit of prompt latency; the rows are what they are, whatever the `seed`.

    `quantile` sets the limit; None: the rule of `limits`. Raises BadInput without the data.
    """
    folder = data_folder()
    rows = [o for o in published(folder).observations if o.origin.source == ARGONNE and o.power_w is not None]
    named = tuple(_configuration(row) for row in rows)
    latency_s = np.array([_seconds(row) for row in rows])
    energies = np.array([row.energy_per_token_j for row in rows], dtype=float)
    quantities = {"prompt_latency_s": latency_s}
    quantile = quantile or binding_quartile(energies, quantities)
    limits = limits_at(quantities, quantile)
    refit = transformers_fitted_to(folder, GUIDED_BY)
    said = _said(refit, cases(rows))
    shares = said.prefill_s / (said.prefill_s + said.decode_s)
    note = "the source times whole runs: the split over phases is the guiding model's"
    outcomes = {
        c: replayed(row, prefill_s=share * seconds, decode_s=(1 - share) * seconds, note=note)
        for c, row, seconds, share in zip(named, rows, latency_s.tolist(), shares.tolist(), strict=True)
    }
    return Truth(
        name="power-table",
        title="48 rows of three serving stacks on A100, H100, GH200: J/token under a latency limit",
        configurations=named,
        workload=workload_of("power-table", rows),
        question=Question(
            objectives=objectives(("energy",)),
            slo=Slo(**limits),
            scenario=dataclasses.replace(scenario({}, {c.gpu for c in named}), functional_unit="output-token"),
        ),
        exact=outcomes,
        bench=Replay(outcomes=outcomes, source=ARGONNE, basis="measured"),
        guiding=_guiding(refit, named, said),
        limits=f"prompt latency {limits['prompt_latency_s']:.1f} s (quantile {quantile:g} of the rows)",
        noise="none is stated; a row is replayed as printed",
        quantile=quantile,
        gpu_s=dict(zip(named, latency_s.tolist(), strict=True)),
    )


def _configuration(row: Observation) -> Configuration:
    origin = row.origin
    return Configuration(
        model=MODELS[origin.checkpoint],
        gpu=origin.gpu,
        gpu_count=1,
        batch_size=origin.batch_size,
        dtype=DTYPE,
        engine=origin.engine,
    )


def _seconds(row: Observation) -> float:
    assert row.whole_s is not None, "every row of this source times a whole run"
    return row.whole_s


def _said(refit: Refit, rows: Cases) -> Prediction:
    """What the refit says of the rows: a batch beyond memory in waves, as these servers run it, so everything fits.

    Its mean power is that of both phases: their sum is all that is asked for.
    """
    values = predicted(rows, lambda _: as_engine(refit.elsewhere))
    seconds: Array = values["tpot_s"] * rows.facts["output_tokens"]
    count = len(rows)
    devices = [gpu_row(each.origin.gpu) for each in rows.observations]
    memory_bytes = np.array([device.memory_bytes for device in devices])
    batch, prompt = rows.facts["batch"], rows.facts["prompt"]
    return Prediction(
        supported=np.ones(count, dtype=bool),
        fits=np.ones(count, dtype=bool),
        needed_bytes=memory_bytes / 2,
        available_bytes=memory_bytes,
        prefill_s=values["prefill_s"],
        decode_s=seconds - values["prefill_s"],
        prefill_w=values["power_w"],
        decode_w=values["power_w"],
        idle_w=np.array([device.idle_w for device in devices]),
        real_prompt_tokens=batch * prompt,
        padded_prompt_tokens=batch * prompt,
        decode_tokens=batch * (rows.facts["output_tokens"] - 1),
    )


def _guiding(refit: Refit, named: tuple[Configuration, ...], said: Prediction) -> Guiding:
    return Guiding(
        configurations=named,
        predicted=said,
        errors=of_another_stack(everywhere(refit.errors, len(named))),
        statement=(
            f"the transformers engine, another stack, fitted to {len(refit.rows)} rows of {', '.join(refit.files)} "
            "(T4, A10G, A100-80); of serving stacks, H100 and GH200 it saw no row; batches beyond memory run in waves"
        ),
        fitted_to=refit.rows,
    )
