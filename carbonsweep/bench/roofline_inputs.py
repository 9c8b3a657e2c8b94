"""What the device model computes with: facts gathered per configuration, as arrays.

`Points` are configurations as indices into the distinct values of each axis, so that a space of millions is named by a
few short lists, and every fact is looked up once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.domain import DTYPE_BYTES, Configuration, Dtype, Workload
from carbonsweep.facts.engines import engine

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Value = TypeVar("Value", str, int, Dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Configurations: for each axis its distinct values, and an index into them of shape (configurations,)."""

    models: tuple[str, ...]
    gpus: tuple[str, ...]
    gpu_counts: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    dtypes: tuple[Dtype, ...]
    engines: tuple[str, ...]
    model: Indices
    gpu: Indices
    gpu_count: Indices
    batch_size: Indices
    dtype: Indices
    engine: Indices

    def __len__(self) -> int:
        return len(self.model)

    def configuration(self, i: int) -> Configuration:
        """The i-th configuration."""
        return Configuration(
            model=self.models[self.model[i]],
            gpu=self.gpus[self.gpu[i]],
            gpu_count=self.gpu_counts[self.gpu_count[i]],
            batch_size=self.batch_sizes[self.batch_size[i]],
            dtype=self.dtypes[self.dtype[i]],
            engine=self.engines[self.engine[i]],
        )

    def index(self, configuration: Configuration) -> int:
        """The first place of `configuration`. Raises ValueError where it is not among the points."""
        places = (
            (self.model == self.models.index(configuration.model))
            & (self.gpu == self.gpus.index(configuration.gpu))
            & (self.gpu_count == self.gpu_counts.index(configuration.gpu_count))
            & (self.batch_size == self.batch_sizes.index(configuration.batch_size))
            & (self.dtype == self.dtypes.index(configuration.dtype))
            & (self.engine == self.engines.index(configuration.engine))
        )
        found = np.flatnonzero(places)
        if not len(found):
            raise ValueError(f"{configuration} is none of the {len(self)} points")
        return int(found[0])


def listed(configurations: Sequence[Configuration]) -> Points:
    """Points of any configurations, in their order."""
    models, model = _distinct(c.model for c in configurations)
    gpus, gpu = _distinct(c.gpu for c in configurations)
    gpu_counts, gpu_count = _distinct(c.gpu_count for c in configurations)
    batch_sizes, batch_size = _distinct(c.batch_size for c in configurations)
    dtypes, dtype = _distinct(c.dtype for c in configurations)
    engines, engine_index = _distinct(c.engine for c in configurations)
    return Points(
        models=models,
        gpus=gpus,
        gpu_counts=gpu_counts,
        batch_sizes=batch_sizes,
        dtypes=dtypes,
        engines=engines,
        model=model,
        gpu=gpu,
        gpu_count=gpu_count,
        batch_size=batch_size,
        dtype=dtype,
        engine=engine_index,
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
    shape = tuple(len(axis) for axis in (models, gpus, gpu_counts, batch_sizes, dtypes, engines))
    model, gpu, gpu_count, batch_size, dtype, engine_index = (axis.ravel() for axis in np.indices(shape, dtype=np.intp))
    return Points(
        models=models,
        gpus=gpus,
        gpu_counts=gpu_counts,
        batch_sizes=batch_sizes,
        dtypes=dtypes,
        engines=engines,
        model=model,
        gpu=gpu,
        gpu_count=gpu_count,
        batch_size=batch_size,
        dtype=dtype,
        engine=engine_index,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Facts gathered per configuration, arrays of shape (configurations,); lengths in tokens, the rest SI."""

    output_tokens: int
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
    gpu_table = np.array([[_gpu_values(gpu, dtype) for dtype in points.dtypes] for gpu in points.gpus], dtype=float)
    model_table = np.array([_model_values(model) for model in points.models], dtype=float)
    engine_table = np.array(
        [[[_engine_values(e, gpu, dtype) for dtype in points.dtypes] for gpu in points.gpus] for e in points.engines],
        dtype=float,
    )
    gpus = gpu_table[points.gpu, points.dtype].T
    models = model_table[points.model].T
    engines = engine_table[points.engine, points.gpu, points.dtype].T
    batch = np.array(points.batch_sizes, dtype=float)[points.batch_size]
    longest = np.array([workload.expected_longest(b) for b in points.batch_sizes], dtype=float)
    return Inputs(
        output_tokens=workload.output_tokens,
        batch=batch,
        count=np.array(points.gpu_counts, dtype=float)[points.gpu_count],
        prompt=np.full_like(batch, workload.mean_prompt_tokens),
        padded_prompt=longest[points.batch_size],
        bytes_per_value=np.array([DTYPE_BYTES[dtype] for dtype in points.dtypes], dtype=float)[points.dtype],
        **dict(zip(_GPU_FIELDS, gpus, strict=True)),
        **dict(zip(_MODEL_FIELDS, models, strict=True)),
        **dict(zip(_ENGINE_FIELDS, engines, strict=True)),
    )


def _distinct(values: Iterable[Value]) -> tuple[tuple[Value, ...], Indices]:
    order: dict[Value, int] = {}
    indices = [order.setdefault(value, len(order)) for value in values]
    return tuple(order), np.array(indices, dtype=np.intp)


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
