"""What a sweep itself cost: seconds, joules and grams of all its trials, those that found nothing included.

Priced as the workload is, by the scenario of the question. What nobody counted stays out of the sums, and is counted:
every sum is a lower bound until `unknown_trials` is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from carbonsweep import facts
from carbonsweep.bench.power.rapl import RAPL
from carbonsweep.carbon.footprint import batch_embodied_g, batch_operational_g
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import Footprint, Scenario, TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.evidence import TrialCost

KEY: Final = "sweep_cost"
"""Where answer.json has it."""
MODELLED: Final = "modelled"
"""Stands for the device of trials that only a model ran: some processor, nobody counts which share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCost:
    """The trials on one kind of device: `gpu_s` is GPU-seconds they were busy, 0 where there is no GPU.

    `unknown_trials` have no joules, `untimed_trials` of them not even seconds. Grams are None where the scenario names
    no carbon intensity; operational ones also where no joules are known, embodied ones where nobody knows the device's.
    """

    kind: str
    trials: int
    duration_s: float
    gpu_s: float
    energy_j: float | None
    unknown_trials: int
    untimed_trials: int
    operational_g: float | None
    embodied_g: float | None

    @property
    def total_g(self) -> float | None:
        """Operational and embodied, as far as they are known."""
        return _sum(self.operational_g, self.embodied_g)

    @property
    def is_lower_bound(self) -> bool:
        """Whether some of its grams are unknown."""
        return self.unknown_trials > 0 or self.operational_g is None or self.embodied_g is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCost:
    """Sums over `kinds` of what is known, None where nothing is; `lost_trials` ended without a record."""

    trials: int
    duration_s: float
    gpu_s: float
    energy_j: float | None
    unknown_trials: int
    untimed_trials: int
    lost_trials: int
    operational_g: float | None
    embodied_g: float | None
    kinds: tuple[KindCost, ...]

    @property
    def total_g(self) -> float | None:
        """Operational and embodied, as far as they are known."""
        return _sum(self.operational_g, self.embodied_g)

    @property
    def is_lower_bound(self) -> bool:
        """Whether some of its grams are unknown."""
        return self.lost_trials > 0 or any(each.is_lower_bound for each in self.kinds)


def sweep_cost(records: Iterable[TrialRecord], scenario: Scenario, *, lost: int = 0) -> SweepCost:
    """The cost of the trials behind `records`, every attempt that has one, and of `lost` ones that have none.

    A record that needed no trial costs nothing and is none. One without a cost is of an older version.
    """
    ran = [record for record in records if record.cost is None or record.cost.duration_s > 0]
    kinds = sorted({_kind(record) for record in ran})
    parts = tuple(_kind_cost(kind, [r for r in ran if _kind(r) == kind], scenario) for kind in kinds)
    return SweepCost(
        trials=len(ran) + lost,
        duration_s=sum(part.duration_s for part in parts),
        gpu_s=sum(part.gpu_s for part in parts),
        energy_j=_sum(*(part.energy_j for part in parts)),
        unknown_trials=sum(part.unknown_trials for part in parts) + lost,
        untimed_trials=sum(part.untimed_trials for part in parts) + lost,
        lost_trials=lost,
        operational_g=_sum(*(part.operational_g for part in parts)),
        embodied_g=_sum(*(part.embodied_g for part in parts)),
        kinds=parts,
    )


def stated(document: Mapping[str, Any]) -> SweepCost | None:
    """The cost an answer.json states; None where it states none. Raises BadInput where it cannot be read."""
    found = document.get(KEY)
    try:
        return None if found is None else msgspec.convert(found, SweepCost)
    except msgspec.ValidationError as error:
        raise BadInput(f"{KEY!r} of answer.json is not one this version can read: {error}") from error


def equivalent_units(cost: SweepCost, best: Footprint | None) -> float | None:
    """Functional units that emit as much when `best` serves them; None where grams are unknown."""
    if cost.total_g is None or best is None or not best.total_g > 0:
        return None
    return cost.total_g / best.total_g


def repaid_units(cost: SweepCost, best: Footprint | None, next_best: Footprint | None) -> float | None:
    """Functional units after which serving by `best` rather than `next_best` has saved as much as the sweep emitted.

    None where grams are unknown, and where nothing is saved.
    """
    if cost.total_g is None or best is None or next_best is None or not next_best.total_g > best.total_g:
        return None
    return cost.total_g / (next_best.total_g - best.total_g)


def _kind(record: TrialRecord) -> str:
    """What the trial kept busy: a model of a GPU keeps none."""
    return MODELLED if record.identity.basis == "modelled" else record.configuration.gpu


def _kind_cost(kind: str, records: Sequence[TrialRecord], scenario: Scenario) -> KindCost:
    timed = [(record, record.cost) for record in records if record.cost is not None]
    metered = [(record, cost) for record, cost in timed if cost.energy_j is not None]
    gpu_s = 0.0 if kind in (MODELLED, facts.CPU) else sum(_device_s(*each) for each in timed)
    energy_j = _sum(*(cost.energy_j for _, cost in metered))
    # The host's share is the scenario's only where no meter has read the host itself.
    unread_s = (
        0.0 if kind == facts.CPU else sum(_device_s(*each) for each in metered if RAPL not in (each[1].source or ""))
    )
    return KindCost(
        kind=kind,
        trials=len(records),
        duration_s=sum(cost.duration_s for _, cost in timed),
        gpu_s=gpu_s,
        energy_j=energy_j,
        unknown_trials=len(records) - len(metered),
        untimed_trials=len(records) - len(timed),
        operational_g=_operational_g(energy_j, unread_s, scenario),
        embodied_g=_embodied_g(kind, sum(_device_s(*each) for each in timed), scenario),
    )


def _device_s(record: TrialRecord, cost: TrialCost) -> float:
    return cost.duration_s * record.configuration.gpu_count


def _operational_g(energy_j: float | None, host_s: float, scenario: Scenario) -> float | None:
    """A trial is busy all along: no idle share is added to what its devices really drew."""
    if energy_j is None or scenario.intensity is None:
        return None
    return batch_operational_g(
        energy_j=energy_j, busy_s=host_s, idle_w=None, gpu_count=1, utilisation=1.0, scenario=scenario
    )


def _embodied_g(kind: str, device_s: float, scenario: Scenario) -> float | None:
    if scenario.intensity is None or kind == MODELLED:
        return None
    try:
        made_kg = charged_kg(kind, scenario)
    except BadInput:  # this preset does not know the device
        return None
    return batch_embodied_g(
        embodied_kg=made_kg, busy_s=device_s, gpu_count=1, utilisation=scenario.utilisation, scenario=scenario
    )


def _sum(*values: float | None) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
