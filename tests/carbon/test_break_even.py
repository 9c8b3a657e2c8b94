"""Where two measurements swap: by hand, against root finding on the footprint itself, and as properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from carbonsweep.carbon.break_even import (
    Needs,
    Side,
    Swap,
    break_even,
    crossing,
    embodied_swap,
    intensity_swap,
    lifetime_swap,
    needs,
    reigns,
)
from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.carbon.footprint import footprint
from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import Measurement, Scenario, Transfer
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.second_life import SecondLife
from carbonsweep.units import S_PER_YEAR
from tests.conftest import energy, measurement, phase

QC = Scenario(intensity=given_intensity(31.0), lifetime_s=5 * S_PER_YEAR, embodied="paper", functional_unit="prompt")
UNUSED_T4 = SecondLife(device="T4", policy="none")


def ran(gpu: str, seconds: float, watts: float, **changes: Any) -> Measurement:
    """One prompt that takes that long at that power, all on one GPU kind; a hundredth of it is prefill."""
    parts = [phase(share * seconds, share * seconds * watts, gpu=gpu) for share in (0.01, 0.99)]
    return measurement(**{"prefill": parts[0], "decode": parts[1], "batch_size": 1, "idle_w": 26.0, **changes})


def near(at: float, *, below: Side, above: Side) -> Swap:
    """Equal to a swap at `at` within 1e-6 of it."""
    within: Any = pytest.approx(at, rel=1e-6)
    return Swap(at=within, below=below, above=above)


# 1 hour each. T4: 50 W, so 0.05 kWh, 10.3 kg; Ada: half the time at 70 W, so 0.035 kWh, 26.6 kg.
OLD, NEW = ran("T4", 3600, 50.0), ran("RTX6000Ada", 1800, 70.0)


def test_the_papers_numbers_by_hand() -> None:
    # Embodied at 5 years (43,800 h): T4 10,300 / 43,800 = 0.2351598 g; Ada 26,600 / 43,800 / 2 = 0.3036530 g.
    # kWh: 0.05 - 0.035 = 0.015. g = (0.3036530 - 0.2351598) / 0.015 = 4.5662100 g/kWh: cleaner, the T4 wins.
    found = break_even(OLD, NEW, QC)
    assert found.intensity == near(4.5662100, below="A", above="B")
    # Lifetime at 31 g/kWh: (13,300 - 10,300) g h / (31 x 0.015 g) = 6,451.6 h: replaced sooner, the T4 wins.
    assert found.lifetime == near(3000 / 0.465 * 3600, below="A", above="B")
    # Ada: 31 x 0.05 + 0.2351598 - 31 x 0.035 = 0.7001598 g over half an hour: x 2 x 43,800 h = 61.334 kg.
    # T4: 31 x 0.035 + 0.3036530 - 31 x 0.05 is below 0: the T4 would have to be made by taking carbon out of the air.
    assert found.embodied["RTX6000Ada"] == near(61.334, below="B", above="A")
    assert found.embodied["T4"] == Swap(at=None, below="B", above="B")


def test_a_cleaner_new_gpu_at_the_papers_utilisation_and_lifetime() -> None:
    # Equal hours, T4 30.9 W and Ada 44.2 W (the powers of claim C16): the T4 needs less of both, so nothing swaps.
    found = break_even(ran("T4", 3600, 30.9), ran("RTX6000Ada", 3600, 44.2), QC)
    assert found.intensity == Swap(at=None, below="A", above="A") == found.lifetime
    # T4's kg: 0.0442 x 31 + 26,600 / 43,800 - 0.0309 x 31 = 1.0196059 g/h x 43,800 h = 44.659 kg.
    assert found.embodied["T4"] == near(44.65874, below="A", above="B")
    assert found.embodied["RTX6000Ada"].at is None


def test_the_sides_are_named_after_the_arguments() -> None:
    there, back = break_even(OLD, NEW, QC), break_even(NEW, OLD, QC)
    assert there.intensity.at == pytest.approx(back.intensity.at)
    assert (back.intensity.below, back.intensity.above) == ("B", "A")
    assert (back.lifetime.below, back.lifetime.above) == ("B", "A")


def test_equal_measurements_never_swap_and_nobody_wins() -> None:
    found = break_even(OLD, OLD, QC)
    nobody = Swap(at=None, below=None, above=None)
    assert (found.intensity, found.lifetime, found.embodied) == (nobody, nobody, {"T4": nobody})


def test_rounding_is_no_swap() -> None:
    # The same work, its kWh a rounding apart and its seconds a percent: no crossing at an absurd intensity.
    assert crossing((1.0, 0.1 + 0.2), (1.01, 0.3)) == Swap(at=None, below="A", above="A")
    assert crossing((0.3, 1.0), (0.1 + 0.2, 1.01)) == Swap(at=None, below="A", above="A")


def test_what_cannot_be_a_number_is_never_one() -> None:
    for a, b in [
        ((1.0, 1.0), (2.0, 2.0)),
        ((1.0, 1.0), (1.0, 2.0)),
        ((1.0, 1.0), (2.0, 1.0)),
        ((0.0, 0.0), (0.0, 0.0)),
    ]:
        assert crossing(a, b).at is None
    # 1e-300 / 1e300 vanishes, 1e300 / 1e-300 is infinite.
    assert crossing((1.0e-300, 2e300), (2.0e-300, 1e300)).at is None
    assert crossing((1e300, 2e-300), (2e300, 1e-300)).at is None


def test_on_a_grid_without_carbon_only_the_making_counts() -> None:
    found = break_even(OLD, NEW, replace(QC, intensity=given_intensity(0.0)))
    assert found.lifetime.always == "A"
    assert found.intensity.at == pytest.approx(4.5662100, rel=1e-7)


def test_a_sunk_old_gpu_wins_only_where_energy_is_clean() -> None:
    sunk = replace(QC, second_life=(UNUSED_T4,))
    found = break_even(OLD, NEW, sunk)
    # Ada 0.3036530 g / 0.015 kWh; the T4's kilograms no longer matter.
    assert found.intensity.at == pytest.approx(20.24353, rel=1e-6)
    assert found.embodied["T4"].always == "B"


def test_no_region_and_no_energy_are_errors_as_they_are_in_a_price() -> None:
    with pytest.raises(BadInput, match="--region"):
        break_even(OLD, NEW, replace(QC, intensity=None))
    with pytest.raises(EnergyUnknown, match="energy counter"):
        break_even(OLD, measurement(prefill_j=None), QC)


# ---- against the footprint itself, over every term of a scenario ----

positive = st.floats(min_value=1e-2, max_value=1e3)


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    """One GPU kind, several of one kind, or a split over two kinds with a hand-over; one of them unmetered."""
    kinds = draw(st.sampled_from([("T4", "T4"), ("RTX6000Ada", "RTX6000Ada"), ("RTX6000Ada", "T4")]))
    count = draw(st.integers(1, 4))
    metered = draw(st.booleans())
    parts: dict[str, Any] = {}
    for name, gpu in zip(("prefill", "decode"), kinds, strict=True):
        duration_s, watts = draw(positive), draw(st.floats(min_value=20, max_value=300))
        parts[name] = replace(
            phase(duration_s, duration_s * watts if metered else None, gpu=gpu, gpu_count=count),
            occupied_s=duration_s * draw(st.floats(min_value=1, max_value=2)),
        )
    transfer = None
    if kinds[0] != kinds[1]:
        transfer = Transfer(bytes=1e9, exposed_s=draw(positive), energy=energy(draw(positive)))
    batch: dict[str, Any] = {"batch_size": draw(st.integers(1, 64)), "output_tokens": draw(st.integers(2, 500))}
    return measurement(**parts, transfer=transfer, idle_w=draw(st.floats(min_value=5, max_value=200)), **batch)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    lives = st.one_of(
        st.just(UNUSED_T4),
        st.builds(
            SecondLife,
            device=st.just("T4"),
            policy=st.just("left"),
            age_s=st.floats(min_value=0, max_value=4 * S_PER_YEAR),
            first_lifetime_s=st.just(5 * S_PER_YEAR),
        ),
    )
    return Scenario(
        intensity=given_intensity(draw(st.floats(min_value=0.1, max_value=1000))),
        lifetime_s=draw(st.floats(min_value=1, max_value=10)) * S_PER_YEAR,
        embodied=draw(st.sampled_from(["paper", "act", "sc23", "vendor"])),
        pue=draw(st.floats(min_value=1, max_value=2)),
        utilisation=draw(st.sampled_from([1.0, 0.6, 0.05])),
        host_power_w=draw(st.sampled_from([0.0, 35.0])),
        host_embodied_kg=draw(st.sampled_from([0.0, 12.0])),
        assumed_power_w=60.0,
        functional_unit=draw(st.sampled_from(["1k-output-tokens", "output-token", "prompt", "prompt-token"])),
        second_life=draw(st.sampled_from([(), (draw(lives),)])),
    )


def grams(of: Measurement, priced: Scenario) -> float:
    return footprint(of, priced).total_g


def with_intensity(priced: Scenario) -> Callable[[Measurement, float], float]:
    return lambda of, g: grams(of, replace(priced, intensity=given_intensity(g)))


def with_lifetime(priced: Scenario) -> Callable[[Measurement, float], float]:
    return lambda of, lifetime_s: grams(of, replace(priced, lifetime_s=lifetime_s))


def with_embodied(priced: Scenario, device: str) -> Callable[[Measurement, float], float]:
    """Grams when a device of that kind takes `kg` to make: added to the price beside what the preset charges."""

    def price(of: Measurement, kg: float) -> float:
        own_kg = embodied_carbon(device, priced.embodied).kg
        share = charged_kg(device, priced) / own_kg
        units = {
            "1k-output-tokens": of.batch_size * of.output_tokens / 1000,
            "output-token": of.batch_size * of.output_tokens,
            "prompt": of.batch_size,
            "prompt-token": of.prefill.tokens,
        }[priced.functional_unit]
        device_s = sum(p.occupied_s * p.gpu_count for p in (of.prefill, of.decode) if p.gpu == device)
        more_g = (kg - own_kg) * share * 1000 * device_s / (priced.lifetime_s * priced.utilisation)
        return grams(of, priced) + more_g / units

    return price


def root(difference: Callable[[float], float], low: float, high: float) -> float | None:
    """Bisection in the logarithm; None where the ends have one sign. No closed form in here."""
    if difference(low) * difference(high) > 0:
        return None
    rising = difference(high) > 0
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if (difference(middle) > 0) == rising else (middle, high)
    return math.sqrt(low * high)


def check(
    swap: Swap, price: Callable[[Measurement, float], float], a: Measurement, b: Measurement, here: float
) -> None:
    """Equal at the swap, in the stated order beside it, found by bisection too; without one, one winner everywhere."""
    scale = price(a, here) + price(b, here)
    if swap.at is None:
        for x in (here * 10.0**n for n in range(-6, 7)):
            assert winner(price(a, x), price(b, x)) in (swap.always, None)
        return
    at_a, at_b = price(a, swap.at), price(b, swap.at)
    assert at_a == pytest.approx(at_b, rel=1e-9)
    # Where the lines run nearly parallel rounding moves the root: ask only where they cross at an angle.
    low, high = swap.at / 8, swap.at * 8
    slant = abs(price(a, high) - price(b, high)) + abs(price(a, low) - price(b, low))
    assume(slant > 1e-6 * (price(a, high) + price(b, low)) and scale > 0)
    assert winner(price(a, low), price(b, low)) == swap.below
    assert winner(price(a, high), price(b, high)) == swap.above
    assert root(lambda x: price(a, x) - price(b, x), low, high) == pytest.approx(swap.at, rel=1e-9)


def winner(a: float, b: float) -> Side | None:
    return None if math.isclose(a, b, rel_tol=1e-9) else "A" if a < b else "B"


@given(a=measurements(), b=measurements(), priced=scenarios())
def test_the_intensity_at_which_they_swap_is_the_footprints(a: Measurement, b: Measurement, priced: Scenario) -> None:
    swap = intensity_swap(needs(a, priced), needs(b, priced), priced)
    check(swap, with_intensity(priced), a, b, 100.0)


@given(a=measurements(), b=measurements(), priced=scenarios())
def test_the_lifetime_at_which_they_swap_is_the_footprints(a: Measurement, b: Measurement, priced: Scenario) -> None:
    swap = lifetime_swap(needs(a, priced), needs(b, priced), priced)
    check(swap, with_lifetime(priced), a, b, priced.lifetime_s)


@given(a=measurements(), b=measurements(), priced=scenarios(), device=st.sampled_from(["T4", "RTX6000Ada"]))
def test_the_embodied_value_at_which_they_swap_is_the_footprints(
    a: Measurement, b: Measurement, priced: Scenario, device: str
) -> None:
    swap = embodied_swap(needs(a, priced), needs(b, priced), priced, device)
    check(swap, with_embodied(priced, device), a, b, embodied_carbon(device, priced.embodied).kg)


@given(of=measurements(), priced=scenarios())
def test_what_a_unit_needs_gives_the_footprint_back(of: Measurement, priced: Scenario) -> None:
    found = needs(of, priced)
    kg = {device: charged_kg(device, priced) for device in found.life_s}
    assert priced.intensity is not None
    operational_g = found.kwh * priced.intensity.g_per_kwh
    embodied_g = found.embodied_g_s(kg, priced.host_embodied_kg) / priced.lifetime_s
    exact = footprint(of, priced)
    assert (operational_g, embodied_g) == pytest.approx((exact.operational_g, exact.embodied_g), rel=1e-12)


# ---- of many ----


def needing(kwh: float, hours: float) -> Needs:
    return Needs(kwh=kwh, life_s={"T4": hours * 3600})


def test_who_emits_least_as_intensity_and_lifetime_grow() -> None:
    # E in kg h: 10.3 and 20.6 and 41.2; kWh 3, 2.9 and 1. First against third: 30,900 g h / 2 kWh = 15,450 g/kWh h; the
    # second would cross the first only at 103,000: it never wins.
    found = reigns([needing(2.9, 2), needing(1, 4), needing(3, 1)], QC)
    assert [one.place for one in found] == [2, 1]
    assert [one.low for one in found] == pytest.approx([0, 15_450 * 3600])
    assert found[0].high == found[1].low
    assert found[1].high == math.inf


def test_other_kilograms_move_the_boundary_in_proportion() -> None:
    two = [needing(1, 4), needing(3, 1)]
    assert reigns(two, QC, {"T4": 103.0})[0].high == pytest.approx(10 * reigns(two, QC)[0].high)


def test_nobody_wins_among_none() -> None:
    with pytest.raises(BadInput, match="no configurations"):
        reigns([], QC)


@given(
    several=st.lists(st.tuples(positive, positive), min_size=1, max_size=8),
    product=st.floats(min_value=1e-3, max_value=1e9),
)
def test_the_reigning_one_has_the_least_grams(several: list[tuple[float, float]], product: float) -> None:
    candidates = [needing(kwh, hours) for kwh, hours in several]
    found = reigns(candidates, QC)
    assert found[0].low == 0
    assert [one.high for one in found] == [*(one.low for one in found[1:]), math.inf]
    reigning = next(one.place for one in found if one.low <= product < one.high)
    totals = [one.kwh * product + one.embodied_g_s({"T4": 10.3}) for one in candidates]
    assert totals[reigning] == pytest.approx(min(totals), rel=1e-9)
