"""Joules of a whole trial: energy counters read when it begins and when it ends, whatever happens in between.

No windows, no bounds: over a trial of seconds and more, the refresh period of a counter at each end is little. What a
counter does not tell is unknown, and no failure of a meter is one of the trial.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final

from carbonsweep.bench.power.devices import Instruments, instruments
from carbonsweep.bench.power.rapl import RaplProbe
from carbonsweep.bench.power.trace import MeterError, Probe
from carbonsweep.domain import Configuration
from carbonsweep.facts import CPU

GPUS_OF_MACHINE: Final = Path("/proc/driver/nvidia/gpus")
"""A folder for each GPU of the machine, also for one that CUDA_VISIBLE_DEVICES hides from this process.
Source: NVIDIA Linux driver README, "Using the /proc File System Interface"."""

POLL_S: Final = 30.0
"""RAPL's counter wraps after minutes at full load, and of two wraps between readings one would go unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Joules, by which counters; None where they are unknown, and `flaw` says why."""

    energy_j: float | None
    source: str | None = None
    flaw: str | None = None


@dataclass(slots=True)
class _Counter:
    """One probe's counter between two readings."""

    probe: Probe
    source: str = ""
    begin_j: float | None = None
    joules: float | None = None
    flaw: str | None = None

    def begin(self) -> None:
        """The first reading."""
        self._guarded(self._first)

    def poll(self) -> None:
        """A reading in between, so that no wrap goes unseen."""
        if self.flaw is None:
            self._guarded(self._now_j)

    def end(self) -> None:
        """The last reading; joules since the first where both are sound."""
        if self.flaw is None:
            self._guarded(self._last)

    def _first(self) -> None:
        counter, _ = self.probe.instruments()
        if counter is None:
            raise MeterError(f"{self.probe.name} has no energy counter")
        self.source, self.begin_j = counter.source, self._now_j()

    def _last(self) -> None:
        assert self.begin_j is not None, "a counter that never began has a flaw"
        used_j = self._now_j() - self.begin_j
        if used_j < 0:
            raise MeterError(f"the energy counter of {self.probe.name} went backwards: it was reset in mid-trial")
        if used_j == 0:
            raise MeterError(f"the energy counter of {self.probe.name} stood still from begin to end of the trial")
        self.joules = used_j

    def _now_j(self) -> float:
        counted_j = self.probe.read().counter_j
        if counted_j is None:
            raise MeterError(f"the energy counter of {self.probe.name} gave no reading")
        return counted_j

    def _guarded(self, read: Callable[[], object]) -> None:
        """Whatever a reader raises, the trial goes on."""
        try:
            read()
        except Exception as error:
            self.flaw = str(error) if isinstance(error, MeterError) else f"{type(error).__name__}: {error}"


@dataclass(slots=True, kw_only=True)
class Spending:
    """The counters of one trial, as a context manager around it; `drawn` tells, afterwards, what it took.

    `probes` are of the GPUs it may be on, and it takes `taken` of them, None for all; `hosts` count their machine, of
    which `host_share` is the trial's, None for unknown. `flaw` is why there is no probe.
    """

    probes: Sequence[Probe]
    taken: int | None = None
    hosts: Sequence[Probe] = ()
    host_share: Fraction | None = None
    flaw: str | None = None
    poll_s: float = POLL_S
    _devices: list[_Counter] = field(default_factory=list, init=False)
    _machine: list[_Counter] = field(default_factory=list, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _poller: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Spending:
        self._devices = [_Counter(probe) for probe in self.probes]
        self._machine = [_Counter(probe) for probe in self.hosts] if self.host_share else []
        for counter in self._all():
            counter.begin()
        if wrapping := [counter for counter in self._all() if isinstance(counter.probe, RaplProbe)]:
            self._poller = threading.Thread(target=self._poll, args=(wrapping,), daemon=True, name="trial joules")
            self._poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._poller is not None:
            self._poller.join()
        for counter in self._all():
            counter.end()

    def drawn(self, uuid: str | None = None) -> Drawn:
        """What the trial took. `uuid` names the GPU it was on, where that is known: of several, only its joules count.

        The host's are left out where they are unknown; `source` says what is in.
        """
        mine = self._mine(uuid)
        flaws = list(dict.fromkeys(counter.flaw for counter in mine if counter.flaw is not None))
        joules = [counter.joules for counter in mine if counter.joules is not None]
        if not mine or flaws:
            return Drawn(energy_j=None, flaw="; ".join(flaws) or self._why())
        host_j = self._host_j()
        sources = dict.fromkeys(counter.source for counter in mine)
        if host_j is not None:
            sources |= dict.fromkeys(_part(self.host_share, counter.source) for counter in self._machine)
        return Drawn(energy_j=sum(joules) + (host_j or 0.0), source=" + ".join(sources))

    def _mine(self, uuid: str | None) -> list[_Counter]:
        """Counters of the devices the trial was on; none where that cannot be told."""
        if self.taken is None or len(self._devices) == self.taken:
            return self._devices
        named = [counter for counter in self._devices if counter.probe.name == uuid]
        return named if len(named) == self.taken else []

    def _host_j(self) -> float | None:
        known = [counter.joules for counter in self._machine if counter.joules is not None]
        if self.host_share is None or not known or len(known) < len(self._machine):
            return None
        return float(self.host_share) * sum(known)

    def _why(self) -> str:
        return self.flaw or f"{len(self._devices)} GPUs can be read here, and which of them the trial was on is unknown"

    def _all(self) -> list[_Counter]:
        return [*self._devices, *self._machine]

    def _poll(self, counters: Iterable[_Counter]) -> None:
        while not self._over.wait(self.poll_s):
            for counter in counters:
                counter.poll()


def spending(
    configuration: Configuration, given: Instruments | None = None, machine: Path = GPUS_OF_MACHINE
) -> Spending:
    """The counters for one trial: of the visible GPUs of its kind, or of the processor; those `given` where a bench has
    its own, for devices that need not be here. Raises nothing.

    The joules of the host are the trial's by its share of the machine's GPUs: trials beside it take the others'.
    """
    if given is not None:
        flaw = given.flaw or "no meter of the devices was given"
        # Copies: a probe remembers its last reading, and the bench reads its own at the same time.
        return Spending(probes=[copy.copy(probe) for probe in given.probes], flaw=None if given.probes else flaw)
    try:
        found = instruments(configuration.gpu, None)
    except Exception as error:  # a driver that is broken, say: the bench will tell, the cost is only unknown
        return Spending(probes=(), flaw=str(error))
    if configuration.gpu == CPU:
        return Spending(probes=found.probes, flaw=found.flaw)
    taken = configuration.gpu_count
    there = len(found.probes)
    lacking = f"{there} of {taken} {configuration.gpu} can be read here" if there else f"no {configuration.gpu} is here"
    return Spending(
        probes=found.probes,
        taken=taken,
        hosts=found.hosts,
        host_share=_share(taken, machine),
        flaw=(found.flaw or lacking) if there < taken else None,
    )


def _share(taken: int, machine: Path) -> Fraction | None:
    """The part of the machine's GPUs that is the trial's; None where nobody knows how many there are."""
    try:
        there = sum(1 for _ in machine.iterdir())
    except OSError:
        return None
    return Fraction(taken, there) if there >= taken else None


def _part(share: Fraction | None, source: str) -> str:
    return source if share in (None, 1) else f"{share} of {source}"
