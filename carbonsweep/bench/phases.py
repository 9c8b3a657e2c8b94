"""The measuring protocol every real bench follows: cool down, warm up, repeat until resolved, check, write evidence.

One repeat runs a fixed, seeded list of batches in a new random order, each phase in a window of its own. The spread of
repeats is the error; the spread from batch to batch belongs to the workload, is kept apart and never stops anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from carbonsweep.bench.power.meter import Meter
from carbonsweep.bench.power.sampling import SampledMeter
from carbonsweep.bench.power.trace import Clock, Probe
from carbonsweep.bench.statistics import half_width
from carbonsweep.errors import BadInput
from carbonsweep.evidence import EnergyWindow, Stop

COOL_WAIT_S: Final = 60.0
"""The longest wait for a device to cool down; a measurement that starts hotter is marked."""
COOL_LOOK_S: Final = 0.5
SETTLE_S: Final = 2.0
"""After work, before idle power is taken: clocks fall within about a second."""
LEAST_IDLE_S: Final = 2.0
IDLE_PERIODS: Final = 30
"""Refresh periods in an idle window: its bound is then about 5 %, enough for what is charged beside the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured, and how well it must be known.

    `batches` in the fixed list; at least `repeats` passes over it, and more until the 95 % half-width of J/token, TTFT
    and TPOT is at most `interval` of their means, or `budget_s` seconds are spent. Windows are made long enough for
    the meter's bound to be `window_bound`. `power_sampling_s` asks for the paper's protocol (0.1). Measuring starts
    when every device is at most `cool_to_c`. Raises BadInput.
    """

    batches: int = 2
    repeats: int = 3
    interval: float = 0.03
    budget_s: float = 120.0
    window_bound: float = 0.02
    power_sampling_s: float | None = None
    cool_to_c: float = 55.0
    warm_up_runs: int = 1

    def __post_init__(self) -> None:
        if self.batches < 1 or self.repeats < 2 or self.warm_up_runs < 0:
            raise BadInput(
                f"batches {self.batches}, repeats {self.repeats}, warm-ups {self.warm_up_runs}: "
                "at least 1, 2 (or there is no interval) and 0"
            )
        if not (0 < self.interval < 1 and 0 < self.window_bound < 1 and 0 <= self.budget_s < 1e9):
            raise BadInput(
                f"interval {self.interval}, window bound {self.window_bound}, budget {self.budget_s} s: "
                "two shares between 0 and 1, and seconds from 0"
            )
        if self.power_sampling_s is not None and not 0.001 <= self.power_sampling_s <= 10:
            raise BadInput(f"power sampling every {self.power_sampling_s} s: from 0.001 to 10 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSample:
    """One repeat of one phase: seconds of the mean batch, of each batch in the order of the list, and its windows.

    A run of a window is a batch, whichever it was; `requests_s` are single requests where a bench sees them: until
    the first token in prefill, from the first to the last in decode.
    """

    run_s: float
    batch_s: tuple[float, ...]
    windows: tuple[EnergyWindow, ...] = ()
    requests_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One pass over all batches; `latencies_s` are prompt latencies of single requests where a bench sees them."""

    prefill: PhaseSample
    decode: PhaseSample
    latencies_s: tuple[float, ...] = ()


class Runner(Protocol):
    """What a bench supplies: how its batches are run. Windows of a meter are at least `meter.least_window_s` long."""

    @property
    def batches(self) -> int:
        """Length of the fixed list."""
        ...

    def warm_up(self, runs: int) -> None:
        """Bring everything to the state in which it is measured."""
        ...

    def repeat(self, order: Sequence[int], meter: Meter | None) -> Repeat:
        """Both phases of every batch, in this order."""
        ...

    def whole(self, order: Sequence[int], meter: Meter | None) -> PhaseSample:
        """Every batch from prefill to its last token as one run, for the closure check."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the protocol gathered, before it becomes a `Measurement`; `orders` are those of the batches, by repeat."""

    repeats: tuple[Repeat, ...]
    orders: tuple[tuple[int, ...], ...]
    whole: PhaseSample
    stopped_by: Stop
    half_width: float
    cooled_s: float | None
    start_c: float | None


