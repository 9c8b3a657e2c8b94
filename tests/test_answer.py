"""The answer is what brute force over the same records gives, in any order, and never violates a limit."""

from __future__ import annotations

import functools
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.answer import Answer, answer, counts, front_objectives
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.document import document
from carbonsweep.domain import EMBODIED_PRESETS, Configuration, Measurement, Scenario, Slo, TrialRecord
from carbonsweep.errors import EnergyUnknown, NothingMeasured
from carbonsweep.pareto import dominates
from carbonsweep.search.objectives import OBJECTIVES, Question, objectives, worst_excess
from carbonsweep.search.space import space
from carbonsweep.trial import trial
from carbonsweep.units import S_PER_YEAR
from tests.conftest import FAILED, TOO_BIG, configuration, measurement, record

MODELS = ("TinyLlama-1.1B", "OpenLLaMA-3B", "LLaMA-7B")


@functools.cache
def default_records(gpus: tuple[str, ...] = ("T4", "RTX6000Ada")) -> tuple[TrialRecord, ...]:
    whole = space(
        models=MODELS,
        gpus=gpus,
        gpu_counts=(1,),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("paper",),
    )
    workload = built_in_workload(150, 0)
    return tuple(trial(RooflineBench(), point, workload) for point in whole.configurations())


def asking(*names: str, slo: Slo | None = None, **scenario: Any) -> Question:
    start: dict[str, Any] = {
        "intensity": carbon_intensity("QC", "lifecycle"),
        "lifetime_s": 5 * S_PER_YEAR,
        "embodied": "paper",
    }
    return Question(
        objectives=objectives(names or ("carbon",)), slo=slo or Slo(), scenario=Scenario(**{**start, **scenario})
    )


def measured(records: tuple[TrialRecord, ...]) -> dict[Configuration, Measurement]:
    return {each.configuration: each.measurement for each in records if each.measurement is not None}


# ---- the best ----


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_best_is_that_of_brute_force(name: str) -> None:
    question = asking(name)
    found = answer(default_records(), question)
    assert found.best is not None
    losses = {where: question.losses(each)[0] for where, each in measured(default_records()).items()}
    assert losses[found.best.record.configuration] == min(losses.values())
    assert [c.losses[0] for c in found.feasible] == sorted(losses.values())
    assert found.runners_up == found.feasible[1:5]


def test_the_best_of_each_model_is_that_of_brute_force_among_its_own() -> None:
    question = asking("carbon")
    found = answer(default_records(), question)
    assert set(found.best_per_model) == set(MODELS)
    for model, candidate in found.best_per_model.items():
        own = [question.losses(each) for where, each in measured(default_records()).items() if where.model == model]
        assert candidate.losses == min(own)
    assert found.best is not None
    assert found.best.record.configuration.model == "TinyLlama-1.1B"  # a smaller model always wins on carbon


def test_a_limit_that_cuts_the_winner_changes_the_answer() -> None:
    free = answer(default_records(), asking("carbon"))
    assert free.best is not None
    just_below = Slo(tpot_s=free.best.measurement.tpot_s * 0.999)
    limited = answer(default_records(), asking("carbon", slo=just_below))
    assert limited.best is not None
    assert limited.best.record.key != free.best.record.key
    assert just_below.is_met(limited.best.measurement)
    assert limited.best.losses >= free.best.losses


limits = st.none() | st.floats(1e-3, 100.0)


@given(limits, limits, limits, st.lists(st.sampled_from(sorted(OBJECTIVES)), min_size=1, max_size=3, unique=True))
def test_no_answer_violates_a_limit_whatever_the_limits(
    ttft_s: float | None, tpot_s: float | None, latency_s: float | None, names: list[str]
) -> None:
    slo = Slo(ttft_s=ttft_s, tpot_s=tpot_s, prompt_latency_s=latency_s)
    question = asking(*names, slo=slo)
    found = answer(default_records(), question)
    misses = {where: worst_excess(slo.excess(each)) for where, each in measured(default_records()).items()}
    meeting = {where for where, miss in misses.items() if miss <= 0}
    assert {c.record.configuration for c in found.feasible} == meeting
    shown = [
        *found.runners_up,
        *found.front,
        *found.best_per_model.values(),
        *(view.best for view in found.presets),
    ]
    assert all(c.record.configuration in meeting and slo.is_met(c.measurement) for c in shown)
    if meeting:
        assert found.best is not None
        assert found.best.losses == min(question.losses(measured(default_records())[where]) for where in meeting)
        assert found.closest == ()
    else:
        assert found.best is None
        assert (found.front, found.presets, found.hypervolume) == ((), (), None)
        closest = [misses[c.record.configuration] for c in found.closest]
        assert closest == sorted(misses.values())[:3]


