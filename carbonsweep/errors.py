"""Everything that can go wrong, as one small tree.

CarbonsweepError                 exit code
├── BadInput                     2   what the user gave cannot be used; the message says what would be
│   ├── UnknownFact              2   a name no table has; names the closest ones
│   ├── EnergyUnknown            2   a price was asked for and no energy was measured
│   └── OutputLocked             2   another sweep writes to the same folder
├── NothingGoodEnough            3   no model reaches the quality that was asked for
├── NothingMeasured              4   every trial failed, so there is nothing to rank
├── StorageFailed                4   the disk refused a record
└── BenchError                       raised by a bench; a trial turns it into an outcome, never a traceback
    ├── DoesNotFit                   the bytes needed and the bytes there
    ├── Unsupported                  the hardware cannot do it (bf16 on a T4)
    └── BenchFailed                  anything else, with its reason
        ├── ServerGone               nobody answers at the endpoint, or the connection was cut before an answer
        ├── ServerRefused            the server said no, with its status and its words
        ├── StreamBroken             an answer that stalled, was cut short, or makes no sense
        ├── WrongTokenCount          more or fewer tokens than were asked for
        └── NoFixedLength            no known way makes this server write as many tokens as asked
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

EXIT_ANSWER = 0
EXIT_BAD_INPUT = 2
EXIT_NOTHING_FEASIBLE = 3
EXIT_NOTHING_MEASURED = 4
EXIT_INTERRUPTED = 130


class CarbonsweepError(Exception):
    """Root of the tree; `exit_code` is what a command returns for it."""

    exit_code: ClassVar[int] = EXIT_NOTHING_MEASURED


class BadInput(CarbonsweepError):
    """What the user gave cannot be used; the message names it and says what would be valid."""

    exit_code = EXIT_BAD_INPUT


class UnknownFact(BadInput):
    """A name that is in no fact table.

    `kind` is the noun ("GPU", "model", "region"), `known` every valid name.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}: {_suggestion(name, self.known)}")

    def __reduce__(self) -> tuple[type[UnknownFact], tuple[str, str, list[str]]]:
        return type(self), (self.kind, self.name, self.known)


class EnergyUnknown(BadInput):
    """Carbon or energy was asked for, and the record holds no joules."""


class OutputLocked(BadInput):
    """Another sweep holds the output folder."""


class NothingGoodEnough(CarbonsweepError):
    """No model reaches the quality that was asked for; the message names the closest."""

    exit_code = EXIT_NOTHING_FEASIBLE


class NothingMeasured(CarbonsweepError):
    """No trial gave a measurement and none said that it does not fit."""


class StorageFailed(CarbonsweepError):
    """A record could not be made durable."""


class BenchError(CarbonsweepError):
    """Why a bench gave no measurement."""


class DoesNotFit(BenchError):
    """The configuration needs more memory than the device has; both in bytes, None where it is unknown."""

    def __init__(self, needed_bytes: float | None, available_bytes: float | None) -> None:
        self.needed_bytes, self.available_bytes = needed_bytes, available_bytes
        lacking = "an unknown number of" if self.lacking_bytes is None else f"{self.lacking_bytes:.4g}"
        super().__init__(f"does not fit: lacks {lacking} bytes")

    @property
    def lacking_bytes(self) -> float | None:
        """Bytes that are missing, or None where one side is unknown."""
        if self.needed_bytes is None or self.available_bytes is None:
            return None
        return self.needed_bytes - self.available_bytes

    def __reduce__(self) -> tuple[type[DoesNotFit], tuple[float | None, float | None]]:
        return type(self), (self.needed_bytes, self.available_bytes)


class Unsupported(BenchError):
    """The hardware or the engine cannot run the configuration at all."""


class BenchFailed(BenchError):
    """The measurement broke; the message is the reason."""


class ServerGone(BenchFailed):
    """Nobody answers at the endpoint, or the connection was cut before an answer began."""


class ServerRefused(BenchFailed):
    """The server said no; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ServerRefused], tuple[int, str]]:
        return type(self), (self.status, self.message)


class StreamBroken(BenchFailed):
    """An answer that stalled, was cut short, or makes no sense."""


class WrongTokenCount(BenchFailed):
    """The server wrote more or fewer tokens than were asked for, or contradicts itself about how many."""


class NoFixedLength(BenchFailed):
    """No known way makes this server write exactly as many tokens as asked, so its phases cannot be compared."""


def closest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` of the `known` names that look like `name`, best first; case does not matter."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    return [by_folded[match] for match in difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)]


def _suggestion(name: str, known: list[str]) -> str:
    near = closest(name, known)
    if near:
        return f"did you mean {' or '.join(near)}? (valid: {', '.join(known)})"
    return f"valid: {', '.join(known)}"
