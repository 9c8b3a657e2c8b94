"""The one seam: a bench turns a configuration and a workload into seconds and joules.

Nothing above this room knows which bench ran, except by `Measurement.bench`.
"""

from __future__ import annotations

from typing import Protocol

from carbonsweep.domain import BenchIdentity, Configuration, Measurement, Workload


class Bench(Protocol):
    """Implemented by the device model (`roofline`) and by real measurement (`transformers`).

    A bench is sent to worker processes, so it is picklable before its first `measure`; what it loads there (weights)
    it keeps, because workers are reused.
    """

    @property
    def name(self) -> str:
        """The word after `--bench`."""
        ...

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """What makes two results the same quantity; cheap, and imports nothing heavy: it decides about reuse."""
        ...

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Measure one batch of `configuration` on `workload`.

        Raises DoesNotFit with the bytes asked for and there, Unsupported where the hardware or engine cannot run it,
        BenchFailed with a reason for everything else.
        """
        ...
