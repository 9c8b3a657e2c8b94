"""Grams per token of one phase: Equation 4 of HotCarbon'24 over that phase alone, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from carbonsweep.carbon.footprint import footprint, phase_footprint
from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
from carbonsweep.domain import Scenario
from carbonsweep.errors import BadInput, EnergyUnknown
from carbonsweep.units import S_PER_YEAR
from tests.conftest import measurement

Phase = Literal["prefill", "decode"]
QUEBEC = Scenario(intensity=carbon_intensity("QC"), lifetime_s=5 * S_PER_YEAR, embodied="paper")
RUN = measurement()  # T4: 0.5 s and 20 J of prefill, 3 s and 90 J of decode, 100 tokens each, known to 10 %


@pytest.mark.parametrize(("phase", "joules", "seconds"), [("prefill", 20.0, 0.5), ("decode", 90.0, 3.0)])
def test_a_phase_costs_its_own_joules_and_its_own_time(phase: Phase, joules: float, seconds: float) -> None:
    found = phase_footprint(RUN, phase, QUEBEC)
    # 31 g/kWh; 10.3 kg over 5 years of 8760 h; per token of 100.
    assert found.operational_g == pytest.approx(joules / 3.6e6 * 31 / 100)
    assert found.embodied_g == pytest.approx(10_300 * seconds / (5 * 8760 * 3600) / 100)
    assert found.operational_low_g == pytest.approx(0.9 * found.operational_g)
    assert found.operational_high_g == pytest.approx(1.1 * found.operational_g)
    assert found.embodied_low_g < found.embodied_g < found.embodied_high_g
    assert found.functional_unit == ("prompt-token" if phase == "prefill" else "output-token")


def test_the_phases_make_up_the_whole_whatever_the_scenario() -> None:
    hard = replace(QUEBEC, intensity=given_intensity(500.0), pue=1.3, utilisation=0.4, host_power_w=50.0,
                   host_embodied_kg=100.0, functional_unit="prompt")  # fmt: skip
    for scenario in (QUEBEC, hard):
        per_prompt = footprint(RUN, replace(scenario, functional_unit="prompt"))
        parts = [phase_footprint(RUN, phase, scenario) for phase in ("prefill", "decode")]
        # 100 tokens a phase, 4 prompts a batch.
        assert sum(part.total_g for part in parts) * 100 == pytest.approx(4 * per_prompt.total_g)


def test_a_phase_without_joules_or_region_has_no_price() -> None:
    with pytest.raises(EnergyUnknown):
        phase_footprint(measurement(prefill_j=None), "prefill", QUEBEC)
    with pytest.raises(BadInput):
        phase_footprint(RUN, "decode", replace(QUEBEC, intensity=None))


def test_assumed_joules_are_called_assumed() -> None:
    assumed = replace(QUEBEC, assumed_power_w=30.0)
    found = phase_footprint(measurement(decode_j=None), "decode", assumed)
    assert found.assumed
    assert found.operational_g == pytest.approx(30 * 3.0 / 3.6e6 * 31 / 100)
    assert not phase_footprint(measurement(decode_j=None), "prefill", assumed).assumed
