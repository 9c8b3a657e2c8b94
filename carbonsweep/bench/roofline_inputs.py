"""What the device model computes with: facts gathered per configuration, as arrays.

`Points` are configurations as indices into the distinct values of each axis, so that a space of millions is named by a
few short lists, and every fact is looked up once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.domain import DTYPE_BYTES, Configuration, Dtype, Workload
from carbonsweep.facts.engines import engine

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Value = TypeVar("Value", str, int, Dtype)


@dataclass(frozen=True, slots=True)
class Axis(Generic[Value]):
    """The distinct values of one axis, and an index into them of shape (configurations,)."""

    values: tuple[Value, ...]
    index: Indices

    def at(self, i: int) -> Value:
        return self.values[int(self.index[i])]

    def places(self, value: Value) -> NDArray[np.bool_]:
        """Where `value` is. Raises ValueError where it is none of the values."""
        return np.equal(self.index, self.values.index(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Configurations, axis by axis."""

    model: Axis[str]
    gpu: Axis[str]
    gpu_count: Axis[int]
    batch_size: Axis[int]
    dtype: Axis[Dtype]
    engine: Axis[str]

    def __len__(self) -> int:
        return len(self.model.index)

    def configuration(self, i: int) -> Configuration:
        """The i-th configuration."""
        return Configuration(
            model=self.model.at(i),
            gpu=self.gpu.at(i),
            gpu_count=self.gpu_count.at(i),
            batch_size=self.batch_size.at(i),
            dtype=self.dtype.at(i),
            engine=self.engine.at(i),
        )

    def index(self, configuration: Configuration) -> int:
        """The first place of `configuration`. Raises ValueError where it is not among the points."""
        found = np.flatnonzero(
            self.model.places(configuration.model)
            & self.gpu.places(configuration.gpu)
            & self.gpu_count.places(configuration.gpu_count)
            & self.batch_size.places(configuration.batch_size)
            & self.dtype.places(configuration.dtype)
            & self.engine.places(configuration.engine)
        )
        if not len(found):
            raise ValueError(f"{configuration} is none of the {len(self)} points")
        return int(found[0])


def listed(configurations: Sequence[Configuration]) -> Points:
    """Points of any configurations, in their order."""
    return Points(
        model=_axis(c.model for c in configurations),
        gpu=_axis(c.gpu for c in configurations),
        gpu_count=_axis(c.gpu_count for c in configurations),
        batch_size=_axis(c.batch_size for c in configurations),
        dtype=_axis(c.dtype for c in configurations),
        engine=_axis(c.engine for c in configurations),
    )


