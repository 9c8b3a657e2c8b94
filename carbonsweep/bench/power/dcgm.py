"""GPUs of another machine, metered through the dcgm-exporter that runs there.

An endpoint elsewhere has unknown energy unless that machine's meter is named. The exporter shows NVML's energy counter
and board power only as often as it collects them (by default every 30 s): asking more often does not make it look.
For windows of seconds it is to be started with `--collect-interval 100`, in milliseconds.
Source: docs.nvidia.com/datacenter/dcgm/latest, "Configure Prometheus for DCGM Exporter": "A scrape does not force DCGM
to query the hardware".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonsweep.bench.power.exporter import CAP, ENERGY_FIELD, MEMORY_CLOCK, SM_CLOCK, TEMPERATURE, Exporter, ShownGpu
from carbonsweep.bench.power.trace import Clock, Instrument, MeterError, Reading
from carbonsweep.errors import BadInput
from carbonsweep.evidence import DeviceState
from carbonsweep.units import J_PER_MJ

_AS_COLLECTED: Final = "as another machine's dcgm-exporter last collected it"


@dataclass(slots=True, kw_only=True)
class DcgmProbe:
    """One GPU of another machine; implements `Probe`. Readings are as old as the exporter's last look at it.

    `board` is what it showed when it was found, `seen` the number of the last scrape it has used.
    """

    exporter: Exporter
    board: ShownGpu
    seen: int

    @property
    def name(self) -> str:
        """The GPU's UUID."""
        return self.board.uuid

    @property
    def power_cap_w(self) -> float | None:
        """Its enforced power limit when it was found, watts; few exporters show that."""
        return self.board.quantity(CAP)

    def instruments(self) -> tuple[Instrument | None, Instrument | None]:
        """Counter and power, where the exporter shows them. Raises MeterError where it shows neither."""
        board = self._board()
        if not board.metered:
            raise MeterError(f"{self.exporter.url} shows neither energy nor power of {self.name}")
        return _counter(board), _power(board)

    def read(self) -> Reading:
        """Both, as of the exporter's last look. Raises MeterError where the exporter or the GPU is gone."""
        board = self._board()
        return Reading(counter_j=board.energy_j, power_w=board.quantity(self.board.power_fields))

    def state(self) -> DeviceState:
        """Temperature and clocks where the exporter shows them; nothing is known where it does not answer."""
        try:
            board = self._board()
        except MeterError:
            return DeviceState()
        return DeviceState(
            temperature_c=board.quantity(TEMPERATURE),
            sm_clock_mhz=board.quantity(SM_CLOCK),
            memory_clock_mhz=board.quantity(MEMORY_CLOCK),
        )

    def _board(self) -> ShownGpu:
        self.seen, shown = self.exporter.scrape(self.seen)
        if self.name not in shown:
            raise MeterError(f"{self.exporter.url} no longer shows {self.name}")
        return shown[self.name]


def _counter(board: ShownGpu) -> Instrument | None:
    if board.energy_j is None:
        return None
    # Whole joules may be all that the exporter prints; a fraction shows that it prints more.
    step_j = J_PER_MJ if ENERGY_FIELD in board.values or board.energy_j % 1 else 1.0
    what = f"all energy of the GPU board, idle share included, {_AS_COLLECTED}"
    return Instrument(source="dcgm-counter", semantics=what, step=step_j)


def _power(board: ShownGpu) -> Instrument | None:
    if board.quantity(board.power_fields) is None:
        return None
    what = f"averaged over {board.averaging_s:g} s" if board.averaging_s else "at one instant"
    return Instrument(
        source="dcgm-power-average" if board.averaging_s else "dcgm-power-instant",
        semantics=f"power of the GPU board {what}, {_AS_COLLECTED}",
        step=1e-3,
        lag_s=board.averaging_s / 2,
    )


def dcgm_probes(
    url: str, *, uuids: Sequence[str] = (), kind: str | None = None, clock: Clock = time.monotonic
) -> tuple[DcgmProbe, ...]:
    """One probe per GPU behind the dcgm-exporter at `url` ("http://host:9400"; /metrics may be left out).

    `uuids` (or beginnings of them) name the GPUs that serve, or `kind`, a key of the fact table, takes all of that
    kind; neither will do where there is one GPU. Raises BadInput, which names what was found at the address.
    """
    exporter = Exporter(url=_metrics_address(url), clock=clock)
    try:
        number, shown = exporter.scrape()
    except MeterError as error:
        raise BadInput(f"{error}; a meter is the address of a dcgm-exporter, such as http://HOST:9400") from error
    chosen = _chosen(exporter.url, list(shown.values()), uuids, kind)
    return tuple(DcgmProbe(exporter=exporter, board=_metered(exporter.url, board), seen=number) for board in chosen)


def _metrics_address(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/"):
        raise BadInput(f"meter {url!r} is no address: valid is that of a dcgm-exporter, such as http://HOST:9400")
    return url.rstrip("/") + ("" if "/" in rest.rstrip("/") else "/metrics")


def _chosen(url: str, shown: list[ShownGpu], uuids: Sequence[str], kind: str | None) -> list[ShownGpu]:
    there = f"{url} shows " + ", ".join(f"{board.uuid} ({board.product_name})" for board in shown)
    if uuids:
        return _named(shown, uuids, there)
    chosen = [board for board in shown if kind in (None, board.kind)]
    if not chosen:
        raise BadInput(f"no {kind} at the meter: {there}")
    if kind is None and len(chosen) > 1:
        raise BadInput(f"which of these GPUs serve must be said, by UUID or by kind: {there}")
    return chosen


def _named(shown: list[ShownGpu], uuids: Sequence[str], there: str) -> list[ShownGpu]:
    named = []
    for uuid in uuids:
        match = [board for board in shown if board.uuid.startswith(uuid)]
        if len(match) != 1 or match[0] in named:
            raise BadInput(f"{uuid!r} names no further GPU of the meter: {there}")
        named += match
    return named


def _metered(url: str, board: ShownGpu) -> ShownGpu:
    if board.sliced:
        raise BadInput(f"{board.uuid} at {url} is split by MIG: its joules are the whole board's, not those of a slice")
    if not board.metered:
        raise BadInput(f"{url} shows neither energy nor power of {board.uuid}: add {ENERGY_FIELD} to its counters")
    return board
