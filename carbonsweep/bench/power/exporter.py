"""What a dcgm-exporter shows of its GPUs: Prometheus text over HTTP, one GPU after another.

From DCGM 4.7 on its fields have new names, and some of them new units (joules, hertz); both generations are read.
Sources: docs.nvidia.com/datacenter/dcgm/latest, "DCGM Exporter Metrics" and "Field Identifiers".
"""

from __future__ import annotations

import contextlib
import math
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from carbonsweep.bench.power.trace import Clock, MeterError
from carbonsweep.facts import gpu_of_product
from carbonsweep.units import J_PER_MJ, MHZ_PER_HZ

if TYPE_CHECKING:
    import httpx2

Fields = Mapping[str, float]
"""Names by preference, each with the factor from its unit to ours."""
ENERGY_FIELD: Final = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
_ENERGY: Final[Fields] = {ENERGY_FIELD: J_PER_MJ, "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL": 1.0}
_INSTANT_POWER: Final[Fields] = {"DCGM_FI_DEV_BOARD_POWER_RAW_WATTS": 1.0, "DCGM_FI_DEV_POWER_USAGE_INSTANT": 1.0}
_POWER: Final[Fields] = {"DCGM_FI_DEV_BOARD_POWER_WATTS": 1.0, "DCGM_FI_DEV_POWER_USAGE": 1.0}
CAP: Final[Fields] = {"DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS": 1, "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": 1}
TEMPERATURE: Final[Fields] = {"DCGM_FI_DEV_GPU_TEMP_CELSIUS": 1.0, "DCGM_FI_DEV_GPU_TEMP": 1.0}
SM_CLOCK: Final[Fields] = {"DCGM_FI_DEV_SM_CLOCK": 1.0, "DCGM_FI_DEV_SM_CLOCK_HERTZ": MHZ_PER_HZ}
MEMORY_CLOCK: Final[Fields] = {"DCGM_FI_DEV_MEM_CLOCK": 1.0, "DCGM_FI_DEV_MEMORY_CLOCK_HERTZ": MHZ_PER_HZ}

_WANTED: Final = tuple(
    name for fields in (_ENERGY, _INSTANT_POWER, _POWER, CAP, TEMPERATURE, SM_CLOCK, MEMORY_CLOCK) for name in fields
)

_BLANK: Final = 2.0**47
"""From here on a value says "not known": DCGM_FP64_BLANK is 2^47, DCGM_INT64_BLANK near 2^63 (dcgm_structs.h)."""
_AVERAGING_S: Final = 1.0
_INSTANT_ARCHITECTURES: Final = frozenset({"Pascal", "Volta", "Turing"})
_INSTANT_KINDS: Final = ("A100", "A30")
"""Boards with a GA100. NVML's plain power reading, which is DCGM's, is instantaneous on GA100 and before Ampere and an
average over 1 s on everything newer (NVML API reference, nvmlDeviceGetPowerUsage); a stranger counts as newer."""
TIMEOUT_S: Final = 5.0
SHARED_S: Final = 0.02
"""How long after its answer one probe's scrape also serves the others of the same poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownGpu:
    """One GPU as one scrape shows it; `values` by field name, `sliced` where MIG has split it."""

    uuid: str
    product_name: str
    hostname: str
    sliced: bool
    values: Mapping[str, float]

    @property
    def kind(self) -> str | None:
        """Its key in the fact table, None for a stranger."""
        row = gpu_of_product(self.product_name)
        return None if row is None else row.key

    def quantity(self, fields: Fields) -> float | None:
        """The first of `fields` that has a value, in our unit."""
        known = ((self.values.get(name, math.nan), factor) for name, factor in fields.items())
        return next((value * factor for value, factor in known if 0 <= value < _BLANK), None)

    @property
    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; None where it does not count, for then it says 0."""
        return self.quantity(_ENERGY) or None

    @property
    def power_fields(self) -> Fields:
        """Where to read its watts: at an instant, if the exporter shows that."""
        return _POWER if self.quantity(_INSTANT_POWER) is None else _INSTANT_POWER

    @property
    def averaging_s(self) -> float:
        """Seconds that these watts are the mean of, 0 for an instant."""
        row = gpu_of_product(self.product_name)
        instant = row is not None and (row.architecture in _INSTANT_ARCHITECTURES or row.key.startswith(_INSTANT_KINDS))
        return 0.0 if instant or self.power_fields is _INSTANT_POWER else _AVERAGING_S

    @property
    def metered(self) -> bool:
        """Whether it shows energy or power at all."""
        return not (self.energy_j is None and self.quantity(self.power_fields) is None)


