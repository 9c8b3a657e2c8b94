"""How a sweep searched: what was tried, what was not, why it stopped; as JSON values and as lines a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from carbonsweep.domain import TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.shares import level_percent, percent

if TYPE_CHECKING:
    from carbonsweep.results import Saved
    from carbonsweep.search.objectives import Question
    from carbonsweep.search.study import Search

KEY: Final = "search"
"""Where answer.json holds it."""
NAMES: Final[Mapping[str, str]] = {
    "guided": "model-guided",
    "tpe": "TPE (Optuna)",
    "nsga2": "NSGA-II (Optuna)",
    "gp": "Gaussian process (Optuna)",
    "random": "random without replacement",
    "exhaustive": "exhaustive",
}
"""Samplers as a reader says them."""
CHANCES: Final[Mapping[str, str]] = {
    "better": "that something better by more than 1 % remains",
    "front": "that the front can still grow by more than 1 % in hypervolume",
    "feasible": "that anything untried meets every limit",
}
"""What `chance_left` is the chance of."""
FEW_DRAWS: Final = 0.005
"""A chance below this is counted over too few draws to tell from nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """How a sweep searched a space of `of` configurations, of which `trials` have a record.

    `stopped_by` says why no more do: chance, trials (the budget), exhausted (none is left), closed (no node for the
    rest), interrupted. `chance_left` is `chance_of` (a key of CHANCES), None where nobody knows it; the search stops
    below `stops_below`. `guided_by`: what guided it and what that was fitted to. `guide_is_bench`: the guide is the
    model that every trial asks as well. `tried` and `not_tried` count by GPU kind. `of_another_question`: the records
    answer one now that they were not chosen for, and the chance is of the one they were. `in_doubt`: GPU kinds it would
    still have looked at.
    """

    sampler: str
    trials: int
    of: int
    stopped_by: Literal["chance", "trials", "exhausted", "closed", "interrupted"] | None
    chance_left: float | None
    chance_of: Literal["better", "front", "feasible"] | None
    stops_below: float | None
    guided_by: str | None
    guide_is_bench: bool
    tried: dict[str, int]
    not_tried: dict[str, int]
    of_another_question: bool = False
    in_doubt: list[str] = field(default_factory=list)


def searched(
    search: Search, records: Collection[TrialRecord], *, feasible: bool, modelled: bool, interrupted: bool
) -> Searched:
    """Of a search that is over, or `interrupted`; `records` are those of its space, one each, failures included.

    `feasible`: whether any of them meets every limit. `modelled`: whether every trial asks the device model.
    """
    tried = Counter(record.configuration.gpu for record in records)
    all_of = Counter(configuration.gpu for configuration in search.space.configurations())
    guided = search.sampler == "guided"
    several = len(search.study.directions) > 1
    return Searched(
        sampler=search.sampler,
        trials=len(records),
        of=search.space.size,
        stopped_by="interrupted" if interrupted else search.stopped_by,
        chance_left=search.chance_left,
        chance_of=None if not guided else "feasible" if not feasible else "front" if several else "better",
        stops_below=search.stops_below,
        guided_by=search.guided_by,
        guide_is_bench=guided and modelled,
        tried={gpu: tried[gpu] for gpu in all_of},
        not_tried={gpu: count - tried[gpu] for gpu, count in all_of.items() if count > tried[gpu]},
        in_doubt=list(search.in_doubt),
    )


def stated(document: Mapping[str, Any]) -> Searched | None:
    """How the sweep of an answer.json searched; None where it does not say. Raises BadInput where it cannot be read."""
    found = document.get(KEY)
    try:
        return None if found is None else msgspec.convert(found, Searched)
    except msgspec.ValidationError as error:
        raise BadInput(f"{KEY!r} of answer.json is not one this version can read: {error}") from error


def kept(saved: Saved, question: Question) -> dict[str, Any]:
    """What the answer of a saved sweep says of its search, for the answer of its records to this question."""
    found = stated(saved.document)
    if found is None:
        return {}
    return {KEY: asdict(replace(found, of_another_question=found.of_another_question or question != saved.question))}


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What a saved or new answer says of its search; nothing where it does not say."""
    found = stated(document)
    if found is None:
        return
    yield f"Search: {NAMES.get(found.sampler, found.sampler)}, {_tried(found)}{_stopped(found)}."
    if found.guided_by is not None:
        yield f"  {found.guided_by[:1].upper()}{found.guided_by[1:]}."
    if found.guide_is_bench:
        yield (
            "  That model is also what every trial here asks, so it was searched for what it knows: "
            "`carbonsweep plan` gives its exact answer over the whole space, --sampler exhaustive every record."
        )
    if found.in_doubt and not (found.of_another_question or found.guide_is_bench):
        yield f"  Not ruled out: {in_doubt_words(found.in_doubt)}; it may be far faster than modelled."
    if found.not_tried:
        yield "  All that is compared here is compared among those tried."
        counts = (f"{count} of {count + found.tried.get(gpu, 0)} on {gpu}" for gpu, count in found.not_tried.items())
        yield f"  Not tried: {', '.join(counts)}."


def space_line(search: Search, out: Path) -> str:
    """What is about to be searched, and how where not everything is, in one line."""
    left = search.remaining
    most = "at most " if search.stops_below and left else ""
    until = f" until a chance below {level_percent(search.stops_below)}" if search.stops_below else ""
    if search.in_doubt:
        until = f": {in_doubt_words(search.in_doubt)}"
    how = "" if search.sampler == "exhaustive" or not left else f", {NAMES[search.sampler]}{until}"
    known = f"{search.told} known from before, {most}{left} to run{how}"
    return f"Space: {search.space.size} configurations; {known}; records in {out}"


def in_doubt_words(gpus: Sequence[str]) -> str:
    """What a guided search still looks at although the chance of something better is low; empty where at nothing."""
    return f"nothing was measured yet on {', '.join(gpus)}" if gpus else ""


def chance_words(chance: float | None) -> str:
    """A chance in words; one counted over too few draws is not called 0."""
    if chance is None:
        return "not known yet"
    return "under 1 %" if chance < FEW_DRAWS else percent(chance)


def _tried(found: Searched) -> str:
    tried = f"all {found.of}" if found.trials >= found.of else f"{found.trials} of {found.of}"
    return f"{tried} configurations tried"


def _stopped(found: Searched) -> str:
    """Why it stopped, and the chance that it stopped too early."""
    if found.trials >= found.of:
        return ""
    if found.of_another_question:
        return "; they were chosen for another question: what the others hold for this one is not known"
    why = {
        "chance": f"stopped below {_level(found)}",
        "trials": "stopped by --trials",
        "closed": "no node was left for the rest",
        "interrupted": "interrupted",
    }.get(found.stopped_by or "", "")
    if found.chance_of is None:
        return f"; {why}; what the others hold is not known" if why else ""
    said = f"; chance {CHANCES[found.chance_of]}: {chance_words(found.chance_left)}"
    return f"{said} ({why})" if why else said


def _level(found: Searched) -> str:
    return "a stated chance" if found.stops_below is None else level_percent(found.stops_below)
