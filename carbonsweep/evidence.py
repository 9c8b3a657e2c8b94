"""What stands behind a measured number: windows, meters, conditions, repeats, and the checks that failed.

Frozen values that a record keeps, so that a reader can judge a figure, and repeat it, without the machine it is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stop = Literal["interval", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How a quantity spreads from batch to batch, or from request to request: a property of the workload, no error.

    `unit` says of what ("batch", "request"); `stdev` is None for a single one. Percentiles interpolate linearly.
    """

    unit: str
    count: int
    mean: float
    stdev: float | None
    minimum: float
    median: float
    p90: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCost:
    """What a whole trial took, loading and warm-up included: the sweep's own expense, not the workload's.

    `energy_j` is of its GPUs and, where a meter reads it, their host, as `source` says; None where nobody counted, and
    `flaw` says why.
    """

    duration_s: float
    energy_j: float | None
    source: str | None = None
    flaw: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """What one meter says of one window: joules, and the interval that surely holds them (None: nothing is claimed)."""

    source: str
    semantics: str
    joules: float
    low_j: float | None
    high_j: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyWindow:
    """One stretch of time in which the same work was done `runs` times, and all meters' views of it.

    `phase` is prefill, decode, whole (both, as one run), idle (model loaded) or bare-idle. `flaw` says why the energy
    is unknown, then there is no reading of the meter that was asked for; `gates` are the validity checks that failed.
    """

    phase: Literal["prefill", "decode", "whole", "idle", "bare-idle"]
    device: str
    runs: float
    duration_s: float
    readings: tuple[MeterReading, ...] = ()
    flaw: str | None = None
    gates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """A GPU at one moment; None where its driver does not tell.

    `throttle_reasons` are NVML's clock event reasons that slow it down; the violation times, seconds since the driver
    was loaded in which power or heat did so. `processes` are the ids of compute processes.
    """

    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    power_violation_s: float | None = None
    thermal_violation_s: float | None = None
    processes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One device from the end of warm-up to that of its last window of work, looked at once a second.

    `most_temperature_c` is the highest of these looks, `throttled_by` and `processes` all they saw; `most_w` is the
    highest power any sample showed.
    """

    device: str
    before: DeviceState
    after: DeviceState
    power_cap_w: float | None
    most_w: float | None
    most_temperature_c: float | None = None
    throttled_by: tuple[str, ...] = ()
    processes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """The whole run as one window, against the sum of its phases, both for the mean batch; joules None where unknown.

    The phases are measured apart, so what lies between them, or differs when repeated, shows here.
    """

    whole_s: float
    parts_s: float
    whole_j: float | None
    parts_j: float | None

    @property
    def time_difference(self) -> float:
        """Relative to the whole: 0.01 says that the parts take 1 % longer."""
        return self.parts_s / self.whole_s - 1

    @property
    def energy_difference(self) -> float | None:
        """Likewise in joules, None where unknown."""
        if self.whole_j is None or self.parts_j is None:
            return None
        return self.parts_j / self.whole_j - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringProtocol:
    """How the windows were made.

    `batches_digest` hashes the fixed list of batches (token ids or texts), `orders_digest` the orders in which the
    repeats ran it. Repeats went
    on until the widest relative 95 % half-width (`half_width`) was below `interval`, or for `budget_s` seconds.
    `refresh_s` is the meter's refresh period as found on this device, None where it could not be; `poll_s` how often it
    was read.
    """

    batches: int
    batches_digest: str
    orders_digest: str
    warm_up_runs: int
    repeats: int
    stopped_by: Stop
    interval: float
    half_width: float
    budget_s: float
    window_bound: float | None = None
    poll_s: float | None = None
    refresh_s: float | None = None
    cool_to_c: float | None = None
    cooled_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything behind one `Measurement`. `gates` are failed checks of the run as a whole (a window has its own)."""

    protocol: MeasuringProtocol
    ttft: Distribution
    tpot: Distribution
    prompt_latency: Distribution
    closure: Closure | None = None
    bare_idle_w: float | None = None
    windows: tuple[EnergyWindow, ...] = ()
    conditions: tuple[Conditions, ...] = ()
    gates: tuple[str, ...] = ()
