"""What a polled power instrument showed over time. Everything about energy is worked out from this, afterwards.

A probe is one device's instrument; polling it gives rows of (asked, answered, joules, watts). A trace is those rows as
arrays; `window.py` integrates them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carbonsweep.errors import BenchError
from carbonsweep.evidence import DeviceState

Clock = Callable[[], float]
Array = NDArray[np.float64]


class MeterError(BenchError):
    """A meter gave no reading; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One quantity a probe reads: where from ("nvml-counter") and what exactly it is.

    `step` is its resolution, in joules or watts. `lag_s` is how old the moment is that a reading stands for: half the
    averaging time of an averaged power, 0 for what is instantaneous.
    """

    source: str
    semantics: str
    step: float
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Joules since an arbitrary start, and watts; None where the probe has no such instrument, or it did not answer."""

    counter_j: float | None
    power_w: float | None


class Probe(Protocol):
    """The power instruments of one device. Making one touches no hardware; `instruments` and `read` do."""

    @property
    def name(self) -> str:
        """Which device: a UUID, "package-0"."""
        ...

    @property
    def power_cap_w(self) -> float | None:
        """The most it may draw, None where nobody tells."""
        ...

    def instruments(self) -> tuple[Instrument | None, Instrument | None]:
        """Counter and power; None for one it does not have. Raises MeterError where it has neither."""
        ...

    def read(self) -> Reading:
        """Both, now. Raises MeterError where the device is gone."""
        ...

    def state(self) -> DeviceState | None:
        """Temperature, clocks, throttling, processes; None for a device that tells none of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Readings in time order, arrays of equal length; NaN where an instrument did not answer.

    A value was taken somewhere between `asked_s` and `answered_s`.
    """

    asked_s: Array
    answered_s: Array
    counter_j: Array
    power_w: Array

    @property
    def taken_s(self) -> Array:
        """Best guess of when each value was taken."""
        return (self.asked_s + self.answered_s) / 2


Row = tuple[float, float, float, float]


def poll(probe: Probe, clock: Clock) -> Row:
    """One row of a trace. Raises MeterError."""
    asked_s = clock()
    reading = probe.read()
    answered_s = clock()
    counter_j = math.nan if reading.counter_j is None else reading.counter_j
    power_w = math.nan if reading.power_w is None else reading.power_w
    return asked_s, answered_s, counter_j, power_w


def trace(rows: list[Row]) -> Trace:
    """Rows as arrays; none is an empty trace."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Trace(asked_s=table[:, 0], answered_s=table[:, 1], counter_j=table[:, 2], power_w=table[:, 3])