def shown_gpus(text: str) -> dict[str, ShownGpu]:
    """GPUs by UUID in an exporter's answer, none in any other text. Raises ValueError for one that is garbled."""
    found: dict[str, tuple[Mapping[str, str], dict[str, float]]] = {}
    # Of eight GPUs an exporter shows some 200 lines, 15 ms for the parser; a poll is to cost less.
    for name, labels, value in _samples("\n".join(line for line in text.splitlines() if line.startswith(_WANTED))):
        if "uuid" in labels:
            found.setdefault(labels["uuid"], (labels, {}))[1].setdefault(name, value)
    return {
        uuid: ShownGpu(
            uuid=uuid,
            product_name=labels.get("modelname", "unknown product"),
            hostname=labels.get("hostname", "unknown host"),
            sliced=bool(labels.get("gpu_i_id")),
            values=values,
        )
        for uuid, (labels, values) in found.items()
    }


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value; labels in lower case, since exporters differ in that (Hostname, hostname)."""
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, {key.casefold(): label for key, label in sample.labels.items()}, float(sample.value)


@dataclass(slots=True, kw_only=True, weakref_slot=True)
class Exporter:
    """One dcgm-exporter, asked once for all probes of a poll."""

    url: str
    clock: Clock
    _client: httpx2.Client | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _latest: dict[str, ShownGpu] = field(default_factory=dict, init=False, repr=False)
    _number: int = field(default=0, init=False, repr=False)
    _answered_s: float = field(default=-math.inf, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """It travels to workers as an address: a connection and a lock are of one process."""
        return {"url": self.url, "clock": self.clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def scrape(self, after: int = 0) -> tuple[int, Mapping[str, ShownGpu]]:
        """A scrape later than number `after`, and its number: another probe's of this moment, else a new one.

        Raises MeterError, which names what was found at the address.
        """
        with self._lock:
            if self._number <= after or self.clock() - self._answered_s > SHARED_S:
                self._latest = self._read(self._answer())
                self._number, self._answered_s = self._number + 1, self.clock()
            return self._number, self._latest

    def _answer(self) -> httpx2.Response:
        import httpx2

        if self._client is None:
            self._client = httpx2.Client(timeout=TIMEOUT_S, trust_env=False)
            weakref.finalize(self, self._client.close)
        try:
            with contextlib.suppress(httpx2.RemoteProtocolError):
                return self._client.get(self.url)
            # A connection kept open may be closed by the other side just when it is used again.
            return self._client.get(self.url)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise MeterError(f"no meter answers at {self.url}: {str(error) or type(error).__name__}") from error

    def _read(self, answer: httpx2.Response) -> dict[str, ShownGpu]:
        if answer.status_code != 200:
            raise MeterError(f"{self.url} answers {answer.status_code} {answer.reason_phrase}")
        try:
            found = shown_gpus(answer.text)
            other = None if found else next((name for name, _, _ in _samples(answer.text)), "nothing")
        except ValueError as error:
            kind = answer.headers.get("content-type", "text of no type")
            raise MeterError(f"{self.url} shows no metrics but {kind}: {answer.text[:40]!r}") from error
        if other is not None:
            raise MeterError(f"{self.url} shows no GPU's energy, power or temperature but {other}")
        return found
