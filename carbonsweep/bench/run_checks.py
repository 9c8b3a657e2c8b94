"""Validity checks of a run as a whole. A failed one marks the record with a sentence; it drops nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from carbonsweep.evidence import Closure, Conditions
from carbonsweep.shares import signed_percent

CLOSURE: Final = 0.05
"""Phases and whole run may differ by this much in joules before the record is marked, and by twice as much in time."""


def closure_checks(closure: Closure) -> list[str]:
    """Whether the phases add up to the whole run."""
    failed = []
    joules = closure.energy_difference
    if joules is not None and abs(joules) > CLOSURE:
        failed.append(f"closure: the phases' joules are {signed_percent(joules)} of the whole run's")
    if abs(closure.time_difference) > 2 * CLOSURE:
        failed.append(f"closure: the phases take {signed_percent(closure.time_difference)} of the whole run's time")
    return failed


def temperature_checks(start_c: float | None, cool_to_c: float) -> list[str]:
    """Whether measuring began on a hot device."""
    if start_c is None or start_c <= cool_to_c:
        return []
    return [f"temperature: {start_c:g} °C at the start, above {cool_to_c:g} °C"]


def condition_checks(conditions: Sequence[Conditions], own: frozenset[int] | None) -> list[str]:
    """Throttling and foreign processes; `own` ids are the measured ones, None takes those at the start for its own."""
    failed = []
    for each in conditions:
        if each.throttled_by:
            failed.append(f"throttled: {each.device} by {', '.join(each.throttled_by)}")
        violated = _violations(each)
        if violated:
            failed.append(f"throttled: {each.device} {violated}")
        foreign = _foreign(each, own)
        if foreign:
            failed.append(f"foreign process: {foreign} on {each.device} besides the measured one")
    return failed


def _violations(conditions: Conditions) -> str:
    """For how long power and heat slowed a device down, by the driver's own clocks: shorter than any look."""
    spent = []
    for cause in ("power", "thermal"):
        before, after = (getattr(state, f"{cause}_violation_s") for state in (conditions.before, conditions.after))
        if before is not None and after is not None and after > before:
            spent.append(f"{after - before:.3g} s by {cause}")
    return ", ".join(spent)


def _foreign(conditions: Conditions, own: frozenset[int] | None) -> int:
    """Processes seen on a device at any time that are not the measured one's.

    In a container the driver may tell the host's ids: if none is known, one is taken for ours.
    """
    seen = set(conditions.processes or ())
    if own is None:
        return len(seen - set(conditions.before.processes or ()))
    return len(seen - own) if seen & own else max(0, len(seen) - len(own))
