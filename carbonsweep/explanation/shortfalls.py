"""Configurations that are no answer, and by how much: over a limit, out of memory, refused."""

from __future__ import annotations

from carbonsweep.answer import Answer, Candidate, lacking_bytes
from carbonsweep.domain import TrialRecord
from carbonsweep.search.objectives import worst_excess


def over_a_limit(found: Answer) -> tuple[Candidate, ...]:
    """Candidates that miss a limit, the closest first."""
    return tuple(sorted(found.infeasible, key=lambda c: (worst_excess(c.excess), c.record.configuration)))


def refused(found: Answer) -> tuple[TrialRecord, ...]:
    """Configurations without a result: those that lack memory first, the closest to fit first; then the others."""

    def place(record: TrialRecord) -> tuple[float, str]:
        lacking = lacking_bytes(record)
        return float("inf") if lacking is None else lacking, "" if record.refusal is None else record.refusal.kind

    return tuple(sorted(found.refused, key=lambda r: (*place(r), r.configuration)))
