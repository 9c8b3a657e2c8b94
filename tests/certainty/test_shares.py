"""How often the best stays the best: shares that follow by hand from the draws."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from carbonsweep import inputs
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.carbon.footprint import footprint
from carbonsweep.certainty import counting
from carbonsweep.certainty.answers import of_answer
from carbonsweep.certainty.shares import Certainty
from carbonsweep.domain import Configuration, Energy, Measurement, Slo, TrialRecord
from carbonsweep.facts.draws import FitDraws
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.second_life import SecondLife
from carbonsweep.trial import trial
from tests.conftest import SHORT, configuration, energy, measurement, phase, record

T4, ADA = configuration(batch_size=1), configuration(gpu="RTX6000Ada", batch_size=1)
"""On the engine `paper`, whose draws the tests make up."""


def question(*names: str, slo: Slo | None = None, region: str = "QC", **scenario: Any) -> Question:
    made = inputs.scenario({"region": region, **scenario}, ["T4", "RTX6000Ada"])
    return Question(objectives=objectives(names or ("carbon",)), slo=slo or Slo(), scenario=made)


def modelled(*where: Configuration) -> list[TrialRecord]:
    return [trial(RooflineBench(), each, SHORT) for each in where]


def times(**by_gpu: tuple[float, ...]) -> FitDraws:
    """Draws of the engine `paper` that stretch a GPU's time by so much."""
    rows = {"paper": {gpu: {"time_factor": factors} for gpu, factors in by_gpu.items()}}
    return FitDraws(draws=len(next(iter(by_gpu.values()))), seed=0, rows=rows)


def sure(records: list[TrialRecord], asked: Question, fits: FitDraws | None = None) -> Certainty:
    found = of_answer(answer(records, asked), fits)
    assert found is not None
    return found


def latency_s(each: TrialRecord) -> float:
    assert each.measurement is not None
    return each.measurement.prompt_latency_s


def exactly(made: Measurement) -> Measurement:
    """Without any interval, so that nothing but other sources can move it."""
    phases: dict[str, Any] = {}
    for name in ("prefill", "decode"):
        each = getattr(made, name)
        point = dataclasses.replace(each.energy, low_j=each.energy.joules, high_j=each.energy.joules)
        phases[name] = dataclasses.replace(each, energy=point)
    return dataclasses.replace(made, basis="measured", **phases)


# ---- fits ----


def test_a_winner_that_flips_in_one_of_four_draws_keeps_three_quarters() -> None:
    records = modelled(T4, ADA)
    slow, fast = sorted(records, key=latency_s, reverse=True)
    # In the last draw the slower one is half as slow as the faster one is.
    flip = 0.5 * latency_s(fast) / latency_s(slow)
    factors = {fast.configuration.gpu: (1.0,) * 4, slow.configuration.gpu: (1.0, 1.0, 1.0, flip)}
    found = sure(records, question("latency"), times(**factors))
    assert found.best == fast.configuration
    assert found.best_share == 0.75
    assert found.runner_up is not None
    assert (found.runner_up.configuration, found.runner_up.share) == (slow.configuration, 0.25)
    assert found.gpu_shares == {fast.configuration.gpu: 0.75, slow.configuration.gpu: 0.25}
    assert found.by_source == {"bench": 0.75}
    assert found.most_moved_by == "bench"


def test_draws_are_joint_so_what_slows_every_gpu_alike_changes_no_winner() -> None:
    factors = (0.5, 1.0, 2.0, 4.0)
    found = sure(modelled(T4, ADA), question("latency"), times(T4=factors, RTX6000Ada=factors))
    assert found.best_share == 1
    best = latency_s(modelled(found.best)[0])
    assert found.low == pytest.approx(0.5 * best)
    assert found.high == pytest.approx(4 * best)


def test_throughput_is_best_where_it_is_highest() -> None:
    factors = (1.0, 1.0, 1.0, 100.0)
    records = modelled(T4, configuration(batch_size=2))
    found = sure(records, question("throughput"), times(T4=factors))
    # Both slow down alike: the larger batch stays ahead.
    assert found.best.batch_size == 2
    assert found.best_share == 1
    assert found.low is not None
    assert found.high is not None
    assert found.high == pytest.approx(100 * found.low, rel=0.01)


def test_limits_hold_in_each_draw_by_itself() -> None:
    records = modelled(T4, ADA)
    slow, fast = sorted(records, key=latency_s, reverse=True)
    limit = latency_s(slow) * 1.1
    factors = {fast.configuration.gpu: (1.0, 1.0, 1.0, 1000.0), slow.configuration.gpu: (1.0, 1.0, 2.0, 1.0)}
    found = sure(records, question("latency", slo=Slo(prompt_latency_s=limit)), times(**factors))
    assert found.best_share == 0.75
    assert found.best_misses == 0.25
    assert found.nothing_feasible == 0
    both = dict.fromkeys(("T4", "RTX6000Ada"), (1.0, 1.0, 1.0, 1000.0))
    found = sure(records, question("latency", slo=Slo(prompt_latency_s=limit)), times(**both))
    assert (found.nothing_feasible, found.best_misses, found.best_share) == (0.25, 0.25, 0.75)


