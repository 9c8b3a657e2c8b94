"""The grid every claim is about: 3 model sizes x 2 GPUs x 7 batch sizes, as arrays of seconds, joules and tokens."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Points, product
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import Prediction
from carbonsweep.domain import Basis, Measurement, TrialRecord, Workload
from carbonsweep.errors import BadInput

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SIZES: Final = ("1B", "3B", "7B")
GPUS: Final = ("T4", "RTX6000Ada")
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
T4: Final = 0
ADA: Final = 1
SHAPE: Final = (len(SIZES), len(GPUS), len(BATCHES))

OUTPUT_TOKENS: Final = 150
"""HotCarbon'24, section 2.1: execution is timed for 150 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Arrays of shape (..., size, GPU, batch): seconds, joules and tokens of one batch run; NaN where unknown.

    `fits` is False where the configuration runs out of memory: its quantities mean nothing there.
    """

    fits: Flags
    prefill_s: Array
    decode_s: Array
    prefill_j: Array
    decode_j: Array
    prompt_tokens: Array
    output_tokens: Array

    @property
    def latency_s(self) -> Array:
        """Of one batch run, both phases."""
        return self.prefill_s + self.decode_s

    @property
    def energy_j(self) -> Array:
        """Of one batch run, both phases."""
        return self.prefill_j + self.decode_j


@functools.cache
def paper_models() -> tuple[str, ...]:
    """The stand-ins for 1B, 3B and 7B. Raises BadInput where the table of models lacks one."""
    by_size = {row.paper_size: key for key, row in facts.language_models().items() if row.paper_size}
    if missing := [size for size in SIZES if size not in by_size]:
        raise BadInput(f"models.toml: no model stands in for the paper's {', '.join(missing)}")
    return tuple(by_size[size] for size in SIZES)


def paper_points(engine: str = "paper") -> Points:
    """The 42 configurations, in the order of `Cells`: size, GPU, batch; fp16 on one GPU."""
    return product(
        models=paper_models(),
        gpus=GPUS,
        gpu_counts=(1,),
        batch_sizes=BATCHES,
        dtypes=("fp16",),
        engines=(engine,),
    )


def paper_workload() -> Workload:
    """The workload of every claim: the built-in prompts, bare (Alpaca's length profile), and 150 output tokens."""
    return built_in_workload(OUTPUT_TOKENS, 0)


def cells_of_prediction(predicted: Prediction) -> Cells:
    """Of arrays whose last axis is that of `paper_points`, or broadcasts to it; further axes stay in front."""

    def grid(values: NDArray[np.generic]) -> Array:
        return np.broadcast_to(values, predicted.decode_s.shape).reshape(*predicted.decode_s.shape[:-1], *SHAPE)

    return Cells(
        fits=grid(predicted.fits & predicted.supported).astype(bool),
        prefill_s=grid(predicted.prefill_s),
        decode_s=grid(predicted.decode_s),
        prefill_j=grid(predicted.prefill_w * predicted.prefill_s),
        decode_j=grid(predicted.decode_w * predicted.decode_s),
        prompt_tokens=grid(predicted.real_prompt_tokens),
        output_tokens=grid(predicted.decode_tokens),
    )


def cells_of_records(records: Iterable[TrialRecord]) -> Cells:
    """Of records, others than the 42 ignored. What no record covers, or covers without joules, is NaN.

    Raises BadInput where two records answer for the same cell, or their workloads differ: no ratio has two workloads.
    """
    found: dict[tuple[int, int, int], TrialRecord] = {}
    for record in records:
        place = _place(record)
        if place is None:
            continue
        if place in found:
            raise BadInput(f"two records answer for {record.configuration}: claims need one engine and one of each")
        found[place] = record
    if len({record.workload.digest for record in found.values()}) > 1:
        raise BadInput("the records have several workloads: the claims compare configurations at one workload")
    made = Cells(
        fits=np.ones(SHAPE, dtype=bool),
        **{name: np.full(SHAPE, np.nan) for name in Cells.__dataclass_fields__ if name != "fits"},
    )
    for place, record in found.items():
        made.fits[place] = record.measurement is not None
        if record.measurement is not None:
            for name, value in _quantities(record.measurement).items():
                getattr(made, name)[place] = value
    return made


def basis_of_records(records: Iterable[TrialRecord]) -> Basis | None:
    """Measured or modelled: the basis of the records of the grid; None where they differ, or there is none."""
    found = {record.identity.basis for record in records if _place(record) is not None}
    return found.pop() if len(found) == 1 else None


def _place(record: TrialRecord) -> tuple[int, int, int] | None:
    where = record.configuration
    known = where.model in paper_models() and where.gpu in GPUS and where.batch_size in BATCHES
    if not known or where.gpu_count != 1:
        return None
    if record.refusal is not None and record.refusal.kind != "does-not-fit":
        return None  # a failure says nothing about the configuration
    return paper_models().index(where.model), GPUS.index(where.gpu), BATCHES.index(where.batch_size)


def _quantities(made: Measurement) -> dict[str, float]:
    prefill, decode = made.prefill, made.decode
    return {
        "prefill_s": prefill.duration_s,
        "decode_s": decode.duration_s,
        "prefill_j": np.nan if prefill.energy is None else prefill.energy.joules,
        "decode_j": np.nan if decode.energy is None else decode.energy.joules,
        "prompt_tokens": prefill.tokens,
        "output_tokens": decode.tokens,
    }
