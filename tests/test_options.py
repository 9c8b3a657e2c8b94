"""Option types, and how a command ends."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

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


def workload_asked(*arguments: str) -> dict[str, Any]:
    asked: dict[str, Any] = {}

    @options.experiment_option
    @options.workload_options
    def take(**given: Any) -> None:
        asked.update(given)

    end(click.command()(take), *arguments)
    return asked


def test_the_workload_is_the_built_in_one_of_150_tokens_unless_asked_otherwise() -> None:
    defaults = {"prompts": None, "prompt_format": "auto", "template": "none", "output_tokens": 150, "seed": 0}
    assert workload_asked() == defaults
    given = workload_asked("--prompts", "tatsu-lab/alpaca:train", "--prompt-format", "alpaca", "--template", "alpaca")
    assert given == {**defaults, "prompts": "tatsu-lab/alpaca:train", "prompt_format": "alpaca", "template": "alpaca"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--prompt-format", "json"), "'json' is not one of 'auto', 'alpaca', 'sharegpt', 'plain'"),
        (("--template", "llama"), "'llama' is not one of 'none', 'alpaca'"),
        (("--output-tokens", "1"), "1 is not in the range 2<=x<=131072"),
    ],
)
def test_a_refused_workload_option_is_told_what_would_be_valid(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workload_asked(*arguments) == {}
    assert text in capsys.readouterr().err


def test_an_experiment_names_prompts_and_template_as_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "question.toml"
    file.write_text('prompts = "set.jsonl"\nprompt-format = "plain"\ntemplate = "alpaca"\n', encoding="utf-8")
    asked = workload_asked("--experiment", str(file))
    assert (asked["prompts"], asked["prompt_format"], asked["template"]) == ("set.jsonl", "plain", "alpaca")
    file.write_text("prompts = 5\n", encoding="utf-8")
    assert workload_asked("--experiment", str(file)) == {}
    assert "prompts is 5, expected a text in quotes" in capsys.readouterr().err


def test_an_output_on_a_full_disk_is_one_line_and_4(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def command() -> None:
        print("answer", flush=True)

    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert end(command) == 4
        with contextlib.suppress(OSError):
            full.close()