def test_what_misses_a_limit_may_be_best_in_a_draw_where_it_does_not() -> None:
    records = modelled(T4, ADA)
    slow, fast = sorted(records, key=latency_s, reverse=True)
    # Only the faster one meets the limit; by energy the slower one may still win where it meets it.
    assert question("energy").losses(slow.measurement) < question("energy").losses(fast.measurement)  # type: ignore[arg-type]
    limit = Slo(prompt_latency_s=(latency_s(slow) + latency_s(fast)) / 2)
    meets = 0.9 * latency_s(fast) / latency_s(slow)
    factors = {fast.configuration.gpu: (1.0, 1.0), slow.configuration.gpu: (1.0, meets)}
    found = sure(records, question("energy", slo=limit), times(**factors))
    assert found.best == fast.configuration
    assert [(each.configuration, each.share) for each in found.shares] == [
        (fast.configuration, 0.5),
        (slow.configuration, 0.5),
    ]


def test_a_configuration_that_no_longer_fits_wins_no_draw() -> None:
    rows = {"paper": {"": {"memory_reserve_bytes": (1e9, 1e9, 1e9, 30e9)}}}
    found = sure(modelled(T4, ADA), question("energy"), FitDraws(draws=4, seed=0, rows=rows))
    # A T4 has 16 GB; it is the better one by energy at batch 1.
    assert (found.best.gpu, found.best_share) == ("T4", 0.75)
    alone = sure(modelled(T4), question("energy"), FitDraws(draws=4, seed=0, rows=rows))
    assert (alone.best_share, alone.nothing_feasible, alone.best_misses) == (0.75, 0.25, 0.25)


# ---- unknown stays unknown ----


def test_without_draws_of_the_fit_nobody_knows_how_sure() -> None:
    found = sure(modelled(T4, ADA), question("carbon"))
    assert found.unknown is not None
    assert "not fitted" in found.unknown
    assert found.best_share is None
    assert found.shares == ()
    assert (found.low, found.high, found.low_g, found.nothing_feasible, found.best_misses) == (None,) * 5
    assert set(found.by_source) == {"presets", "basis"}
    assert found.other_basis is not None
    assert found.other_basis.best_share is None


def test_an_engine_or_gpu_without_draws_is_named() -> None:
    found = sure(modelled(T4, ADA), question("latency"), times(T4=(1.0, 1.0)))
    assert found.unknown == "there are no draws of the device model's fit for paper on RTX6000Ada"


def test_records_of_an_engine_that_is_gone_are_not_drawn() -> None:
    gone = record(configuration(engine="gone-0.1"), measurement())
    found = sure([gone], question("latency"), times(T4=(1.0, 1.0)))
    assert found.unknown is not None
    assert "gone-0.1" in found.unknown


def test_where_nothing_is_feasible_there_is_nothing_to_be_sure_of() -> None:
    asked = question("latency", slo=Slo(ttft_s=1e-6))
    assert of_answer(answer(modelled(T4), asked), None) is None


# ---- measured records ----


def decoding(joules: Energy) -> Measurement:
    """Measured, with next to no energy but that of decode."""
    decode = dataclasses.replace(phase(3.0, 1.0), energy=joules)
    return measurement(prefill=phase(0.5, 1e-9), decode=decode, basis="measured")


def test_a_measured_records_interval_is_that_of_its_draws() -> None:
    found = sure([record(T4, decoding(energy(90.0)))], question("energy"))
    assert found.unknown is None
    assert found.best_share == 1
    # 90 J known to 10 % over 600 output tokens, the 95 % interval of a normal distribution.
    assert found.low == pytest.approx(0.9 * 150, rel=0.02)
    assert found.high == pytest.approx(1.1 * 150, rel=0.02)
    assert any("measured records" in said for said in found.how)


def test_two_measured_records_vary_each_by_itself() -> None:
    # 100 and 101 J, each +-10 %: the difference has a standard deviation of 5.1 x sqrt 2 = 7.2 J, so the first is below
    # in Phi(1 / 7.2) = 55 % of the draws.
    listed = [record(configuration(batch_size=b), decoding(energy(j))) for b, j in ((4, 100.0), (5, 101.0))]
    found = sure(listed, question("energy"))
    assert found.best_share == pytest.approx(0.555, abs=0.04)


