"""How many replicas a rate of requests takes, how busy they are, and what their waiting is charged."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from carbonsweep.carbon.break_even import break_even
from carbonsweep.carbon.footprint import batch_energy_j, footprint
from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.carbon.load import load, load_of, load_words, mean_fill_s, waits
from carbonsweep.domain import Scenario, Transfer
from carbonsweep.errors import EnergyUnknown
from carbonsweep.units import J_PER_KWH, S_PER_YEAR
from tests.conftest import energy, measurement, phase

# 36 g/kWh is 1e-5 g/J; per prompt, so that grams of a batch of 4 divide by 4.
PLAIN = Scenario(intensity=given_intensity(36.0), lifetime_s=5 * S_PER_YEAR, embodied="paper", functional_unit="prompt")
# A batch of 4 prompts in 0.5 + 3 s: at most 4 / 3.5 prompts/s a replica.
CAPACITY_PER_S = 4 / 3.5

rates = st.floats(min_value=1e-6, max_value=1e6)
shares = st.floats(min_value=1e-3, max_value=1)


def at(rate_per_s: float | None, utilisation: float = 1.0, **changes: object) -> Scenario:
    """PLAIN, with a rate of requests and a highest utilisation."""
    return dataclasses.replace(PLAIN, request_rate_per_s=rate_per_s, utilisation=utilisation, **changes)  # type: ignore[arg-type]


def test_without_a_rate_the_stated_utilisation_is_that_of_every_configuration() -> None:
    found = load_of(measurement(), at(None, 0.3))
    assert (found.replicas, found.prefill, found.decode) == (None, 0.3, 0.3)


@pytest.mark.parametrize(
    ("rate_per_s", "highest", "replicas", "busy"),
    [
        (CAPACITY_PER_S, 1.0, 1, 1.0),  # exactly what one replica serves
        (CAPACITY_PER_S / 2, 0.5, 1, 0.5),  # exactly what is planned for one
        (CAPACITY_PER_S * 1.0001, 1.0, 2, 0.50005),  # a little more takes a second
        (3 * CAPACITY_PER_S, 1.0, 3, 1.0),
        (3 * CAPACITY_PER_S, 0.7, 5, 0.6),  # 3 / 0.7 = 4.29, rounded up; 3 / 5
        (CAPACITY_PER_S * 1e-9, 1.0, 1, 1e-9),
        (CAPACITY_PER_S * 1e6, 1.0, 10**6, 1.0),
    ],
)
def test_replicas_and_their_busy_share_by_hand(rate_per_s: float, highest: float, replicas: int, busy: float) -> None:
    found = load_of(measurement(), at(rate_per_s, highest))
    assert found.replicas == replicas
    assert found.prefill == found.decode == pytest.approx(busy, rel=1e-9)


@given(rate=rates, highest=shares, prefill_s=st.floats(0.01, 100), decode_s=st.floats(0.01, 100))
def test_replicas_are_just_enough_and_never_busier_than_planned(
    rate: float, highest: float, prefill_s: float, decode_s: float
) -> None:
    batch_s = prefill_s + decode_s
    found = load(prefill_devices_s=batch_s, decode_devices_s=batch_s, batch=8.0, scenario=at(rate, highest))
    assert found.replicas is not None
    assert found.replicas >= 1
    assert found.replicas == round(found.replicas)
    assert found.prefill <= highest * (1 + 1e-9)
    # One replica less would be too busy, or be none.
    assert found.replicas == 1 or found.prefill * found.replicas / (found.replicas - 1) > highest * (1 - 1e-9)
    # Of all their seconds, the share u is what R prompts per second take.
    assert found.prefill * found.replicas == pytest.approx(rate * batch_s / 8)


@given(replicas=st.integers(1, 10**6), highest=shares)
@example(replicas=3, highest=0.7)
@example(replicas=49, highest=0.9)
def test_a_rate_that_so_many_replicas_serve_exactly_takes_no_further_one(replicas: int, highest: float) -> None:
    assert load_of(measurement(), at(replicas * CAPACITY_PER_S * highest, highest)).replicas == replicas


@given(
    rate=rates,
    highest=shares,
    rows=st.lists(st.tuples(st.floats(0.01, 99), st.floats(0.01, 99), st.integers(1, 64)), min_size=1, max_size=6),
)
def test_arrays_and_floats_give_the_same_load(
    rate: float, highest: float, rows: list[tuple[float, float, int]]
) -> None:
    prefill_s, decode_s, batch = np.array(rows, dtype=np.float64).T
    found = load(prefill_devices_s=prefill_s, decode_devices_s=decode_s, batch=batch, scenario=at(rate, highest))
    for i, (p, d, b) in enumerate(rows):
        one = load(prefill_devices_s=p, decode_devices_s=d, batch=float(b), scenario=at(rate, highest))
        assert found.replicas is not None
        assert found.replicas[i] == one.replicas
        assert (np.asarray(found.prefill)[i], np.asarray(found.decode)[i]) == (one.prefill, one.decode)


def test_in_a_split_the_slower_phase_sets_the_pace_and_the_other_waits_more() -> None:
    # Prefill takes 0.5 s of its devices and decode 3.2 s of its own: at most 4 / 3.2 prompts/s. At 1/s one replica has
    # 4 s for each batch: decode is busy 3.2 / 4, prefill 0.5 / 4.
    split = measurement(
        prefill=phase(0.5, 20.0, gpu="RTX6000Ada"),
        decode=phase(3.0, 90.0, occupied_s=3.2),
        transfer=Transfer(bytes=1e6, exposed_s=0.1, energy=energy(2.0)),
    )
    found = load_of(split, at(1.0))
    assert found.replicas == 1
    assert (found.prefill, found.decode) == pytest.approx((0.125, 0.8))


def test_idle_energy_and_embodied_carbon_are_those_of_the_replicas_whole_time() -> None:
    # 2 prompts/s at most 0.9 busy: ceil(2 x 3.5 / (4 x 0.9)) = ceil(1.94) = 2 replicas, busy 2 x 3.5 / (2 x 4) = 0.875.
    # Each prompt gets 2 replicas / (2 prompts/s) = 1 s of a T4: 3.5 / 4 = 0.875 s busy, 0.125 s idle at 26 W.
    scenario = at(2.0, 0.9)
    found = footprint(measurement(), scenario)
    assert found.operational_g == pytest.approx((110 / 4 + 26 * 0.125) / J_PER_KWH * 36)
    assert found.embodied_g == pytest.approx(10.3e3 * 1.0 / (5 * S_PER_YEAR))
    assert batch_energy_j(measurement(), scenario) / 4 == pytest.approx(110 / 4 + 26 * 0.125)


@given(rate=rates, highest=shares)
def test_a_rate_charges_what_its_own_utilisation_charges(rate: float, highest: float) -> None:
    rated = at(rate, highest, host_power_w=40.0, host_embodied_kg=3.0)
    busy = min(1.0, load_of(measurement(), rated).prefill)
    stated = dataclasses.replace(rated, request_rate_per_s=None, utilisation=busy)
    assert footprint(measurement(), rated).total_g == pytest.approx(footprint(measurement(), stated).total_g)
    assert batch_energy_j(measurement(), rated) == pytest.approx(batch_energy_j(measurement(), stated))


@given(rate=rates, factor=st.integers(2, 50))
def test_replicas_grow_with_the_rate_and_the_grams_per_prompt_of_full_ones_stay(rate: float, factor: int) -> None:
    one, more = load_of(measurement(), at(rate)), load_of(measurement(), at(factor * rate))
    assert one.replicas is not None
    assert more.replicas is not None
    assert more.replicas >= one.replicas
    full = at(factor * CAPACITY_PER_S)
    assert footprint(measurement(), full).total_g == pytest.approx(footprint(measurement(), PLAIN).total_g)


def test_a_trickle_of_requests_is_charged_a_whole_idle_replica() -> None:
    # One prompt an hour: a T4 idles an hour at 26 W for it, but for 0.875 s.
    found = footprint(measurement(), at(1 / 3600))
    assert found.operational_g == pytest.approx((27.5 + 26 * (3600 - 0.875)) / J_PER_KWH * 36)
    assert found.embodied_g == pytest.approx(10.3e3 * 3600 / (5 * S_PER_YEAR))


def test_unknown_idle_power_has_no_price_once_devices_wait() -> None:
    dark = measurement(idle_w=None)
    assert footprint(dark, PLAIN).total_g > 0
    for scenario in (at(None, 0.5), at(0.1)):
        with pytest.raises(EnergyUnknown, match="idle power"):
            footprint(dark, scenario)
        with pytest.raises(EnergyUnknown, match="idle power"):
            batch_energy_j(dark, scenario)


@given(rate=st.floats(0.01, 10), highest=st.floats(0.1, 1))
def test_two_emit_the_same_where_they_are_said_to_swap(rate: float, highest: float) -> None:
    ada = measurement(
        prefill=phase(0.2, 30.0, gpu="RTX6000Ada"), decode=phase(1.0, 60.0, gpu="RTX6000Ada"), idle_w=20.0
    )
    scenario = at(rate, highest)
    swap = break_even(measurement(), ada, scenario).intensity
    if swap.at is not None and swap.at < 1e6:
        here = dataclasses.replace(scenario, intensity=given_intensity(swap.at))
        assert footprint(measurement(), here).total_g == pytest.approx(footprint(ada, here).total_g)


@pytest.mark.parametrize("rate", [math.nan, math.inf, 0.0, -1.0])
def test_a_rate_is_a_finite_number_above_0(rate: float) -> None:
    with pytest.raises(ValueError, match="request_rate_per_s"):
        at(rate)


def test_the_mean_wait_for_a_batch_to_fill_by_hand() -> None:
    # Four prompts at 2/s come 0.5 s apart: they wait 1.5, 1, 0.5 and 0 s.
    assert mean_fill_s(4, 2.0) == pytest.approx((1.5 + 1 + 0.5 + 0) / 4)
    assert mean_fill_s(1, 2.0) == 0


def test_a_scenario_waits_where_it_is_not_always_busy() -> None:
    assert not waits(PLAIN)
    assert waits(at(None, 0.9))
    assert waits(at(1.0))


def test_the_load_in_words() -> None:
    assert load_words(at(None, 0.25)) == "utilisation 0.25"
    assert load_words(at(2 / 3, 0.5)) == "0.6667 prompts/s, no replica busy more than 0.5 of its time"
