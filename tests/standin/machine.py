"""What the stand-in library shall act out: a machine with GPUs, as frozen values, and the script they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from tests.standin.waveform import Waveform

SCRIPT_VARIABLE = "CARBONSWEEP_NVML_STANDIN"

Span = tuple[float, float]
"""From one second up to another."""

# NVML_DEVICE_ARCH_*
VOLTA, TURING, AMPERE, ADA, HOPPER = 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinGpu:
    """One GPU. Times are seconds of the stand-in's clock; None (or False) for what this GPU does not tell.

    `refresh_s`: how often the counter is brought up to date, at `refresh_phase_s` past multiples of it; 0 is always.
    `power_refresh_s` likewise, None for the same. `averaging_s`: over how long nvmlDeviceGetPowerUsage and field 185
    average, 0 for not at all; field 186 never averages. `throttle` holds (from, to, mask of clock event reasons) in
    order, and the violation times grow with it: power with masks 0x04 and 0x80, thermal with 0x20 and 0x40.
    `processes` holds (from, to, pid). While `frozen`, counter and power hold their values; in a span of `counter_away`
    or `power_away` that call answers UNKNOWN. From `reset_at_s` the counter counts from 0 again; from `lost_at_s`
    every call about the GPU answers GPU_IS_LOST.
    """

    name: str = "NVIDIA RTX 6000 Ada Generation"
    uuid: str = "GPU-00000000-0000-0000-0000-000000000001"
    waveform: Waveform = field(default_factory=lambda: Waveform.constant(100.0))
    counter_offset_j: float = 5000.0
    refresh_s: float = 0.0
    refresh_phase_s: float = 0.0
    power_refresh_s: float | None = None
    averaging_s: float = 0.0
    counter_supported: bool = True
    power_supported: bool = True
    field_186_supported: bool = True
    architecture: int | None = ADA
    compute_capability: tuple[int, int] | None = (8, 9)
    cap_w: float | None = 300.0
    cap_range_w: tuple[float, float] = (100.0, 300.0)
    temperature_c: Waveform | None = field(default_factory=lambda: Waveform.constant(45.0))
    sm_clock_mhz: Waveform | None = field(default_factory=lambda: Waveform.constant(2505.0))
    memory_clock_mhz: Waveform | None = field(default_factory=lambda: Waveform.constant(10001.0))
    throttle: tuple[tuple[float, float, int], ...] | None = ()
    violations_supported: bool = True
    processes: tuple[tuple[float, float, int], ...] | None = ()
    mig: bool | None = None
    memory_bytes: tuple[int, int] | None = (48 * 2**30, 2**30)
    utilisation: int | None = 100
    counter_away: tuple[Span, ...] = ()
    power_away: tuple[Span, ...] = ()
    frozen: Span | None = None
    lost_at_s: float | None = None
    reset_at_s: float | None = None

    def __post_init__(self) -> None:
        if any(one[1] > next_[0] for one, next_ in pairwise(self.throttle or ())):
            raise ValueError("spans of throttling are in order and do not overlap")

    def lines(self) -> list[str]:
        """As lines of a script."""
        power_refresh_s = self.refresh_s if self.power_refresh_s is None else self.power_refresh_s
        return [
            "gpu",
            f"name {self.name}",
            f"uuid {self.uuid}",
            *self.waveform.lines("power"),
            *_line("counter", (self.counter_offset_j, self.refresh_s, self.refresh_phase_s), self.counter_supported),
            *_line("sensor", (self.averaging_s, power_refresh_s, int(self.field_186_supported)), self.power_supported),
            *_line("architecture", self.architecture),
            *_line("capability", self.compute_capability),
            *_line("cap", (self.cap_range_w[0], self.cap_w, self.cap_range_w[1]), self.cap_w is not None),
            *self._state_lines(),
            *_lines("counter_away", [(*span, 0) for span in self.counter_away]),
            *_lines("power_away", [(*span, 0) for span in self.power_away]),
            *_line("frozen", self.frozen),
            *_line("lost", self.lost_at_s),
            *_line("reset", self.reset_at_s),
        ]

    def _state_lines(self) -> list[str]:
        courses = {
            "temperature": self.temperature_c,
            "sm_clock": self.sm_clock_mhz,
            "memory_clock": self.memory_clock_mhz,
        }
        told = {
            "throttle": self.throttle is not None,
            "processes": self.processes is not None,
            "violations": self.violations_supported,
        }
        return [
            *(line for key, course in courses.items() if course is not None for line in course.lines(key)),
            *(f"tells {what}" for what, tells in told.items() if tells),
            *_lines("throttle", self.throttle or ()),
            *_lines("process", self.processes or ()),
            *_line("mig", None if self.mig is None else int(self.mig)),
            *_line("memory", self.memory_bytes),
            *_line("utilisation", self.utilisation),
        ]


def rtx_6000_ada(**changes: Any) -> StandinGpu:
    """The plain call averages over a second, as it does from Ampere on."""
    return replace(StandinGpu(averaging_s=1.0, power_refresh_s=0.0), **changes)


def t4(**changes: Any) -> StandinGpu:
    """A Turing board: its plain call is instantaneous."""
    board = StandinGpu(
        name="Tesla T4",
        architecture=TURING,
        compute_capability=(7, 5),
        cap_w=70.0,
        cap_range_w=(60.0, 70.0),
        waveform=Waveform.constant(40.0),
        memory_bytes=(16 * 2**30, 2**30),
    )
    return replace(board, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standin:
    """A machine. `init_error` is what nvmlInit answers instead (NVML_ERROR_*), `errors` what single functions do.

    The "real" clock is CLOCK_MONOTONIC (time.monotonic, and time.perf_counter on Linux) since the script was loaded, or
    since `epoch_monotonic_s`: with it several processes see the same at the same time. The "manual" one stands still
    until it is told.
    """

    gpus: tuple[StandinGpu, ...] = (StandinGpu(),)
    driver_version: str = "stand-in 1.0"
    clock: Literal["real", "manual"] = "real"
    epoch_monotonic_s: float | None = None
    init_error: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "stand-in" not in self.driver_version:
            raise ValueError("the driver version says that this is a stand-in")
        if len({gpu.uuid for gpu in self.gpus}) < len(self.gpus):
            raise ValueError("each GPU has a UUID of its own")

    def script(self) -> str:
        """The text the library reads."""
        epoch_ns = None if self.epoch_monotonic_s is None else round(self.epoch_monotonic_s * 1e9)
        lines = [
            f"driver {self.driver_version}",
            f"clock {self.clock}",
            *_line("epoch_monotonic_ns", epoch_ns),
            f"init_error {self.init_error}",
            *(f"error {function} {code}" for function, code in self.errors.items()),
            *(line for gpu in self.gpus for line in gpu.lines()),
        ]
        return "\n".join(lines) + "\n"

    def written(self, path: Path) -> Path:
        """The path, after the script was written there."""
        path.write_text(self.script(), encoding="utf-8")
        return path


def _line(key: str, value: float | tuple[float | None, ...] | None, told: bool = True) -> list[str]:
    if value is None or not told:
        return []
    return [" ".join([key, *(str(number) for number in (value if isinstance(value, tuple) else (value,)))])]


def _lines(key: str, spans: Any) -> list[str]:
    return [line for span in spans for line in _line(key, tuple(span))]
