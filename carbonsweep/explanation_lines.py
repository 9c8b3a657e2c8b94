"""The explanation as a person reads it: sentences, each true by itself. Its tables are in `explanation_tables`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from carbonsweep import certainty_lines, quality_lines, search_lines, verdict_lines
from carbonsweep.amounts import objective_value, seconds
from carbonsweep.answer import Answer, Candidate
from carbonsweep.bench.basis import unless_measured
from carbonsweep.cost_lines import cost_lines
from carbonsweep.explanation.binding import Binding, Limit, Memory, binding
from carbonsweep.explanation.choices import lacking_words
from carbonsweep.explanation.explaining import Explanation
from carbonsweep.explanation.grounds import Grounds
from carbonsweep.explanation.relaxations import Relaxation, Relaxations, relaxations
from carbonsweep.search.objectives import LIMIT_NAMES
from carbonsweep.shares import change_percent
from carbonsweep.swaps import short

LIMIT_DIGITS: Final = 4
"""Significant digits a raised limit is rounded up to: what is printed is enough, typed as it stands."""


def opening(explained: Explanation) -> Iterator[str]:
    """The best and its value, what noise leaves of that, and by which objective all of this is said."""
    found = explained.answer
    names = [objective.label for objective in found.question.objectives]
    if found.best is None:
        yield "Nothing feasible: no configuration meets every limit."
        yield from verdict_lines.closest_lines(found)
    else:
        value = objective_value(found.question, found.best.values[0])
        configuration = found.best.record.configuration
        found_how = unless_measured(found.best.measurement.basis, configuration.gpu)
        yield f"{verdict_lines.heading(found)}: {configuration}: {value}{found_how}"
        yield from verdict_lines.page_lines(found)
    if len(names) > 1:
        count = "1 configuration" if len(found.front) == 1 else f"{len(found.front)} configurations"
        front = f"the front over {' and '.join(names)} has {count}"
        yield f"All that follows is by {names[0]} alone, the first objective; {front}."


def binding_lines(found: Answer, bound: Binding) -> Iterator[str]:
    """What holds the best back, first what costs most."""
    best = found.best
    if best is None:
        return
    if not bound.limits:
        yield "What binds: no limit is set."
    elif bound.binding_limits:
        yield from (f"What binds: {_binds(limit, best, found)}" for limit in bound.binding_limits)
    elif bound.bind_together:
        free = short(bound.without_limits.record.configuration, best.record.configuration)
        much = saved(bound.saving, found)
        yield f"What binds: only several limits at once; without all of them {free} would be best, {much}."
    else:
        yield "What binds: no limit; without all of them the best stays the best."
    if bound.memory is not None:
        yield _memory(bound.memory, best, found)


def relaxation_lines(found: Answer, relaxed: Relaxations) -> Iterator[str]:
    """The next cheapest relaxation, and the first step of every other limit."""
    if not found.question.slo.limits():
        return
    if relaxed.cheapest is None:
        if found.best is not None:
            yield "Cheapest relaxation: none; no limit, however far it is raised, gives a better best."
        return
    yield f"Cheapest relaxation: {step_words(relaxed.cheapest, found)}."
    for step in relaxed.cheapest_alone.values():
        if step.candidate is not relaxed.cheapest.candidate:
            yield f"  or alone: {step_words(step, found)}."


def step_words(step: Relaxation, found: Answer) -> str:
    """One step: "TPOT +8 ms (to 58 ms, +16 %) saves 21 %: T4 batch 16"."""
    raised = " and ".join(raised_words(name, to_s, found) for name, to_s in step.raised.items())
    configuration = step.candidate.record.configuration
    if found.best is None:
        return f"{raised}: {configuration} is feasible, {objective_value(found.question, step.candidate.values[0])}"
    hidden = ", less than measurement noise" if step.in_noise else ""
    verb = "gains" if found.question.objectives[0].sign < 0 else "saves"
    much = "an unknown share" if step.saving is None else change_percent(step.saving, signed=False)
    return f"{raised} {verb} {much}{hidden}: {short(configuration, found.best.record.configuration)}"


def raised_words(name: str, to_s: float, found: Answer) -> str:
    """A raised limit: by how much, to what, in per cent; rounded up, so that it is enough."""
    limit_s, enough_s = found.question.slo.limits()[name], rounded_up(to_s)
    by = f"+{seconds(enough_s - limit_s)} (to {_limit(enough_s)}, {change_percent(enough_s / limit_s - 1)})"
    return f"{LIMIT_NAMES[name]} {by}"


def rounded_up(value_s: float) -> float:
    """The smallest number of LIMIT_DIGITS significant digits that is no less."""
    step = 10.0 ** (math.floor(math.log10(value_s)) - LIMIT_DIGITS + 1)
    rounded = float(f"{math.ceil(value_s / step) * step:.{LIMIT_DIGITS}g}")
    return rounded if rounded >= value_s else float(f"{rounded + step:.{LIMIT_DIGITS}g}")


def saved(saving: float | None, found: Answer) -> str:
    """A saving as the change it is: fewer grams, or more tokens a second."""
    if saving is None:
        return "by an unknown share"
    return change_percent(saving * -found.question.objectives[0].sign)


def ground_lines(rests_on: Grounds, found: Answer) -> Iterator[str]:
    """How much was measured and modelled, what was refused or never tried, what the search cost, how sure it is."""
    counted = rests_on.by_outcome
    bases = ", ".join(f"{count} {basis}" for basis, count in rests_on.by_basis.items()) or "none"
    yield (
        f"Rests on {sum(rests_on.by_basis.values())} configurations, by basis: {bases}; "
        f"{counted['feasible']} feasible, {counted['infeasible']} over a limit, {counted['does_not_fit']} do not fit, "
        f"{counted['unsupported']} unsupported, {counted['failed']} failed, {counted['unpriced']} without a price; "
        f"untried: {'unknown' if rests_on.untried is None else rests_on.untried}."
    )
    yield _noise(rests_on, found)
    yield from cost_lines(rests_on.cost, found)
    yield from search_lines.lines({search_lines.KEY: rests_on.search})
    yield from quality_lines.left_out_lines(rests_on.quality)
    if rests_on.placement:
        yield "This explains both phases on the same GPUs; `carbonsweep price` has the split placements beside them."
    if not rests_on.complete:
        yield "The sweep was not finished."
    if rests_on.certainty is not None:
        yield next(iter(certainty_lines.lines(rests_on.certainty, found.question)))


def core_lines(found: Answer) -> list[str]:
    """What binds and the cheapest relaxation: what an answer's page says of it."""
    bound = binding(found)
    held = [] if bound is None else list(binding_lines(found, bound))
    return [*held, *(line.strip() for line in relaxation_lines(found, relaxations(found)))]


