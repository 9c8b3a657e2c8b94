"""Measuring from the command line: how much and how well, as the options of every such command; and by which bench."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
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


def measuring_options(command: _Command) -> _Command:
    """Adds the options that `effort` takes."""
    for option in reversed(_OPTIONS):
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
    asked: Effort,
    *,
    bench: str,
    endpoint: str | None,
    weights: str,
    models: tuple[str, ...],
    gpu: str | None,
    dtypes: tuple[str, ...] | None,
) -> Chosen:
    """The bench of the options ("transformers", "server"), on its device. Raises BadInput where it cannot measure."""
    if bench == "server":
        if weights != "auto":
            raise BadInput(f"--weights {weights} is for --bench transformers: a server has loaded its own")
        return _server(asked, endpoint, models, gpu, dtypes)
    if endpoint is not None:
        raise BadInput(f"--endpoint {endpoint} is for --bench server")
    from carbonsweep import benches
    from carbonsweep.bench.transformers import TransformersBench

    gpus = None if gpu is None else (gpu,)
    chosen = benches.choose("transformers", weights=weights, gpus=gpus, dtypes=dtypes, engines=None)
    return replace(chosen, bench=TransformersBench(weights=weights, effort=asked))


def _server(
    asked: Effort, endpoint: str | None, models: tuple[str, ...], gpu: str | None, dtypes: tuple[str, ...] | None
) -> Chosen:
    """What serves cannot be seen from outside, so it is named: one model, one GPU kind, one dtype."""
    if endpoint is None:
        raise BadInput("--bench server needs --endpoint http://HOST:PORT/v1")
    if gpu is None or dtypes is None or len(dtypes) != 1 or len(models) != 1:
        raise BadInput("--bench server does not see what serves: name it, with one --model, one --gpu and one --dtype")
    from carbonsweep import facts
    from carbonsweep.bench.endpoint.probe import served
    from carbonsweep.bench.power.devices import UNMETERED, Instruments, power_protocol
    from carbonsweep.bench.server import ENGINE, ServerBench
    from carbonsweep.benches import Chosen

    kind = facts.device_key(gpu)
    facts.language_model(models[0])  # a typo is reported before the server is asked
    found = served(endpoint)
    meters = _meters(kind, asked) if found.local else Instruments(probes=(), flaw="no meter here reads them")
    where = "this machine" if found.local else found.host
    unknown = "" if meters.probes else f", its joules unknown: {meters.flaw or f'no {kind} to be seen here'}"
    return Chosen(
        bench=ServerBench(
            served=found,
            effort=asked,
            instruments=meters,
            power_protocol=power_protocol(kind, asked.power_sampling_s) if meters.probes else UNMETERED,
        ),
        gpus=(kind,),
        dtypes=dtypes,
        engines=(ENGINE,),
        statement=f"Measured from outside: {found.model} served by {found.engine_version} on {where}{unknown}.",
    )


def _meters(kind: str, asked: Effort) -> Instruments:
    """Raises BadInput for several GPUs of the kind: those that do not serve would be counted with the one that does."""
    from carbonsweep import facts
    from carbonsweep.bench.power.devices import instruments

    found = instruments(kind, asked.power_sampling_s)
    if kind != facts.CPU and len(found.probes) > 1:
        raise BadInput(
            f"this machine has {len(found.probes)} {kind}, and which one serves is unknown: show that one alone with "
            "CUDA_VISIBLE_DEVICES"
        )
    return found
