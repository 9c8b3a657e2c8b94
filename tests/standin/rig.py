"""A meter over the stand-in in time that is made, not waited for: a window of minutes takes milliseconds."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from carbonsweep.bench.power.meter import Phase
from carbonsweep.bench.power.nvml import NvmlProbe
from carbonsweep.bench.power.sampling import SampledMeter
from carbonsweep.evidence import EnergyWindow
from tests.standin.library import Running
from tests.standin.machine import Standin


@dataclass
class Rig:
    """The first GPU of a stand-in with a manual clock, polled by a meter whose polls come late at random.

    `lateness` is the mean delay of a poll relative to its period; `power_sampling_s` and `bound` are the meter's.
    """

    running: Running
    standin: Standin
    seed: int = 0
    lateness: float = 0.1
    power_sampling_s: float | None = None
    bound: float = 0.02
    now_s: float = 0.0
    meter: SampledMeter = field(init=False)

    def __post_init__(self) -> None:
        self.running.load(self.standin)
        self._random = random.Random(self.seed)
        self.meter = SampledMeter(
            probes=(NvmlProbe(uuid=self.standin.gpus[0].uuid),),
            power_sampling_s=self.power_sampling_s,
            bound=self.bound,
            clock=lambda: self.now_s,
            sleep=self.advance,
        )
        self.meter.open()
        self.meter.sleep = self._poll_after

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.running.set_time_s(self.now_s)

    def watch(self, until_s: float) -> None:
        """Poll until then."""
        while self.now_s < until_s:
            self._poll_after(self.meter.poll_s)

    def window(self, begin_s: float, end_s: float, phase: Phase = "decode", runs: float = 1) -> EnergyWindow:
        """What the meter says of this stretch of time."""
        self.watch(end_s)
        return self.meter.windows(phase, [(begin_s, end_s)], runs)[0]

    def _poll_after(self, seconds: float) -> None:
        self.advance(seconds * (1 + self._random.expovariate(1 / self.lateness) if self.lateness else seconds))
        self.meter.look()