def test_the_order_of_records_does_not_matter() -> None:
    question = asking("carbon", "latency", slo=Slo(tpot_s=0.2))
    shuffled = list(default_records())
    random.Random(0).shuffle(shuffled)
    first, second = answer(default_records(), question), answer(shuffled, question)
    assert document(first) == document(second)


def test_ties_go_to_the_smaller_configuration_in_any_order() -> None:
    ties = [record(configuration(batch_size=size), measurement()) for size in (8, 2, 4)]
    for listed in (ties, ties[::-1]):
        found = answer(listed, asking("latency"))
        assert [c.record.configuration.batch_size for c in found.feasible] == [2, 4, 8]


def test_two_records_of_one_configuration_are_ranked_in_any_order() -> None:
    twice = [replace(record(configuration(), measurement()), key=key) for key in ("b", "a")]
    for listed in (twice, twice[::-1]):
        assert [c.record.key for c in answer(listed, asking("latency")).feasible] == ["a", "b"]


# ---- the front ----


@pytest.mark.parametrize("names", [("carbon", "latency"), ("throughput", "energy", "ttft")])
def test_the_front_is_what_nothing_feasible_dominates(names: tuple[str, ...]) -> None:
    question = asking(*names, slo=Slo(tpot_s=0.3))
    found = answer(default_records(), question)
    undominated = {
        c.record.key for c in found.feasible if not any(dominates(other.losses, c.losses) for other in found.feasible)
    }
    assert {c.record.key for c in found.front} == undominated
    assert found.hypervolume is not None
    assert found.hypervolume > 0
    assert found.best in found.front


def test_one_objective_is_shown_against_latency_and_latency_against_throughput() -> None:
    assert [o.name for o in front_objectives(asking("carbon"))] == ["carbon", "latency"]
    assert [o.name for o in front_objectives(asking("latency"))] == ["latency", "throughput"]
    assert [o.name for o in front_objectives(asking("energy", "ttft"))] == ["energy", "ttft"]


# ---- presets ----


@pytest.mark.parametrize("gpus", [("T4", "RTX6000Ada"), ("T4", "L4")])
def test_each_preset_ranks_all_by_itself_and_only_where_it_knows_them_all(gpus: tuple[str, ...]) -> None:
    records = default_records(gpus)
    preset = "paper" if "RTX6000Ada" in gpus else "act"
    found = answer(records, asking("carbon", embodied=preset))
    # The paper's table has the T4 and the RTX 6000 Ada only.
    assert [view.preset for view in found.presets] == [p for p in EMBODIED_PRESETS if p != "paper" or "L4" not in gpus]
    for view in found.presets:
        scenario = replace(asking().scenario, embodied=view.preset)
        totals = {where: footprint(each, scenario).total_g for where, each in measured(records).items()}
        assert view.total_g == min(totals.values())
        assert totals[view.best.record.configuration] == view.total_g


def test_presets_are_compared_only_where_carbon_decides() -> None:
    assert answer(default_records(), asking("latency", "carbon")).presets == ()


# ---- unknown energy ----

UNPOWERED = [
    record(configuration(batch_size=size), measurement(ttft_s=0.1 * size, prefill_j=None, decode_j=None))
    for size in (1, 2)
]


def test_latency_is_answered_without_energy_and_its_grams_are_unknown() -> None:
    found = answer(UNPOWERED, asking("latency"))
    assert found.best is not None
    assert found.best.record.configuration.batch_size == 1
    assert found.best.footprint is None
    best = document(found)["best"]
    assert (best["total_g"], best["operational_g"], best["embodied_g"], best["per_prompt"]["total_g"]) == (None,) * 4
    assert best["prefill_energy_per_token_j"] is None


@pytest.mark.parametrize("name", ["carbon", "energy"])
def test_carbon_and_energy_are_refused_without_energy(name: str) -> None:
    with pytest.raises(EnergyUnknown, match="assume-power-w"):
        answer(UNPOWERED, asking(name))


def test_an_assumed_power_prices_what_no_meter_read_and_says_so() -> None:
    found = answer(UNPOWERED, asking("carbon", assumed_power_w=100.0))
    assert found.best is not None
    assert found.best.footprint is not None
    assert found.best.footprint.assumed
    assert document(found)["best"]["energy_assumed"] is True


def test_without_a_region_there_are_seconds_and_no_grams() -> None:
    found = answer(default_records(), asking("latency", intensity=None))
    assert found.best is not None
    assert found.best.footprint is None
    assert document(found)["region"] is None


# ---- refusals ----


