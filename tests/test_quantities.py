"""Quantities as text: their unit, and 'unknown' for what is unknown."""

from __future__ import annotations

from carbonsweep.quantities import change, elapsed, gigabytes, joules, quantity, range_j, seconds_or_unknown, words


def test_what_is_unknown_says_so() -> None:
    assert {quantity(None, "W"), joules(None), gigabytes(None), seconds_or_unknown(None), words(None)} == {"unknown"}
    assert elapsed(None, 1.0) == elapsed(1.0, None) == "unknown"
    assert change(None, 40.0, "°C") == "unknown to 40 °C"
    assert range_j(1.0, None) == " (no bound)"


def test_what_is_known_has_its_unit() -> None:
    assert quantity(312.44, "W") == "312.4 W"
    assert joules(0.0123456) == "0.01235 J"
    assert gigabytes(17.5e9) == "17.5 GB"
    assert seconds_or_unknown(0.02) == "20 ms"
    assert elapsed(10.0, 11.5) == "1.5 s"
    assert change(1980.0, 1755.0, "MHz") == "1980 to 1755 MHz"
    assert range_j(9.5, 10.5) == " (9.5 to 10.5)"


def test_an_empty_list_is_nothing_and_not_unknown() -> None:
    assert words(()) == "nothing"
    assert words(("power cap", "heat")) == "power cap and heat"
