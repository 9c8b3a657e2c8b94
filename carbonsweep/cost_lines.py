"""What a sweep itself cost, as lines: trials, time, joules, grams, and what that compares with."""

from __future__ import annotations

from collections.abc import Iterable

from carbonsweep.amounts import digits, grams, joules, span
from carbonsweep.answer import Answer
from carbonsweep.domain import FunctionalUnit
from carbonsweep.sweep_cost import KindCost, SweepCost, equivalent_units, repaid_units
from carbonsweep.units import TOKENS_PER_KILO


def cost_lines(cost: SweepCost, answer: Answer) -> Iterable[str]:
    """What the sweep itself cost, each kind of device apart where it used several, and what that compares with."""
    yield f"This sweep itself: {_spent(cost)}."
    if len(cost.kinds) > 1:
        yield from (f"  {kind.kind}: {_spent(kind)}" for kind in cost.kinds)
    best, *others = [c.footprint for c in answer.feasible[:2]] or [None]
    served = equivalent_units(cost, best)
    if served is None:
        return
    unit, least = answer.question.scenario.functional_unit, "at least " if cost.is_lower_bound else ""
    repaid = repaid_units(cost, best, others[0] if others else None)
    saving = "" if repaid is None else f"; against the next best it is repaid after {least}{_count(repaid, unit)}"
    yield f"As much as serving {least}{_count(served, unit)} by the best configuration{saving}."


def _spent(cost: SweepCost | KindCost) -> str:
    """Trials, time, joules and grams in one line; what is unknown in part is said to be a lower bound."""
    least_s = "at least " if cost.untimed_trials else ""
    time = f"{least_s}{span(cost.gpu_s)} of GPU time" if cost.gpu_s else f"{least_s}{span(cost.duration_s)}"
    energy = "energy unknown"
    if cost.energy_j is not None:
        unmetered = f" ({cost.unknown_trials} of {cost.trials} trials unmetered)" if cost.unknown_trials else ""
        energy = f"{'at least ' if cost.unknown_trials else ''}{joules(cost.energy_j)}{unmetered}"
    carbon = "carbon unknown"
    if cost.total_g is not None:
        parts = f"{grams(cost.operational_g)} operational, {grams(cost.embodied_g)} embodied"
        carbon = f"{'at least ' if cost.is_lower_bound else ''}{grams(cost.total_g)} CO2e ({parts})"
    trials = "1 trial" if cost.trials == 1 else f"{cost.trials} trials"
    return f"{trials}, {time}, {energy}, {carbon}"


def _count(units: float, unit: FunctionalUnit) -> str:
    """So many functional units in three digits, thousands of tokens as tokens."""
    things = {"1k-output-tokens": "output tokens", "output-token": "output tokens", "prompt": "prompts"}
    number = units * TOKENS_PER_KILO if unit == "1k-output-tokens" else units
    return f"{digits(number, 3)} {things.get(unit, 'prompt tokens')}"
