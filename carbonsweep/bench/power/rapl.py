"""Energy of CPU packages and their memory, from RAPL counters through Linux powercap.

RAPL ("running average power limit") counts joules per package (a socket, or a die of it) and, on servers, of the
memory modules beside it. Both Intel's and AMD's processors show them in one folder. Zones inside a package (core,
uncore) and around it (psys) are left out: added to their package they would count joules twice.
Source: docs.kernel.org/power/powercap/powercap.html; Documentation/ABI/testing/sysfs-class-powercap.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from carbonsweep.bench.power.trace import Clock, Instrument, MeterError, Reading
from carbonsweep.evidence import DeviceState
from carbonsweep.units import J_PER_UJ

POWERCAP: Final = Path("/sys/class/powercap")
RAPL: Final = "rapl"

_CONTROL_TYPES: Final = ("intel-rapl", "intel-rapl-mmio")
"""The second shows the same counters by another road, so it serves only where the first has no such zone."""
_STEP_J: Final = 2.0**-14
"""What the counter counts in, rounded to microjoules by the kernel: 61 uJ on most Intel servers, 15 uJ elsewhere.
Source: Intel 64 and IA-32 manual, volume 3B, MSR_RAPL_POWER_UNIT, "energy status units"."""
_MOST_W: Final = 2000.0
"""No package draws this much, nor does the memory beside it; the largest sold are limited to some 500 W."""
_SLACK_S: Final = 0.1
"""Added to the time between two polls: RAPL refreshes every 1 ms, so a reading holds no more from before them."""


@dataclass(slots=True, kw_only=True)
class RaplProbe:
    """The counter of one package, or of the memory beside it; implements `Probe`.

    The counter starts again at 0 after `max_energy_range_uj`, which full load fills in a few minutes; joules here go
    on upwards. At most one wrap between two polls is assumed: of more, all but one would go unseen.
    """

    zone: Path
    name: str
    covers: str
    clock: Clock = time.monotonic
    _raw_j: float | None = field(default=None, init=False, repr=False)
    _read_s: float = field(default=0.0, init=False, repr=False)
    _wrapped_j: float = field(default=0.0, init=False, repr=False)

    @property
    def power_cap_w(self) -> float | None:
        """The largest limit set on this zone, watts: its long-term one, or the short-term one above it."""
        if _text(self.zone / "enabled") != "1":
            return None
        limits_w = [limit_w for limit_w in self._limits_w() if limit_w > 0]
        return max(limits_w, default=None)

    def instruments(self) -> tuple[Instrument, None]:
        """The counter; RAPL tells no power. Raises MeterError where it cannot be read, or does not count."""
        self._counter_j()
        return Instrument(source=RAPL, semantics=self.covers, step=_STEP_J), None

    def read(self) -> Reading:
        """Joules since the counter's own zero, wraps added. Raises MeterError where it is gone or was reset."""
        raw_j, now_s = self._counter_j(), self.clock()
        if self._raw_j is not None and raw_j < self._raw_j:
            self._wrapped_j += self._wrap_j(raw_j, now_s)
        self._raw_j, self._read_s = raw_j, now_s
        return Reading(counter_j=self._wrapped_j + raw_j, power_w=None)

    def state(self) -> DeviceState | None:
        """Always None: RAPL tells neither temperature nor clocks."""
        return None

    def _counter_j(self) -> float:
        counted_j = self._number(self.zone / "energy_uj") * J_PER_UJ
        if counted_j == 0 and self._raw_j is None:
            raise MeterError(f"RAPL's counter of {self.name} reads 0: it is not counting")
        return counted_j

    def _wrap_j(self, raw_j: float, now_s: float) -> float:
        """The counter's range, if wrapping once explains a lower reading; otherwise somebody has reset it."""
        range_j = self._number(self.zone / "max_energy_range_uj") * J_PER_UJ
        before_j = raw_j if self._raw_j is None else self._raw_j
        used_j = range_j - before_j + raw_j
        if not 0 <= used_j <= _MOST_W * (now_s - self._read_s + _SLACK_S):
            # From here on it counts from the new start; later this would look like a wrap.
            self._raw_j, self._read_s = raw_j, now_s
            raise MeterError(
                f"RAPL's counter of {self.name} went back from {before_j:.0f} to {raw_j:.0f} J and its range is "
                f"{range_j:.0f} J: it was reset"
            )
        return range_j

    def _number(self, file: Path) -> int:
        try:
            return int(file.read_text(encoding="ascii"))
        except PermissionError as error:
            raise MeterError(_FOR_ROOT_ONLY) from error
        except (OSError, ValueError) as error:
            raise MeterError(f"RAPL's counter of {self.name} gave no reading: {error}") from error

    def _limits_w(self) -> Iterator[float]:
        for limit in sorted(self.zone.glob("constraint_*_power_limit_uw")):
            kind = _text(limit.with_name(limit.name.replace("power_limit_uw", "name")))
            limit_uw = _text(limit)
            if kind in ("long_term", "short_term") and limit_uw is not None and limit_uw.isdecimal():
                yield int(limit_uw) * J_PER_UJ  # microwatts, by the same factor


