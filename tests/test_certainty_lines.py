"""How sure an answer is, as a person reads it: shares, intervals, and 'unknown' for what is unknown."""

from __future__ import annotations

import dataclasses
from typing import Any

from carbonsweep import inputs
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.certainty.ranges import EmbodiedRange, Stretch
from carbonsweep.certainty.shares import Certainty, OtherBasis, Share
from carbonsweep.certainty_lines import lines
from carbonsweep.domain import Slo
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.second_life import SecondLife
from carbonsweep.swaps import short
from tests.conftest import configuration

T4, ADA = configuration(batch_size=1), configuration(gpu="RTX6000Ada", batch_size=1)


def question(*names: str) -> Question:
    scenario = inputs.scenario({"region": "QC"}, ["T4", "RTX6000Ada"])
    return Question(objectives=objectives(names or ("carbon",)), slo=Slo(), scenario=scenario)


def certainty(**changes: Any) -> Certainty:
    start = Certainty(
        best=T4,
        objective="carbon",
        draws=1024,
        low=0.0109,
        high=0.0256,
        low_g=0.0109,
        high_g=0.0256,
        shares=(Share(configuration=T4, share=0.83), Share(configuration=ADA, share=0.17)),
        gpu_shares={"T4": 0.83, "RTX6000Ada": 0.17},
        nothing_feasible=0.0,
        best_misses=0.0,
        by_source={"bench": 0.9, "presets": 0.85, "basis": 1.0},
        other_basis=None,
        embodied_range=None,
        contenders=42,
        configurations=42,
        how=("64 draws of the fit", "presets paper, act"),
        unknown=None,
    )
    return dataclasses.replace(start, **changes)


def text(made: Certainty, *names: str) -> str:
    return "\n".join(lines(made, question(*names)))


def view(*stretches: tuple[float, float, str], against: str = "T4") -> EmbodiedRange:
    by_gpu = {"T4": T4, "RTX6000Ada": ADA}
    return EmbodiedRange(
        kg={"T4": (8.0, 50.0), "RTX6000Ada": (16.0, 100.0)},
        best_gpu="T4",
        stretches=tuple(Stretch(start=a, end=b, configuration=by_gpu[gpu]) for a, b, gpu in stretches),
        against_it=by_gpu[against],
    )


def test_the_share_of_the_best_and_of_the_runner_up_come_first() -> None:
    first, second, *_ = lines(certainty(), question())
    assert first == "How sure: T4 batch 1 is best in 83 % of 1,024 draws; runner-up RTX6000Ada batch 1 in 17 %."
    assert second == "Its 95 % interval over the draws: total carbon 10.9 to 25.6 mg CO2e per 1,000 output tokens."


def test_a_configuration_that_is_best_more_often_is_called_so() -> None:
    said = text(certainty(shares=(Share(configuration=ADA, share=0.6), Share(configuration=T4, share=0.4))))
    assert "T4 batch 1 is best in 40 % of 1,024 draws; more often RTX6000Ada batch 1 in 60 %." in said
    never = text(certainty(shares=(Share(configuration=ADA, share=1.0),)))
    assert "T4 batch 1 is best in 0 % of 1,024 draws; more often RTX6000Ada batch 1 in 100 %." in never


def test_a_runner_up_of_another_model_is_named_with_it() -> None:
    other = configuration(model="LLaMA-7B", gpu="L4", batch_size=8, gpu_count=2, engine="healthy")
    assert short(other, T4) == "LLaMA-7B on 2x L4 batch 8 healthy"
    assert short(T4, T4) == "T4 batch 1"


def test_another_objective_has_its_own_interval_and_that_of_the_grams() -> None:
    said = text(certainty(low=3.4, high=6.2, by_source={"bench": 0.83}), "latency")
    assert "prompt latency 3.4 to 6.2 s; total carbon 10.9 mg to 25.6 mg CO2e per 1,000 output tokens." in said
    said = text(certainty(low=200.0, high=300.0, low_g=None, high_g=None), "throughput")
    assert "output throughput 200 to 300 tokens/s." in said
    assert "CO2e" not in said


