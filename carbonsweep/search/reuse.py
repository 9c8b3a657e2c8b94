"""Which records of a folder speak of a space: what they measured need not be measured again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from carbonsweep.bench import Bench
from carbonsweep.domain import TrialRecord, WorkloadSummary, record_key
from carbonsweep.search.space import Space


def matching_records(
    records: Iterable[TrialRecord], space: Space, bench: Bench, workload: WorkloadSummary
) -> Iterator[TrialRecord]:
    """Those of this bench and workload whose configuration is in the space, or would be at another batch size.

    A batch size outside the space answers nothing there, but one that does not fit tells of the larger ones.
    """
    any_batch_size = space.batch_sizes[0]
    for record in records:
        configuration = record.configuration
        if replace(configuration, batch_size=any_batch_size) not in space:
            continue
        if record.key == record_key(configuration, workload, bench.identity(configuration)):
            yield record
