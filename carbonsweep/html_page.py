"""An answer and its records -> what report.html prints, as text and rows of text.

No number the records do not give: what is unknown says so.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from typing import Any

from carbonsweep import (
    certainty_lines,
    explanation_lines,
    footing,
    load_lines,
    quality_lines,
    search_lines,
    swaps,
    verdict_lines,
)
from carbonsweep.amounts import digits, grams, objective_value, seconds
from carbonsweep.answer import Answer, Candidate, counts, priced
from carbonsweep.carbon.footprint import embodied_share
from carbonsweep.certainty.answers import of_answer
from carbonsweep.cost_lines import cost_lines
from carbonsweep.domain import Footprint
from carbonsweep.facts.draws import fit_draws
from carbonsweep.figures import basis, embodied_figure, image, pareto_figure
from carbonsweep.footing import MOST_ROWS
from carbonsweep.placement_page import placement_section
from carbonsweep.results import Saved
from carbonsweep.search.objectives import LIMIT_NAMES, UNITS, Question, worst_excess
from carbonsweep.shares import percent
from carbonsweep.sweep_cost import stated
from carbonsweep.terminal import model_remark


def content(found: Answer, saved: Saved) -> dict[str, Any]:
    """Every value of the template, by name. Raises BadInput where answer.json states a cost nobody can read."""
    results = (*found.feasible, *found.infeasible)
    return {
        "sentence": _sentence(found),
        "basis": basis(found),
        "badge": " and ".join(found.bases) or "no result",
        "unit": UNITS[found.question.scenario.functional_unit],
        "best": None if found.best is None else _best(found.best, found.question),
        "closest": [_miss(candidate, found.question) for candidate in found.closest],
        "closest_by_limit": list(verdict_lines.closest_lines(found)),
        "tie": verdict_lines.page_lines(found),
        "why": explanation_lines.core_lines(found),
        "headings": _headings(found.question),
        "runners_up": _rows(found.runners_up, found),
        "model_remark": model_remark(found),
        "per_model": _rows(tuple(found.best_per_model.values()), found) if len(found.best_per_model) > 1 else [],
        "by_carbon": found.question.objectives[0].name in ("carbon", "energy"),
        "axes": " and ".join(objective.label for objective in found.front_objectives),
        "front": _rows(found.front[:MOST_ROWS], found) if len(found.question.objectives) > 1 else [],
        "presets": _presets(found),
        "certainty": _certainty(found),
        "quality": quality_lines.page(found, saved.document),
        "placement": placement_section(found, saved.document),
        "break_even": swaps.lines(found),
        "devices": footing.devices(found),
        "pictures": _pictures(found),
        "scenario": footing.scenario(found.question),
        "workload": footing.workload(saved.records),
        "counts": counts(found),
        "regret": _regret(saved.document.get("regret")),
        "search": [line.strip() for line in search_lines.lines(saved.document)],
        "cost": _cost(found, saved),
        "complete": saved.document.get("complete") is not False,
        "refusals": footing.refusals(found.refused),
        "everything": _rows(results[:MOST_ROWS], found),
        "left_out": max(0, len(results) - MOST_ROWS),
        "provenance": footing.provenance(saved.records),
        "remarks": footing.remarks(found),
        "damaged": [(damaged.number, damaged.reason) for damaged in saved.damaged],
    }


def _sentence(found: Answer) -> str:
    """The answer, or that there is none, in one sentence."""
    asked = footing.limits(found.question)
    if found.best is not None:
        objective = found.question.objectives[0]
        word = "highest" if objective.sign < 0 else "lowest"
        within = f" at {asked}" if asked else ""
        tried = len(found.feasible) + len(found.infeasible) + len(found.refused)
        return (
            f"{found.best.record.configuration}: {objective_value(found.question, found.best.values[0])}, "
            f"the {word} {objective.label} of {tried} configurations{within}."
        )
    if not found.closest:
        return f"No configuration could run: all {len(found.refused)} were refused."
    near = found.closest[0]
    return (
        f"No configuration meets {asked}; the closest, {near.record.configuration}, "
        f"misses by {percent(worst_excess(near.excess), 1)}."
    )


def _best(best: Candidate, question: Question) -> dict[str, Any]:
    measurement, footprint = best.measurement, best.footprint
    of_prompt = priced(measurement, dataclasses.replace(question.scenario, functional_unit="prompt"))
    why = "no region was given"
    if question.scenario.intensity is not None:
        why = "no meter read the energy; an assumed power (--assume-power-w) would price it"
    steps = measurement.output_tokens - 1
    embodied = None if footprint is None else embodied_share(footprint)
    prefill, decode = measurement.prefill, measurement.decode
    return {
        "configuration": str(best.record.configuration),
        "total": _total(footprint),
        "per_prompt": _total(of_prompt),
        "operational": _part(footprint, "operational"),
        "embodied": _part(footprint, "embodied"),
        "shares": None if embodied is None else (100 * (1 - embodied), 100 * embodied),
        "share_words": embodied is not None and f"{percent(1 - embodied)} operational, {percent(embodied)} embodied",
        "why_unknown": why if footprint is None else "",
        "assumed_w": question.scenario.assumed_power_w if footprint is not None and footprint.assumed else None,
        "latencies": [
            _latency(best, question, "ttft_s", (prefill.duration_low_s, prefill.duration_high_s)),
            _latency(best, question, "tpot_s", (decode.duration_low_s / steps, decode.duration_high_s / steps)),
            _latency(best, question, "prompt_latency_s"),
        ],
        "throughput": f"{digits(measurement.throughput)} output tokens/s",
        "energies": [
            *load_lines.rows(best, question),
            ("Prefill energy", _per_token(prefill.energy_per_token_j, "prompt token")),
            ("Decode energy", _per_token(decode.energy_per_token_j, "output token")),
        ],
        "error": measurement.error_source,
    }


def _total(footprint: Footprint | None) -> str:
    return grams(None if footprint is None else footprint.total_g)


def _part(footprint: Footprint | None, part: str) -> tuple[str, str]:
    """Value and interval of the operational or the embodied part; without a footprint, twice unknown."""
    if footprint is None:
        return grams(None), grams(None)
    value, low, high = (grams(getattr(footprint, f"{part}{end}_g")) for end in ("", "_low", "_high"))
    return value, f"{low} to {high}"


def _per_token(joules: float | None, token: str) -> str:
    return "unknown" if joules is None else f"{joules:.3g} J per {token}"


def _latency(
    candidate: Candidate, question: Question, name: str, interval: tuple[float, float] | None = None
) -> dict[str, Any]:
    """One latency with its interval and how far it is from its limit; `used` is percent of the limit, at most 100."""
    excess, distance = candidate.excess.get(name), "no limit set"
    if excess is not None:
        side = "above" if excess > 0 else "below"
        distance = f"{percent(abs(excess), 1)} {side} the limit of {question.slo.limits()[name]:g} s"
    return {
        "name": LIMIT_NAMES[name],
        "value": seconds(getattr(candidate.measurement, name)),
        "interval": "" if interval is None else f"{seconds(interval[0])} to {seconds(interval[1])}",
        "distance": distance,
        "used": None if excess is None else min(100.0, 100 * (1 + excess)),
    }


def _miss(candidate: Candidate, question: Question) -> dict[str, Any]:
    """A configuration that meets not every limit, and which it misses by how much."""
    missed = [name for name, excess in candidate.excess.items() if excess > 0]
    return {
        "configuration": str(candidate.record.configuration),
        "misses": [_latency(candidate, question, name) for name in missed],
    }


def _beyond(question: Question) -> list[int]:
    """Places of the objectives that get a column of their own, because no other column shows them."""
    return [i for i, objective in enumerate(question.objectives) if objective.name in ("energy", "throughput")]


def _headings(question: Question) -> list[str]:
    unit = UNITS[question.scenario.functional_unit]
    asked = [question.objectives[i] for i in _beyond(question)]
    more = [f"{o.label}, {o.unit_under(question.scenario)}" for o in asked]
    return ["configuration", f"CO2e per {unit}", "operational", "embodied", *LIMIT_NAMES.values(), *more, ""]


def _rows(candidates: Sequence[Candidate], found: Answer) -> list[list[str]]:
    """A table row per candidate, under `_headings`; the last cell tells what sets it apart."""
    on_front = {candidate.record.key for candidate in found.front}
    rows = []
    for candidate in candidates:
        tags = ["on the front"] if candidate.record.key in on_front else []
        tags += [] if candidate.is_feasible else ["misses a limit"]
        rows.append(
            [
                str(candidate.record.configuration),
                _total(candidate.footprint),
                _part(candidate.footprint, "operational")[0],
                _part(candidate.footprint, "embodied")[0],
                *(seconds(getattr(candidate.measurement, name)) for name in LIMIT_NAMES),
                *(f"{candidate.values[i]:.4g}" for i in _beyond(found.question)),
                ", ".join(tags),
            ]
        )
    return rows


def _presets(found: Answer) -> list[list[str]]:
    """Preset, grams, its best configuration, and whether that is the answer's."""
    rows = []
    for view in found.presets:
        used = "this answer" if view.preset == found.question.scenario.embodied else ""
        changed = "same best" if view.best is found.best else "another best"
        rows.append([view.preset, grams(view.total_g), str(view.best.record.configuration), used or changed])
    return rows


def _pictures(found: Answer) -> list[tuple[str, str]]:
    """Alternative text and data URI of each picture."""
    axes = " and ".join(objective.label for objective in found.front_objectives[:2])
    drawn = {
        f"Every configuration by {axes}, with the Pareto front": pareto_figure(found),
        "Operational and embodied carbon of the best configurations": embodied_figure(found),
    }
    return [
        (text, f"data:image/png;base64,{base64.b64encode(image(figure, 'png')).decode()}")
        for text, figure in drawn.items()
        if figure is not None
    ]


def _cost(found: Answer, saved: Saved) -> list[str]:
    """What the sweep itself cost, in lines; none where the answer does not state it."""
    cost = stated(saved.document)
    return [] if cost is None else [line.strip() for line in cost_lines(cost, found)]


def _certainty(found: Answer) -> list[str]:
    """How sure the answer is, in lines; none without a best."""
    sure = of_answer(found, fit_draws())
    return [] if sure is None else list(certainty_lines.lines(sure, found.question))


def _regret(regret: object) -> str:
    """Empty where it is not known."""
    return f"{regret:.3g}" if isinstance(regret, int | float) and not isinstance(regret, bool) else ""
