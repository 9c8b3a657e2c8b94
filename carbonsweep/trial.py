"""One configuration -> one record: the whole story of a trial."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from carbonsweep.bench import Bench
from carbonsweep.domain import (
    Basis,
    Configuration,
    Measurement,
    Provenance,
    Refusal,
    TrialRecord,
    Workload,
    record_key,
)
from carbonsweep.errors import CarbonsweepError, DoesNotFit, Unsupported
from carbonsweep.evidence import TrialCost

if TYPE_CHECKING:
    from carbonsweep.bench.power.spending import Spending

PACKAGES: Final = ("carbonsweep", "numpy", "nvidia-ml-py", "torch", "transformers")
NOT_RUN: Final = TrialCost(duration_s=0.0, energy_j=0.0, source="not run")
"""The cost of a record that needed no trial."""


def trial(bench: Bench, configuration: Configuration, workload: Workload, *, attempt: str | None = None) -> TrialRecord:
    """Measure `configuration` and write down whatever came of it; a refusal is an outcome, not an exception.

    `attempt` names this run of it. Its cost is everything between this call and its end: loading, warm-up, repeats.
    """
    begin_s = time.monotonic()
    identity = bench.identity(configuration)
    spending = _spending(bench, configuration, identity.basis)
    with spending or contextlib.nullcontext():
        outcome = _outcome(bench, configuration, workload)
    summary = workload.summary()
    return TrialRecord(
        key=record_key(configuration, summary, identity),
        configuration=configuration,
        workload=summary,
        identity=identity,
        provenance=provenance(attempt),
        measurement=outcome if isinstance(outcome, Measurement) else None,
        refusal=outcome if isinstance(outcome, Refusal) else None,
        cost=_cost(spending, outcome, begin_s),
    )


def _spending(bench: Bench, configuration: Configuration, basis: Basis) -> Spending | None:
    """The counters of this trial; None for a model, which touches no device."""
    if basis == "modelled":
        return None
    from carbonsweep.bench.power.devices import Instruments
    from carbonsweep.bench.power.spending import spending

    # A bench that was given its instruments measures devices of elsewhere, a server's.
    given = getattr(bench, "instruments", None)
    return spending(configuration, given if isinstance(given, Instruments) else None)


def _cost(spending: Spending | None, outcome: Measurement | Refusal, begin_s: float) -> TrialCost:
    if spending is None:
        duration_s = time.monotonic() - begin_s
        return TrialCost(duration_s=duration_s, energy_j=None, flaw="modelled: nobody counted the processor's joules")
    device = outcome.device if isinstance(outcome, Measurement) else None
    drawn = spending.drawn(None if device is None else device.uuid)
    return TrialCost(
        duration_s=time.monotonic() - begin_s, energy_j=drawn.energy_j, source=drawn.source, flaw=drawn.flaw
    )


def provenance(attempt: str | None = None) -> Provenance:
    """Of this process, now: UTC time, host, Python and the packages that shape a measurement; `attempt` as given."""
    return Provenance(
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        host=socket.gethostname(),
        python=platform.python_version(),
        versions=tuple(f"{name}=={version}" for name in PACKAGES if (version := _version(name)) is not None),
        attempt=attempt,
    )


def _outcome(bench: Bench, configuration: Configuration, workload: Workload) -> Measurement | Refusal:
    try:
        return bench.measure(configuration, workload)
    except DoesNotFit as error:
        return Refusal(
            kind="does-not-fit",
            reason=str(error),
            needed_bytes=error.needed_bytes,
            available_bytes=error.available_bytes,
        )
    except Unsupported as error:
        return Refusal(kind="unsupported", reason=_text(error))
    except CarbonsweepError as error:
        return Refusal(kind="failed", reason=_text(error))
    except Exception as error:
        # A bench that breaks in a way it did not foresee costs one trial, never the sweep; the reason is on record.
        return Refusal(kind="failed", reason=f"{type(error).__name__}: {_text(error)}")


def _text(error: Exception) -> str:
    """The message as valid Unicode: a file name that is none would make the record unwritable."""
    return str(error).encode(errors="backslashreplace").decode()


@functools.cache
def _version(package: str) -> str | None:
    """Looked up once per process: finding a package's metadata takes milliseconds."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
