"""Every gram and joule of an answer is in the functional unit that was asked for, or says what else it is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest

from carbonsweep import html_page, inputs, quality_front, results, workload_answers
from carbonsweep.answer import Answer, answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.certainty.answers import of_answer
from carbonsweep.certainty.shares import Certainty
from carbonsweep.document import document
from carbonsweep.domain import FunctionalUnit, Scenario
from carbonsweep.facts.draws import fit_draws
from carbonsweep.per_workload import best_per_workload
from carbonsweep.quality import shipped
from carbonsweep.report import page
from carbonsweep.results import Saved
from carbonsweep.search.objectives import OBJECTIVES, UNITS
from carbonsweep.search.space import space
from carbonsweep.side_by_side import show
from carbonsweep.swaps import best_against_rival
from carbonsweep.sweep_cost import sweep_cost
from carbonsweep.terminal import show_answer
from carbonsweep.trial import trial

WORKLOAD = inputs.workload(prompts=None, output_tokens=150, seed=0)
SPACE = space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 8),
    dtypes=("fp16",),
    engines=("paper",),
)
RECORDS = tuple(trial(RooflineBench(), c, WORKLOAD) for c in SPACE.configurations())
# 150 output tokens a prompt; a thousand of them make 1k.
FACTORS: dict[FunctionalUnit, float] = {
    "output-token": 1.0,
    "1k-output-tokens": 1000.0,
    "prompt": 150.0,
    "prompt-token": 150.0 / WORKLOAD.mean_prompt_tokens,
}
LOADS = [{}, {"utilisation": 0.4}, {"utilisation": 0.6, "request_rate": 3.0}]

# Amounts of a device, a whole sweep or a unit that is named, whatever the functional unit.
ELSEWHERE = {"per_prompt", "sweep_cost", "embodied", "scenario", "kg"}
PER_UNIT = {"energy_j", "device_s_per_unit", "low_g", "high_g"}


def scenario(unit: FunctionalUnit, load: dict[str, Any]) -> Scenario:
    """The paper's region under a load."""
    return inputs.scenario({"region": "CISO", "functional_unit": unit, **load}, SPACE.gpus)


def answered(unit: FunctionalUnit, load: dict[str, Any], *objective: str) -> tuple[Answer, dict[str, Any], Certainty]:
    """The answer with everything a command puts into it."""
    asked = inputs.question(
        objective=objective or ("carbon", "energy"),
        slo_ttft=None,
        slo_tpot=0.5,
        slo_latency=None,
        scenario=scenario(unit, load),
    )
    found = answer(RECORDS, asked)
    sure = of_answer(found, fit_draws())
    assert sure is not None
    notes = {
        quality_front.KEY: quality_front.document(found, shipped("mmlu")),
        "records": [record.key for record in RECORDS],
    }
    cost = sweep_cost(RECORDS, asked.scenario)
    return found, results.plain(document(found, certainty=sure, cost=cost, notes=notes)), sure


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every plain value with its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from leaves(each, (*path, str(i)))
    else:
        yield path, value


def is_per_unit(path: tuple[str, ...], objective: str) -> bool:
    """Whether a figure of the document is one of a functional unit."""
    if ELSEWHERE & set(path):
        return False
    # Values of the first objective, in its own unit (`units` of the document).
    if path[0] in ("certainty", "tie", "quality") and path[-1] in ("low", "high", "value"):
        return objective in ("carbon", "energy")
    asked = path[-2:] in (("objectives", "carbon"), ("objectives", "energy"))
    return asked or path[-1].endswith("_g") or path[-1] in PER_UNIT


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("objective", ["carbon", "energy", "latency"])
@pytest.mark.parametrize("unit", ["1k-output-tokens", "prompt", "prompt-token"])
def test_every_figure_of_the_document_scales_with_the_unit_or_is_named_otherwise(
    unit: FunctionalUnit, objective: str, load: dict[str, Any]
) -> None:
    objectives = (objective, *(each for each in ("carbon", "energy") if each != objective))
    of_token = dict(leaves(answered("output-token", load, *objectives)[1]))
    of_unit = dict(leaves(answered(unit, load, *objectives)[1]))
    assert of_token.keys() == of_unit.keys()
    seen = 0
    for path, value in of_token.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if path[0] == "front" and path[1] in ("hypervolume", "reference"):
            continue  # products over the axes: their units stand beside them, and are tested below
        factor = FACTORS[unit] if is_per_unit(path, objective) else 1.0
        seen += factor != 1
        assert of_unit[path] == pytest.approx(factor * value, rel=1e-9), path
    assert seen > 50


def test_the_document_names_the_unit_of_every_objective_and_of_the_fronts_volume() -> None:
    _, written, _ = answered("prompt", {"utilisation": 0.5}, "carbon", "energy", "latency")
    assert written["units"] == {
        "carbon": "g CO2e per prompt",
        "energy": "J per prompt, idle included",
        "latency": "s",
    }
    assert written["front"]["units"] == list(written["units"].values())
    # Three axes, two of them per prompt: volume and the prompt's share of it.
    _, of_token, _ = answered("output-token", {"utilisation": 0.5}, "carbon", "energy", "latency")
    assert written["front"]["hypervolume"] == pytest.approx(150**2 * of_token["front"]["hypervolume"])


AMOUNT = re.compile(r"(?<![\w.])(\d[\d.,]*(?:e[+-]?\d+)?) (kg|mg|µg|g|MJ|kJ|mJ|J)(?![\w/])")
IN_G_OR_J = {"kg": 1e3, "g": 1.0, "mg": 1e-3, "µg": 1e-6, "MJ": 1e6, "kJ": 1e3, "J": 1.0, "mJ": 1e-3}


