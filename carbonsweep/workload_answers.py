"""The best configuration of each of many workloads, as rows: for a terminal, a CSV file, JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from carbonsweep.amounts import grams, objective_value, seconds
from carbonsweep.domain import Configuration, Scenario
from carbonsweep.objective_arrays import Quantities
from carbonsweep.per_workload import Choices
from carbonsweep.search.objectives import OBJECTIVES, UNITS, Question
from carbonsweep.search.space import Space
from carbonsweep.shares import percent
from carbonsweep.terminal import plain_table, say, wide_console

ROWS_SHOWN: Final = 40

FEASIBLE, CLOSEST, REFUSED = "best", "closest miss", "nothing runs"
"""Outcomes of a workload: what its row shows. The last is a row without a configuration."""


def rows(choices: Choices, question: Question) -> list[dict[str, Any]]:
    """One row per workload, in their order; None where nothing runs.

    Lengths in tokens, times in seconds, joules and grams per functional unit, `excess` relative to the worst limit.
    """
    values = _values(choices, question.scenario)
    return [_row(choices, i, question.scenario, values) for i in range(len(choices.workloads))]


def _values(choices: Choices, scenario: Scenario) -> Mapping[str, Sequence[float]]:
    asked = [o.name for o in OBJECTIVES.values() if not (o.needs_intensity and scenario.intensity is None)]
    quantities = choices.quantities
    return {
        **{name: quantities.value(name, scenario).tolist() for name in asked},
        "tpot_s": quantities.tpot_s.tolist(),
        **_loads(quantities, scenario),
        "excess": choices.excess.tolist(),
    }


def _loads(quantities: Quantities, scenario: Scenario) -> dict[str, Sequence[float]]:
    """Busy share of each, and replicas where a rate of requests is stated (of each workload alone)."""
    loaded = quantities.load(scenario)
    shares = np.broadcast_to(loaded.prefill, quantities.ttft_s.shape).tolist()
    return {
        "utilisation": shares,
        **({} if loaded.replicas is None else {"replicas": [round(n) for n in loaded.replicas.tolist()]}),
    }


def _row(choices: Choices, i: int, scenario: Scenario, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    workload, best = choices.workloads[i], choices.configuration(i)
    shown = best or choices.near_miss(i)
    outcome = FEASIBLE if best is not None else REFUSED if shown is None else CLOSEST

    def value(name: str) -> float | None:
        return values[name][i] if shown is not None and name in values else None

    excess = value("excess")
    return {
        "workload": workload.name,
        "prompts": len(workload.prompt_tokens),
        "mean_prompt_tokens": workload.mean_prompt_tokens,
        "output_tokens": workload.output_tokens,
        "outcome": outcome,
        **{f.name: None if shown is None else getattr(shown, f.name) for f in dataclasses.fields(Configuration)},
        "total_g": value("carbon"),
        "energy_j": value("energy"),
        "functional_unit": scenario.functional_unit,
        "replicas": value("replicas"),
        "utilisation": value("utilisation"),
        "ttft_s": value("ttft"),
        "tpot_s": value("tpot"),
        "prompt_latency_s": value("latency"),
        "output_tokens_per_s": value("throughput"),
        "excess": None if excess is None or excess == -float("inf") else excess,
        "basis": "modelled",
    }


def document(written: Sequence[Mapping[str, Any]], question: Question, searched: Space) -> dict[str, Any]:
    """The rows with what was asked, as plain JSON values."""
    scenario = dataclasses.asdict(question.scenario)
    return {
        "schema": 1,
        "basis": "modelled",
        "objective": [objective.name for objective in question.objectives],
        "slo": question.slo.limits(),
        "carbon_intensity": scenario.pop("intensity"),
        "scenario": scenario,
        "configurations": searched.size,
        "workloads": list(written),
    }


def show(written: Sequence[Mapping[str, Any]], question: Question) -> None:
    """Print the first rows as a table, and how many workloads ended how."""
    objective, unit = question.objectives[0], UNITS[question.scenario.functional_unit]
    column = {"carbon": "total_g", "energy": "energy_j", "throughput": "output_tokens_per_s"}.get(objective.name)
    shown_axes = {"model": "model", "gpu": "GPU", "batch_size": "batch"}
    varied = [name for name in ("dtype", "engine") if len({row[name] for row in written} - {None}) > 1]
    shown_axes |= {name: name for name in varied}
    table = plain_table(
        f"Best per workload, by {objective.label} (lengths in tokens; carbon and energy per {unit})",
        *("workload", "prompt", "output", *shown_axes.values()),
        *((objective.label,) if column else ()),
        *("TTFT", "TPOT", "latency", ""),
    )
    for row in written[:ROWS_SHOWN]:
        configured = [row[name] for name in shown_axes]
        if row["gpu_count"] not in (None, 1):
            configured[1] = f"{row['gpu_count']}x {row['gpu']}"
        shown = () if not column else (_value(row[column], objective.name, question),)
        times = [_seconds(row[name]) for name in ("ttft_s", "tpot_s", "prompt_latency_s")]
        cells = [row["workload"], f"{row['mean_prompt_tokens']:,.0f}", f"{row['output_tokens']:,}", *configured]
        table.add_row(*(_cell(cell) for cell in (*cells, *shown, *times, _remark(row))))
    wide_console().print(table)
    if len(written) > ROWS_SHOWN:
        say(f"and {len(written) - ROWS_SHOWN:,} more workloads: --out FILE.csv or --json has all of them.")
    counted = [sum(row["outcome"] == outcome for row in written) for outcome in (FEASIBLE, CLOSEST, REFUSED)]
    say(
        f"Workloads: {counted[0]:,} with an answer, {counted[1]:,} for which nothing meets every limit (the closest is "
        f"shown), {counted[2]:,} nothing can run. All modelled; one workload alone also says how sure its answer is."
    )


def _cell(value: Any) -> str:
    from rich.markup import escape

    return "" if value is None else escape(str(value))


def _value(value: float | None, objective: str, question: Question) -> str:
    if value is None:
        return ""
    return grams(value) if objective == "carbon" else objective_value(question, value)


def _seconds(value: float | None) -> str:
    return "" if value is None else seconds(value)


def _remark(row: Mapping[str, Any]) -> str:
    if row["outcome"] == FEASIBLE:
        return ""
    return REFUSED if row["outcome"] == REFUSED else f"misses by {percent(row['excess'], 1)}"