def product(
    *,
    models: tuple[str, ...],
    gpus: tuple[str, ...],
    gpu_counts: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    dtypes: tuple[Dtype, ...],
    engines: tuple[str, ...],
) -> Points:
    """Every combination, the last axis fastest."""
    shape = tuple(map(len, (models, gpus, gpu_counts, batch_sizes, dtypes, engines)))
    indices = iter(np.indices(shape, dtype=np.intp).reshape(len(shape), -1))
    return Points(
        model=Axis(models, next(indices)),
        gpu=Axis(gpus, next(indices)),
        gpu_count=Axis(gpu_counts, next(indices)),
        batch_size=Axis(batch_sizes, next(indices)),
        dtype=Axis(dtypes, next(indices)),
        engine=Axis(engines, next(indices)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Facts gathered per configuration, arrays of shape (configurations,); lengths in tokens, the rest SI."""

    output_tokens: int
    longest_prompt: int
    batch: Array
    count: Array
    prompt: Array
    padded_prompt: Array
    bytes_per_value: Array
    # GPU
    flop_per_s: Array  # NaN where the GPU lacks the dtype
    bandwidth: Array
    memory: Array
    tdp_w: Array
    idle_w: Array
    link: Array
    # model
    layers: Array
    hidden: Array
    attention_width: Array  # heads x head_dim
    heads: Array
    kv_heads: Array
    context_tokens: Array
    block_parameters: Array
    head_parameters: Array
    parameters: Array
    kv_values_per_token: Array
    # engine
    host_s_per_layer: Array
    host_s_per_pass: Array
    sequence_s_per_layer: Array
    sequence_busy: Array
    bandwidth_efficiency: Array
    compute_efficiency: Array
    compute_half_rows: Array
    attention_flop_factor: Array
    memory_reserve: Array
    memory_share: Array
    activation_bytes: Array
    link_latency_s: Array
    prefill_power_floor: Array
    decode_power_floor: Array
    compute_power: Array
    kv_power: Array


def gathered(points: Points, workload: Workload) -> Inputs:
    """Look every fact up once per distinct value, then spread it over the points by index. Raises UnknownFact."""
    gpus, dtypes, engines = points.gpu.values, points.dtype.values, points.engine.values
    gpu_table = np.array([[_gpu_values(gpu, dtype) for dtype in dtypes] for gpu in gpus], dtype=float)
    model_table = np.array([_model_values(model) for model in points.model.values], dtype=float)
    engine_table = np.array(
        [[[_engine_values(engine, gpu, dtype) for dtype in dtypes] for gpu in gpus] for engine in engines], dtype=float
    )
    gpu, dtype = points.gpu.index, points.dtype.index
    batch = _spread(points.batch_size, points.batch_size.values)
    return Inputs(
        output_tokens=workload.output_tokens,
        longest_prompt=max(workload.prompt_tokens),
        batch=batch,
        count=_spread(points.gpu_count, points.gpu_count.values),
        prompt=np.full_like(batch, workload.mean_prompt_tokens),
        padded_prompt=_spread(points.batch_size, map(workload.expected_longest, points.batch_size.values)),
        bytes_per_value=_spread(points.dtype, (DTYPE_BYTES[each] for each in dtypes)),
        **dict(zip(_GPU_FIELDS, gpu_table[gpu, dtype].T, strict=True)),
        **dict(zip(_MODEL_FIELDS, model_table[points.model.index].T, strict=True)),
        **dict(zip(_ENGINE_FIELDS, engine_table[points.engine.index, gpu, dtype].T, strict=True)),
    )


def _axis(values: Iterable[Value]) -> Axis[Value]:
    order: dict[Value, int] = {}
    indices = [order.setdefault(value, len(order)) for value in values]
    return Axis(tuple(order), np.array(indices, dtype=np.intp))


def _spread(axis: Axis[Value], quantities: Iterable[float]) -> Array:
    """One quantity per distinct value, as one per point."""
    return np.array(tuple(quantities), dtype=float)[axis.index]


_GPU_FIELDS: Final = ("flop_per_s", "bandwidth", "memory", "tdp_w", "idle_w", "link")


def _gpu_values(gpu: str, dtype: str) -> tuple[float, ...]:
    row = facts.gpu(gpu)
    return (
        row.peak_flop_per_s.get(dtype, np.nan),
        row.memory_bandwidth_bytes_per_s,
        row.memory_bytes,
        row.tdp_w,
        row.idle_w,
        row.link_bytes_per_s,
    )


_MODEL_FIELDS: Final = (
    "layers",
    "hidden",
    "attention_width",
    "heads",
    "kv_heads",
    "context_tokens",
    "block_parameters",
    "head_parameters",
    "parameters",
    "kv_values_per_token",
)


def _model_values(model: str) -> tuple[float, ...]:
    row = facts.language_model(model)
    return (
        row.layers,
        row.hidden,
        row.heads * row.head_dim,
        row.heads,
        row.kv_heads,
        row.context_tokens,
        row.block_parameters,
        row.embedding_parameters,
        row.parameters,
        row.kv_bytes_per_token(1),
    )


_ENGINE_FIELDS: Final = (
    "host_s_per_layer",
    "host_s_per_pass",
    "sequence_s_per_layer",
    "sequence_busy",
    "bandwidth_efficiency",
    "compute_efficiency",
    "compute_half_rows",
    "attention_flop_factor",
    "memory_reserve",
    "memory_share",
    "activation_bytes",
    "link_latency_s",
    "prefill_power_floor",
    "decode_power_floor",
    "compute_power",
    "kv_power",
)


def _engine_values(name: str, gpu: str, dtype: str) -> tuple[float, ...]:
    row = engine(name, facts.gpu(gpu).key)
    peak = facts.gpu(gpu).peak_flop_per_s.get(dtype, np.nan)
    return (
        row.host_s_per_layer,
        row.host_s_per_pass,
        row.sequence_s_per_layer * (row.sequence_reference_flop_per_s / peak) ** row.sequence_exponent,
        row.sequence_busy,
        row.bandwidth_efficiency,
        row.compute_efficiency,
        row.compute_half_rows,
        row.attention_flop_factor,
        row.memory_reserve_bytes,
        row.memory_share,
        row.activation_bytes_per_row_and_hidden,
        row.link_latency_s,
        row.prefill_power_floor,
        row.decode_power_floor,
        row.compute_power,
        row.kv_power,
    )
