"""What need not be tried: a batch larger than one that does not fit the memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from carbonsweep.bench import Bench
from carbonsweep.domain import Configuration, Refusal, TrialRecord, record_key
from carbonsweep.search.order import weights_group
from carbonsweep.trial import NOT_RUN, provenance
from carbonsweep.units import BYTES_PER_GB


def implied_record(configuration: Configuration, outcomes: Iterable[TrialRecord], bench: Bench) -> TrialRecord | None:
    """The record of `configuration` where one of `outcomes` already says that it does not fit, else None.

    Memory grows with the batch on every bench here, so a refusal at the smallest batch holds for the larger ones. The
    record has the key of the trial it replaces; bytes needed are a lower bound. `outcomes` are of one workload.
    """
    refused = [
        record
        for record in outcomes
        if record.refusal is not None
        and record.refusal.kind == "does-not-fit"
        and weights_group(record.configuration) == weights_group(configuration)
        and record.configuration.batch_size < configuration.batch_size
    ]
    if not refused:
        return None
    smallest = min(refused, key=lambda record: record.configuration.batch_size)
    identity = bench.identity(configuration)
    return replace(
        smallest,
        key=record_key(configuration, smallest.workload, identity),
        configuration=configuration,
        identity=identity,
        provenance=provenance(),
        cost=NOT_RUN,
        refusal=_implied(smallest),
    )


def _implied(smaller: TrialRecord) -> Refusal:
    refusal = smaller.refusal
    assert refusal is not None, "only a refusal implies another"
    size, asked, there = smaller.configuration.batch_size, _gb(refusal.needed_bytes), _gb(refusal.available_bytes)
    return Refusal(
        kind="does-not-fit",
        reason=f"not tried: batch {size} already does not fit ({asked} asked, {there} there)",
        needed_bytes=refusal.needed_bytes,
        available_bytes=refusal.available_bytes,
    )


def _gb(value_bytes: float | None) -> str:
    return "unknown bytes" if value_bytes is None else f"{value_bytes / BYTES_PER_GB:.4g} GB"
