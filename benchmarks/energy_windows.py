"""How far off the energy of a window is, by waveform and window length, against the exact integral.

The real meter and the real NVML bindings over the stand-in driver of the tests, whose counter and power are those of a
known waveform; polls come late at random. Writes results/energy_windows.md beside this file. Fails where a counter's
bound does not hold, where an error is larger than the README claims, or where an aliasing check does not fire.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-in lives with the tests

from carbonsweep.evidence import EnergyWindow, MeterReading
from tests.standin import Standin, StandinGpu, Waveform, acting
from tests.standin.library import Running
from tests.standin.rig import Rig

REFRESH_S = 0.1
BEGIN_S = 4.0
"""When ramps and decays begin: the meter has found the refresh period by then."""
LENGTHS = (20, 50, 100, 300)
"""Window lengths in refresh periods."""
CLAIMED = 0.01
CLAIMED_FROM = 100
SQUARES = (0.5, 0.9, 1, 1.5, 2, 3, 5, 8, 10, 11, 12.5, 15, 20, 21, 50)
FASTEST_CLAIMED = 10
RESULTS = Path(__file__).parent / "results" / "energy_windows.md"


@dataclass(frozen=True)
class Case:
    """A waveform for windows of a length in refresh periods; `period` of a square, in refresh periods."""

    name: str
    length: int
    period: float | None = None

    def waveform(self, dealer: random.Random) -> Waveform:
        """Drawn anew for every window: squares start anywhere in their period."""
        window_s = self.length * REFRESH_S
        if self.period is not None:
            return Waveform.square(100.0, 300.0, self.period * REFRESH_S, phase=dealer.random())
        shapes = {
            "constant": Waveform.constant(200.0),
            "idle": Waveform.constant(25.0),
            "ramp": Waveform.constant(100.0).then(BEGIN_S, Waveform.ramp(100.0, 300.0, window_s)),
            "decay": Waveform.constant(300.0).then(BEGIN_S, Waveform.decay(300.0, 60.0, window_s / 4)),
            "fast decay": Waveform.constant(300.0).then(BEGIN_S, Waveform.decay(300.0, 60.0, 10 * REFRESH_S)),
        }
        return shapes[self.name]

    @property
    def is_claimed(self) -> bool:
        """Whether integrated power claims 1 % here. A square whose half period is no whole number of refresh periods
        is seen high for one tick more or less than it is, in every cycle: no sampling can tell."""
        if self.length < CLAIMED_FROM:
            return False
        return self.period is None or (self.period >= FASTEST_CLAIMED and self.period % 2 == 0)

    @property
    def must_alias(self) -> bool:
        """Whether the samples cannot follow it at all."""
        return self.period is not None and self.period < FASTEST_CLAIMED and self.length >= CLAIMED_FROM


@dataclass(frozen=True)
class Row:
    """Relative errors of both meters over the windows of a case."""

    case: Case
    counter: list[float]
    bound: float
    outside: int
    power: list[float]
    aliased: float
    disagreed: float

    def flaws(self) -> Iterator[str]:
        """What is not as claimed."""
        if self.outside:
            yield f"{self.outside} windows outside the counter's bound"
        if self.case.length >= CLAIMED_FROM and max(map(abs, self.counter)) > CLAIMED:
            yield f"counter off by {max(map(abs, self.counter)):.2%}"
        if self.case.is_claimed and max(map(abs, self.power)) > CLAIMED:
            yield f"integrated power off by {max(map(abs, self.power)):.2%}"
        if self.case.must_alias and self.aliased < 1:
            yield f"the aliasing check fired in {self.aliased:.0%} of windows only"


def cases() -> list[Case]:
    """Every waveform at every window length."""
    smooth = [Case(name, length) for name in ("constant", "idle", "ramp", "decay", "fast decay") for length in LENGTHS]
    return smooth + [Case(f"square, {period:g} R", length, period) for period in SQUARES for length in LENGTHS]


def row(running: Running, case: Case, windows: int) -> Row:
    """Measure `windows` windows of a case, each with its own phase of everything."""
    dealer = random.Random(f"{case.name} {case.length}")
    found = [_window(running, case, dealer) for _ in range(windows)]
    counters = [(_reading(window, "nvml-counter"), truth_j) for window, truth_j in found]
    powers = [(_reading(window, "nvml-power-instant"), truth_j) for window, truth_j in found]
    return Row(
        case=case,
        counter=[reading.joules / truth_j - 1 for reading, truth_j in counters],
        bound=fmean(((r.high_j or 0) - (r.low_j or 0)) / 2 / truth_j for r, truth_j in counters),
        outside=sum(not (r.low_j or 0) <= truth_j <= (r.high_j or 0) for r, truth_j in counters),
        power=[reading.joules / truth_j - 1 for reading, truth_j in powers],
        aliased=fmean(any(gate.startswith("aliasing") for gate in window.gates) for window, _ in found),
        disagreed=fmean(any(gate.startswith("disagreement") for gate in window.gates) for window, _ in found),
    )


def _window(running: Running, case: Case, dealer: random.Random) -> tuple[EnergyWindow, float]:
    waveform = case.waveform(dealer)
    gpu = StandinGpu(waveform=waveform, refresh_s=REFRESH_S, refresh_phase_s=dealer.uniform(0, REFRESH_S))
    rig = Rig(running, Standin(gpus=(gpu,), clock="manual"), seed=dealer.randrange(2**32))
    begin_s = BEGIN_S + dealer.uniform(-1, 1) * REFRESH_S
    end_s = begin_s + case.length * REFRESH_S
    return rig.window(begin_s, end_s), waveform.energy_j(begin_s, end_s)


def _reading(window: EnergyWindow, source: str) -> MeterReading:
    return next(reading for reading in window.readings if reading.source == source)


def table(rows: list[Row], windows: int) -> str:
    """The results as a page."""
    lines = [
        "# Energy of a window: error against the exact integral",
        "",
        f"`make bench` wrote this, {windows} windows a line: the real meter and the real NVML bindings over the tests'",
        f"stand-in driver, whose counter and power refresh every {REFRESH_S:g} s (R); polls come late by a tenth, in",
        "the mean. Bias is the mean error, worst the largest; the bound is the counter's half-width. Integrated power",
        "claims no accuracy where the aliasing check fired, and none better than its interval where the half period of",
        "a square is no whole number of R.",
        "",
        "| waveform | window | counter bias | worst | bound | outside | power bias | worst | aliasing | disagreement |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        counter = f"{fmean(each.counter):+.2%} | {max(map(abs, each.counter)):.2%} | {each.bound:.2%} | {each.outside}"
        power = f"{fmean(each.power):+.2%} | {max(map(abs, each.power)):.2%}"
        checks = f"{each.aliased:.0%} | {each.disagreed:.0%}"
        lines.append(f"| {each.case.name} | {each.case.length} R | {counter} | {power} | {checks} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=40, help="windows a case")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with acting(Standin(clock="manual")) as running:
        rows = [row(running, case, asked.windows) for case in cases()]
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(table(rows, asked.windows), encoding="utf-8")
    flaws = [f"{each.case.name}, {each.case.length} R: {flaw}" for each in rows for flaw in each.flaws()]
    total = len(rows) * asked.windows
    outside = sum(each.outside for each in rows)
    print(f"energy windows: {total} windows, {outside} outside the counter's bound; table in {asked.out.name}")
    if flaws:
        sys.exit("\n".join(flaws))


if __name__ == "__main__":
    main()
