"""What the answer's first lines say of noise and of near misses: who ties, which limit is met by less than noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from carbonsweep.amounts import objective_value, seconds
from carbonsweep.answer import Answer, lacking_bytes
from carbonsweep.quantities import gigabytes
from carbonsweep.search.noise import Interval, has_noise
from carbonsweep.search.objectives import LIMIT_NAMES
from carbonsweep.shares import percent
from carbonsweep.swaps import short
from carbonsweep.ties import Tie, kept_out_by_noise, limits_in_noise, tie

NOISE: Final = "Noise: "
MOST_TIED: Final = 8
"""Configurations of a tie that are listed; answer.json has all."""


def heading(answer: Answer) -> str:
    """What stands before the best configuration: its objective, and how many tie with it."""
    found, objective = tie(answer), answer.question.objectives[0].label
    if found is None or not found.is_tie:
        return f"Best ({objective})"
    return f"Best ({objective}; tie of {len(found.candidates)} within measurement noise)"


def lines(answer: Answer) -> Iterator[str]:
    """The configurations of a tie, what was not judged, and each limit that is met or missed by less than noise."""
    found = tie(answer)
    if found is None:
        return
    yield from _tied(found, answer)
    if has_noise(found.candidates[0].measurement) and (found.unjudged or not found.intervals):
        yield f"{NOISE}{found.statement}."
    limits = answer.question.slo.limits()
    for name, interval in limits_in_noise(answer).items():
        yield f"{_latency(name, interval)}, limit {seconds(limits[name])}: inside the noise of {_noise(interval)}."
    best = found.candidates[0].record.configuration
    kept_out = [short(c.record.configuration, best) for c in kept_out_by_noise(answer)]
    if kept_out:
        more = f" and {len(kept_out) - MOST_TIED} more" if len(kept_out) > MOST_TIED else ""
        yield f"Better, and over a limit by no more than noise: {', '.join(kept_out[:MOST_TIED])}{more}."


def page_lines(answer: Answer) -> list[str]:
    """What a page says of noise: whether there is a tie, then `lines`; nothing without a best."""
    found = tie(answer)
    if found is None:
        return []
    count = f"Tie of {len(found.candidates)}: " if found.is_tie else ""
    said = f"{count}{found.statement}."
    return [said[0].upper() + said[1:], *(line.strip() for line in lines(answer) if not line.startswith(NOISE))]


def closest_lines(answer: Answer) -> Iterator[str]:
    """With nothing feasible: the closest by each limit, or the one that lacks the least memory."""
    limits = answer.question.slo.limits()
    for name, candidate in answer.closest_by_limit.items():
        excess = candidate.excess[name]
        side = "above" if excess > 0 else "below"
        value = seconds(getattr(candidate.measurement, name))
        others = [LIMIT_NAMES[other] for other, far in candidate.excess.items() if other != name and far > 0]
        missed = f"; it misses {' and '.join(others)}" if others else ""
        yield (
            f"Closest by {LIMIT_NAMES[name]}: {candidate.record.configuration}: {value}, "
            f"{percent(abs(excess), 1)} {side} the limit of {seconds(limits[name])}{missed}."
        )
    record = answer.closest_to_fit
    if record is not None:
        yield f"Closest to fit: {record.configuration}: it lacks {gigabytes(lacking_bytes(record))} a device."


def _tied(found: Tie, answer: Answer) -> Iterator[str]:
    if not found.is_tie:
        return
    best = found.candidates[0].record.configuration
    pairs = list(zip(found.candidates, found.intervals, strict=True))
    yield "Tied, with 95 % intervals of the measurements:"
    for candidate, interval in pairs[:MOST_TIED]:
        yield f"  {short(candidate.record.configuration, best)}: {_objective(interval, answer)}"
    if len(pairs) > MOST_TIED:
        yield f"  and {len(pairs) - MOST_TIED} more"


def _objective(interval: Interval, answer: Answer) -> str:
    value, low, high = (objective_value(answer.question, end) for end in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _latency(name: str, interval: Interval) -> str:
    return f"{LIMIT_NAMES[name]} {seconds(interval.value)}"


def _noise(interval: Interval) -> str:
    """The side that faces the limit."""
    return f"+{seconds(interval.high - interval.value)} (95 %)"
