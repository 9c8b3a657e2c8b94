"""A quantity over time in pieces whose integral is known exactly: watts, and likewise degrees or megahertz.

The C library works out the same integrals from the same text; the values here are the truth a test compares with.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import astuple, dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Constant:
    """The same level at all times."""

    level: float

    def value(self, u_s: float) -> float:
        """The level `u_s` seconds after the piece began."""
        return self.level

    def integral(self, u_s: float) -> float:
        """Of the level, over the first `u_s` seconds of the piece."""
        return self.level * u_s


@dataclass(frozen=True, slots=True)
class Ramp:
    """A straight line from `start` to `end` in `over_s` seconds; then `end` holds."""

    start: float
    end: float
    over_s: float

    def __post_init__(self) -> None:
        _require(self.over_s > 0, "a ramp takes time")

    def value(self, u_s: float) -> float:
        """The level `u_s` seconds after the piece began."""
        return self.end if u_s >= self.over_s else self.start + (self.end - self.start) * u_s / self.over_s

    def integral(self, u_s: float) -> float:
        """Of the level, over the first `u_s` seconds: a trapezium, then a rectangle."""
        sloping_s = min(u_s, self.over_s)
        return (self.start + self.value(sloping_s)) / 2 * sloping_s + self.end * (u_s - sloping_s)


@dataclass(frozen=True, slots=True)
class Decay:
    """From `start` towards `end`: the distance shrinks to 1/e in `tau_s` seconds. It may rise, too."""

    start: float
    end: float
    tau_s: float

    def __post_init__(self) -> None:
        _require(self.tau_s > 0, "a decay takes time")

    def value(self, u_s: float) -> float:
        """The level `u_s` seconds after the piece began."""
        return self.end + (self.start - self.end) * math.exp(-u_s / self.tau_s)

    def integral(self, u_s: float) -> float:
        """Of the level, over the first `u_s` seconds of the piece."""
        return self.end * u_s - (self.start - self.end) * self.tau_s * math.expm1(-u_s / self.tau_s)


@dataclass(frozen=True, slots=True)
class Square:
    """`high` for `duty` of each period, then `low`; `phase` of a period has passed when the piece begins."""

    low: float
    high: float
    period_s: float
    duty: float = 0.5
    phase: float = 0.0

    def __post_init__(self) -> None:
        _require(self.period_s > 0, "a period takes time")
        _require(0 < self.duty < 1 and 0 <= self.phase < 1, "duty and phase are shares of a period")

    def value(self, u_s: float) -> float:
        """The level `u_s` seconds after the piece began."""
        return self.high if (u_s / self.period_s + self.phase) % 1 < self.duty else self.low

    def integral(self, u_s: float) -> float:
        """Of the level, over the first `u_s` seconds of the piece."""
        return self._since_high(u_s + self.phase * self.period_s) - self._since_high(self.phase * self.period_s)

    def _since_high(self, t_s: float) -> float:
        """The integral over `t_s` seconds that begin with a high."""
        cycles, rest_s = divmod(t_s, self.period_s)
        high_s = self.duty * self.period_s
        cycle = self.high * high_s + self.low * (self.period_s - high_s)
        return cycles * cycle + self.high * min(rest_s, high_s) + self.low * max(0.0, rest_s - high_s)


Shape = Constant | Ramp | Decay | Square


@dataclass(frozen=True, slots=True)
class Waveform:
    """Shapes one after another: each with the second at which it begins, the first at 0; the last one has no end.

    Before 0 the level is that at 0, so that an average has a past.
    """

    pieces: tuple[tuple[float, Shape], ...]

    def __post_init__(self) -> None:
        _require(len(self.pieces) > 0 and self.pieces[0][0] == 0, "the first piece begins at 0")
        _require(all(one[0] < next_[0] for one, next_ in pairwise(self.pieces)), "pieces follow one another")

    @classmethod
    def constant(cls, level: float) -> Waveform:
        """One level for ever."""
        return cls(((0.0, Constant(level)),))

    @classmethod
    def steps(cls, *steps: tuple[float, float]) -> Waveform:
        """Levels as (seconds, level), the first at 0 seconds; each holds until the next."""
        return cls(tuple((at_s, Constant(level)) for at_s, level in steps))

    @classmethod
    def ramp(cls, start: float, end: float, over_s: float) -> Waveform:
        """A straight line, then the end level."""
        return cls(((0.0, Ramp(start, end, over_s)),))

    @classmethod
    def decay(cls, start: float, end: float, tau_s: float) -> Waveform:
        """An exponential approach."""
        return cls(((0.0, Decay(start, end, tau_s)),))

    @classmethod
    def square(cls, low: float, high: float, period_s: float, *, duty: float = 0.5, phase: float = 0.0) -> Waveform:
        """High first, then low, again and again."""
        return cls(((0.0, Square(low, high, period_s, duty, phase)),))

    def then(self, at_s: float, other: Waveform) -> Waveform:
        """This one up to `at_s`, then `other` from its beginning."""
        kept = tuple(piece for piece in self.pieces if piece[0] < at_s)
        return Waveform(kept + tuple((at_s + begin_s, shape) for begin_s, shape in other.pieces))

    def power_w(self, t_s: float) -> float:
        """The level at a time; for power, watts."""
        begin_s, shape = self._piece(max(0.0, t_s))
        return shape.value(max(0.0, t_s) - begin_s)

    def energy_j(self, begin_s: float, end_s: float) -> float:
        """The exact integral between two times; for power, joules."""
        return self._since_0(end_s) - self._since_0(begin_s)

    def mean_w(self, t_s: float, over_s: float) -> float:
        """The mean over the `over_s` seconds that end at a time; 0 seconds give the level itself."""
        return self.energy_j(t_s - over_s, t_s) / over_s if over_s > 0 else self.power_w(t_s)

    def lines(self, key: str) -> list[str]:
        """As lines of a script."""
        return [
            " ".join(
                [key, repr(float(begin_s)), type(shape).__name__.lower(), *(repr(float(n)) for n in astuple(shape))]
            )
            for begin_s, shape in self.pieces
        ]

    def _piece(self, t_s: float) -> tuple[float, Shape]:
        return self.pieces[bisect_right(self.pieces, t_s, key=_begin_s) - 1]

    def _since_0(self, t_s: float) -> float:
        if t_s < 0:
            return t_s * self.power_w(0.0)
        ends = [begin_s for begin_s, _ in self.pieces[1:]] + [math.inf]
        return math.fsum(
            shape.integral(min(t_s, end_s) - begin_s)
            for (begin_s, shape), end_s in zip(self.pieces, ends, strict=True)
            if begin_s < t_s
        )


def _begin_s(piece: tuple[float, Shape]) -> float:
    return piece[0]


def _require(valid: bool, what: str) -> None:
    if not valid:
        raise ValueError(what)
