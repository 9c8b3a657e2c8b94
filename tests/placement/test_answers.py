"""The best placement: of a plan, of records, and which of the two is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from carbonsweep import exact, facts, inputs
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, Measurement, PhaseMeasurement, TrialRecord, Workload
from carbonsweep.errors import DoesNotFit
from carbonsweep.placement.answers import Choice, Placement, Sought, beside, of_plan, of_records
from carbonsweep.placement.why import difference_error, why
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space, space
from carbonsweep.split import Pools
from carbonsweep.trial import trial
from tests.conftest import TOO_BIG, configuration, measurement, phase, record

PROMPTS = Workload(name="w", prompts=None, prompt_tokens=(900,), token_basis="given", output_tokens=40)
LONG = Workload(name="long", prompts=None, prompt_tokens=(1500,), token_basis="given", output_tokens=500)


def searched(**changes: tuple[object, ...]) -> Space:
    """LLaMA-7B on three kinds under a healthy stack, with `changes`."""
    axes: dict[str, tuple[object, ...]] = {
        "models": ("LLaMA-7B",),
        "gpus": ("L4", "H100", "T4"),
        "gpu_counts": (1,),
        "batch_sizes": (1, 8, 32),
        "dtypes": ("fp16",),
        "engines": ("healthy",),
    }
    return space(**{**axes, **changes})  # type: ignore[arg-type]


def question(of: Space, *objectives: str, tpot_s: float | None = None, **scenario: object) -> Question:
    return inputs.question(
        objective=objectives or ("carbon",),
        slo_ttft=None,
        slo_tpot=tpot_s,
        slo_latency=None,
        scenario=inputs.scenario({"region": "QC", **scenario}, of.gpus),
    )


def sought(choice: Choice = "any", links: Sequence[str] = ("100GbE",), most: int = 4) -> Sought:
    return Sought(choice=choice, links=tuple(facts.link(key) for key in links), most_per_pool=most)


def planned(of: Space, asked: Question, how: Sought, workload: Workload = PROMPTS) -> Placement:
    return of_plan(exact.plan(of, workload, asked), workload, asked, how)


def tried(of: Space, workload: Workload = PROMPTS) -> list[TrialRecord]:
    return [trial(RooflineBench(), served, workload) for served in of.configurations()]


def test_a_plan_and_the_records_of_the_same_space_agree() -> None:
    of = searched(batch_sizes=(1, 8))
    asked, how = question(of), sought(links=("PCIe4", "10GbE"), most=2)
    one = planned(of, asked, how)
    other = of_records(tried(of), answer(tried(of), asked), how)
    assert one.split is not None
    assert other.split is not None
    assert (one.split.prefill, one.split.decode, one.split.pools) == (
        other.split.prefill,
        other.split.decode,
        other.split.pools,
    )
    assert one.saves == pytest.approx(other.saves, rel=1e-9)
    # 4 points a side (a T4 holds no 7B), 2 links, 4 pools.
    assert one.combinations == other.combinations == 4 * 4 * 2 * 4


def test_a_link_that_joins_none_of_the_gpus_is_told_and_not_counted() -> None:
    of = searched(gpus=("L4", "T4"), batch_sizes=(1, 8))
    placed = planned(of, question(of), sought(links=("NVLink4", "PCIe4"), most=1))
    assert [link.key for link in placed.unjoined] == ["NVLink4"]
    assert placed.combinations == 2 * 2  # two points a side, one link
    # Between equal H100s there is one, though L4 and H100 stay apart.
    beside_h100 = searched(gpus=("L4", "H100"), batch_sizes=(1, 8))
    assert not planned(beside_h100, question(beside_h100), sought(links=("NVLink4", "PCIe4"), most=1)).unjoined
    refused = [record(configuration(), TOO_BIG)]
    nothing = of_records(refused, answer(refused, question(of)), sought(links=("NVLink4",)))
    assert (nothing.unjoined, nothing.combinations) == ((), 0)


def test_what_was_picked_is_what_its_measurement_says() -> None:
    of = searched()
    found = planned(of, question(of), sought(links=("PCIe4", "10GbE")))
    for each in (found.split, found.bound, *found.per_link):
        assert each is not None
        values = question(of).values(each.measurement)
        assert each.values == values
        assert each.loss == values[0]
        assert each.footprint is not None
        assert each.footprint.total_g == pytest.approx(values[0])


def test_the_colocated_one_is_the_best_of_the_answer() -> None:
    of = searched()
    asked = question(of)
    plan = exact.plan(of, PROMPTS, asked)
    found = answer(exact.shown(plan, PROMPTS, asked), asked)
    placed = of_plan(plan, PROMPTS, asked, sought())
    assert found.best is not None
    assert placed.colocated is not None
    assert placed.colocated.record.configuration == found.best.record.configuration


def test_the_bound_is_never_worse_than_the_split() -> None:
    of = searched()
    for name in ("carbon", "energy", "throughput"):
        placed = planned(of, question(of, name), sought())
        assert placed.bound is not None
        assert placed.split is not None
        assert placed.bound.loss <= placed.split.loss


def test_with_a_stated_rate_nothing_else_is_done_and_there_is_no_bound() -> None:
    of = searched()
    assert planned(of, question(of, request_rate=2.0), sought()).bound is None


def test_more_replicas_never_hurt() -> None:
    of = searched()
    losses = [
        found.split.loss
        for most in (1, 2, 3, 4)
        if (found := planned(of, question(of), sought(most=most))).split is not None
    ]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)


def test_a_split_may_fit_where_both_phases_together_do_not() -> None:
    # A30: prefill of 8 x 1500 tokens needs 21.4 GB, decode 22.7 GB, both 23.5 GB of the 23.2 GB there are.
    of = searched(gpus=("A30",), batch_sizes=(8,))
    served = configuration(model="LLaMA-7B", gpu="A30", batch_size=8, engine="healthy")
    with pytest.raises(DoesNotFit):
        RooflineBench().measure(served, LONG)
    placed = planned(of, question(of), sought(), LONG)
    assert placed.colocated is None
    assert placed.best == "split"
    assert placed.saves is None
    assert placed.split is not None
    needed, available = placed.split.measurement.peak_memory_bytes, facts.gpu("A30").memory_bytes
    assert needed is not None
    assert needed <= available
    assert of_records(tried(of, LONG), answer(tried(of, LONG), question(of)), sought()).split is None


@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_memory_limits_hold_on_each_side(side: str) -> None:
    # An L4 holds the 13.5 GB of weights; the caches of 32 long prompts (34 GB) it does not, an H100 does.
    of = searched(gpus=("L4", "H100"), batch_sizes=(1, 32))
    placed = planned(of, question(of), sought(most=1), LONG)
    assert placed.split is not None
    served: Configuration = getattr(placed.split, side)
    assert (served.gpu, served.batch_size) != ("L4", 32)
    only = searched(gpus=("L4",), batch_sizes=(32,))
    nothing = planned(only, question(only), sought(), LONG)
    assert (nothing.split, nothing.closest, nothing.best, nothing.combinations) == (None, None, None, 0)


def test_a_slower_link_is_never_better() -> None:
    of = searched()
    asked = question(of)
    slow = [
        dataclasses.replace(facts.link("10GbE"), key=f"1/{factor}", bandwidth_bytes_per_s=1.25e9 / factor)
        for factor in (1, 10, 100, 1000)
    ]
    placed = planned(of, asked, Sought(choice="any", links=tuple(slow), most_per_pool=4))
    losses = [each.loss for each in placed.per_link]
    assert len(losses) == 4
    assert losses == sorted(losses)
    assert losses[-1] > losses[0]


def test_colocated_is_kept_where_a_split_is_no_better() -> None:
    # One decode takes a second at any batch and prefill next to nothing: a second GPU only waits.
    one = record(configuration(), measurement(ttft_s=0.01, decode_s=1.0))
    asked = question(searched(gpus=("T4",)))
    placed = of_records([one], answer([one], asked), sought(most=1))
    assert placed.best == "colocated"
    assert placed.saves is not None
    assert placed.saves < 0
    split = dataclasses.replace(placed, sought=sought("split"))
    assert split.best == "split"


def preferring(t4_prefill_j: float) -> list[TrialRecord]:
    """Each phase lasts 1 s; the T4 decodes for 20 J and the RTX6000Ada prefills for 20 J, for 200 J it decodes."""
    ada = "RTX6000Ada"
    on_ada = measurement(gpu=ada, prefill=phase(1.0, 20.0, gpu=ada), decode=phase(1.0, 200.0, gpu=ada))
    on_t4 = measurement(prefill=phase(1.0, t4_prefill_j), decode=phase(1.0, 20.0))
    return [record(configuration(), on_t4), record(configuration(gpu=ada), on_ada)]


def test_a_split_wins_where_each_phase_prefers_another_gpu() -> None:
    # Split 1:1 both are always busy, 40 J a batch; colocated, the T4 takes 90 J.
    made = preferring(70.0)
    asked = question(searched(gpus=("T4", "RTX6000Ada")), "energy")
    placed = of_records(made, answer(made, asked), sought())
    assert placed.best == "split"
    assert placed.split is not None
    assert (placed.split.prefill.gpu, placed.split.decode.gpu) == ("RTX6000Ada", "T4")
    assert placed.split.pools == Pools(prefill=1, decode=1)
    link_j = 100 * 22528 * 2.4e-9  # 100 tokens over 100GbE
    assert placed.saves == pytest.approx((90 - 40 - link_j) / 90)
    reasons = why(placed)
    assert reasons is not None
    assert reasons.moves == (
        "prefill moves from T4 (batch 4) to RTX6000Ada (batch 4); decode stays as it is, on T4 (batch 4)"
    )
    assert reasons.changes["prefill"] == pytest.approx((20 - 70) / 90)
    assert reasons.changes["decode"] == 0
    assert reasons.changes["handover"] == pytest.approx(link_j / 90)
    assert sum(reasons.changes.values()) == pytest.approx(-(placed.saves or 0.0))
    # Only prefill changes; energies are known to 10 %: sqrt(7^2 + 2^2) J of 90.
    assert difference_error(placed) == pytest.approx((7**2 + 2**2) ** 0.5 / 90)


def test_a_models_error_is_shared_by_the_batch_sizes_of_a_gpu_and_that_of_two_measurements_is_not() -> None:
    # Prefill prefers batch 4, decode 8. Per decode batch of 8: prefill 2 x 20 J instead of 80 J, each known to 10 %.
    made = [
        record(configuration(), measurement(decode_j=200.0)),
        record(configuration(batch_size=8), measurement(batch_size=8, prefill_j=80.0, decode_j=90.0, decode_s=1.0)),
    ]
    made = [dataclasses.replace(one, measurement=_with_tokens(one)) for one in made]
    asked = question(searched(gpus=("T4",)), "energy")
    placed = of_records(made, answer(made, asked), sought())
    assert placed.split is not None
    assert (placed.split.prefill.batch_size, placed.split.decode.batch_size) == (4, 8)
    assert difference_error(placed) == pytest.approx((8 - 4) / 170)
    measured = [
        dataclasses.replace(one, measurement=dataclasses.replace(_with_tokens(one), basis="measured")) for one in made
    ]
    again = of_records(measured, answer(measured, asked), sought())
    assert difference_error(again) == pytest.approx((8**2 + 4**2) ** 0.5 / 170)


def _with_tokens(one: TrialRecord) -> Measurement:
    """25 prompt tokens a prompt."""
    found = one.measurement
    assert found is not None
    return dataclasses.replace(found, prefill=dataclasses.replace(found.prefill, tokens=25.0 * found.batch_size))


@pytest.mark.parametrize("name", ["carbon", "energy", "latency", "tpot", "ttft"])
def test_the_parts_add_up_to_the_objective(name: str) -> None:
    of = searched()
    for scenario in ({}, {"utilisation": 0.5, "host_power_w": 40.0}):
        placed = planned(of, question(of, name, **scenario), sought())
        assert placed.split is not None
        assert placed.colocated is not None
        reasons = why(placed)
        assert reasons is not None
        assert sum(reasons.split.values()) == pytest.approx(placed.split.values[0])
        assert sum(reasons.colocated.values()) == pytest.approx(placed.colocated.values[0])


def test_throughput_is_compared_by_the_gpu() -> None:
    of = searched(gpu_counts=(1, 2))
    asked = question(of, "throughput")
    placed = planned(of, asked, sought())
    assert placed.colocated is not None
    # Two GPUs serve more together, and each of them less: by the GPU a replica of one is best.
    assert placed.colocated.record.configuration.gpu_count == 1
    assert placed.split is not None
    gpus = placed.split.measurement.prefill.gpu_count + placed.split.measurement.decode.gpu_count
    assert -placed.split.loss == pytest.approx(placed.split.values[0] / gpus)


def test_the_error_of_throughput_is_that_of_its_ratio() -> None:
    # A T4 that prefills in 3 s and decodes in 1 s, an Ada the other way round: colocated 4 s a batch, split 1:1 both
    # are taken 1 s, 2 GPU seconds: twice as much by the GPU. Seconds are known to 10 %: hypot(0.3, 0.1) s of the
    # colocated one's 4 are open where one phase moves, and at twice the rate the ratio is 4 times as sensitive.
    def timed(duration_s: float, gpu: str) -> PhaseMeasurement:
        within = {"duration_low_s": 0.9 * duration_s, "duration_high_s": 1.1 * duration_s}
        return phase(duration_s, 20.0, gpu=gpu, **within)

    ada = "RTX6000Ada"
    made = [
        record(configuration(gpu=gpu), measurement(gpu=gpu, prefill=timed(prefill_s, gpu), decode=timed(decode_s, gpu)))
        for gpu, prefill_s, decode_s in (("T4", 3.0, 1.0), (ada, 1.0, 3.0))
    ]
    asked = question(searched(gpus=("T4", ada)), "throughput")
    placed = of_records(made, answer(made, asked), sought(most=1))
    assert placed.saves == pytest.approx(1.0)
    assert difference_error(placed) == pytest.approx((0.3**2 + 0.1**2) ** 0.5 / 4 * 2**2)


def test_refusals_and_records_of_other_stacks_are_no_partners() -> None:
    made = [
        record(configuration(), measurement()),
        record(configuration(engine="healthy"), measurement()),
        record(configuration(batch_size=64), TOO_BIG),
    ]
    asked = question(searched(gpus=("T4",)))
    placed = of_records(made, answer(made, asked), sought(most=1))
    assert placed.combinations == 2  # each with itself


def test_composing_makes_no_record_and_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    of = searched()
    known, asked = tried(of), question(of)
    found = answer(known, asked)

    def measured(*_: object) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr(RooflineBench, "measure", measured)
    before = list(known)
    placed = beside(known, found, sought())
    assert placed is not None
    assert placed.combinations > 0
    assert known == before
    assert beside(known, found, None) is None


def test_every_model_is_answered_by_itself() -> None:
    of = searched(models=("LLaMA-7B", "TinyLlama-1.1B"))
    placed = planned(of, question(of), sought())
    assert set(placed.per_model) == {"LLaMA-7B", "TinyLlama-1.1B"} == set(placed.colocated_per_model)
    alone = planned(searched(), question(searched()), sought())
    assert alone.split is not None
    assert placed.per_model["LLaMA-7B"].loss == alone.split.loss
