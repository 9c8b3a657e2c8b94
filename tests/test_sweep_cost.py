"""What a sweep cost: sums of what is known, a count of what is not, grams by the formulas of the workload."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from carbonsweep import results
from carbonsweep.answer import answer
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.document import document
from carbonsweep.domain import Basis, Configuration, Footprint, Scenario, Slo, TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.evidence import TrialCost
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.sweep_cost import KEY, MODELLED, SweepCost, equivalent_units, repaid_units, stated, sweep_cost
from carbonsweep.trial import NOT_RUN
from carbonsweep.units import S_PER_YEAR
from tests.conftest import FAILED, TOO_BIG, configuration, measurement, record

# Quebec is 31 g/kWh; a T4 is 10.3 kg in the paper's preset and lives five years.
SCENARIO = Scenario(intensity=carbon_intensity("QC", "lifecycle"), lifetime_s=5 * S_PER_YEAR, embodied="paper")
G_PER_S = 10_300 / (5 * S_PER_YEAR)
G_PER_J = 31 / 3.6e6


def spent(
    duration_s: float,
    energy_j: float | None,
    where: Configuration | None = None,
    *,
    basis: Basis = "measured",
    source: str = "nvml-counter",
) -> TrialRecord:
    """A record of a trial of that cost on a T4."""
    made = record(where or configuration(), measurement())
    cost = TrialCost(duration_s=duration_s, energy_j=energy_j, source=None if energy_j is None else source)
    return replace(made, cost=cost, identity=replace(made.identity, basis=basis))


def only_kind(cost: SweepCost) -> str:
    (kind,) = cost.kinds
    return kind.kind


def test_seconds_joules_and_grams_of_all_trials_are_added_up() -> None:
    cost = sweep_cost([spent(10.0, 400.0), spent(30.0, 1600.0)], SCENARIO)
    assert (cost.trials, cost.duration_s, cost.gpu_s, cost.energy_j) == (2, 40.0, 40.0, 2000.0)
    assert cost.operational_g == pytest.approx(2000 * G_PER_J)
    assert cost.embodied_g == pytest.approx(40 * G_PER_S)
    assert cost.total_g == pytest.approx(2000 * G_PER_J + 40 * G_PER_S)
    assert (cost.unknown_trials, cost.is_lower_bound) == (0, False)


def test_trials_that_found_nothing_cost_as_much_as_the_others() -> None:
    tried = [replace(spent(10.0, 400.0), measurement=None, refusal=refusal) for refusal in (FAILED, TOO_BIG)]
    assert sweep_cost(tried, SCENARIO).energy_j == 800.0


def test_unknown_joules_are_counted_and_never_zero() -> None:
    cost = sweep_cost([spent(10.0, 400.0), spent(30.0, None)], SCENARIO)
    assert (cost.energy_j, cost.unknown_trials, cost.is_lower_bound) == (400.0, 1, True)
    assert cost.operational_g == pytest.approx(400 * G_PER_J)
    assert cost.embodied_g == pytest.approx(40 * G_PER_S)  # its seconds are known


def test_where_no_joules_are_known_none_are_stated() -> None:
    cost = sweep_cost([spent(10.0, None)], SCENARIO)
    assert (cost.energy_j, cost.operational_g) == (None, None)
    assert cost.total_g == cost.embodied_g == pytest.approx(10 * G_PER_S)
    assert cost.is_lower_bound


def test_a_record_without_a_cost_is_a_trial_nobody_timed() -> None:
    cost = sweep_cost([spent(10.0, 400.0), record(configuration(batch_size=8), measurement())], SCENARIO)
    assert (cost.trials, cost.unknown_trials, cost.untimed_trials, cost.duration_s) == (2, 1, 1, 10.0)


def test_a_record_that_needed_no_trial_is_none() -> None:
    implied = replace(record(configuration(batch_size=64), TOO_BIG), cost=NOT_RUN)
    assert sweep_cost([spent(10.0, 400.0), implied], SCENARIO) == sweep_cost([spent(10.0, 400.0)], SCENARIO)


def test_lost_trials_are_counted_as_unknown() -> None:
    cost = sweep_cost([spent(10.0, 400.0)], SCENARIO, lost=2)
    assert (cost.trials, cost.unknown_trials, cost.untimed_trials, cost.lost_trials) == (3, 2, 2, 2)
    assert cost.is_lower_bound


def test_several_gpus_are_busy_all_the_while() -> None:
    cost = sweep_cost([spent(10.0, 400.0, configuration(gpu_count=4))], SCENARIO)
    assert (cost.duration_s, cost.gpu_s) == (10.0, 40.0)
    assert cost.embodied_g == pytest.approx(40 * G_PER_S)


def test_each_kind_of_device_is_told_apart() -> None:
    cost = sweep_cost([spent(10.0, 400.0), spent(20.0, 900.0, configuration(gpu="RTX6000Ada"))], SCENARIO)
    assert [(part.kind, part.energy_j, part.gpu_s) for part in cost.kinds] == [
        ("RTX6000Ada", 900.0, 20.0),
        ("T4", 400.0, 10.0),
    ]
    assert cost.energy_j == 1300.0


def test_a_modelled_trial_keeps_no_gpu_busy() -> None:
    cost = sweep_cost([spent(0.01, None, basis="modelled")], SCENARIO)
    assert only_kind(cost) == MODELLED
    assert (cost.gpu_s, cost.total_g, cost.unknown_trials) == (0.0, None, 1)


def test_a_rehearsal_keeps_the_gpu_it_asked_for() -> None:
    cost = sweep_cost([spent(10.0, 400.0, basis="rehearsed")], SCENARIO)
    assert (only_kind(cost), cost.gpu_s) == ("T4", 10.0)


def test_the_scenarios_pue_lifetime_and_share_of_the_host_price_it() -> None:
    scenario = replace(SCENARIO, pue=1.5, host_power_w=20.0, host_embodied_kg=5.0, utilisation=0.5)
    cost = sweep_cost([spent(10.0, 400.0, configuration(gpu_count=2))], scenario)
    # 2 GPUs x 10 s x 20 W of host; utilisation spreads what was made over half the life, and adds no idle joules.
    assert cost.operational_g == pytest.approx((400 + 400) * 1.5 * G_PER_J)
    assert cost.embodied_g == pytest.approx(20 * 15_300 / (5 * S_PER_YEAR * 0.5))


@pytest.mark.parametrize(
    ("gpu", "source"), [("T4", "nvml-counter + 1/4 of rapl"), ("T4", "nvml-counter + rapl"), ("CPU", "rapl")]
)
def test_a_host_that_was_read_is_not_charged_again(gpu: str, source: str) -> None:
    scenario = replace(SCENARIO, host_power_w=20.0)
    cost = sweep_cost([spent(10.0, 400.0, configuration(gpu=gpu), source=source)], scenario)
    assert cost.operational_g == pytest.approx(400 * G_PER_J)


def test_a_device_the_preset_does_not_know_has_unknown_embodied_carbon() -> None:
    cost = sweep_cost([spent(10.0, 400.0, configuration(gpu="H100"))], SCENARIO)  # the paper has two GPUs
    assert cost.embodied_g is None
    assert cost.is_lower_bound


def test_without_a_region_there_are_joules_and_no_grams() -> None:
    cost = sweep_cost([spent(10.0, 400.0)], replace(SCENARIO, intensity=None))
    assert (cost.energy_j, cost.operational_g, cost.embodied_g, cost.total_g) == (400.0, None, None, None)


def test_no_records_cost_nothing_that_is_known() -> None:
    cost = sweep_cost([], SCENARIO)
    assert (cost.trials, cost.energy_j, cost.total_g, cost.kinds) == (0, None, None, ())


# ---- what it compares with ----


def footprint(total_g: float) -> Footprint:
    return Footprint(
        operational_g=total_g,
        operational_low_g=total_g,
        operational_high_g=total_g,
        embodied_g=0.0,
        embodied_low_g=0.0,
        embodied_high_g=0.0,
        functional_unit="prompt",
        assumed=False,
    )


def test_what_it_compares_with_follows_from_the_grams() -> None:
    cost = sweep_cost([spent(10.0, 400.0)], SCENARIO)
    assert cost.total_g is not None
    assert equivalent_units(cost, footprint(0.5)) == pytest.approx(2 * cost.total_g)
    assert repaid_units(cost, footprint(0.5), footprint(0.6)) == pytest.approx(10 * cost.total_g)


@pytest.mark.parametrize("next_best", [None, footprint(0.5), footprint(0.4)])
def test_a_sweep_that_saves_nothing_is_never_repaid(next_best: Footprint | None) -> None:
    cost = sweep_cost([spent(10.0, 400.0)], SCENARIO)
    assert repaid_units(cost, footprint(0.5), next_best) is None


def test_unknown_grams_compare_with_nothing() -> None:
    unpriced = sweep_cost([spent(10.0, 400.0)], replace(SCENARIO, intensity=None))
    assert equivalent_units(unpriced, footprint(0.5)) is None
    assert repaid_units(unpriced, footprint(0.5), footprint(0.6)) is None
    assert equivalent_units(sweep_cost([spent(10.0, 400.0)], SCENARIO), None) is None


# ---- in answer.json ----


def test_an_answer_states_the_cost_and_it_is_read_back_equal() -> None:
    tried = [spent(10.0, 400.0), spent(5.0, None, configuration(gpu="RTX6000Ada"))]
    found = answer(tried, Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=SCENARIO))
    cost = sweep_cost(tried, SCENARIO, lost=1)
    written = json.loads(json.dumps(results.plain(document(found, cost=cost))))
    assert stated(written) == cost
    assert written[KEY]["unknown_trials"] == 2


def test_an_answer_without_a_cost_states_none() -> None:
    found = answer([spent(10.0, 400.0)], Question(objectives=objectives(("carbon",)), slo=Slo(), scenario=SCENARIO))
    assert document(found)[KEY] is None
    assert stated(document(found)) is None
    assert stated({}) is None


@pytest.mark.parametrize("garbled", [3, [], {"trials": 1}, "much"])
def test_a_cost_nobody_can_read_is_bad_input(garbled: object) -> None:
    with pytest.raises(BadInput, match=KEY):
        stated({KEY: garbled})