def test_only_failures_are_nothing_measured_with_their_reasons() -> None:
    with pytest.raises(NothingMeasured, match="the driver went away"):
        answer([record(configuration(), FAILED)], asking("latency"))
    with pytest.raises(NothingMeasured, match="no records"):
        answer([], asking("latency"))


def test_if_nothing_fits_there_is_an_answer_without_a_best() -> None:
    found = answer([record(configuration(), TOO_BIG), record(configuration(batch_size=8), FAILED)], asking("latency"))
    assert found.best is None
    assert found.closest == ()
    assert counts(found) == {
        "feasible": 0,
        "infeasible": 0,
        "does_not_fit": 1,
        "unsupported": 0,
        "failed": 1,
        "unpriced": 0,
    }
    assert json.loads(json.dumps(document(found)))["feasible"] is False


def test_every_record_is_counted_once() -> None:
    found = answer(default_records(), asking("carbon", slo=Slo(tpot_s=0.1)))
    assert sum(counts(found).values()) == 42
    # LLaMA-7B on a T4 from batch 8 on, see test_roofline
    assert counts(found)["does_not_fit"] == 4
    assert found.bases == ("modelled",)


# ---- the document ----

ASKED_KEYS = ("bench", "region", "objective", "feasible", "best", "functional_unit", "regret")
ASKED_OF_BEST = ("configuration", "total_g", "operational_g", "embodied_g", "ttft_s", "tpot_s")


def whole(found: Answer) -> Any:
    return json.loads(json.dumps(document(found, regret=0.0, notes={"study": "x"}), allow_nan=False))


def test_the_document_is_plain_json_and_holds_what_was_promised() -> None:
    found = answer(default_records(), asking("carbon", "latency", slo=Slo(tpot_s=0.2)))
    made = whole(found)
    assert set(ASKED_KEYS) <= set(made)
    assert set(ASKED_OF_BEST) <= set(made["best"])
    assert (made["bench"], made["basis"], made["feasible"]) == ("roofline", "modelled", True)
    assert (made["region"], made["carbon_intensity"]["g_per_kwh"]) == ("QC", 31)
    assert made["study"] == "x"
    assert made["regret"] == 0


def test_the_grams_of_the_document_are_those_of_the_footprint() -> None:
    found = answer(default_records(), asking("carbon"))
    assert found.best is not None
    assert found.best.footprint is not None
    best = whole(found)["best"]
    assert best["total_g"] == best["objectives"]["carbon"] == found.best.footprint.total_g
    assert best["total_g"] == pytest.approx(best["operational_g"] + best["embodied_g"])
    # 1,000 output tokens are 1000/150 prompts.
    assert best["per_prompt"]["total_g"] == pytest.approx(best["total_g"] * 150 / 1000)


def test_the_document_says_how_far_each_limit_is() -> None:
    found = answer(default_records(), asking("carbon", slo=Slo(tpot_s=0.2)))
    best = whole(found)["best"]
    assert best["slo"] == {"tpot_s": {"limit_s": 0.2, "excess": pytest.approx(best["tpot_s"] / 0.2 - 1)}}
    none = whole(answer(default_records(), asking("carbon", slo=Slo(tpot_s=1e-6))))
    assert none["best"] is None
    assert [c["slo"]["tpot_s"]["excess"] > 0 for c in none["closest"]] == [True] * 3


def test_a_record_whose_meter_failed_is_left_out_with_its_reason_and_the_rest_is_ranked() -> None:
    blind = record(configuration(batch_size=8), measurement(prefill_j=None))
    good = record(configuration(), measurement())
    found = answer([blind, good], asking("carbon"))
    assert [c.record for c in found.feasible] == [good]
    ((left_out, why),) = found.unpriced
    assert left_out is blind
    assert "--assume-power-w" in why
    assert counts(found)["unpriced"] == 1


def test_the_sentence_on_smaller_models_is_said_only_where_it_is_true() -> None:
    small, large = configuration(model="TinyLlama-1.1B"), configuration(model="LLaMA-7B")
    cheap, dear = measurement(prefill_j=1.0), measurement(prefill_j=1000.0)
    assert answer([record(small, cheap), record(large, dear)], asking("carbon")).smaller_model_wins
    assert not answer([record(small, dear), record(large, cheap)], asking("carbon")).smaller_model_wins


def test_the_answer_holds_the_source_and_range_of_each_embodied_figure() -> None:
    embodied = document(answer([record(configuration(), measurement())], asking("carbon")))["embodied"]
    assert embodied["T4"]["kg"] == 10.3  # Table 1
    assert embodied["T4"]["estimated"] is False
    assert "Table 1" in embodied["T4"]["source"]
    low_kg, high_kg = embodied["T4"]["over_presets_kg"]
    assert low_kg < 10.3 < high_kg
