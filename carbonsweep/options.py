"""The command line's vocabulary: option types, the groups commands share, and how a command ends.

Nothing heavy is imported here, so `--help` is quick. Every number is checked where it is typed: NaN and infinity are no
numbers to us.
"""

from __future__ import annotations

import io
import math
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from carbonsweep.bench.prompt_formats import PROMPT_FORMATS, TEMPLATES
from carbonsweep.domain import EMBODIED_PRESETS
from carbonsweep.errors import EXIT_INTERRUPTED, BadInput, CarbonsweepError, closest
from carbonsweep.second_life_option import second_life_option

Command = TypeVar("Command", bound=Callable[..., Any])

FUNCTIONAL_UNITS: Final = ("1k-output-tokens", "output-token", "prompt", "prompt-token")


@dataclass(frozen=True, slots=True)
class Bounds:
    """A closed interval, and what a message calls it."""

    low: float
    high: float
    text: str


# Wide enough for any machine, narrow enough that no product of them overflows or vanishes.
POSITIVE: Final = Bounds(1e-9, 1e9, "a finite number above 0 (from 1e-9 to 1e9)")
NOT_NEGATIVE: Final = Bounds(0, 1e9, "a finite number, 0 or more (up to 1e9)")
SHARE: Final = Bounds(1e-6, 1, "a share above 0 and at most 1 (from 1e-6)")
PUE: Final = Bounds(1, 100, "a finite number, 1 or more (up to 100)")
YEARS: Final = Bounds(0.01, 1000, "a finite number of years above 0 (from 0.01 to 1000)")


class Number(click.ParamType[float]):
    """A finite float inside `bounds`; refuses NaN, infinity and booleans."""

    name = "number"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not self.bounds.low <= number <= self.bounds.high:
            self.fail(f"{value!r} is not {self.bounds.text}", param, ctx)
        return number


class Words(click.ParamType[tuple[str, ...]]):
    """A comma-separated list, or a TOML array of strings."""

    name = "a,b,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        words = tuple(str(part).strip() for part in parts)
        if not words or not all(words):
            self.fail(f"{value!r} has an empty entry: list at least one value, separated by commas", param, ctx)
        return words


