"""A result that was not measured on its GPU says so."""

from __future__ import annotations

from carbonsweep.bench.basis import basis_words, unless_measured


def test_a_rehearsal_names_what_it_used_and_each_gpu_it_did_not() -> None:
    assert basis_words("rehearsed", ["T4", "L4", "T4"]) == "rehearsed on the CPU, not measured on T4, L4"


def test_a_model_says_that_it_is_no_measurement_and_a_measurement_needs_no_more_words() -> None:
    assert basis_words("modelled", ["T4"]) == "modelled, not measured"
    assert basis_words("measured", ["T4"]) == "measured"


def test_only_what_was_measured_goes_without_an_addition() -> None:
    assert unless_measured("measured", "T4") == ""
    assert unless_measured("modelled", "T4") == ", modelled, not measured"
    assert unless_measured("rehearsed", "T4") == ", rehearsed on the CPU, not measured on T4"
