"""The configurations that may turn out best, as arrays: what was found of each, and how far it may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.drawn import Lengths
from carbonsweep.bench.points import Indices, Points, listed
from carbonsweep.bench.roofline import Prediction
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.load import idle_w_of_phases, is_split
from carbonsweep.domain import Configuration, Energy, Measurement, PhaseMeasurement, Scenario

MOST: Final = 2000
"""Configurations drawn; of more, those that come closest to being best."""
NEAR: Final = 1.0
"""A configuration this far over a limit, relative to it, is taken to miss it in every draw where there are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of every contender, arrays of shape (contenders,): seconds, joules, and their 95 % intervals.

    `occupied` is the time the devices are busy over the duration, `gpu_index` is into `Contenders.gpus`.
    """

    duration_s: Array
    duration_low_s: Array
    duration_high_s: Array
    energy_j: Array
    energy_low_j: Array
    energy_high_j: Array
    occupied: Array
    gpu_index: Indices
    gpu_count: Array
    idle_w: Array  # NaN where unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Contenders:
    """Everything in one order: by the asked objectives, first those that meet every limit; the best comes first."""

    points: Points
    lengths: Lengths
    gpus: tuple[str, ...]
    prefill: Phase
    decode: Phase
    exposed_s: Array  # of a hand-over between the phases
    exposed_j: Array
    batch: Array
    prompt_tokens: Array  # real ones of the whole batch
    modelled: NDArray[np.bool_]
    rehearsed: NDArray[np.bool_]
    split: NDArray[np.bool_]  # each phase has devices of its own
    of: int  # configurations these were picked from

    def __len__(self) -> int:
        return len(self.batch)

    def configuration(self, i: int) -> Configuration:
        """The i-th."""
        return self.points.configuration(i)

    def picked(self, places: Indices) -> Contenders:
        """Some of them, in the order of `places`."""
        return replace(
            self,
            points=self.points.part(places),
            lengths=Lengths(**_taken(self.lengths, places)),
            prefill=Phase(**_taken(self.prefill, places)),
            decode=Phase(**_taken(self.decode, places)),
            **_taken(self, places),
        )


def of_measurements(
    configurations: Sequence[Configuration], measurements: Sequence[Measurement], scenario: Scenario
) -> Contenders:
    """From what a bench found, whichever; energies that are unknown are the assumed ones.

    Raises EnergyUnknown where the scenario assumes none, and BadInput as `footprint` does for a split with a CPU.
    """
    gpus = tuple(sorted({phase.gpu for m in measurements for phase in (m.prefill, m.decode)}))
    idle = [idle_w_of_phases(m, scenario) for m in measurements]
    batch = np.array([float(m.batch_size) for m in measurements])
    return Contenders(
        points=listed(configurations),
        lengths=Lengths(
            prompt=np.array([m.prefill.tokens for m in measurements]) / batch,
            padded_prompt=np.array([m.prefill.padded_tokens for m in measurements]) / batch,
            output_tokens=np.array([float(m.output_tokens) for m in measurements]),
        ),
        gpus=gpus,
        prefill=_phase(
            [_found(m.prefill, pair[0], gpus, scenario) for m, pair in zip(measurements, idle, strict=True)]
        ),
        decode=_phase([_found(m.decode, w, gpus, scenario) for m, (_, w) in zip(measurements, idle, strict=True)]),
        exposed_s=np.array([0.0 if m.transfer is None else m.transfer.exposed_s for m in measurements]),
        exposed_j=np.array([_exposed_j(m, scenario) for m in measurements]),
        batch=batch,
        prompt_tokens=np.array([m.prefill.tokens for m in measurements]),
        modelled=np.array([m.basis == "modelled" for m in measurements]),
        rehearsed=np.array([m.basis == "rehearsed" for m in measurements]),
        split=np.array([is_split(m) for m in measurements]),
        of=len(measurements),
    )


def of_points(points: Points, predicted: Prediction, output_tokens: int | Array) -> Contenders:
    """From a prediction of all points; intervals are not set, since draws of the fit take their place."""
    batch = np.array(points.batch_size.values, dtype=float)[points.batch_size.index]
    count = np.array(points.gpu_count.values, dtype=float)[points.gpu_count.index]
    kinds, gpu_index = np.unique(points.gpu.index, return_inverse=True)

    def phase(duration_s: Array, power_w: Array) -> Phase:
        joules = duration_s * power_w
        return Phase(
            duration_s=duration_s,
            duration_low_s=duration_s,
            duration_high_s=duration_s,
            energy_j=joules,
            energy_low_j=joules,
            energy_high_j=joules,
            occupied=np.ones(len(points)),
            gpu_index=gpu_index.reshape(-1),
            gpu_count=count,
            idle_w=predicted.idle_w,
        )

    return Contenders(
        points=points,
        lengths=Lengths(
            prompt=predicted.real_prompt_tokens / batch,
            padded_prompt=predicted.padded_prompt_tokens / batch,
            output_tokens=np.full(len(points), output_tokens, dtype=float),
        ),
        gpus=tuple(points.gpu.values[i] for i in kinds.tolist()),
        prefill=phase(predicted.prefill_s, predicted.prefill_w),
        decode=phase(predicted.decode_s, predicted.decode_w),
        exposed_s=np.zeros(len(points)),
        exposed_j=np.zeros(len(points)),
        batch=batch,
        prompt_tokens=predicted.real_prompt_tokens,
        modelled=np.ones(len(points), dtype=bool),
        rehearsed=np.zeros(len(points), dtype=bool),
        split=np.zeros(len(points), dtype=bool),
        of=len(points),
    )


def ranked(losses: Array, excess: Array, groups: Indices) -> Indices:
    """Places of the contenders in the order of `Contenders`, at most about MOST of them.

    `losses` of shape (n, objectives), ties in the order given; `excess` the worst over a limit; `groups` numbers each
    configuration by its model and GPU kind. Of many, the best of those that meet the limits, the best of those near
    them, and the best of each group.
    """
    order = np.lexsort((*losses.T[::-1], excess > 0))
    if len(order) <= MOST:
        return order
    near = order[excess[order] <= NEAR]
    _, first = np.unique(groups[near], return_index=True)
    by_loss = near[np.lexsort(losses[near].T[::-1])]
    _, first_by_loss = np.unique(groups[by_loss], return_index=True)
    chosen = np.concatenate([near[: MOST // 2], by_loss[: MOST // 2], near[first], by_loss[first_by_loss]])
    kept = np.zeros(len(order), dtype=bool)
    kept[chosen] = True
    picked: Indices = order[kept[order]]
    return picked


def _taken(value: Contenders | Phase | Lengths, places: Indices) -> dict[str, Any]:
    """Its own arrays, by field, at `places`."""
    arrays = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: array[places] for name, array in arrays.items() if isinstance(array, np.ndarray)}


def _phase(rows: Sequence[dict[str, float]]) -> Phase:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Phase(**{**columns, "gpu_index": columns["gpu_index"].astype(np.intp)})


def _found(
    phase: PhaseMeasurement, idle_w: float | None, gpus: tuple[str, ...], scenario: Scenario
) -> dict[str, float]:
    energy = phase.energy
    joules = _joules(energy, phase.occupied_s * phase.gpu_count, scenario)
    return {
        "duration_s": phase.duration_s,
        "duration_low_s": phase.duration_low_s,
        "duration_high_s": phase.duration_high_s,
        "energy_j": joules,
        "energy_low_j": joules if energy is None else energy.low_j,
        "energy_high_j": joules if energy is None else energy.high_j,
        "occupied": phase.occupied_s / phase.duration_s,
        "gpu_index": gpus.index(phase.gpu),
        "gpu_count": float(phase.gpu_count),
        "idle_w": np.nan if idle_w is None else idle_w,
    }


def _exposed_j(measurement: Measurement, scenario: Scenario) -> float:
    handover = measurement.transfer
    if handover is None or handover.is_free:
        return 0.0
    powered = measurement.prefill.gpu_count + measurement.decode.gpu_count
    return _joules(handover.energy, handover.exposed_s * powered, scenario)


def _joules(energy: Energy | None, device_s: float, scenario: Scenario) -> float:
    """Those of the meter, else those of the assumed power; NaN where there is neither: nobody asks for them then."""
    if energy is not None:
        return energy.joules
    return np.nan if scenario.assumed_power_w is None else scenario.assumed_power_w * device_s
