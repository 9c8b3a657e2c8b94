"""Our meter beside Zeus, an independent one, over the stand-in driver: same windows, and the exact truth beside both.

    make check-zeus

Runs in an environment of its own that has Zeus. One process, several GPUs with a waveform each; Zeus reads the counter
at the edges of a window, ours is worked out from polls. Windows are at least 100 refresh periods long. Fails where the
two differ by more than 2 %, or the truth lies outside our interval.
"""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-in lives with the tests

from carbonsweep.bench.power.nvml import NvmlProbe
from carbonsweep.bench.power.sampling import SampledMeter
from carbonsweep.evidence import EnergyWindow
from tests.standin import Running, Standin, StandinGpu, Waveform, acting, rtx_6000_ada

REFRESH_S = 0.05
LENGTHS = (100.4, 130.7, 200.2)
"""Windows in refresh periods, not whole ones, which would flatter a meter that reads at the edges; they overlap."""
STAGGER_S = 0.37
BETWEEN = 0.02
ROW = "{:22} {:>7} {:>10} {:>10} {:>10} {:>9} {:>9} {:>9}"

WAVEFORMS = {
    "constant 200 W": Waveform.constant(200.0),
    "idle 25 W": Waveform.constant(25.0),
    "step 60-300 W": Waveform.steps((0, 60.0), (6.0, 300.0)),
    "ramp 100-300 W": Waveform.ramp(100.0, 300.0, 15.0),
    "decay 300-60 W": Waveform.constant(300.0).then(3.0, Waveform.decay(300.0, 60.0, 2.0)),
    "square 10 periods": Waveform.square(100.0, 300.0, 10 * REFRESH_S),
    "square 1 period": Waveform.square(100.0, 300.0, REFRESH_S),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One window: its edges by time.perf_counter(), and the joules Zeus gives each GPU."""

    begin_s: float
    end_s: float
    zeus_j: dict[int, float]


def gpus() -> tuple[StandinGpu, ...]:
    """One per waveform, their counters refreshed at different moments."""
    return tuple(
        rtx_6000_ada(
            uuid=f"GPU-00000000-0000-0000-0000-{number:012d}",
            waveform=waveform,
            refresh_s=REFRESH_S,
            refresh_phase_s=number * REFRESH_S / len(WAVEFORMS),
        )
        for number, waveform in enumerate(WAVEFORMS.values())
    )


def marked(monitor: Any) -> list[Marked]:
    """All windows, begun one shortly after the other and ended when each is long enough."""
    begun: dict[float, float] = {}
    for length in LENGTHS:
        before_s = time.perf_counter()
        monitor.begin_window(str(length), sync_execution=False)
        begun[length] = (before_s + time.perf_counter()) / 2
        time.sleep(STAGGER_S)
    found = []
    for length, begin_s in begun.items():
        time.sleep(max(0.0, begin_s + length * REFRESH_S - time.perf_counter()))
        before_s = time.perf_counter()
        measured = monitor.end_window(str(length), sync_execution=False)
        end_s = (before_s + time.perf_counter()) / 2
        found.append(Marked(begin_s=begin_s, end_s=end_s, zeus_j=dict(measured.gpu_energy)))
    return found


def counted(window: EnergyWindow) -> tuple[float, float, float]:
    """Our figure and its interval; a window without them ends the check."""
    reading = window.readings[0] if window.readings else None
    if reading is None or reading.low_j is None or reading.high_j is None:
        raise SystemExit(f"our meter claims no joules: {window.flaw}")
    return reading.joules, reading.low_j, reading.high_j


def compared(running: Running, meter: SampledMeter, windows: list[Marked]) -> list[str]:
    """Print a row per waveform and window; the disagreements."""
    print(ROW.format("waveform", "s", "truth J", "ours J", "zeus J", "ours", "zeus", "apart"))
    failed = []
    for window in windows:
        ours = [counted(each) for each in meter.windows("decode", [(window.begin_s, window.end_s)], 1)]
        for number, (name, waveform) in enumerate(WAVEFORMS.items()):
            truth_j = waveform.energy_j(running.at_s(window.begin_s), running.at_s(window.end_s))
            (our_j, low_j, high_j), zeus_j = ours[number], window.zeus_j[number]
            off, zeus_off, apart = our_j / truth_j - 1, zeus_j / truth_j - 1, our_j / zeus_j - 1
            shares = (f"{share:+.2%}" for share in (off, zeus_off, apart))
            joules = (f"{each:.1f}" for each in (truth_j, our_j, zeus_j))
            print(ROW.format(name, f"{window.end_s - window.begin_s:.2f}", *joules, *shares))
            if abs(apart) > BETWEEN:
                failed.append(f"{name}: ours is {apart:+.2%} of Zeus'")
            if not low_j <= truth_j <= high_j:
                failed.append(f"{name}: the truth, {truth_j:.1f} J, is not in {low_j:.1f} to {high_j:.1f} J")
    return failed


def main() -> None:
    """Compare, print, and exit 1 where they disagree."""
    machine = gpus()
    with acting(Standin(gpus=machine)) as running:
        monitor = importlib.import_module("zeus.monitor").ZeusMonitor(
            gpu_indices=list(range(len(machine))), approx_instant_energy=False
        )
        with SampledMeter(probes=tuple(NvmlProbe(uuid=gpu.uuid) for gpu in machine)) as meter:
            failed = compared(running, meter, marked(monitor))
            print(f"refresh period {REFRESH_S} s, found {meter.refresh_s:.4f} s, polled every {meter.poll_s:.4f} s")
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()
