"""What a person sees: lines, a progress bar, the answer as tables. The answer is on stdout, the rest on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from carbonsweep import certainty_lines, load_lines, quality_lines, search_lines, swaps, verdict_lines
from carbonsweep.amounts import digits
from carbonsweep.amounts import grams as grams
from carbonsweep.amounts import joules as joules
from carbonsweep.amounts import objective_value as objective_value
from carbonsweep.amounts import seconds as seconds
from carbonsweep.amounts import span as span
from carbonsweep.answer import Answer, Candidate, counts, embodied_sources, priced_or_reason
from carbonsweep.bench.basis import unless_measured
from carbonsweep.carbon.footprint import embodied_share, functional_units
from carbonsweep.carbon.load import load_words
from carbonsweep.carbon.write_off import second_life_words
from carbonsweep.certainty.shares import Certainty
from carbonsweep.cost_lines import cost_lines
from carbonsweep.domain import Configuration, Footprint, PhaseMeasurement
from carbonsweep.quality_front import stated as stated_quality
from carbonsweep.records import Damaged
from carbonsweep.search.objectives import LIMIT_NAMES, UNITS, Question, worst_excess
from carbonsweep.shares import percent, signed_percent
from carbonsweep.sweep_cost import stated
from carbonsweep.units import S_PER_YEAR

PLAIN_WIDTH: Final = 120
"""Columns of a table nobody watches: in a file or a pipe there is no terminal to ask."""


def say(line: str) -> None:
    """One line of the answer, on stdout."""
    print(line, flush=True)


def warn(line: str) -> None:
    """One line beside the answer, on stderr."""
    print(line, file=sys.stderr, flush=True)


def warn_left_out(folder: Path, damaged: Iterable[Damaged]) -> None:
    """Which lines of the records in `folder` an answer goes without."""
    for each in damaged:
        warn(f"{folder}/records.jsonl line {each.number} is damaged and was left out: {each.reason}")


def wide_console() -> Console:
    """Where tables are printed: as wide as the terminal, or PLAIN_WIDTH."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def show_answer(
    answer: Answer,
    document: Mapping[str, Any],
    certainty: Certainty | None = None,
    around: tuple[Iterable[str], Iterable[str]] = ((), ()),
) -> None:
    """Print the whole answer; `document` carries what only the command knows (counts, regret).

    `around` are lines on what the best was compared with: before the best, and after all that is said of it.
    """
    console = wide_console()
    unit = UNITS[answer.question.scenario.functional_unit]
    for line in around[0]:
        say(line)
    if answer.best is None:
        _show_nothing_feasible(console, answer)
    else:
        _show_best(verdict_lines.heading(answer), answer.best, answer.question, unit)
        for line in (*load_lines.lines(answer), *verdict_lines.lines(answer)):
            say(line)
        for i, line in enumerate(() if certainty is None else certainty_lines.lines(certainty, answer.question)):
            say(f"  {line}" if i else line)
        for line in around[1]:
            say(line)
        if answer.runners_up:
            console.print(_table("Runners-up", answer.runners_up, answer.question))
        if len(answer.best_per_model) > 1:
            console.print(_table("Best per model", list(answer.best_per_model.values()), answer.question))
            if answer.question.objectives[0].name in ("carbon", "energy"):
                say(model_remark(answer))
        _show_quality(console, answer, document)
        if answer.presets:
            console.print(_preset_table(answer, unit))
        for line in swaps.lines(answer):
            say(line)
        names = " and ".join(objective.label for objective in answer.front_objectives)
        units = " x ".join(f"({each.unit_under(answer.question.scenario)})" for each in answer.front_objectives)
        volume = "" if answer.hypervolume is None else f", hypervolume {answer.hypervolume:.4g} {units}"
        say(f"Pareto front over {names}: {len(answer.front)} configurations{volume}.")
    _show_footing(answer, document)


def model_remark(answer: Answer) -> str:
    """What the best per model must not be mistaken for."""
    if answer.smaller_model_wins:
        return "A smaller model always wins on carbon: compare models of equal quality (--min-quality SCORE)."
    return (
        "Models differ in quality, and here carbon does not follow their size: compare models of equal quality "
        "(--min-quality SCORE)."
    )


