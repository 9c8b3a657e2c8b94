"""What the two truths of published rows share: observations as measurements, and refits on other rows."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.truths.guiding import ERRORS
from benchmarks.truths.replay import NOTE
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.fit import Fitted, Parameters
from carbonsweep.calibration.heldout import half_width, held_out
from carbonsweep.calibration.observations import Observation, Rows
from carbonsweep.calibration.rows import read
from carbonsweep.calibration.stacks import TRANSFORMERS, fit_of
from carbonsweep.domain import Energy, Measurement, PhaseMeasurement, Workload
from carbonsweep.errors import BadInput

DATA: Final = "CARBONSWEEP_DATA"
"""Environment variable: the folder of the calibration rows, as `carbonsweep calibrate --data` takes it."""


def data_folder() -> Path:
    """The folder `CARBONSWEEP_DATA` names. Raises BadInput where it is not set."""
    if DATA not in os.environ:
        raise BadInput(f"{DATA} is not set: name the folder with the rows that others measured")
    folder = Path(os.environ[DATA])
    inside = folder / "calibration"
    return inside if inside.is_dir() else folder


@functools.cache
def published(folder: Path) -> Rows:
    """Every published row, read once. Raises BadInput."""
    return read(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """The transformers engine fitted to `rows` alone; `errors` are those of dies left out in turn among them."""

    fit: Fitted
    rows: tuple[Observation, ...]
    errors: dict[str, float]

    @property
    def elsewhere(self) -> Parameters:
        """What holds on a GPU that has no row."""
        return self.fit.general

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files the rows are from."""
        return tuple(sorted({each.origin.source for each in self.rows}))


@functools.cache
def transformers_fitted_to(folder: Path, files: tuple[str, ...]) -> Refit:
    """The transformers engine, fitted by the package's own calibration to its rows in `files` and to no others."""
    rows = tuple(o for o in published(folder).observations if o.origin.source in files and TRANSFORMERS.mine(o))
    held = held_out(TRANSFORMERS, rows, "gpu")
    if held is None:
        raise BadInput(f"{', '.join(files)} hold rows of one die only: how far off a fit is elsewhere is unknown")
    prefill, step = half_width(held.errors("prefill_s")), half_width(held.errors("tpot_s"))
    power, energy = half_width(held.errors("power_w")), half_width(held.errors("energy_per_token_j"))
    stated = (prefill, max(energy, float(np.hypot(prefill, power))), step, energy)
    return Refit(fit=fit_of(TRANSFORMERS, rows), rows=rows, errors=dict(zip(ERRORS, stated, strict=True)))


def everywhere(errors: dict[str, float], count: int) -> dict[str, Array]:
    """The same stated errors for `count` configurations."""
    return {name: np.full(count, value) for name, value in errors.items()}


def workload_of(name: str, rows: Sequence[Observation]) -> Workload:
    """The workload all of `rows` ran: prompts of one length. Raises ValueError where they differ."""
    lengths = {(row.origin.prompt_tokens, row.origin.output_tokens) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"rows of {name} ran several workloads: {sorted(lengths)}")
    ((prompt, output),) = lengths
    return Workload(
        name=name, prompts=None, prompt_tokens=(prompt,), token_basis="as the source counts", output_tokens=output
    )


def replayed(
    row: Observation, *, prefill_s: float, decode_s: float, note: str, peak_memory_bytes: float | None = None
) -> Measurement:
    """A row as a measurement of these phase times; its mean power, where it has one, over both phases.

    The sources state no interval: every interval is the value itself.
    """
    origin = row.origin

    def phase(tokens: float, seconds: float) -> PhaseMeasurement:
        energy = None
        if row.power_w is not None:
            joules = row.power_w * seconds
            energy = Energy(
                joules=joules,
                low_j=joules,
                high_j=joules,
                source=origin.source,
                semantics="mean power of the run x time",
            )
        return PhaseMeasurement(
            tokens=tokens,
            padded_tokens=tokens,
            duration_s=seconds,
            duration_low_s=seconds,
            duration_high_s=seconds,
            repeats=1,
            energy=energy,
            gpu=origin.gpu,
            gpu_count=1,
            occupied_s=seconds,
        )

    return Measurement(
        prefill=phase(origin.batch_size * origin.prompt_tokens, prefill_s),
        decode=phase(origin.batch_size * (origin.output_tokens - 1), decode_s),
        batch_size=origin.batch_size,
        output_tokens=origin.output_tokens,
        peak_memory_bytes=peak_memory_bytes,
        idle_w=None,
        bench="replay",
        basis="measured",
        error_source="the source states no interval",
        notes=(NOTE, f"{origin.source} line {origin.line}", note),
    )
