"""Measuring from the command line: how much and how well, as the options of every such command; and by which bench."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from carbonsweep.errors import BadInput
from carbonsweep.options import NOT_NEGATIVE, SHARE, Bounds, Number

if TYPE_CHECKING:
    from carbonsweep.bench.phases import Effort
    from carbonsweep.bench.power.devices import Instruments
    from carbonsweep.benches import Chosen

PERIOD: Final = Bounds(0.001, 10, "a number of seconds from 0.001 to 10")
CELSIUS: Final = Bounds(0, 120, "a temperature from 0 to 120 °C")

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--interval",
        type=Number(SHARE),
        default=0.03,
        show_default=True,
        help="Repeat until the relative 95 % half-width of J/token, TTFT and TPOT is this small.",
    ),
    click.option(
        "--budget",
        type=Number(NOT_NEGATIVE),
        metavar="S",
        default=120.0,
        show_default=True,
        help="Seconds of repeating for one configuration.",
    ),
    click.option("--repeats", type=click.IntRange(2, 10_000), default=3, show_default=True, help="Repeats at least."),
    click.option(
        "--batches", type=click.IntRange(1, 10_000), default=2, show_default=True, help="Batches in each repeat."
    ),
    click.option(
        "--window-bound",
        type=Number(SHARE),
        default=0.02,
        show_default=True,
        help="Relative bound of the energy meter's error; windows are made that long.",
    ),
    click.option(
        "--power-sampling",
        type=Number(PERIOD),
        metavar="S",
        help="Integrate power read every S seconds (the paper: 0.1). [default: the energy counter first]",
    ),
    click.option(
        "--cool-to",
        type=Number(CELSIUS),
        metavar="C",
        default=55.0,
        show_default=True,
        help="Start when the device has at most this temperature, °C.",
    ),
)


_SERVER: Final = (
    click.option("--endpoint", metavar="URL", help="Of --bench server: an OpenAI-compatible one, http://HOST:PORT/v1."),
    click.option("--served-model", metavar="NAME", help="Of that server. [default: the only one it serves]"),
    click.option(
        "--meter",
        metavar="URL",
        help="Of a server elsewhere: its machine's dcgm-exporter, http://HOST:9400[#GPU-UUID].",
    ),
)


_PLACEMENT: Final = (
    click.option("--model-missing", is_flag=True, help="Of --bench auto: model the GPU kinds that are not there."),
    click.option(
        "--rehearse",
        is_flag=True,
        help="Try machines out: ask for GPUs and read their meters, but work on the CPU. No answer for the GPU.",
    ),
)


def placement_options(command: _Command) -> _Command:
    """Adds what a sweep may do where GPUs are missing, or are to be left alone; `measuring_bench` takes it."""
    for option in reversed(_PLACEMENT):
        command = option(command)
    return command


def measuring_options(command: _Command) -> _Command:
    """Adds the options that `effort` takes."""
    for option in reversed((*_SERVER, *_OPTIONS)):
        command = option(command)
    return command


def effort(options: Mapping[str, Any]) -> Effort:
    """What `measuring_options` put among a command's options, as the protocol wants it. Raises BadInput."""
    from carbonsweep.bench.phases import Effort

    return Effort(
        batches=options["batches"],
        repeats=options["repeats"],
        interval=options["interval"],
        budget_s=options["budget"],
        window_bound=options["window_bound"],
        power_sampling_s=options["power_sampling"],
        cool_to_c=options["cool_to"],
    )