def _show_quality(console: Console, answer: Answer, document: Mapping[str, Any]) -> None:
    """What is asked first against quality, where several models are scored."""
    quality = stated_quality(document)
    if quality is None or not quality_lines.shows_front(answer, quality):
        return
    table = plain_table(quality_lines.title(answer), *quality_lines.headings(answer, quality))
    for row in quality_lines.rows(answer, quality):
        table.add_row(*map(escape, row))
    console.print(table)
    for line in quality_lines.footing_lines(answer, quality):
        say(line)


def _show_best(heading: str, best: Candidate, question: Question, unit: str) -> None:
    configuration = best.record.configuration
    found_how = unless_measured(best.measurement.basis, configuration.gpu)
    say(f"{heading}: {configuration}{found_how}")
    for line in _best_lines(best, question, unit):
        say(f"  {line}")


def _best_lines(best: Candidate, question: Question, unit: str) -> Iterable[str]:
    measurement, footprint = best.measurement, best.footprint
    if footprint is None:
        yield f"carbon          unknown: {priced_or_reason(measurement, question.scenario)}"
    else:
        per_prompt_g = footprint.total_g * _prompts_per_unit(best, question)
        also = "" if question.scenario.functional_unit == "prompt" else f", {grams(per_prompt_g)} per prompt"
        assumed = ", energy ASSUMED, not measured" if footprint.assumed else ""
        yield f"carbon          {grams(footprint.total_g)} per {unit}{also}{assumed}"
        if footprint.assumed:
            yield f"  operational   {grams(footprint.operational_g)} (of an assumed power: no interval)"
        else:
            yield f"  operational   {_range(footprint, 'operational')} (95 % interval of the energy)"
        yield f"  embodied      {_range(footprint, 'embodied')} (over all embodied presets)"
    yield f"GPU energy      {load_lines.energy_words(best, question)}"
    ttft, tpot = _interval(measurement.prefill, 1), _interval(measurement.decode, measurement.output_tokens - 1)
    yield f"TTFT            {seconds(measurement.ttft_s)}{ttft}{_distance(best, question, 'ttft_s')}"
    yield f"TPOT            {seconds(measurement.tpot_s)}{tpot}{_distance(best, question, 'tpot_s')}"
    latency = seconds(measurement.prompt_latency_s)
    yield f"prompt latency  {latency}{_distance(best, question, 'prompt_latency_s')}"
    yield f"throughput      {digits(measurement.throughput)} output tokens/s"
    yield f"error           {measurement.error_source}"
    yield from (f"FAILED CHECK    {check}" for check in measurement.failed_checks)


def _prompts_per_unit(candidate: Candidate, question: Question) -> float:
    return functional_units(candidate.measurement, question.scenario.functional_unit) / candidate.measurement.batch_size


def _range(footprint: Footprint, part: str) -> str:
    value, low, high = (getattr(footprint, f"{part}{name}_g") for name in ("", "_low", "_high"))
    return f"{grams(value)}, {grams(low)} to {grams(high)}"


def _interval(phase: PhaseMeasurement, steps: int) -> str:
    """The 95 % interval of a phase's duration per step."""
    return f" ({seconds(phase.duration_low_s / steps)} to {seconds(phase.duration_high_s / steps)})"


def _distance(candidate: Candidate, question: Question, name: str) -> str:
    excess = candidate.excess.get(name)
    if excess is None:
        return ""
    side = "above" if excess > 0 else "below"
    return f", {percent(abs(excess), 1)} {side} the limit of {seconds(question.slo.limits()[name])}"


def _show_nothing_feasible(console: Console, answer: Answer) -> None:
    say("Nothing feasible: no configuration meets every limit.")
    if not answer.closest:
        say("Nothing could be measured at all: every configuration was refused (does not fit, or is not supported).")
        for record in answer.refused[:3]:
            reason = "unknown" if record.refusal is None else record.refusal.reason
            say(f"  {record.configuration}: {reason}")
        for line in verdict_lines.closest_lines(answer):
            say(line)
        return
    table = plain_table("Closest misses", "configuration", "worst excess", "misses")
    for candidate in answer.closest:
        misses = [
            f"{LIMIT_NAMES[name]} {seconds(getattr(candidate.measurement, name))}"
            f"{_distance(candidate, answer.question, name)}"
            for name, excess in candidate.excess.items()
            if excess > 0
        ]
        configuration = escape(str(candidate.record.configuration))
        table.add_row(configuration, signed_percent(worst_excess(candidate.excess)), escape("; ".join(misses)))
    console.print(table)
    for line in verdict_lines.closest_lines(answer):
        say(line)


