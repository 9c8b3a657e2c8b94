"""One configuration -> one record: the whole story of a trial."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
from datetime import UTC, datetime
from typing import Final

from carbonsweep.bench import Bench
from carbonsweep.domain import (
    Configuration,
    Measurement,
    Provenance,
    Refusal,
    TrialRecord,
    Workload,
    record_key,
)
from carbonsweep.errors import CarbonsweepError, DoesNotFit, Unsupported

PACKAGES: Final = ("carbonsweep", "numpy", "nvidia-ml-py", "torch", "transformers")


def trial(bench: Bench, configuration: Configuration, workload: Workload) -> TrialRecord:
    """Measure `configuration` and write down whatever came of it; a refusal is an outcome, not an exception."""
    outcome = _outcome(bench, configuration, workload)
    identity, summary = bench.identity(configuration), workload.summary()
    return TrialRecord(
        key=record_key(configuration, summary, identity),
        configuration=configuration,
        workload=summary,
        identity=identity,
        provenance=provenance(),
        measurement=outcome if isinstance(outcome, Measurement) else None,
        refusal=outcome if isinstance(outcome, Refusal) else None,
    )


def provenance() -> Provenance:
    """Of this process, now: UTC time, host, Python and the packages that shape a measurement."""
    return Provenance(
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        host=socket.gethostname(),
        python=platform.python_version(),
        versions=tuple(f"{name}=={version}" for name in PACKAGES if (version := _version(name)) is not None),
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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
