"""Option types, and how a command ends."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import options
from carbonsweep.errors import BadInput, StorageFailed


def end(command: click.Command, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        options.run(command, list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@given(st.floats() | st.text() | st.booleans() | st.none() | st.lists(st.integers()))
def test_a_number_is_finite_and_inside_its_bounds_or_refused(value: object) -> None:
    try:
        number = options.Number(options.SHARE).convert(value, None, None)
    except click.BadParameter:
        return
    assert 0 < number <= 1


@pytest.mark.parametrize("typed", ["nan", "inf", "-inf", "0", "-0.1", "1.01", "", "half", "0x1"])
def test_a_refused_number_is_told_what_would_be_one(typed: str) -> None:
    with pytest.raises(click.BadParameter, match="share above 0 and at most 1"):
        options.Number(options.SHARE).convert(typed, None, None)


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "", "a", "1,", "1,,2", "99999999", "1e3", "True"])
def test_counts_refuse_what_is_no_whole_number_from_1(typed: str) -> None:
    with pytest.raises(click.BadParameter):
        options.Counts().convert(typed, None, None)


def test_lists_are_typed_with_commas_or_read_from_toml() -> None:
    assert options.Counts().convert("1, 2,64", None, None) == (1, 2, 64)
    assert options.Counts().convert([1, 2], None, None) == (1, 2)
    assert options.Words().convert("T4, L4", None, None) == ("T4", "L4")
    assert options.Words().convert(["T4"], None, None) == ("T4",)
    nothing: list[str] = []
    for empty in ("", ",", "T4,,L4", nothing):
        with pytest.raises(click.BadParameter):
            options.Words().convert(empty, None, None)
    with pytest.raises(click.BadParameter):
        options.Counts().convert([True], None, None)


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (BadInput("unknown\nregion"), 2, "carbonsweep: unknown region\n"),
        (StorageFailed("disk full"), 4, "carbonsweep: disk full\n"),
        (KeyboardInterrupt(), 130, "carbonsweep: interrupted\n"),
        (click.UsageError("No such option: --x"), 2, "carbonsweep: No such option: --x\n"),
    ],
)
def test_every_end_is_one_line_and_its_exit_code(
    raised: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def command() -> None:
        raise raised

    assert end(command) == code
    assert capsys.readouterr().err.lstrip("\n") == text


def test_a_commands_return_value_is_its_exit_code() -> None:
    assert end(click.Command("ok", callback=lambda: None)) == 0
    assert end(click.Command("nothing feasible", callback=lambda: 3)) == 3


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(click.Command("x"), "--help") == 0
    assert "Usage" in capsys.readouterr().out