def test_each_side_of_an_interval_is_its_own() -> None:
    skewed = dataclasses.replace(energy(90.0), low_j=89.0, high_j=120.0)
    decode = dataclasses.replace(phase(3.0, 90.0), energy=skewed)
    found = sure(
        [record(T4, measurement(prefill=phase(0.5, 1e-9), decode=decode, basis="measured"))], question("energy")
    )
    assert found.low == pytest.approx(89 / 0.6, rel=0.002)
    assert found.high == pytest.approx(120 / 0.6, rel=0.02)


def test_a_half_width_beyond_the_value_never_gives_negative_time() -> None:
    decode = dataclasses.replace(phase(3.0, 90.0), duration_low_s=0.0, duration_high_s=9.0)
    found = sure([record(T4, measurement(decode=decode, basis="measured"))], question("latency"))
    assert found.low is not None
    assert found.low > 0.5


def test_rehearsed_records_are_said_to_be_so() -> None:
    found = sure([record(T4, measurement(basis="rehearsed"))], question("latency"))
    assert any("rehearsed" in said for said in found.how)


def test_records_without_energy_have_shares_of_latency_and_no_grams() -> None:
    found = sure([record(T4, measurement(prefill_j=None, decode_j=None, basis="measured"))], question("latency"))
    assert found.best_share == 1
    assert (found.low_g, found.high_g) == (None, None)


def test_measured_and_modelled_stand_side_by_side() -> None:
    measured = record(configuration(gpu="RTX6000Ada"), measurement(gpu="RTX6000Ada", basis="measured", decode_s=1e3))
    found = sure([*modelled(T4), measured], question("latency"), times(T4=(1.0, 1.0)))
    assert (found.best, found.best_share) == (T4, 1)
    assert len(found.how) == 2


# ---- embodied presets ----


def old_and_new(extra_j: float) -> list[TrialRecord]:
    """A T4 busy for 50 s, and an RTX 6000 Ada for 10 s that draws `extra_j` more; exactly so."""
    old = measurement(prefill=phase(1.0, 1.0), decode=phase(49.0, 999.0))
    new = measurement(prefill=phase(1.0, 1.0, gpu="RTX6000Ada"), decode=phase(9.0, 999.0 + extra_j, gpu="RTX6000Ada"))
    return [record(T4, exactly(old)), record(ADA, exactly(new))]


def test_a_winner_that_one_of_four_presets_changes_keeps_three_quarters() -> None:
    # Five times the T4's kilograms less the Ada's, in kg: paper 25, act 31 (26 to 40), sc23 47 (42 to 49), vendor
    # (4.5 to 5.2 x act) 139 to 161. 589 J more at 31 g/kWh are worth 80 of them: 80 kg x 10 s / 5 a = 5.1 mg.
    found = sure(old_and_new(589.0), question("carbon"))
    assert found.best.gpu == "T4"
    assert found.unknown is None
    assert found.best_share == pytest.approx(0.75, abs=0.04)  # three standard deviations of 1,024 draws
    assert found.by_source["bench"] == 1
    assert found.by_source["presets"] == found.best_share
    assert found.by_source["basis"] == 0.5  # see below: the other basis has another best
    assert found.most_moved_by == "basis"


def test_draws_of_the_presets_are_the_same_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sure(old_and_new(589.0), question("carbon"))
    monkeypatch.setattr(counting, "BLOCK", 10)
    assert sure(old_and_new(589.0), question("carbon")) == whole


def test_the_whole_range_tells_where_the_old_gpu_stops_winning() -> None:
    found = sure(old_and_new(589.0), question("carbon")).embodied_range
    assert found is not None
    assert found.best_gpu == "T4"
    # 5 (a + (b - a) t) - (c + (d - c) t) = 80 kg, the T4 from a to b and the Ada from c to d.
    (a, b), (c, d) = found.kg["T4"], found.kg["RTX6000Ada"]
    saved_kg = 589 / 3.6e6 * 31 * 5 * 8760 * 3600 / 10 / 1000
    place = (saved_kg - 5 * a + c) / (5 * (b - a) - (d - c))
    assert len(found.held) == 1
    assert found.held[0] == pytest.approx((0, place))
    assert [each.configuration.gpu for each in found.stretches] == ["T4", "RTX6000Ada"]
    assert not found.holds
    assert found.against_it.gpu == "RTX6000Ada"


