"""What the phases ask of a meter: the energy of any stretch of time since it was entered, and how the devices fared."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Protocol

from carbonsweep.bench.power.window import Span
from carbonsweep.evidence import Conditions, EnergyWindow

Phase = Literal["prefill", "decode", "whole", "idle", "bare-idle"]


class Meter(Protocol):
    """What the phases ask of a meter; a test may count instead."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices whose joules are the measurement's; others (the host's) are kept beside them."""
        ...

    @property
    def least_window_s(self) -> float:
        """How long a window must be for the bound that was asked for."""
        ...

    @property
    def refresh_s(self) -> float:
        """The slowest refresh period among the devices."""
        ...

    @property
    def found_refresh_s(self) -> float | None:
        """The same as found on the devices, None where it could not be and `refresh_s` is the usual one."""
        ...

    @property
    def guard_s(self) -> float:
        """How long the same work goes on before and after a window, so that no idle time reaches into it."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What could not be read beside the devices."""
        ...

    @property
    def poll_s(self) -> float | None:
        """How often the devices are read."""
        ...

    def __enter__(self) -> Meter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def windows(self, phase: Phase, spans: Sequence[Span], runs: float) -> tuple[EnergyWindow, ...]:
        """One per device, of spans in which the same work was done `runs` times in all; waits for the readings."""
        ...

    def is_enough(self, spans: Sequence[Span]) -> bool:
        """Whether spans are together long enough for the bound that was asked for."""
        ...

    def begin_conditions(self) -> None:
        """Conditions are those from now on."""
        ...

    def temperature_c(self) -> float | None:
        """The hottest device, None where none tells."""
        ...

    def conditions(self) -> tuple[Conditions, ...]:
        """Of each device since `begin_conditions`."""
        ...