class Counts(click.ParamType[tuple[int, ...]]):
    """A comma-separated list of whole numbers, each at least 1, or a TOML array of them."""

    name = "n,m,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        counts = tuple(self._count(part, param, ctx) for part in parts)
        if not counts:
            self.fail("the list is empty: give at least one whole number, 1 or more", param, ctx)
        return counts

    def _count(self, part: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            count = int(part) if isinstance(part, int) and not isinstance(part, bool) else int(str(part).strip())
        except ValueError:
            count = 0
        if not 1 <= count <= 2**20:
            self.fail(f"{str(part)!r} is not a whole number from 1 to {2**20}", param, ctx)
        return count


def _experiment(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Make the file's keys the defaults of this command: what is typed wins over what is in the file."""
    if value is None:
        return
    try:
        table = tomllib.loads(value.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"--experiment {value}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"--experiment {value}: not valid TOML ({error})") from error
    options = {p.name: p for p in ctx.command.params if p.name not in ("experiment", "help", None)}
    defaults: dict[str, Any] = {}
    for written, entry in table.items():
        key = written.replace("-", "_")
        if key in defaults:
            raise BadInput(f"--experiment {value}: {key!r} is set twice, with a dash and with an underscore")
        defaults[key] = entry
    for key, entry in defaults.items():
        if key not in options:
            near = closest(key, [name for name in options if name])
            hint = f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(sorted(map(str, options)))}"
            raise BadInput(f"--experiment {value}: unknown key {key!r}: {hint}")
        _check_type(value, options[key], entry)
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _check_type(file: Path, option: click.Parameter, entry: Any) -> None:
    """Refuse what an option type would bend into something else: 150.7 tokens, a number as a path, true as 1."""
    number = isinstance(entry, int) and not isinstance(entry, bool)
    if isinstance(option.type, click.IntRange) and not number:
        raise BadInput(f"--experiment {file}: {option.name} is {entry!r}, expected a whole number")
    if isinstance(option.type, click.Path | click.Choice | click.types.StringParamType) and not isinstance(entry, str):
        raise BadInput(f"--experiment {file}: {option.name} is {entry!r}, expected a text in quotes")


def experiment_option(command: Command) -> Command:
    """A TOML file of options."""
    return click.option(
        "--experiment",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_experiment,
        help="TOML file whose keys are options of this command; options typed here win.",
    )(command)


def question_options(command: Command) -> Command:
    """Objectives and limits."""
    return _apply(
        command,
        click.option(
            "--objective",
            type=Words(),
            default="carbon",
            show_default=True,
            help="One or several of carbon, energy, latency, ttft, tpot, throughput; several give a Pareto front.",
        ),
        click.option("--slo-ttft", type=Number(POSITIVE), metavar="S", help="Limit on time to first token, seconds."),
        click.option("--slo-tpot", type=Number(POSITIVE), metavar="S", help="Limit on time per output token, seconds."),
        click.option("--slo-latency", type=Number(POSITIVE), metavar="S", help="Limit on prompt latency, seconds."),
    )


def space_options(command: Command) -> Command:
    """The axes of the search."""
    return _apply(
        command,
        click.option(
            "--models",
            type=Words(),
            help="Models to try. [default: the paper's TinyLlama-1.1B, OpenLLaMA-3B, LLaMA-7B]",
        ),
        click.option(
            "--gpus",
            type=Words(),
            help="GPU kinds, or CPU. [default: T4,RTX6000Ada modelled; what is present measured]",
        ),
        click.option("--gpu-counts", type=Counts(), default="1", show_default=True, help="GPUs per replica."),
        click.option(
            "--batch-sizes", type=Counts(), default="1,2,4,8,16,32,64", show_default=True, help="Prompts per batch."
        ),
        click.option("--dtypes", type=Words(), help="Of fp16, bf16, fp32. [default: fp16; fp32 on a CPU]"),
        click.option(
            "--engine", type=Words(), help="Serving stacks: paper, healthy, vllm, ... (modelled), transformers (both)."
        ),
    )


def workload_options(command: Command) -> Command:
    """What is served."""
    return _apply(
        command,
        click.option(
            "--prompts",
            metavar="PATH|HUB_ID",
            help="Prompt file (.json, .jsonl, .csv, .txt, .parquet), or a data set on the hub: org/name or "
            "org/name:split. [default: a built-in set]",
        ),
        click.option(
            "--prompt-format",
            type=click.Choice(PROMPT_FORMATS),
            default="auto",
            show_default=True,
            help="Of --prompts: Alpaca, ShareGPT (its first human turns), plain; auto goes by the columns.",
        ),
        click.option(
            "--template",
            type=click.Choice(TEMPLATES),
            default="none",
            show_default=True,
            help="Text around each prompt: none, or the one Alpaca was trained with.",
        ),
        click.option(
            "--output-tokens", type=click.IntRange(2, 2**17), default=150, show_default=True, help="Tokens per answer."
        ),
        click.option(
            "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of prompts and search."
        ),
    )


def scenario_options(command: Command) -> Command:
    """What turns joules and seconds into grams; None means "as before" for re-pricing, else the default shown."""
    return _apply(
        command,
        click.option(
            "--region", help="Grid: QC, CISO, PACE (the paper's), or an Electricity Maps zone such as DE or CA-QC."
        ),
        click.option(
            "--carbon-intensity-g-per-kwh", type=Number(NOT_NEGATIVE), metavar="G", help="Instead of a region."
        ),
        click.option(
            "--intensity-basis",
            type=click.Choice(["lifecycle", "direct"]),
            help="Of the region's intensity. [default: lifecycle]",
        ),
        click.option("--lifetime-years", type=Number(YEARS), metavar="Y", help="GPU lifetime. [default: 5]"),
        click.option("--pue", type=Number(PUE), metavar="X", help="Facility over IT energy. [default: 1]"),
        click.option(
            "--utilisation", type=Number(SHARE), metavar="U", help="Busy share of the GPU's life. [default: 1]"
        ),
        click.option(
            "--embodied",
            type=click.Choice(EMBODIED_PRESETS),
            help="Embodied carbon preset. [default: the first that knows every GPU]",
        ),
        click.option("--host-power-w", type=Number(NOT_NEGATIVE), metavar="W", help="Host power per GPU. [default: 0]"),
        click.option(
            "--host-embodied-kg",
            type=Number(NOT_NEGATIVE),
            metavar="KG",
            help="Host embodied carbon per GPU. [default: 0]",
        ),
        click.option(
            "--assume-power-w",
            type=Number(POSITIVE),
            metavar="W",
            help="Mean power per device where no meter exists; the price says 'assumed'.",
        ),
        click.option(
            "--functional-unit",
            type=click.Choice(FUNCTIONAL_UNITS),
            help="Of grams and joules. [default: 1k-output-tokens]",
        ),
        second_life_option,
    )


def _apply(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def run(command: click.Command, arguments: list[str] | None = None, name: str | None = None) -> NoReturn:
    """Run `command` and exit with the codes of `errors`; what the user got wrong is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without µ shows ?, it does not end the answer
    sys.exit(_exit_code(command, arguments, name))


def _exit_code(command: click.Command, arguments: list[str] | None, name: str | None) -> int:
    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _report(error.format_message(), error.exit_code)
    except CarbonsweepError as error:
        return _report(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", EXIT_INTERRUPTED)
    return code if isinstance(code, int) else 0


def _report(message: str, code: int) -> int:
    print(f"carbonsweep: {' '.join(message.split())}", file=sys.stderr)
    return code