_FOR_ROOT_ONLY: Final = (
    "RAPL is there but only root may read it (CVE-2020-8694): run as root, or once after each boot "
    f"`sudo chmod a+r {POWERCAP}/intel-rapl*/energy_uj`"
)


def rapl_probes(root: Path = POWERCAP) -> tuple[RaplProbe, ...]:
    """One probe per CPU package and one per its memory, where RAPL counts that too; sockets are not added up.

    None where the machine has no RAPL, and none where a single one may not be read, because a host without one of its
    sockets looks thrifty; `rapl_absence` says which.
    """
    found = _probes(root)
    return () if any(_forbidden(probe.zone) for probe in found) else found


def rapl_absence(root: Path = POWERCAP) -> str | None:
    """Why `rapl_probes` finds nothing, in one line; None where it finds something."""
    found = _probes(root)
    if not found:
        return f"this machine shows no RAPL: no CPU package in {root} (virtual machines and ARM processors have none)"
    return _FOR_ROOT_ONLY if any(_forbidden(probe.zone) for probe in found) else None


def _probes(root: Path) -> tuple[RaplProbe, ...]:
    probes: dict[str, RaplProbe] = {}
    for control_type in _CONTROL_TYPES:
        for zone in sorted(root.glob(f"{control_type}:*"), key=_place):
            probe = _probe(zone)
            if probe is not None:
                probes.setdefault(probe.name, probe)
    return tuple(probes.values())


def _place(zone: Path) -> tuple[int, ...]:
    """Zone "intel-rapl:1:0" is (1, 0), so that socket 10 comes after socket 2."""
    return tuple(int(part) for part in zone.name.split(":")[1:] if part.isdecimal())


def _probe(zone: Path) -> RaplProbe | None:
    """The probe of a package or of memory; None for every other zone."""
    kind = _text(zone / "name") or ""
    if kind.startswith("package"):
        covers = f"CPU {kind}: cores, caches, memory controller, graphics inside it; not the memory modules"
        return RaplProbe(zone=zone, name=kind, covers=covers)
    package = _text(zone.with_name(zone.name.rpartition(":")[0]) / "name") or ""
    if kind == "dram" and package.startswith("package"):
        return RaplProbe(zone=zone, name=f"{package}-dram", covers=f"the memory modules of CPU {package}")
    return None


def _forbidden(zone: Path) -> bool:
    """Whether the counter may not be read; tried, because rights alone do not tell (containers, capabilities)."""
    try:
        (zone / "energy_uj").read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _text(file: Path) -> str | None:
    """One line of a file of /sys; None where it is not there or does not answer."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
