"""Grams of a measurement, by hand; the paper's shares; properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.carbon.footprint import batch_embodied_g, batch_operational_g, footprint, functional_units
from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
from carbonsweep.carbon.operational import idle_energy_j, operational_g
from carbonsweep.domain import Energy, Measurement, PhaseMeasurement, Scenario, Transfer
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.units import S_PER_YEAR

amounts = st.floats(min_value=1e-3, max_value=1e6)
shares = st.floats(min_value=0.01, max_value=1.0)


def energy(joules: float, spread: float = 0.0) -> Energy:
    return Energy(
        joules=joules, low_j=joules * (1 - spread), high_j=joules * (1 + spread), source="test", semantics="energy"
    )


def phase(
    joules: float | None, duration_s: float, *, gpu: str = "T4", gpu_count: int = 1, tokens: float = 1.0
) -> PhaseMeasurement:
    return PhaseMeasurement(
        tokens=tokens,
        padded_tokens=tokens,
        duration_s=duration_s,
        duration_low_s=duration_s,
        duration_high_s=duration_s,
        repeats=0,
        energy=None if joules is None else energy(joules),
        gpu=gpu,
        gpu_count=gpu_count,
        occupied_s=duration_s,
    )


def measurement(
    prefill: PhaseMeasurement,
    decode: PhaseMeasurement,
    *,
    idle_w: float | None = None,
    transfer: Transfer | None = None,
) -> Measurement:
    return Measurement(
        prefill=prefill,
        decode=decode,
        batch_size=4,
        output_tokens=150,
        peak_memory_bytes=None,
        idle_w=idle_w,
        bench="test",
        basis="modelled",
        error_source="none",
        transfer=transfer,
    )


def scenario(region: str = "QC", lifetime_years: float = 5.0) -> Scenario:
    return Scenario(
        intensity=carbon_intensity(region),
        lifetime_s=lifetime_years * S_PER_YEAR,
        embodied="paper",
        functional_unit="prompt",
    )


# 1 kWh/h in all: 3.6e5 J over 10 s of prefill and 90 s of decode, per batch of 4 prompts with 150 output tokens.
BATCH = measurement(phase(1.2e5, 10.0, tokens=80.0), phase(2.4e5, 90.0, tokens=596.0), idle_w=36.0)
PLAIN = Scenario(intensity=given_intensity(100.0), lifetime_s=1e6, embodied="paper", functional_unit="prompt")


def embodied_share(power_w: float, gpu: str, priced: Scenario) -> float:
    """Share of a second at that mean board power."""
    found = footprint(measurement(phase(power_w, 1.0, gpu=gpu), phase(power_w, 1.0, gpu=gpu)), priced)
    return found.embodied_g / found.total_g


# Claim C16. T4 in QC: 10,300 g / 43,800 h = 0.23516 g/h against 0.0309 kW x 31 = 0.9579 g/h: 0.197.
@pytest.mark.parametrize(
    ("gpu", "power_w", "region", "share"),
    [
        ("T4", 30.9, "QC", 0.197),
        ("T4", 30.9, "CISO", 0.028),
        ("T4", 30.9, "PACE", 0.012),
        ("RTX6000Ada", 44.2, "QC", 0.307),
        ("RTX6000Ada", 44.2, "CISO", 0.050),
        ("RTX6000Ada", 44.2, "PACE", 0.021),
    ],
)
def test_the_papers_six_embodied_shares_follow_from_one_power_per_gpu(
    gpu: str, power_w: float, region: str, share: float
) -> None:
    assert embodied_share(power_w, gpu, scenario(region)) == pytest.approx(share, abs=5e-4)


# Claim C19, in percent as printed. QC at 4 years: 10,300 / 35,040 h = 0.29395 g/h against 0.9579: 23.5 %.
@pytest.mark.parametrize(
    ("region", "percents", "rounding"),
    [
        ("QC", (23.5, 19.7, 17.0, 14.9, 13.3), 0.05),
        ("CISO", (3.5, 2.8, 2.4, 2.0, 1.8), 0.05),
        ("PACE", (1.45, 1.16, 0.97, 0.83, 0.73), 0.005),
    ],
)
def test_the_t4s_embodied_share_falls_with_lifetime(region: str, percents: tuple[float, ...], rounding: float) -> None:
    found = [100 * embodied_share(30.9, "T4", scenario(region, years)) for years in (4, 5, 6, 7, 8)]
    assert found == pytest.approx(list(percents), abs=rounding + 1e-9)
    assert found == sorted(found, reverse=True)


def test_a_batch_by_hand() -> None:
    # operational 3.6e5 J = 0.1 kWh x 100 g = 10 g; embodied 10,300 g x 100 s / 1e6 s = 1.03 g; each over 4 prompts
    found = footprint(BATCH, PLAIN)
    assert found.operational_g == pytest.approx(10 / 4)
    assert found.embodied_g == pytest.approx(1.03 / 4)
    assert found.total_g == pytest.approx(11.03 / 4)
    assert not found.assumed


def test_functional_units_by_hand() -> None:
    assert functional_units(BATCH, "prompt") == 4
    assert functional_units(BATCH, "output-token") == 600
    assert functional_units(BATCH, "1k-output-tokens") == 0.6
    assert functional_units(BATCH, "prompt-token") == 80
    per_token = footprint(BATCH, replace(PLAIN, functional_unit="output-token"))
    assert per_token.total_g == pytest.approx(11.03 / 600)
    assert per_token.functional_unit == "output-token"


def test_pue_multiplies_what_is_drawn_and_nothing_else() -> None:
    found = footprint(BATCH, replace(PLAIN, pue=1.5))
    assert found.operational_g == pytest.approx(15 / 4)
    assert found.embodied_g == pytest.approx(1.03 / 4)


def test_low_utilisation_charges_idle_energy_and_a_longer_occupation() -> None:
    # u = 0.25: each busy second waits 3 more at 36 W: 100 x 3 x 36 = 10,800 J on top of 360,000: 370,800 J = 10.3 g
    # embodied / 0.25 = 4.12 g
    found = footprint(BATCH, replace(PLAIN, utilisation=0.25))
    assert found.operational_g == pytest.approx(10.3 / 4)
    assert found.embodied_g == pytest.approx(4.12 / 4)


def test_the_host_is_charged_per_gpu_busy_or_not() -> None:
    # 2 GPUs, u = 0.5, 90 W of host each: 100 s / 0.5 x 2 x 90 W = 36,000 J = 1 g; idle 100 s x 36 W = 3,600 J = 0.1 g
    # embodied (10.3 + 9.7 kg) x 2 x 100 s / (1e6 x 0.5) = 8 g
    two = measurement(phase(1.2e5, 10.0, gpu_count=2), phase(2.4e5, 90.0, gpu_count=2), idle_w=36.0)
    found = footprint(two, replace(PLAIN, utilisation=0.5, host_power_w=90.0, host_embodied_kg=9.7))
    assert found.operational_g == pytest.approx(11.1 / 4)
    assert found.embodied_g == pytest.approx(8.0 / 4)


def test_a_split_prices_each_phase_on_the_gpu_it_occupied() -> None:
    # prefill 10 s on the Ada: 26,600 x 1e-5 = 0.266 g; decode 90 s on two T4: 2 x 10,300 x 9e-5 = 1.854 g
    # operational: 3.6e5 J + 3.6e4 J of hand-over = 0.11 kWh = 11 g
    handover = Transfer(bytes=1e9, exposed_s=0.5, energy=energy(3.6e4))
    split = measurement(phase(1.2e5, 10.0, gpu="RTX6000Ada"), phase(2.4e5, 90.0, gpu_count=2), transfer=handover)
    found = footprint(split, PLAIN)
    assert found.embodied_g == pytest.approx((0.266 + 1.854) / 4)
    assert found.operational_g == pytest.approx(11 / 4)


def test_a_splits_idle_power_falls_to_its_gpus_by_their_kinds() -> None:
    # 87 W over an Ada (35 W) and two T4 (26 W each): 35 and 52. u = 0.5: 10 s x 35 + 90 s x 52 = 5,030 J
    split = measurement(phase(1.2e5, 10.0, gpu="RTX6000Ada"), phase(2.4e5, 90.0, gpu_count=2), idle_w=87.0)
    found = footprint(split, replace(PLAIN, utilisation=0.5))
    assert found.operational_g == pytest.approx((3.6e5 + 5030) / 3.6e6 * 100 / 4)


def test_a_split_with_the_cpu_has_no_idle_power_to_share() -> None:
    split = measurement(phase(1.0, 1.0, gpu="CPU"), phase(1.0, 1.0, gpu="T4"), idle_w=50.0)
    with pytest.raises(BadInput, match="idle power"):
        footprint(split, replace(PLAIN, utilisation=0.5, embodied="sc23"))


def test_unknown_energy_has_no_price_and_the_error_says_what_would_give_one() -> None:
    unknown = measurement(phase(None, 10.0), phase(2.4e5, 90.0))
    with pytest.raises(EnergyUnknown, match=r"energy counter.*--assume-power-w W"):
        footprint(unknown, PLAIN)


def test_assumed_power_stands_in_only_where_energy_is_unknown_and_is_labelled() -> None:
    # 2 CPUs x 10 s x 60 W = 1,200 J assumed + 2,400 J known = 0.001 kWh = 0.1 g
    mixed = measurement(phase(None, 10.0, gpu="CPU", gpu_count=2), phase(2.4e3, 90.0, gpu="CPU"))
    found = footprint(mixed, replace(PLAIN, embodied="sc23", assumed_power_w=60.0))
    assert found.operational_g == pytest.approx(0.1 / 4)
    assert found.assumed
    assert found.operational_low_g == found.operational_g == found.operational_high_g


def test_a_handover_of_unknown_energy_is_assumed_on_both_ends() -> None:
    # 0.5 s x (1 + 2 devices) x 24 W = 36 J = 1e-5 kWh x 100 = 0.001 g on top of 10 g
    handover = Transfer(bytes=1e9, exposed_s=0.5, energy=None)
    split = measurement(phase(1.2e5, 10.0), phase(2.4e5, 90.0, gpu_count=2), transfer=handover)
    assert footprint(split, replace(PLAIN, assumed_power_w=24.0)).operational_g == pytest.approx(10.001 / 4)
    with pytest.raises(EnergyUnknown):
        footprint(split, PLAIN)


def test_idle_power_must_be_known_below_full_utilisation() -> None:
    with pytest.raises(BadInput, match="idle power of this device is unknown"):
        footprint(replace(BATCH, idle_w=None), replace(PLAIN, utilisation=0.9))


def test_no_region_means_no_grams() -> None:
    with pytest.raises(BadInput, match="--region"):
        footprint(BATCH, replace(PLAIN, intensity=None))


def test_the_intervals_come_from_the_meter_and_from_the_presets() -> None:
    # +-10 % of each phase's energy; T4: 8.324957 kg (act, clean fab) to 53.419707 kg (act x 5.2) over 1e-4 of its life
    prefill, decode = (replace(p, energy=energy(p.energy.joules, 0.1)) for p in phases(BATCH) if p.energy is not None)
    found = footprint(replace(BATCH, prefill=prefill, decode=decode), PLAIN)
    assert (found.operational_low_g, found.operational_high_g) == pytest.approx((9 / 4, 11 / 4))
    assert found.embodied_low_g == pytest.approx(0.8324957 / 4, abs=1e-6)
    assert found.embodied_high_g == pytest.approx(5.3419707 / 4, abs=1e-6)


def phases(found: Measurement) -> tuple[PhaseMeasurement, PhaseMeasurement]:
    return found.prefill, found.decode


def test_operational_and_idle_by_hand() -> None:
    assert operational_g(3.6e6, 400.0, 1.25) == 500.0  # 1 kWh x 400 x 1.25
    assert idle_energy_j(30.0, 10.0, 0.75) == pytest.approx(100.0)  # 30 W x 10 s / 3
    assert idle_energy_j(30.0, 10.0, 1.0) == 0.0


@given(joules=amounts, g_per_kwh=amounts, factor=st.floats(min_value=0.1, max_value=10))
def test_operational_carbon_is_linear_in_energy_and_in_intensity(
    joules: float, g_per_kwh: float, factor: float
) -> None:
    once = operational_g(joules, g_per_kwh)
    assert operational_g(factor * joules, g_per_kwh) == pytest.approx(factor * once)
    assert operational_g(joules, factor * g_per_kwh) == pytest.approx(factor * once)


@given(years=st.floats(min_value=0.5, max_value=15), longer=st.floats(min_value=1, max_value=5), u=shares)
def test_a_longer_lifetime_never_raises_grams(years: float, longer: float, u: float) -> None:
    short = replace(PLAIN, lifetime_s=years * S_PER_YEAR, utilisation=u)
    long = replace(short, lifetime_s=longer * years * S_PER_YEAR)
    assert footprint(BATCH, long).total_g <= footprint(BATCH, short).total_g


@given(lower=shares, higher=shares)
def test_a_busier_device_never_costs_more_per_prompt(lower: float, higher: float) -> None:
    lower, higher = sorted((lower, higher))
    idle, busy = (footprint(BATCH, replace(PLAIN, utilisation=u)).total_g for u in (lower, higher))
    assert busy <= idle * (1 + 1e-12)


@given(
    columns=st.lists(st.tuples(amounts, amounts, amounts, st.integers(1, 8)), min_size=1, max_size=5),
    u=shares,
    pue=st.floats(min_value=1, max_value=3),
    host_w=amounts,
)
def test_arrays_and_floats_give_the_same_grams(
    columns: list[tuple[float, float, float, int]], u: float, pue: float, host_w: float
) -> None:
    priced = replace(PLAIN, utilisation=u, pue=pue, host_power_w=host_w, host_embodied_kg=1.0)
    joules, busy_s, idle_w, gpu_count = np.array(columns, dtype=np.float64).T
    operational = batch_operational_g(
        energy_j=joules, busy_s=busy_s, idle_w=idle_w, gpu_count=gpu_count, utilisation=u, scenario=priced
    )
    embodied = batch_embodied_g(embodied_kg=10.3, busy_s=busy_s, gpu_count=gpu_count, utilisation=u, scenario=priced)
    for i, (j, s, w, n) in enumerate(columns):
        one = batch_operational_g(energy_j=j, busy_s=s, idle_w=w, gpu_count=n, utilisation=u, scenario=priced)
        assert operational[i] == pytest.approx(one, rel=1e-12)
        one = batch_embodied_g(embodied_kg=10.3, busy_s=s, gpu_count=n, utilisation=u, scenario=priced)
        assert embodied[i] == pytest.approx(one, rel=1e-12)
