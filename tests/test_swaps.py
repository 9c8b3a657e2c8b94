"""The best against its rival, and two configurations by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carbonsweep import exact, inputs, swaps
from carbonsweep.answer import Answer, Candidate, answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.domain import Measurement, Refusal, Scenario, Slo
from carbonsweep.errors import BadInput
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.search.space import space
from carbonsweep.second_life import SecondLife
from carbonsweep.trial import trial
from carbonsweep.units import S_PER_YEAR
from tests.conftest import TOO_BIG, configuration, measurement, record

QC = Scenario(intensity=given_intensity(31.0), lifetime_s=5 * S_PER_YEAR, embodied="paper", functional_unit="prompt")


def ran(gpu: str, hours: float, watts: float) -> Measurement:
    """A batch of 4 prompts; a third of the time is prefill."""
    prefill_s, decode_s = hours * 1200, hours * 2400
    return measurement(
        ttft_s=prefill_s, decode_s=decode_s, prefill_j=watts * prefill_s, decode_j=watts * decode_s, gpu=gpu
    )


# As in tests/carbon/test_break_even.py: they swap at 4.566 g/kWh, 0.7365 years, an Ada of 61.33 kg. Above, the Ada.
OUTCOMES: list[tuple[dict[str, object], Measurement | Refusal]] = [
    ({"gpu": "T4", "batch_size": 1}, ran("T4", 1, 50)),
    ({"gpu": "RTX6000Ada", "batch_size": 1}, ran("RTX6000Ada", 0.5, 70)),
    ({"gpu": "RTX6000Ada", "batch_size": 2}, ran("RTX6000Ada", 0.51, 70)),
    ({"gpu": "T4", "batch_size": 1, "model": "LLaMA-7B"}, ran("T4", 4, 50)),
    ({"gpu": "T4", "batch_size": 64}, TOO_BIG),
]


def asked(scenario: Scenario = QC, objective: str = "carbon") -> Answer:
    question = Question(objectives=objectives((objective,)), slo=Slo(), scenario=scenario)
    return answer([record(configuration(**where), found) for where, found in OUTCOMES], question)


def short(one: Candidate) -> str:
    where = one.record.configuration
    return f"{where.model}:{where.gpu}:b{where.batch_size}"


def test_the_best_is_set_against_the_best_of_its_model_on_another_gpu() -> None:
    compared = swaps.best_against_rival(asked())
    assert compared is not None
    # The runner-up is the other batch size on the Ada, which says nothing about which GPU to take.
    assert (short(compared.a), short(compared.b)) == ("TinyLlama-1.1B:RTX6000Ada:b1", "TinyLlama-1.1B:T4:b1")
    (said,) = swaps.lines(asked())
    assert said == (
        "Break-even with T4 batch 1: swaps at intensity 4.57 g/kWh (here 31 g/kWh), or lifetime 0.736 years "
        "(here 5 years), or embodied RTX6000Ada 61.3 kg (here 26.6 kg); never by embodied T4 alone."
    )


def test_answer_json_holds_the_same_unrounded() -> None:
    found = swaps.answer_document(asked())
    assert found is not None
    assert found["intensity_g_per_kwh"] == {"at": pytest.approx(4.56621), "here": 31, "below": "b", "above": "a"}
    assert found["lifetime_years"]["at"] == pytest.approx(3000 / 0.465 / 8760)
    assert found["embodied_kg"]["T4"] == {"at": None, "here": 10.3, "below": "a", "above": "a"}
    assert found["a"]["configuration"]["gpu"] == "RTX6000Ada"
    assert found["a"]["basis"] == "modelled"


def test_without_a_rival_or_grams_nothing_is_said() -> None:
    assert swaps.lines(asked(replace(QC, intensity=None), "latency")) == []
    alone = Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=QC)
    records = [record(configuration(batch_size=b), ran("T4", b, 50)) for b in (1, 2)]
    assert swaps.answer_document(answer(records, alone)) is None


def test_a_swap_far_out_is_said_in_words() -> None:
    # At 0.001 g/kWh the lifetimes of a swap are 31,000 times longer: 22,800 years.
    compared = swaps.best_against_rival(asked(replace(QC, intensity=given_intensity(0.001))))
    assert compared is not None
    lifetime = next(row for row in swaps.rows(compared) if row.quantity == "lifetime")
    assert swaps.at_words(lifetime) == "over 1,000 years"
    # At 500 g/kWh they are 31/500 of 0.7365 years: 16.67 days.
    near = swaps.best_against_rival(asked(replace(QC, intensity=given_intensity(500.0))))
    assert near is not None
    assert swaps.at_words(swaps.rows(near)[1]) == "16.7 days"
    here = swaps.best_against_rival(asked())
    assert here is not None
    assert [swaps.at_words(row) for row in swaps.rows(here) if row.at is None] == ["never"]


def test_every_preset_that_knows_both_has_its_own_swaps() -> None:
    compared = swaps.best_against_rival(asked(replace(QC, second_life=(SecondLife(device="T4", policy="none"),))))
    assert compared is not None
    by_preset = {each.scenario.embodied: each for each in swaps.under_presets(compared)}
    assert list(by_preset) == ["paper", "act", "sc23", "vendor"]
    # T4 sunk: half an hour of the Ada's kilograms over 43,800 h, over 0.015 kWh.
    for each in by_preset.values():
        intensity, _, ada, _ = swaps.rows(each)
        assert intensity.at == pytest.approx(ada.here * 1000 / 43_800 / 2 / 0.015)
        assert each.a.footprint is not None
        assert each.a.footprint.embodied_g == pytest.approx(ada.here * 1000 / 43_800 / 2 / 4)


# ---- by name ----


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (None, None, ("TinyLlama-1.1B:RTX6000Ada:b1", "TinyLlama-1.1B:T4:b1")),
        ("T4:b1", "RTX6000Ada:b2", ("TinyLlama-1.1B:T4:b1", "TinyLlama-1.1B:RTX6000Ada:b2")),
        ("b2", None, ("TinyLlama-1.1B:RTX6000Ada:b2", "TinyLlama-1.1B:T4:b1")),
        # No other GPU ran this model: the best other one.
        ("LLaMA-7B", None, ("LLaMA-7B:T4:b1", "TinyLlama-1.1B:RTX6000Ada:b1")),
        ("t4", None, ("TinyLlama-1.1B:T4:b1", "TinyLlama-1.1B:RTX6000Ada:b1")),
        ("llama-7b", "T4:TinyLlama-1.1B", ("LLaMA-7B:T4:b1", "TinyLlama-1.1B:T4:b1")),
        ("1xRTX6000Ada:fp16:paper:b2", "T4", ("TinyLlama-1.1B:RTX6000Ada:b2", "TinyLlama-1.1B:T4:b1")),
        ("RTX6000Ada", None, ("TinyLlama-1.1B:RTX6000Ada:b1", "TinyLlama-1.1B:T4:b1")),
    ],
)
def test_two_are_found_by_name(first: str | None, second: str | None, found: tuple[str, str]) -> None:
    a, b = swaps.pair(asked(), first, second)
    assert (short(a), short(b)) == found


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (
            "T5:b1",
            None,
            r"is 'T5' \(of 'T5:b1'\): there are RTX6000Ada:b1, RTX6000Ada:b2, T4:b1, of LLaMA-7B, TinyLlama",
        ),
        ("T4:b2", None, "no configuration here is 'T4:b2': there are"),
        ("T4:b64", None, r"batch 64, fp16, paper gave no result \(lacks 1 byte\)"),
        ("T4:b1", "t4:B1", "are the same"),
        (":", None, "names no configuration"),
    ],
)
def test_a_name_that_fits_none_is_told_what_there_is(first: str, second: str | None, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        swaps.pair(asked(), first, second)


def test_one_result_alone_has_nothing_to_be_compared_with() -> None:
    question = Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=QC)
    with pytest.raises(BadInput, match="nothing to compare"):
        swaps.pair(answer([record(configuration(), ran("T4", 1, 50))], question), None, None)


def test_a_plan_finds_the_rival_among_all_configurations_though_few_become_records() -> None:
    searched = space(
        models=("TinyLlama-1.1B", "LLaMA-7B"),
        gpus=("T4", "RTX6000Ada"),
        gpu_counts=(1, 2),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("paper",),
    )
    scenario = replace(QC, embodied="act")
    question = Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=scenario)
    workload = inputs.workload(prompts=None, output_tokens=150, seed=0)
    every = [trial(RooflineBench(), each, workload) for each in searched.configurations()]
    shown = exact.shown(exact.plan(searched, workload, question), workload, question)
    assert len(shown) < len(every)
    found, wanted = (swaps.answer_document(answer(records, question)) for records in (shown, every))
    assert wanted is not None
    assert found == wanted
