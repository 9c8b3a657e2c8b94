"""The command line's vocabulary: the groups of options commands share, and how a command ends.

Nothing heavy is imported here, so `--help` is quick.
"""

from __future__ import annotations

import errno
import io
import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import click

from carbonsweep.bench.prompt_formats import PROMPT_FORMATS, TEMPLATES
from carbonsweep.errors import EXIT_INTERRUPTED, BadInput, CarbonsweepError, StorageFailed, closest
from carbonsweep.option_types import FUNCTIONAL_UNITS as FUNCTIONAL_UNITS
from carbonsweep.option_types import NOT_NEGATIVE as NOT_NEGATIVE
from carbonsweep.option_types import POSITIVE as POSITIVE
from carbonsweep.option_types import PUE as PUE
from carbonsweep.option_types import SHARE as SHARE
from carbonsweep.option_types import YEARS as YEARS
from carbonsweep.option_types import Bounds as Bounds
from carbonsweep.option_types import Command, applied
from carbonsweep.option_types import Counts as Counts
from carbonsweep.option_types import Number as Number
from carbonsweep.option_types import Words as Words
from carbonsweep.quality_options import quality_options as quality_options
from carbonsweep.scenario_options import scenario_options as scenario_options


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
    return applied(
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


def question_again_options(command: Command) -> Command:
    """Objectives and limits of a sweep that was answered, asked again; for `inputs.question_again`."""
    before = "[default: as in the sweep]"
    return applied(
        command,
        click.option("--objective", type=Words(), help=f"Ask for something else. {before}"),
        click.option("--slo-ttft", type=Number(POSITIVE), metavar="S", help=before),
        click.option("--slo-tpot", type=Number(POSITIVE), metavar="S", help=before),
        click.option("--slo-latency", type=Number(POSITIVE), metavar="S", help=before),
        click.option("--no-slo", is_flag=True, help="Lift the sweep's limits; those given here still hold."),
    )


def space_options(command: Command) -> Command:
    """The axes of the search."""
    return applied(
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
    return applied(
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
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stdout = io.StringIO()  # what is left in the full one must not be flushed again at the end
        return _report("the output cannot be written: no space left on device", StorageFailed.exit_code)
    return code if isinstance(code, int) else 0


def _report(message: str, code: int) -> int:
    print(f"carbonsweep: {' '.join(message.split())}", file=sys.stderr)
    return code
