"""One phase of every point that can run it, as arrays: of a plan, or of records, whichever bench found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Indices, Points
from carbonsweep.bench.roofline import Prediction
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.domain import DTYPE_BYTES, Dtype, TrialRecord

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """One phase of every point that can run it, arrays of shape (points,): seconds and joules of a batch.

    `place` tells which point it is, `group` which model, dtype and engine; `gpu` is an index into the kinds. `kv_bytes`
    and `prompt_tokens` are those of the batch. Joules and idle watts (of a replica) are NaN where they are unknown.
    """

    place: Indices
    group: Indices
    gpu: Indices
    batch: Array
    count: Array
    duration_s: Array
    taken_s: Array
    energy_j: Array
    idle_w: Array
    prompt_tokens: Array
    kv_bytes: Array

    def __len__(self) -> int:
        return len(self.place)

    def part(self, rows: Indices | slice | NDArray[np.bool_]) -> Sides:
        """Some of them."""
        return Sides(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def along(self, axis: int) -> Sides:
        """The same along one axis of a block: 1 for prefill, 2 for decode."""
        shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
        return Sides(**{field.name: getattr(self, field.name).reshape(shape) for field in fields(self)})


def of_points(points: Points, predicted: Prediction, phase: Phase) -> Sides:
    """Of the points that can run `phase`, as predicted for GPUs that run it alone."""
    place = np.flatnonzero(predicted.supported & predicted.fits)
    kept = points.part(place)
    batch = np.array(kept.batch_size.values, dtype=float)[kept.batch_size.index]
    duration_s = (predicted.prefill_s if phase == "prefill" else predicted.decode_s)[place]
    power_w = (predicted.prefill_w if phase == "prefill" else predicted.decode_w)[place]
    prompt_tokens = predicted.real_prompt_tokens[place]
    token_bytes = np.array(
        [[_token_bytes(model, dtype) for dtype in points.dtype.values] for model in points.model.values], dtype=float
    )
    return Sides(
        place=place,
        group=(kept.model.index * len(points.dtype.values) + kept.dtype.index) * len(points.engine.values)
        + kept.engine.index,
        gpu=kept.gpu.index,
        batch=batch,
        count=np.array(kept.gpu_count.values, dtype=float)[kept.gpu_count.index],
        duration_s=duration_s,
        taken_s=duration_s,
        energy_j=power_w * duration_s,
        idle_w=predicted.idle_w[place],
        prompt_tokens=prompt_tokens,
        kv_bytes=prompt_tokens * token_bytes[kept.model.index, kept.dtype.index],
    )


def of_records(records: Sequence[TrialRecord], gpus: Sequence[str], phase: Phase) -> Sides:
    """Of the records that hold a measurement; `gpus` are the kinds, of which the index is into."""
    rows = [_row(place, record, gpus, phase) for place, record in enumerate(records) if record.measurement is not None]
    groups = {key: number for number, key in enumerate(dict.fromkeys(_group(record) for record in records))}
    columns = {
        field.name: np.array([row[field.name] for row in rows]) for field in fields(Sides) if field.name != "group"
    }
    group = np.array([groups[_group(records[row["place"]])] for row in rows], dtype=np.intp)
    return Sides(**columns, group=group)


def _group(record: TrialRecord) -> tuple[str, ...]:
    """What two records share that a split can be composed of."""
    served = record.configuration
    return served.model, served.dtype, served.engine, record.workload.digest


def _row(place: int, record: TrialRecord, gpus: Sequence[str], phase: Phase) -> dict[str, Any]:
    measurement, served = record.measurement, record.configuration
    if measurement is None:
        raise ValueError(f"record {record.key} holds no measurement")
    found = getattr(measurement, phase)
    return {
        "place": place,
        "gpu": gpus.index(found.gpu),
        "batch": float(measurement.batch_size),
        "count": float(found.gpu_count),
        "duration_s": found.duration_s,
        "taken_s": found.occupied_s,
        "energy_j": np.nan if found.energy is None else found.energy.joules,
        "idle_w": np.nan if measurement.idle_w is None else measurement.idle_w,
        "prompt_tokens": measurement.prefill.tokens,
        "kv_bytes": measurement.prefill.tokens * _token_bytes(served.model, served.dtype),
    }


def _token_bytes(model: str, dtype: Dtype) -> int:
    """KV cache of one token; raises UnknownFact."""
    return facts.language_model(model).kv_bytes_per_token(DTYPE_BYTES[dtype])