def measured(
    runner: Runner, effort: Effort, *, seed: int, meter: Meter | None, clock: Clock, sleep: Callable[[float], None]
) -> Measured:
    """Follow the protocol; the meter, if there is one, is entered already."""
    cooled_s, start_c = cool_down(meter, effort.cool_to_c, clock, sleep)
    runner.warm_up(effort.warm_up_runs)
    if meter is not None:
        meter.begin_conditions()
    dealer = random.Random(seed)
    repeats: list[Repeat] = []
    orders: list[tuple[int, ...]] = []
    begin_s = clock()
    while True:
        orders.append(_order(dealer, runner.batches))
        repeats.append(runner.repeat(orders[-1], meter))
        if len(repeats) < effort.repeats:
            continue
        width = widest(repeats, meter)
        if width <= effort.interval:
            stopped_by: Stop = "interval"
            break
        spent_s = clock() - begin_s
        if spent_s * (1 + 1 / len(repeats)) > effort.budget_s:
            stopped_by = "budget"
            break
    return Measured(
        repeats=tuple(repeats),
        orders=tuple(orders),
        whole=runner.whole(_order(dealer, runner.batches), meter),
        stopped_by=stopped_by,
        half_width=width,
        cooled_s=cooled_s,
        start_c=start_c,
    )


def sampled_meter(
    effort: Effort,
    probes: tuple[Probe, ...],
    hosts: tuple[Probe, ...],
    *,
    clock: Clock,
    sleep: Callable[[float], None],
) -> SampledMeter:
    """The meter of an effort over `probes`, with `hosts` beside them."""
    return SampledMeter(
        probes=probes,
        hosts=hosts,
        power_sampling_s=effort.power_sampling_s,
        bound=effort.window_bound,
        clock=clock,
        sleep=sleep,
    )


def _order(dealer: random.Random, count: int) -> tuple[int, ...]:
    return tuple(dealer.sample(range(count), count))


def widest(repeats: Sequence[Repeat], meter: Meter | None) -> float:
    """The widest relative 95 % half-width among TTFT, TPOT and the joules of both phases; unknown joules count not."""
    series = [[each.prefill.run_s for each in repeats], [each.decode.run_s for each in repeats]]
    if meter is not None:
        for phase in ("prefill", "decode"):
            joules = [run_j(getattr(each, phase).windows, meter.devices) for each in repeats]
            known = [each for each in joules if each is not None]
            if len(known) == len(joules):
                series.append(known)
    return max(half_width(each) for each in series)


def run_j(windows: Sequence[EnergyWindow], devices: Sequence[str]) -> float | None:
    """Joules of the mean batch, over `devices`: windows of one device are averaged, devices added; None if unknown."""
    total_j = 0.0
    for device in devices:
        mine = [each for each in windows if each.device == device]
        if not mine or any(each.flaw is not None for each in mine):
            return None
        total_j += sum(each.readings[0].joules / each.runs for each in mine) / len(mine)
    return total_j if devices else None


def cool_down(
    meter: Meter | None, cool_to_c: float, clock: Clock, sleep: Callable[[float], None]
) -> tuple[float | None, float | None]:
    """Wait until every device is at most `cool_to_c`; seconds waited and the temperature then, None where unknown."""
    if meter is None or meter.temperature_c() is None:
        return None, None
    begin_s = clock()
    while (hot := meter.temperature_c()) is not None and hot > cool_to_c and clock() - begin_s < COOL_WAIT_S:
        sleep(COOL_LOOK_S)
    return clock() - begin_s, meter.temperature_c()


def idle(
    meter: Meter, phase: Literal["idle", "bare-idle"], clock: Clock, sleep: Callable[[float], None]
) -> tuple[EnergyWindow, ...]:
    """A window in which nothing is done, after the device has settled."""
    sleep(SETTLE_S)
    begin_s = clock()
    sleep(max(LEAST_IDLE_S, IDLE_PERIODS * meter.refresh_s))
    return meter.windows(phase, [(begin_s, clock())], 1)


def idle_w(windows: Sequence[EnergyWindow], devices: Sequence[str]) -> float | None:
    """Mean power of all devices in an idle window, None where unknown."""
    joules = run_j(windows, devices)
    return None if joules is None else joules / windows[0].duration_s