def amounts(text: str) -> list[tuple[float, str]]:
    """Every amount of grams or joules in a text, and the line it is in."""
    matches = ((match, line.strip()) for line in text.splitlines() for match in AMOUNT.finditer(line))
    return [(float(match[1].replace(",", "")) * IN_G_OR_J[match[2]], line) for match, line in matches]


def assert_scaled(of_token: str, of_kilo: str, fixed: tuple[str, ...]) -> None:
    """Each amount is a thousand times as large per 1,000 tokens, but for those in a line with one of `fixed`."""
    few, many = ([each for each in amounts(text) if each[0] != 0] for text in (of_token, of_kilo))
    assert len(few) == len(many) > 10
    scaled = 0
    for (small, line), (large, other) in zip(few, many, strict=True):
        ratio = large / small
        if any(word in line for word in fixed):
            assert ratio == pytest.approx(1, rel=0.01) or ratio == pytest.approx(1000, rel=0.02), (line, other)
        else:
            assert ratio == pytest.approx(1000, rel=0.02), (line, other)
        scaled += ratio > 2
    assert scaled > 10


# Lines that name the amount's own unit: a prompt, a device, the sweep.
NAMED = ("per prompt", " kg", "CO2e/kWh", "Over the whole embodied range", "This sweep itself", "Lifetime", "embodied")


@pytest.mark.parametrize("load", LOADS)
def test_every_amount_on_the_terminal_scales_with_the_unit_or_names_its_own(
    load: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = []
    for unit in ("output-token", "1k-output-tokens"):
        found, written, sure = answered(unit, load)
        show_answer(found, written, sure)
        texts.append(capsys.readouterr().out)
        assert f"CO2e per {UNITS[unit]}" in " ".join(texts[-1].split())
        assert "functional unit" not in texts[-1]
    assert_scaled(texts[0], texts[1], NAMED)


@pytest.mark.parametrize("load", LOADS)
def test_every_amount_of_the_page_scales_with_the_unit_or_names_its_own(load: dict[str, Any]) -> None:
    texts = []
    for unit in ("output-token", "1k-output-tokens"):
        found, written, _ = answered(unit, load)
        saved = Saved(question=found.question, records=RECORDS, damaged=(), document=written)
        html = re.sub(r"<style>.*?</style>|data:image[^\"]*", "", page(saved), flags=re.S)
        texts.append("\n".join(part for part in re.sub("<[^>]+>", "\n", html).splitlines() if part.strip()))
        assert "functional unit" not in texts[-1]
    per_prompt = html_page.content(found, saved)["best"]["per_prompt"]
    assert_scaled(texts[0], texts[1], (*NAMED, "per prompt token", "per output token", per_prompt))


def test_the_comparison_of_two_names_the_unit(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for unit in ("output-token", "1k-output-tokens"):
        compared = best_against_rival(answered(unit, {"utilisation": 0.4})[0])
        assert compared is not None
        show(compared)
        texts.append(capsys.readouterr().out)
        assert texts[-1].count(f"CO2e per {UNITS[unit]}") == 2
    assert_scaled(texts[0], texts[1], (" kg", "Host", "embodied"))


@pytest.mark.parametrize("load", LOADS)
def test_rows_of_many_workloads_are_in_the_unit_their_column_names(load: dict[str, Any]) -> None:
    rows = {}
    for unit in FACTORS:
        asked = inputs.question(
            objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario(unit, load)
        )
        [rows[unit]] = workload_answers.rows(best_per_workload(SPACE, [WORKLOAD], asked), asked)
    for unit, row in rows.items():
        assert row["functional_unit"] == unit
        for name in ("total_g", "energy_j"):
            assert row[name] == pytest.approx(FACTORS[unit] * rows["output-token"][name])
        for name in ("replicas", "utilisation", "ttft_s", "output_tokens_per_s"):
            assert row[name] == rows["output-token"][name]
    assert (rows["prompt"]["replicas"] is None) == ("request_rate" not in load)


@pytest.mark.parametrize("load", LOADS)
def test_the_picture_of_the_front_names_the_unit(load: dict[str, Any]) -> None:
    from carbonsweep.figures.front_axes import Scale

    found, _, _ = answered("prompt", load)
    grams, joules = (Scale.of(OBJECTIVES[name], found).label for name in ("carbon", "energy"))
    assert "CO2e per prompt" in grams
    assert "J per prompt" in joules
    assert ("idle included" in joules) == bool(load)
    # The interval is the record's, moved by the idle energy that has none: it holds the value that is ranked.
    best = found.feasible[0]
    estimate = Scale.of(OBJECTIVES["energy"], found).interval(best, found)
    assert estimate.value == pytest.approx(best.values[1])
    assert estimate.low <= estimate.value <= estimate.high


def test_the_energy_of_an_answer_is_the_same_wherever_it_stands() -> None:
    found, written, _ = answered("prompt", LOADS[2], "energy")
    best = found.best
    assert best is not None
    assert written["best"]["energy_j"] == written["best"]["objectives"]["energy"] == best.values[0]
    assert written["best"]["energy_includes_idle"] is True
    busy = dataclasses.replace(found.question.scenario, utilisation=1.0, request_rate_per_s=None)
    assert best.values[0] > OBJECTIVES["energy"].value(best.measurement, busy)
