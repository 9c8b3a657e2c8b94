"""With nothing feasible: who is closest to each limit, and where nothing ran, who lacks the least memory."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from carbonsweep.answer import Answer, lacking_bytes

MEMORY: Final = "memory_bytes"
"""Beside the names of the limits, what keeps a configuration from running at all."""


def closest_document(answer: Answer) -> dict[str, dict[str, Any]]:
    """`closest_by_limit` of answer.json, by limit; empty where something is feasible.

    Seconds, and `excess` relative to the limit (0 or less: it is met). Under `memory_bytes` the configuration that
    lacks the least, where nothing gave a result and somebody knows.
    """
    limits = answer.question.slo.limits()
    found: dict[str, dict[str, Any]] = {
        name: {
            "configuration": dataclasses.asdict(candidate.record.configuration),
            "value_s": getattr(candidate.measurement, name),
            "limit_s": limits[name],
            "excess": candidate.excess[name],
            "basis": candidate.measurement.basis,
            "record": candidate.record.key,
        }
        for name, candidate in answer.closest_by_limit.items()
    }
    record = answer.closest_to_fit
    if record is not None and record.refusal is not None:
        found[MEMORY] = {
            "configuration": dataclasses.asdict(record.configuration),
            "needed_bytes": record.refusal.needed_bytes,
            "available_bytes": record.refusal.available_bytes,
            "lacking_bytes": lacking_bytes(record),
            "record": record.key,
        }
    return found
