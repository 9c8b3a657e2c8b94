"""Two measurements and a link become one: times, energies, occupation, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import facts
from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Measurement, Scenario
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.facts import Link
from carbonsweep.search.objectives import OBJECTIVES
from carbonsweep.split import FREE, Pools, Side, bytes_per_s, compose, handover, wait_s
from carbonsweep.units import S_PER_YEAR
from tests.conftest import configuration, energy, measurement, phase, record

QC = Scenario(intensity=carbon_intensity("QC"), lifetime_s=5 * S_PER_YEAR, embodied="paper")
POOLS = st.none() | st.builds(Pools, prefill=st.integers(1, 4), decode=st.integers(1, 4))
SLOW = dataclasses.replace(
    facts.link("10GbE"), key="slow", bandwidth_bytes_per_s=1e6, efficiency=0.5, latency_s=0.25, overlap_share=0.5
)


def side(gpu: str = "T4", batch: int = 4, **changes: Any) -> Side:
    """TinyLlama on a GPU: 0.5 s and 20 J of prefill (25 tokens a prompt), 3 s and 90 J of decode, with `changes`."""
    found = measurement(gpu=gpu, batch_size=batch)
    found = dataclasses.replace(found, prefill=dataclasses.replace(found.prefill, tokens=25.0 * batch))
    return Side(
        configuration=configuration(gpu=gpu, batch_size=batch),
        workload="w",
        measurement=dataclasses.replace(found, **changes),
    )


def grams(found: Measurement) -> float:
    return footprint(found, QC).total_g


def test_a_free_link_between_equal_sides_changes_nothing() -> None:
    one = side()
    split, whole = compose(one, one, FREE, None), one.measurement
    assert grams(split) == pytest.approx(grams(whole), rel=1e-15)
    assert split.energy_j == whole.energy_j
    assert (split.ttft_s, split.tpot_s, split.prompt_latency_s) == (
        whole.ttft_s,
        whole.tpot_s,
        whole.prompt_latency_s,
    )


def test_pools_whose_rates_match_wait_for_nothing() -> None:
    # 2 replicas of 0.5 s and 4 of 1 s each finish 4 batches a second: nobody waits, so nothing is added.
    one = side(decode=phase(1.0, 90.0))
    split = compose(one, one, FREE, Pools(prefill=2, decode=4))
    assert handover(one, one, FREE, Pools(prefill=2, decode=4)).rate_per_s == 16
    assert grams(split) == pytest.approx(grams(one.measurement), rel=1e-15)
    assert split.energy_j == one.measurement.energy_j


def test_the_hand_over_is_counted_by_hand() -> None:
    # TinyLlama: 22 layers, 4 key-value heads of 64, fp16: 2 x 22 x 4 x 64 x 2 = 22,528 bytes a token, 100 tokens.
    # 2,252,800 B / 0.5e6 B/s + 0.25 s = 4.7556 s; half of it could hide, but prefill lasts 0.5 s: 4.2556 s show.
    handed = handover(side(), side("RTX6000Ada"), SLOW, None)
    assert handed.kv_bytes == 2_252_800
    assert handed.transfer_s == pytest.approx(4.7556)
    assert handed.hidden_s == 0.5
    split = compose(side(), side("RTX6000Ada"), SLOW, None)
    assert split.transfer is not None
    assert split.transfer.exposed_s == pytest.approx(4.2556)
    assert split.transfer.energy is not None
    assert split.transfer.energy.joules == pytest.approx(2_252_800 * 5.6e-9)
    assert split.transfer.energy.low_j < split.transfer.energy.joules < split.transfer.energy.high_j


def test_token_1_does_not_wait_for_the_link() -> None:
    fast, slow = (compose(side(), side("RTX6000Ada"), link, None) for link in (FREE, SLOW))
    assert slow.ttft_s == fast.ttft_s == 0.5
    assert slow.tpot_s - fast.tpot_s == pytest.approx(4.2556 / 149)
    assert slow.prompt_latency_s - fast.prompt_latency_s == pytest.approx(4.2556)


def test_a_link_is_no_faster_than_the_gpus_own() -> None:
    # PCIe 5 on a T4, which has PCIe 3: 15.75 GB/s, of which 86 % are reached.
    assert bytes_per_s(facts.link("PCIe5"), "T4", "H100") == pytest.approx(15.75e9 * 0.86)
    assert bytes_per_s(facts.link("10GbE"), "T4", "H100") == pytest.approx(1.25e9 * 0.94)
    # Of a machine's own CPUs nothing is known: the link alone.
    assert bytes_per_s(facts.link("10GbE"), facts.CPU, facts.CPU) == pytest.approx(1.25e9 * 0.94)
    with pytest.raises(BadInput, match="NVLink4 does not join T4 and H100"):
        bytes_per_s(facts.link("NVLink4"), "T4", "H100")


def test_prefill_is_scaled_to_the_decode_batch() -> None:
    # 16 prompts of decode take 4 prefill batches of 4: 4 x 20 J, 4 x 0.5 s of its GPU, 16 x 25 prompt tokens.
    split = compose(side(batch=4), side("RTX6000Ada", 16), FREE, None)
    assert split.batch_size == 16
    assert split.prefill.energy == dataclasses.replace(energy(80.0), low_j=72.0, high_j=88.0)
    assert (split.prefill.occupied_s, split.prefill.duration_s, split.prefill.tokens) == (2.0, 0.5, 400)
    assert (split.decode.occupied_s, split.decode.energy) == (3.0, energy(90.0))


@pytest.mark.parametrize(
    ("prefill_batch", "decode_batch", "pools", "waited_s"),
    [
        (4, 4, None, 0.0),
        (4, 16, None, 1.5),  # three more prefill batches of 0.5 s
        (4, 16, Pools(prefill=3, decode=1), 0.5),  # which three replicas end every 0.5 / 3 s
        (3, 16, None, 2.5),  # ceil(16 / 3) - 1 = 5 more
        (16, 4, None, 9.0),  # three decode batches of 3 s come first
        (16, 4, Pools(prefill=1, decode=2), 4.5),
    ],
)
def test_the_unluckiest_prompt_waits(
    prefill_batch: int, decode_batch: int, pools: Pools | None, waited_s: float
) -> None:
    handed = handover(side(batch=prefill_batch), side(batch=decode_batch), FREE, pools)
    assert handed.wait_s == pytest.approx(waited_s)
    assert handed.exposed_s == handed.wait_s


def test_the_faster_pool_is_charged_for_its_waiting() -> None:
    # Prefill 4 / 0.5 = 8 prompts/s, decode 4 / 3 of 2 replicas: 8/3 a second. A batch of 4 leaves every 1.5 s. Prefill
    # works 0.5 s of it and waits 1 s at 26 W; decode's 2 replicas are taken 1.5 s each and never wait.
    split = compose(side(), side(), FREE, Pools(prefill=1, decode=2))
    assert split.prefill.energy is not None
    assert split.prefill.energy.joules == pytest.approx(20 + 26)
    assert split.prefill.energy.low_j == pytest.approx(18 + 26)
    assert split.decode.energy is not None
    assert split.decode.energy.joules == pytest.approx(90)
    assert [phase.occupied_s for phase in (split.prefill, split.decode)] == pytest.approx([1.5, 1.5])
    assert (split.prefill.gpu_count, split.decode.gpu_count) == (1, 2)
    made_kg = embodied_carbon("T4", "paper").kg
    embodied_g = made_kg * 1e3 * 3 * 1.5 / (5 * S_PER_YEAR) / (4 * 150 / 1000)  # three T4 for 1.5 s, 600 tokens
    assert footprint(split, QC).embodied_g == pytest.approx(embodied_g)
    assert split.throughput == pytest.approx(8 / 3 * 150)


def test_a_link_can_set_the_pace() -> None:
    # 4.7556 s a prefill batch of 4 over each of min(2, 3) links, where the phases would do 4 / (3 / 3) = 4 a second.
    pools = Pools(prefill=2, decode=3)
    assert handover(side(), side(), SLOW, pools).rate_per_s == pytest.approx(2 * 4 / 4.7556)
    split = compose(side(), side(), SLOW, pools)
    assert split.decode.occupied_s == pytest.approx(4.7556 / 2)
    assert split.decode.energy is not None
    assert split.decode.energy.joules == pytest.approx(90 + 26 * (3 * 4.7556 / 2 - 3))  # three replicas, 3 s of work


def test_unknown_energy_stays_unknown() -> None:
    metered, blind = side(), side(decode=phase(3.0, None))
    assert compose(metered, blind, SLOW, None).energy_j is None
    with pytest.raises(EnergyUnknown):
        grams(compose(metered, blind, SLOW, None))
    assert compose(blind, metered, SLOW, None).energy_j is not None  # of that side only prefill counts


def test_waiting_at_an_unknown_power_is_unknown_and_not_free() -> None:
    one = side(idle_w=None)
    assert compose(one, one, FREE, None).energy_j == 110
    assert compose(one, one, FREE, Pools(prefill=1, decode=2)).energy_j is None


def test_an_assumed_power_is_that_of_all_gpus_while_they_are_taken() -> None:
    # Three T4 are taken 1.5 s each: 4.5 device seconds of 50 W, over 600 tokens.
    blind = side(prefill=phase(0.5, None), decode=phase(3.0, None))
    split = compose(blind, blind, FREE, Pools(prefill=1, decode=2))
    assumed = dataclasses.replace(QC, assumed_power_w=50.0)
    assert OBJECTIVES["energy"].value(split, assumed) == pytest.approx(50 * 4.5 / 0.6)


def test_devices_that_wait_between_batches_are_charged_their_own_idle_power() -> None:
    # At half utilisation each phase waits as long as it works: 26 W x 0.5 s and 40 W x 3 s, no share of a sum.
    split = compose(side(), side("RTX6000Ada", idle_w=40.0), FREE, None)
    half = dataclasses.replace(QC, utilisation=0.5)
    joules = OBJECTIVES["energy"].value(split, half) * 0.6
    assert joules == pytest.approx(110 + 26 * 0.5 + 40 * 3)


@pytest.mark.parametrize("axis", ["model", "dtype", "engine"])
def test_a_split_is_of_one_model_dtype_and_engine(axis: str) -> None:
    other = {"model": "LLaMA-7B", "dtype": "fp32", "engine": "healthy"}[axis]
    moved = dataclasses.replace(side(), configuration=configuration(**{axis: other}))
    with pytest.raises(BadInput, match=f"one {axis} in both phases"):
        compose(side(), moved, FREE, None)


def test_a_split_is_of_one_workload_and_output_length() -> None:
    with pytest.raises(BadInput, match="one workload"):
        compose(side(), dataclasses.replace(side(), workload="another"), FREE, None)
    with pytest.raises(BadInput, match="one output length in both phases: prefill has 150, decode 200"):
        compose(side(), side(output_tokens=200), FREE, None)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("measured", "measured", "measured"),
        ("measured", "modelled", "modelled"),
        ("rehearsed", "measured", "rehearsed"),
        ("modelled", "rehearsed", "modelled"),
    ],
)
def test_it_is_measured_only_if_both_phases_are(one: str, other: str, together: str) -> None:
    split = compose(side(basis=one), side(basis=other), SLOW, None)
    assert split.basis == together
    assert one in split.error_source
    assert other in split.error_source
    assert "slow, not measured" in split.error_source


def test_a_record_is_a_side_and_a_refusal_is_none() -> None:
    from tests.conftest import TOO_BIG

    made = record(configuration(), measurement())
    assert Side.of(made).measurement is made.measurement
    with pytest.raises(ValueError, match="no measurement"):
        Side.of(record(configuration(), TOO_BIG))


def test_pools_have_replicas() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pools(prefill=0, decode=1)


@given(
    batches=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    prefill_s=st.floats(1e-3, 10),
    decode_s=st.floats(1e-2, 100),
    pools=POOLS,
    faster=st.floats(1.0, 1e4),
    latency_s=st.floats(0, 1),
    overlap=st.floats(0, 1),
    objective=st.sampled_from(sorted(OBJECTIVES)),
)
def test_a_slower_link_never_helps(
    batches: tuple[int, int],
    prefill_s: float,
    decode_s: float,
    pools: Pools | None,
    faster: float,
    latency_s: float,
    overlap: float,
    objective: str,
) -> None:
    first = side(batch=batches[0], prefill=phase(prefill_s, 20.0, tokens=25.0 * batches[0]))
    second = side("RTX6000Ada", batches[1], decode=phase(decode_s, 90.0, gpu="RTX6000Ada"))
    slow = dataclasses.replace(SLOW, latency_s=latency_s, overlap_share=overlap)
    fast = dataclasses.replace(slow, bandwidth_bytes_per_s=1e6 * faster, latency_s=latency_s / faster)
    asked = OBJECTIVES[objective]
    losses = [asked.sign * asked.value(compose(first, second, link, pools), QC) for link in (_free(slow), fast, slow)]
    assert losses[0] <= losses[1] + 1e-12 * abs(losses[1])
    assert losses[1] <= losses[2] + 1e-12 * abs(losses[2])


def _free(link: Link) -> Link:
    """As fast as none is, at the same energy: only time differs."""
    return dataclasses.replace(link, bandwidth_bytes_per_s=1e30, latency_s=0.0)


@given(b_p=st.integers(1, 100), b_d=st.integers(1, 100), t_p=st.floats(0.01, 10), t_d=st.floats(0.01, 10))
def test_waiting_is_that_of_whole_batches(b_p: int, b_d: int, t_p: float, t_d: float) -> None:
    filling, queueing = math.ceil(b_d / b_p) - 1, math.ceil(b_p / b_d) - 1
    assert wait_s(float(b_p), float(b_d), t_p, t_d) == pytest.approx(filling * t_p + queueing * t_d)
    assert min(filling, queueing) == 0