def _binds(limit: Limit, best: Candidate, found: Answer) -> str:
    other = short(limit.without.record.configuration, best.record.configuration)
    slack = change_percent(limit.slack, signed=False)
    at = f"{LIMIT_NAMES[limit.name]}, {seconds(limit.value_s)}, {slack} below its limit of {seconds(limit.limit_s)}"
    noise = " (inside measurement noise)" if limit.noise is not None else ""
    return f"{at}{noise}: without it {other} would be best, {saved(limit.saving, found)}."


def _memory(memory: Memory, best: Candidate, found: Answer) -> str:
    batch, own = memory.refused.configuration.batch_size, best.record.configuration.batch_size
    lacks = lacking_words(memory.refused)
    trend = ""
    if memory.last_step is not None:
        label = found.question.objectives[0].label
        trend = f"; from batch {memory.smaller_batch} to {own} {label} changed by {change_percent(memory.last_step)}"
    return f"Memory: batch {batch}, the next larger one, does not fit ({lacks}){trend}; what it would give is unknown."


def _noise(rests_on: Grounds, found: Answer) -> str:
    label = found.question.objectives[0].label
    if rests_on.repeats is None:
        return "Nothing was measured: there is no measurement noise, and the error of the model is systematic."
    fewest, most = rests_on.repeats
    repeats = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    if rests_on.half_widths is None:
        return f"Measured: {repeats} repeats; no record holds an interval of {label}."
    narrowest, widest = (change_percent(width, signed=False) for width in rests_on.half_widths)
    return f"Measured: {repeats} repeats; 95 % half-width of {label} {narrowest} to {widest}."


def _limit(value_s: float) -> str:
    return f"{value_s * 1e3:.{LIMIT_DIGITS}g} ms" if value_s < 1 else f"{value_s:.{LIMIT_DIGITS}g} s"
