"""Two configurations of an answer against each other: who emits less, and what would have to change for the other to.

The best is set against the best of its model on another GPU kind, unless two are named. All of it is exact arithmetic
on their records (`carbon.break_even`); the error of a modelled record is not part of it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carbonsweep.answer import Answer, Candidate, priced
from carbonsweep.carbon.break_even import BreakEven, Swap, break_even
from carbonsweep.carbon.embodied import embodied_carbon, presets_covering
from carbonsweep.domain import Configuration, Scenario
from carbonsweep.errors import BadInput
from carbonsweep.units import S_PER_HOUR, S_PER_YEAR

MOST_NAMED: Final = 12
"""Configurations an error lists."""
LONGEST_YEARS: Final = 1000.0
"""A longer lifetime is one in a manner of speaking, and printed as such."""
SHORTEST_YEARS: Final = 0.1
"""A shorter lifetime is printed in days."""
DAYS_PER_YEAR: Final = S_PER_YEAR / (24 * S_PER_HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two candidates under a scenario, and where they swap; `at` values in g/kWh, seconds and kg of a new device."""

    a: Candidate
    b: Candidate
    scenario: Scenario
    swaps: BreakEven


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRow:
    """One swap as people read it: what changes, in which unit, its value here and at the swap (None: never)."""

    quantity: str
    unit: str
    here: float
    at: float | None
    swap: Swap


def comparison(a: Candidate, b: Candidate, scenario: Scenario) -> Comparison:
    """Raises BadInput without an intensity, EnergyUnknown where one of the two has no known joules."""
    return Comparison(a=a, b=b, scenario=scenario, swaps=break_even(a.measurement, b.measurement, scenario))


def best_against_rival(answer: Answer) -> Comparison | None:
    """The best against the best of its model on another GPU kind; None where there is none, or no grams."""
    best = answer.best
    other = None if best is None else rival(answer, best)
    if best is None or other is None or best.footprint is None or other.footprint is None:
        return None
    return comparison(best, other, answer.question.scenario)


def rival(answer: Answer, of: Candidate) -> Candidate | None:
    """The best feasible candidate of the same model on another GPU kind: other models differ in quality."""
    one = of.record.configuration
    same_model = (c for c in answer.feasible if c.record.configuration.model == one.model)
    return next((c for c in same_model if c.record.configuration.gpu != one.gpu), None)


def under_presets(compared: Comparison) -> Iterator[Comparison]:
    """The same two under each embodied preset that knows their devices: presets are never mixed."""
    for preset in presets_covering(compared.swaps.embodied):
        scenario = dataclasses.replace(compared.scenario, embodied=preset)
        a, b = (
            dataclasses.replace(each, footprint=priced(each.measurement, scenario)) for each in (compared.a, compared.b)
        )
        yield comparison(a, b, scenario)


def rows(compared: Comparison) -> list[SwapRow]:
    """Intensity, lifetime, and the embodied value of each kind of device."""
    scenario, swaps = compared.scenario, compared.swaps
    if scenario.intensity is None:
        return []
    g_per_kwh, years = scenario.intensity.g_per_kwh, scenario.lifetime_s / S_PER_YEAR
    at_years = None if swaps.lifetime.at is None else swaps.lifetime.at / S_PER_YEAR
    return [
        SwapRow(quantity="intensity", unit="g/kWh", here=g_per_kwh, at=swaps.intensity.at, swap=swaps.intensity),
        SwapRow(quantity="lifetime", unit="years", here=years, at=at_years, swap=swaps.lifetime),
        *(
            SwapRow(
                quantity=f"embodied {device}",
                unit="kg",
                here=embodied_carbon(device, scenario.embodied).kg,
                at=swap.at,
                swap=swap,
            )
            for device, swap in swaps.embodied.items()
        ),
    ]


def at_words(row: SwapRow) -> str:
    """Where they swap, in words; a number only where it is one that could be."""
    if row.at is None:
        return "never"
    if row.unit == "years" and row.at > LONGEST_YEARS:
        return f"over {LONGEST_YEARS:,.0f} years"
    if row.unit == "years" and row.at < SHORTEST_YEARS:
        return f"{_digits(row.at * DAYS_PER_YEAR)} days"
    return f"{_digits(row.at)} {row.unit}"


def lines(answer: Answer) -> list[str]:
    """What an answer says about it: the best against its rival in a sentence, or nothing."""
    compared = best_against_rival(answer)
    return [] if compared is None else [line(compared)]


def answer_document(answer: Answer) -> dict[str, Any] | None:
    """The same as plain JSON values."""
    compared = best_against_rival(answer)
    return None if compared is None else document(compared)


def line(compared: Comparison) -> str:
    """The comparison in a sentence."""
    a, b = compared.a.record.configuration, compared.b.record.configuration
    listed = rows(compared)
    at = ", or ".join(
        f"{row.quantity} {at_words(row)} (here {_digits(row.here)} {row.unit})" for row in listed if row.at is not None
    )
    never = " or ".join(row.quantity for row in listed if row.at is None)
    swaps = [*([f"swaps at {at}"] if at else []), *([f"never by {never} alone"] if never else [])]
    return f"Break-even with {short(b, a)}: {'; '.join(swaps)}."


