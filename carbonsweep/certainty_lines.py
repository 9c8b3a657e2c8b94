"""How sure an answer is, in lines a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from carbonsweep.amounts import grams, objective_value
from carbonsweep.certainty.ranges import EmbodiedRange
from carbonsweep.certainty.shares import Certainty, OtherBasis, Share
from carbonsweep.domain import Configuration
from carbonsweep.search.objectives import UNITS, Question
from carbonsweep.shares import percent
from carbonsweep.swaps import short

SOURCES: Final = {
    "bench": "the fit and the measured intervals",
    "presets": "the embodied presets",
    "basis": "the basis of the intensity",
}
"""Sources of uncertainty as a reader says them."""
MOST_KINDS: Final = 4
"""Kinds of GPU a line names."""


def lines(certainty: Certainty, question: Question) -> Iterator[str]:
    """Each a sentence; the first says how often the best stays the best, or why nobody knows."""
    if certainty.unknown is not None:
        yield f"How sure: unknown, {certainty.unknown}. What follows leaves that error out."
    else:
        yield _stays_best(certainty)
        yield from _interval(certainty, question)
        yield from _misses(certainty)
        yield from _drawn(certainty)
    yield from _sources(certainty)
    if certainty.other_basis is not None:
        yield from _other_basis(certainty, certainty.other_basis)
    if certainty.embodied_range is not None:
        yield from _over_range(certainty.embodied_range, question)


def _stays_best(certainty: Certainty) -> str:
    best = certainty.best
    runner_up = certainty.runner_up
    own = certainty.best_share or 0.0
    ahead = runner_up is not None and runner_up.share > own
    second = "" if runner_up is None else f"; {'more often' if ahead else 'runner-up'} {_share(runner_up, best)}"
    share = percent(own)
    return f"How sure: {short(best, best)} is best in {share} of {certainty.draws:,} draws{second}."


def _share(each: Share, best: Configuration) -> str:
    return f"{short(each.configuration, best)} in {percent(each.share)}"


def _interval(certainty: Certainty, question: Question) -> Iterator[str]:
    """Of the best over all draws: of what was asked, and of grams where that is something else."""
    said = []
    if certainty.low is not None and certainty.high is not None:
        low, high = (objective_value(question, end) for end in sorted((certainty.low, certainty.high)))
        said.append(f"{question.objectives[0].label} {_without_unit(low, high)} to {high}")
    if question.objectives[0].name != "carbon" and certainty.low_g is not None:
        ends = f"{grams(certainty.low_g)} to {grams(certainty.high_g)} CO2e"
        said.append(f"total carbon {ends} per {UNITS[question.scenario.functional_unit]}")
    if said:
        yield f"Its 95 % interval over the draws: {'; '.join(said)}."


def _without_unit(low: str, high: str) -> str:
    """`low` without the words both end with: "801 µg" of "801 µg CO2e per prompt"."""
    words, others = low.split(), high.split()
    shared = next((n for n in range(1, min(len(words), len(others))) if words[n:] == others[n:]), len(words))
    return " ".join(words[:shared])


def _misses(certainty: Certainty) -> Iterator[str]:
    kinds = [f"{gpu} {percent(share)}" for gpu, share in certainty.gpu_shares.items()][:MOST_KINDS]
    if len(kinds) > 1:
        yield f"By kind of GPU, whatever the batch: {', '.join(kinds)}."
    if certainty.best_misses:
        nothing = certainty.nothing_feasible
        none = f", and in {percent(nothing)} nothing meets them all" if nothing else ""
        yield f"It misses a limit in {percent(certainty.best_misses)} of the draws{none}."


def _drawn(certainty: Certainty) -> Iterator[str]:
    some = ""
    if certainty.contenders < certainty.configurations:
        some = f"; only the {certainty.contenders:,} nearest to the best of {certainty.configurations:,} configurations"
    yield f"Drawn: {'; '.join(certainty.how)}{some}."


def _sources(certainty: Certainty) -> Iterator[str]:
    """Each source alone, where there are several."""
    if len(certainty.by_source) > 1 or certainty.unknown is not None:
        alone = [f"{SOURCES[name]} {percent(share)}" for name, share in certainty.by_source.items() if name != "basis"]
        if alone:
            yield f"It stays best where one source alone is drawn: {', '.join(alone)}."


def _other_basis(certainty: Certainty, other: OtherBasis) -> Iterator[str]:
    """Only where the other basis has another best, by what was found or most often."""
    first = other.shares[0].configuration if other.shares else other.nominal
    if other.nominal == certainty.best == first:
        return
    by = f"By {other.intensity.basis} intensity ({other.intensity.region}, {other.intensity.g_per_kwh:g} g/kWh)"
    if other.nominal == certainty.best:
        own = percent(other.best_share or 0.0)
        yield f"{by} it is best in {own} of draws; more often {_share(other.shares[0], certainty.best)}."
        return
    share = "" if other.best_share is None else f", and the answer's best is so in {percent(other.best_share)} of draws"
    yield f"{by} {short(other.nominal, certainty.best)} is best{share}."


def _over_range(view: EmbodiedRange, question: Question) -> Iterator[str]:
    concerned = dict.fromkeys([view.best_gpu, *(s.configuration.gpu for s in view.stretches), view.against_it.gpu])
    named = [*concerned, *(gpu for gpu in view.kg if gpu not in concerned)][:MOST_KINDS]
    kg = ", ".join(f"{gpu} {view.kg[gpu][0]:.3g} to {view.kg[gpu][1]:.3g} kg" for gpu in named if gpu in view.kg)
    kg += ", ..." if len(named) < len(view.kg) else ""
    kg += " of a new one" if question.scenario.second_life else ""
    held = [f"from {percent(start)} to {percent(end)}" for start, end in view.held]
    if view.holds:
        stays = f"{view.best_gpu} stays best everywhere"
    elif held:
        others = dict.fromkeys(s.configuration.gpu for s in view.stretches if s.configuration.gpu != view.best_gpu)
        stays = f"{view.best_gpu} is best {' and '.join(held)} of it, elsewhere {' and '.join(others)}"
    else:
        stays = f"{view.best_gpu} is best nowhere, {view.stretches[0].configuration.gpu} is"
    yield f"Over the whole embodied range ({kg}; all at one place of it) {stays}."
    if view.against_it.gpu != view.best_gpu:
        yield f"With {view.best_gpu} at its highest and every other at its lowest, {view.against_it.gpu} is best."
    else:
        yield f"Even with {view.best_gpu} at its highest and every other at its lowest it stays best."