def measuring_bench(
    options: Mapping[str, Any],
    *,
    bench: str,
    weights: str,
    models: tuple[str, ...] | None,
    gpus: tuple[str, ...] | None,
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None = None,
    present: tuple[str, ...] | None = None,
    where: str = "this machine",
) -> Chosen:
    """The bench of a name (auto, roofline, transformers, server) with what `measuring_options` put among `options`.

    So for `placement_options`, where the command has them. `present` are the GPU kinds of the nodes of a cluster,
    called `where`; None looks at this machine.
    Raises BadInput where it cannot measure, or an option belongs to another bench.
    """
    if bench == "server":
        if weights != "auto":
            raise BadInput(f"--weights {weights} is for --bench transformers: a server has loaded its own")
        for name in ("model_missing", "rehearse"):
            if options.get(name):
                raise BadInput(f"--{name.replace('_', '-')} does not go with --bench server: it measures what serves")
        return _server(options, models or (), gpus or (), dtypes or ())
    for option in ("endpoint", "served_model", "meter"):
        if options[option] is not None:
            raise BadInput(f"--{option.replace('_', '-')} {options[option]} is for --bench server")
    from carbonsweep import benches

    return benches.choose(
        bench,
        weights=weights,
        gpus=gpus,
        dtypes=dtypes,
        engines=engines,
        effort=effort(options),
        model_missing=options.get("model_missing", False),
        rehearse=options.get("rehearse", False),
        present=present,
        where=where,
    )


def _server(
    options: Mapping[str, Any], models: tuple[str, ...], gpus: tuple[str, ...], dtypes: tuple[str, ...]
) -> Chosen:
    """What serves cannot be seen from outside, so it is named: one model, one GPU kind, one dtype."""
    if options["endpoint"] is None:
        raise BadInput("--bench server needs --endpoint http://HOST:PORT/v1")
    missing = [package for package in ("httpx2", "scipy") if importlib.util.find_spec(package) is None]
    if missing:
        raise BadInput(f"--bench server needs {' and '.join(missing)}: pip install 'carbonsweep[measure]'")
    if any(len(named) != 1 for named in (models, gpus, dtypes)):
        raise BadInput("--bench server does not see what serves: name one model, one GPU kind and one dtype")
    from carbonsweep import facts
    from carbonsweep.bench.endpoint.probe import served
    from carbonsweep.bench.server import ENGINE, ServerBench
    from carbonsweep.benches import Chosen

    kind = facts.device_key(gpus[0])
    facts.language_model(models[0])  # a typo is reported before the server is asked
    found, asked = served(options["endpoint"], options["served_model"]), effort(options)
    meters, protocol = _meters(kind, asked, options["meter"], local=found.local)
    where = "this machine" if found.local else found.host
    unknown = "" if meters.probes else f", its joules unknown: {meters.flaw or f'no {kind} to be seen here'}"
    return Chosen(
        bench=ServerBench(
            served=found,
            effort=asked,
            instruments=meters,
            power_protocol=protocol,
        ),
        gpus=(kind,),
        dtypes=dtypes,
        engines=(ENGINE,),
        statement=f"Measured from outside: {found.model} served by {found.engine_version} on {where}{unknown}.",
    )


def _meters(kind: str, asked: Effort, meter: str | None, *, local: bool) -> tuple[Instruments, str]:
    """What reads the joules of the machine that serves, and its name in the reuse key.

    Raises BadInput for several GPUs of the kind: those that do not serve would be counted with the one that does.
    """
    from carbonsweep import facts
    from carbonsweep.bench.power.dcgm import dcgm_probes
    from carbonsweep.bench.power.devices import UNMETERED, Instruments, instruments, power_protocol

    if meter is not None:
        address, _, uuid = meter.partition("#")
        there = dcgm_probes(address, uuids=(uuid,)) if uuid else dcgm_probes(address, kind=kind)
        if len(there) > 1:
            named = ", ".join(probe.name for probe in there)
            raise BadInput(f"--meter {meter} shows several {kind}: say which one serves with #UUID after it ({named})")
        sampled_s = asked.power_sampling_s
        return Instruments(probes=there), "dcgm-exporter" + (f", power every {sampled_s:g} s" if sampled_s else "")
    if not local:
        return Instruments(probes=(), flaw="no meter here reads them; name that machine's with --meter"), UNMETERED
    found = instruments(kind, asked.power_sampling_s)
    if kind != facts.CPU and len(found.probes) > 1:
        raise BadInput(
            f"this machine has {len(found.probes)} {kind}, and which one serves is unknown: show that one alone with "
            "CUDA_VISIBLE_DEVICES"
        )
    return found, power_protocol(kind, asked.power_sampling_s) if found.probes else UNMETERED