def short(one: Configuration, beside: Configuration) -> str:
    """A configuration by what sets it apart from another: always GPU and batch size."""
    said = [] if one.model == beside.model else [f"{one.model} on"]
    count = "" if one.gpu_count == 1 else f"{one.gpu_count}x "
    said += [f"{count}{one.gpu}", f"batch {one.batch_size}"]
    own, other = (one.dtype, one.engine), (beside.dtype, beside.engine)
    return " ".join([*said, *(mine for mine, theirs in zip(own, other, strict=True) if mine != theirs)])


def document(compared: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values; `at` is null where they never swap for any value above 0."""

    def entry(row: SwapRow) -> dict[str, Any]:
        sides = {
            name: None if side is None else side.lower()
            for name, side in (("below", row.swap.below), ("above", row.swap.above))
        }
        return {"at": row.at, "here": row.here, **sides}

    intensity, lifetime, *embodied = rows(compared)
    return {
        **{name: _side(one) for name, one in (("a", compared.a), ("b", compared.b))},
        "intensity_g_per_kwh": entry(intensity),
        "lifetime_years": entry(lifetime),
        "embodied_kg": {row.quantity.removeprefix("embodied "): entry(row) for row in embodied},
    }


def _side(one: Candidate) -> dict[str, Any]:
    return {
        "configuration": dataclasses.asdict(one.record.configuration),
        "total_g": None if one.footprint is None else one.footprint.total_g,
        "basis": one.measurement.basis,
        "record": one.record.key,
    }


# ---- by name ----


def pair(answer: Answer, first: str | None, second: str | None) -> tuple[Candidate, Candidate]:
    """The two named; unnamed, A is the best, B the best of A's model on another GPU kind, else the best other one.

    Raises BadInput where a name fits none, or there are no two.
    """
    ranked = [*answer.feasible, *answer.infeasible]
    a = ranked[0] if first is None and ranked else named(answer, first or "", answer.best)
    if second is not None:
        b = named(answer, second, a)
        if b is a:
            raise BadInput(f"{first or 'the best'} and {second} are the same: {a.record.configuration}")
        return a, b
    others = [c for c in (rival(answer, a), *ranked) if c is not None and c is not a]
    if not others:
        raise BadInput(f"there is nothing to compare {a.record.configuration} with: it is the only result")
    return a, others[0]


def named(answer: Answer, name: str, like: Candidate | None) -> Candidate:
    """The candidate `name` singles out: parts such as T4, 2xT4, b16, a model, dtype, engine or record key, by colons.

    What is left out is as in `like` where there is such a one (model, dtype, engine, devices), then the best of those
    that remain. Raises BadInput naming what there is.
    """
    candidates = [*answer.feasible, *answer.infeasible]
    parts = [part.strip() for part in name.split(":") if part.strip()]
    if not parts:
        raise BadInput(f"{name!r} names no configuration: {_there_are(candidates)}")
    for part in parts:
        if not any(_is(c.record.configuration, c.record.key, part) for c in candidates):
            raise BadInput(
                f"no configuration here is {part!r} (of {name!r}): {_refused(answer, parts)}{_there_are(candidates)}"
            )
    found = [c for c in candidates if all(_is(c.record.configuration, c.record.key, part) for part in parts)]
    if not found:
        raise BadInput(f"no configuration here is {name!r}: {_refused(answer, parts)}{_there_are(candidates)}")
    if like is not None:
        wanted = like.record.configuration
        for field in ("model", "dtype", "engine", "gpu_count"):
            same = [c for c in found if getattr(c.record.configuration, field) == getattr(wanted, field)]
            found = same or found
    return found[0]


def _is(configuration: Configuration, key: str, part: str) -> bool:
    text = part.casefold()
    if re.fullmatch(r"b\d+", text):
        return configuration.batch_size == int(text[1:])
    if several := re.fullmatch(r"(\d+)x(.+)", text):
        return configuration.gpu_count == int(several[1]) and configuration.gpu.casefold() == several[2]
    one = configuration
    return text in {each.casefold() for each in (one.gpu, one.model, one.dtype, one.engine, key)}


def _refused(answer: Answer, parts: Sequence[str]) -> str:
    """Why the one that is meant has no measurement, if it is among the refused."""
    for record in answer.refused:
        if record.refusal is not None and all(_is(record.configuration, record.key, part) for part in parts):
            return f"{record.configuration} gave no result ({record.refusal.reason}); "
    return ""


def _there_are(candidates: Sequence[Candidate]) -> str:
    places = sorted({(c.record.configuration.gpu, c.record.configuration.batch_size) for c in candidates})
    names = [f"{gpu}:b{batch_size}" for gpu, batch_size in places]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    models = sorted({c.record.configuration.model for c in candidates})
    return f"there are {', '.join(names[:MOST_NAMED])}{more}, of {', '.join(models)} (T4:b1:MODEL names one of a model)"


def _digits(value: float) -> str:
    """Three significant digits, thousands apart."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.10g}" if 1e-3 <= rounded < 1e7 else f"{value:.3g}"