def test_what_misses_a_limit_is_best_nowhere_in_the_range() -> None:
    # The third is nearly free, but takes 3 s for its first token.
    late = exactly(measurement(prefill=phase(3.0, 1.0, gpu="L4"), decode=phase(0.1, 1.0, gpu="L4")))
    records = [*old_and_new(589.0), record(configuration(gpu="L4", batch_size=1), late)]
    kinds = ["T4", "RTX6000Ada", "L4"]
    scenario = inputs.scenario({"region": "QC"}, kinds)
    limited = Question(objectives=objectives(("carbon",)), slo=Slo(ttft_s=2.0), scenario=scenario)
    found = sure(records, limited).embodied_range
    assert found is not None
    assert {each.configuration.gpu for each in found.stretches} == {"T4", "RTX6000Ada"}
    assert found.against_it.gpu == "RTX6000Ada"


def test_a_second_life_without_embodied_carbon_is_moved_by_no_preset() -> None:
    found = sure(old_and_new(589.0), question("carbon", second_life=(SecondLife(device="T4", policy="none"),)))
    assert found.by_source["presets"] == 1
    assert found.embodied_range is not None
    assert found.embodied_range.holds


def test_where_only_one_kind_of_gpu_can_win_there_is_no_range_to_show() -> None:
    assert sure(modelled(T4), question("carbon"), times(T4=(1.0, 1.0))).embodied_range is None


# ---- the basis of the intensity ----


def test_a_basis_that_changes_the_winner_is_stated_apart() -> None:
    # At 31 g/kWh the 589 J cost more than the T4's longer making; at 1.7 (direct, CA-QC) they cost nearly nothing.
    found = sure(old_and_new(589.0), question("carbon"))
    other = found.other_basis
    assert other is not None
    assert (other.intensity.region, other.intensity.basis, other.intensity.g_per_kwh) == ("CA-QC", "direct", 1.7)
    assert other.nominal.gpu == "RTX6000Ada"
    assert other.best_share == 0
    assert found.by_source["basis"] == 0.5
    assert found.best_share > 0.5  # type: ignore[operator]


def test_a_given_intensity_has_no_other_basis() -> None:
    made = inputs.scenario({"carbon_intensity_g_per_kwh": 31.0}, ["T4", "RTX6000Ada"])
    asked = dataclasses.replace(question("carbon"), scenario=made)
    found = sure(old_and_new(589.0), asked)
    assert found.other_basis is None
    assert "basis" not in found.by_source


# ---- the whole ----


def test_the_same_records_give_the_same_certainty_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        record(configuration(batch_size=b), measurement(decode=phase(3.0, 90.0 + b), basis="measured"))
        for b in (4, 5, 6)
    ]
    whole = sure(listed, question("carbon"))
    monkeypatch.setattr(counting, "BLOCK", 10)
    assert sure(listed, question("carbon")) == whole
    assert sure(listed[::-1], question("carbon")) == whole


def test_draws_of_the_fit_are_the_same_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    fits = times(T4=tuple(np.exp(0.3 * rng.standard_normal(64)).tolist()), RTX6000Ada=(1.0,) * 64)
    whole = sure(modelled(T4, ADA), question("latency"), fits)
    assert len(whole.shares) == 2
    monkeypatch.setattr(counting, "BLOCK", 10)
    assert sure(modelled(T4, ADA), question("latency"), fits) == whole


def test_grams_are_given_where_something_else_is_asked() -> None:
    made = exactly(measurement())
    found = sure([record(T4, made)], question("latency"))
    one = footprint(made, question("latency").scenario)
    assert found.low == found.high == made.prompt_latency_s
    assert found.low_g is not None
    assert found.high_g is not None
    # Only the embodied preset varies: from about the paper's kilograms to five times as many.
    assert found.low_g == pytest.approx(one.operational_g + one.embodied_low_g, rel=0.05)
    assert found.high_g <= one.operational_g + one.embodied_high_g


def test_two_records_of_one_configuration_share_its_draws() -> None:
    twice = [dataclasses.replace(record(T4, decoding(energy(j))), key=f"{j}") for j in (90.0, 91.0)]
    found = sure(twice, question("energy"))
    assert [(each.configuration, each.share) for each in found.shares] == [(T4, 1.0)]
    assert found.by_source["bench"] == found.best_share == 1.0


def test_shares_and_what_is_infeasible_add_up_to_all_draws() -> None:
    rng = np.random.default_rng(0)
    factors = {gpu: tuple(np.exp(0.3 * rng.standard_normal(64)).tolist()) for gpu in ("T4", "RTX6000Ada")}
    records = modelled(*(configuration(gpu=g, batch_size=b) for g in factors for b in (1, 4, 16)))
    limit = Slo(tpot_s=0.045)
    found = sure(records, question("carbon", slo=limit), times(**factors))
    assert found.nothing_feasible is not None
    assert sum(each.share for each in found.shares) + found.nothing_feasible == pytest.approx(1)
    assert [each.share for each in found.shares] == sorted((each.share for each in found.shares), reverse=True)
