"""The explanation printed: its sentences and its tables, the long ones cut; `--json` has all of them whole."""

from __future__ import annotations

from typing import Final

from rich.markup import escape
from rich.table import Table

from carbonsweep.amounts import objective_value, seconds
from carbonsweep.answer import Answer
from carbonsweep.explanation.binding import Binding
from carbonsweep.explanation.choices import refused_reason
from carbonsweep.explanation.explaining import Explanation
from carbonsweep.explanation.relaxations import Relaxation, Relaxations
from carbonsweep.explanation.sensitivity import Sensitivity, Setting
from carbonsweep.explanation_lines import (
    binding_lines,
    ground_lines,
    opening,
    raised_words,
    relaxation_lines,
    saved,
)
from carbonsweep.search.objectives import LIMIT_NAMES, worst_excess
from carbonsweep.shares import change_percent
from carbonsweep.swaps import short
from carbonsweep.terminal import plain_table, say, wide_console

MOST_ROWS: Final = 8
"""Rows of configurations that are no answer."""
MOST_STEPS: Final = 4
"""Steps of each limit."""


def show(explained: Explanation) -> None:
    """Print it whole: the best, what moves it, what binds, what a relaxation saves, what failed, what it rests on."""
    console, found = wide_console(), explained.answer
    for line in opening(explained):
        say(line)
    if explained.sensitivities:
        console.print(_sensitivity_table(explained))
    if explained.binding is not None:
        for line in binding_lines(found, explained.binding):
            say(line)
        if explained.binding.limits:
            console.print(_limit_table(explained.binding, found))
    for line in relaxation_lines(found, explained.relaxations):
        say(line)
    if explained.relaxations.together:
        console.print(_relaxation_table(explained.relaxations, found))
    if explained.over_a_limit:
        console.print(_over_table(explained))
    if explained.refused:
        console.print(_refused_table(explained))
    for line in ground_lines(explained.grounds, found):
        say(line)


def _sensitivity_table(explained: Explanation) -> Table:
    label = explained.answer.question.objectives[0].label
    title = f"What {label} is sensitive to: its change, one thing at a time"
    table = plain_table(title, "", "here", "lowest", "highest", "remark")
    for each in explained.sensitivities:
        cells = [each.factor, each.here, _end(each.low), _end(each.high), _remark(each, explained.answer)]
        table.add_row(*map(escape, cells))
    return table


def _end(setting: Setting | None) -> str:
    if setting is None or setting.change is None:
        return ""
    return f"{change_percent(setting.change)} ({setting.label})"


def _remark(each: Sensitivity, found: Answer) -> str:
    """Who else becomes best and where; of choices, which of them are no answer and why."""
    best = found.best
    said = [f"unknown: {each.unknown}"] if each.unknown is not None else []
    for stretch in each.stretches if best is not None else ():
        name = "" if best is None else short(stretch.winner, best.record.configuration)
        where = stretch.first if stretch.settings == 1 else f"{stretch.settings} from {stretch.first} to {stretch.last}"
        said.append(f"best is {name} at {where}")
    if each.kind == "scenario" and not each.stretches and each.known:
        said.append(f"the same best at all {len(each.known)}")
    said += [f"{setting.label} {setting.note}" for setting in each.settings if setting.note]
    return "; ".join(said)


def _limit_table(bound: Binding, found: Answer) -> Table:
    table = plain_table(
        "Limits", "limit", "of the best", "slack", "best without this limit", found.question.objectives[0].label
    )
    best = bound.limits[0].without if found.best is None else found.best
    for limit in bound.limits:
        table.add_row(
            f"{LIMIT_NAMES[limit.name]} {seconds(limit.limit_s)}",
            seconds(limit.value_s),
            change_percent(limit.slack, signed=False),
            escape(short(limit.without.record.configuration, best.record.configuration)) if limit.binds else "the same",
            saved(limit.saving, found) if limit.binds else "",
        )
    return table


def _relaxation_table(relaxed: Relaxations, found: Answer) -> Table:
    """Steps of each limit alone, then those that raise several."""
    table = plain_table(
        "Relaxations, each the smallest for what it gives",
        "raised",
        "best from there on",
        found.question.objectives[0].label,
    )
    several = [step for step in relaxed.together if len(step.raised) > 1]
    for steps in (*relaxed.alone.values(), several):
        for step in steps[:MOST_STEPS]:
            table.add_row(*map(escape, _step_cells(step, found)))
        if len(steps) > MOST_STEPS:
            table.add_row(f"and {len(steps) - MOST_STEPS} more", "", "")
    return table


def _step_cells(step: Relaxation, found: Answer) -> list[str]:
    raised = ", ".join(raised_words(name, to_s, found) for name, to_s in step.raised.items())
    configuration, value = (
        step.candidate.record.configuration,
        objective_value(found.question, step.candidate.values[0]),
    )
    if found.best is None:
        return [raised, str(configuration), value]
    noise = " (less than noise)" if step.in_noise else ""
    return [raised, short(configuration, found.best.record.configuration), f"{saved(step.saving, found)}{noise}"]


def _over_table(explained: Explanation) -> Table:
    limits = explained.answer.question.slo.limits()
    count = len(explained.over_a_limit)
    shown = f", the {MOST_ROWS} closest" if count > MOST_ROWS else ", the closest first"
    names = [f"{LIMIT_NAMES[name]}, limit {seconds(limit)}" for name, limit in limits.items()]
    table = plain_table(f"Over a limit: {count}{shown}", "configuration", "worst", *names)
    for candidate in explained.over_a_limit[:MOST_ROWS]:
        cells = [
            f"{seconds(getattr(candidate.measurement, name))} ({change_percent(excess)})"
            for name, excess in candidate.excess.items()
        ]
        configuration = escape(str(candidate.record.configuration))
        table.add_row(configuration, change_percent(worst_excess(candidate.excess)), *cells)
    return table


def _refused_table(explained: Explanation) -> Table:
    count = len(explained.refused)
    shown = f", the {MOST_ROWS} closest to fit" if count > MOST_ROWS else ""
    table = plain_table(f"Without a result: {count}{shown}", "configuration", "why")
    for record in explained.refused[:MOST_ROWS]:
        table.add_row(escape(str(record.configuration)), escape(refused_reason(record)))
    return table