def _embodied_share(footprint: Footprint | None) -> str:
    if footprint is None:
        return "unknown"
    share = embodied_share(footprint)
    return "no carbon" if share is None else percent(share)


def _table(title: str, rows: Sequence[Candidate], question: Question) -> Table:
    unit = UNITS[question.scenario.functional_unit]
    columns: dict[str, Callable[[Candidate], str]] = {
        **_configuration_columns([c.record.configuration for c in rows]),
        f"CO2e per {unit}": lambda c: grams(None if c.footprint is None else c.footprint.total_g),
        "embodied share": lambda c: _embodied_share(c.footprint),
        "TTFT": lambda c: seconds(c.measurement.ttft_s),
        "TPOT": lambda c: seconds(c.measurement.tpot_s),
        "latency": lambda c: seconds(c.measurement.prompt_latency_s),
    }
    for i, objective in enumerate(question.objectives):
        if objective.name in ("energy", "throughput"):
            heading = f"{objective.label}, {objective.unit_under(question.scenario)}"
            columns[heading] = lambda c, i=i: f"{c.values[i]:.4g}"  # type: ignore[misc]
    table = plain_table(title, *columns)
    for candidate in rows:
        table.add_row(*(cell(candidate) for cell in columns.values()))
    return table


def _configuration_columns(configurations: Sequence[Configuration]) -> dict[str, Callable[[Candidate], str]]:
    """Model, GPU and batch size always; the other axes where they differ between the rows."""
    headings = {"model": "model", "gpu": "GPU", "gpu_count": "GPUs", "batch_size": "batch"}
    headings |= {"dtype": "dtype", "engine": "engine"}
    always = ("model", "gpu", "batch_size")

    def cell(field: str) -> Callable[[Candidate], str]:
        return lambda candidate: escape(str(getattr(candidate.record.configuration, field)))

    return {
        heading: cell(field)
        for field, heading in headings.items()
        if field in always or len({getattr(configuration, field) for configuration in configurations}) > 1
    }


def plain_table(title: str, *headings: str) -> Table:
    """A table without lines, for `wide_console`."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _preset_table(answer: Answer, unit: str) -> Table:
    table = plain_table("If embodied carbon is counted by another preset", "preset", f"CO2e per {unit}", "best", "")
    for view in answer.presets:
        used = "this answer" if view.preset == answer.question.scenario.embodied else ""
        changed = "" if view.best is answer.best else "another best"
        best = escape(str(view.best.record.configuration))
        table.add_row(view.preset, grams(view.total_g), best, used or changed)
    return table


def _show_footing(answer: Answer, document: Mapping[str, Any]) -> None:
    counted = document.get("counts") or counts(answer)
    say(
        f"Configurations: {counted['feasible']} feasible, {counted['infeasible']} over a limit, "
        f"{counted['does_not_fit']} do not fit, {counted['unsupported']} unsupported, {counted['failed']} failed."
    )
    for line in search_lines.lines(document):
        say(line)
    for line in quality_lines.left_out_lines(stated_quality(document)):
        say(line)
    if (cost := stated(document)) is not None:
        for line in cost_lines(cost, answer):
            say(line)
    for record, why in answer.unpriced:
        say(f"Left out of the ranking: {record.configuration}: {why}")
    scenario = answer.question.scenario
    if scenario.intensity is not None:
        say(f"Carbon intensity: {scenario.intensity.g_per_kwh:g} g/kWh ({scenario.intensity.source}).")
        say(f"Embodied preset: {scenario.embodied}. Second life: {second_life_words(scenario)}.")
        for kind, one in embodied_sources(answer).items():
            estimated = ", estimated" if one.estimated else ""
            say(f"  {kind}: {one.kg:.4g} kg{estimated} ({one.source})")
        say(
            f"Lifetime {scenario.lifetime_s / S_PER_YEAR:g} years, PUE {scenario.pue:g}, {load_words(scenario)}, "
            f"host {scenario.host_power_w:g} W and {scenario.host_embodied_kg:g} kg a device."
        )
    if document.get("regret") is not None:
        say(f"Regret against the exact optimum of the model: {document['regret']:.3g}")
