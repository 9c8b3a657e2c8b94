"""What a sweep tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from carbonsweep.domain import Configuration, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStatus:
    """The cluster and the trials now; `longest` is the trial that has run longest: what, where, for how many seconds.

    `gpus` counts those that trials of this sweep can have; `lost` the trials that ended without a result so far,
    `starting` the workers that do not answer yet, `total` the trials to be run, done ones included: of a guided search
    at most, because that stops when the chance that something better remains, `chance_left` (None: not known yet), is
    below `stops_below` and no GPU kind is left `in_doubt`.
    """

    nodes: int
    gpus: int
    gpus_busy: int
    running: int
    starting: int
    lost: int
    total: int
    longest: tuple[Configuration, str, float] | None = None
    chance_left: float | None = None
    stops_below: float | None = None
    in_doubt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A trial on its way."""

    configuration: Configuration
    attempt: str
    worker: str
    node_id: str
    host: str
    since_s: float


class Watcher(Protocol):
    """Follows a sweep; called from the thread that drives it, so it must be quick."""

    def advance(self, record: TrialRecord) -> None:
        """A trial has its record, durable by now."""
        ...

    def show_status(self, status: SweepStatus) -> None:
        """About once a second."""
        ...

    def notice(self, line: str) -> None:
        """Something happened that a person should know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a sweep ended, beside its records.

    `lost` says of each configuration given up why; `unreachable` counts, by host, trials that ran there when it went:
    at most so many finished measurements are out of reach; `closed` counts untried configurations by the GPU kind that
    has no node left.
    """

    lost: tuple[str, ...] = ()
    unreachable: tuple[tuple[str, int], ...] = ()
    closed: tuple[tuple[str, int], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every configuration got its trial."""
        return not self.lost and not self.closed