def test_ends_of_an_interval_in_two_units_keep_both() -> None:
    assert "total carbon 801 µg to 1.87 mg CO2e per" in text(certainty(low=0.000801, high=0.00187))


def test_unknown_is_said_and_no_share_of_the_whole_shown() -> None:
    nobody = {"low": None, "high": None, "low_g": None, "high_g": None, "nothing_feasible": None, "best_misses": None}
    said = text(
        certainty(unknown="there are no draws", shares=(), gpu_shares={}, by_source={"presets": 0.85}, **nobody)
    )
    assert said.startswith("How sure: unknown, there are no draws.")
    assert "is best in" not in said
    assert "1,024" not in said
    assert "one source alone is drawn: the embodied presets 85 %" in said


def test_what_was_drawn_and_what_each_source_does_alone_are_told() -> None:
    said = text(certainty(contenders=2000, configurations=9000))
    assert "Drawn: 64 draws of the fit; presets paper, act; only the 2,000 nearest to the best of 9,000" in said
    assert "the fit and the measured intervals 90 %, the embodied presets 85 %" in said
    assert "By kind of GPU, whatever the batch: T4 83 %, RTX6000Ada 17 %." in said


def test_limits_missed_in_some_draws_are_told() -> None:
    assert "misses" not in text(certainty())
    said = text(certainty(best_misses=0.2, nothing_feasible=0.05))
    assert "It misses a limit in 20 % of the draws, and in 5 % nothing meets them all." in said


def test_the_other_basis_is_told_where_it_has_another_best() -> None:
    other = OtherBasis(
        intensity=carbon_intensity("CA-QC", "direct"),
        nominal=ADA,
        best_share=0.1,
        shares=(Share(configuration=ADA, share=0.9),),
    )
    said = text(certainty(other_basis=other))
    assert "By direct intensity (CA-QC, 1.7 g/kWh) RTX6000Ada batch 1 is best" in said
    assert "in 10 % of draws" in said
    same = dataclasses.replace(other, nominal=T4, shares=(Share(configuration=T4, share=0.9),))
    assert "CA-QC" not in text(certainty(other_basis=same))
    # The best by what was found, but in most draws another is.
    drawn = dataclasses.replace(other, nominal=T4)
    assert (
        "By direct intensity (CA-QC, 1.7 g/kWh) it is best in 10 % of draws; more often RTX6000Ada batch 1 in 90 %."
        in text(certainty(other_basis=drawn))
    )


def test_the_whole_embodied_range_is_told_where_the_gpu_changes_and_where_it_does_not() -> None:
    said = text(certainty(embodied_range=view((0, 0.4, "T4"), (0.4, 1, "RTX6000Ada"), against="RTX6000Ada")))
    assert "T4 8 to 50 kg, RTX6000Ada 16 to 100 kg" in said
    assert "T4 is best from 0 % to 40 % of it, elsewhere RTX6000Ada." in said
    assert "With T4 at its highest and every other at its lowest, RTX6000Ada is best." in said
    said = text(certainty(embodied_range=view((0, 1, "T4"))))
    assert "T4 stays best everywhere." in said
    assert "Even with T4 at its highest and every other at its lowest it stays best." in said
    said = text(certainty(embodied_range=view((0, 1, "RTX6000Ada"), against="RTX6000Ada")))
    assert "T4 is best nowhere, RTX6000Ada is." in said


def test_kilograms_that_a_second_life_does_not_charge_are_called_those_of_a_new_gpu() -> None:
    scenario = dataclasses.replace(question().scenario, second_life=(SecondLife(device="T4", policy="none"),))
    asked = dataclasses.replace(question(), scenario=scenario)
    said = "\n".join(lines(certainty(embodied_range=view((0, 1, "T4"))), asked))
    assert "T4 8 to 50 kg, RTX6000Ada 16 to 100 kg of a new one; all" in said
    assert "of a new one" not in text(certainty(embodied_range=view((0, 1, "T4"))))
