"""Which intensity a region means, and what the source says."""

from __future__ import annotations

from typing import Any

import pytest

from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
from carbonsweep.errors import BadInput, UnknownFact


def test_a_region_gives_the_row_it_names_and_says_which() -> None:
    found = carbon_intensity("qc")
    assert (found.g_per_kwh, found.region, found.basis) == (31, "QC", "lifecycle")
    assert "QC" in found.source
    assert "2023" in found.source
    assert "lifecycle" in found.source
    assert "Table 2" in found.source


def test_the_basis_is_chosen_by_name() -> None:
    # In Québec the choice is 18x: 30.7 life-cycle against 1.7 direct.
    assert carbon_intensity("CA-QC").g_per_kwh == 30.7
    assert carbon_intensity("CA-QC", "direct").g_per_kwh == 1.7
    assert carbon_intensity("CA-QC", "direct").basis == "direct"


def test_a_row_without_the_basis_names_the_zone_that_has_both() -> None:
    with pytest.raises(BadInput, match=r"QC has no direct intensity, only lifecycle; .* CA-QC has both"):
        carbon_intensity("QC", "direct")


def test_an_unknown_basis_is_refused() -> None:
    basis: Any = "marginal"
    with pytest.raises(BadInput, match="valid are lifecycle, direct"):
        carbon_intensity("QC", basis)


def test_an_unknown_region_suggests_the_closest_and_none_is_the_default() -> None:
    with pytest.raises(UnknownFact, match="did you mean CA-QC"):
        carbon_intensity("CA-QX")
    with pytest.raises(UnknownFact):
        carbon_intensity("")


def test_a_zone_that_is_mostly_estimated_says_so() -> None:
    assert "100 % of the hours are the publisher's estimates" in carbon_intensity("IN").source


def test_a_given_intensity_is_labelled_given() -> None:
    found = given_intensity(0.0)
    assert (found.g_per_kwh, found.region, found.basis) == (0.0, "given", "given")


@pytest.mark.parametrize("g_per_kwh", [-1.0, float("nan"), float("inf")])
def test_an_impossible_intensity_is_bad_input(g_per_kwh: float) -> None:
    with pytest.raises(BadInput, match="finite and not negative"):
        given_intensity(g_per_kwh)
