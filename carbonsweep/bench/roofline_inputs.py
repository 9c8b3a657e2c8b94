"""What the device model computes with: facts gathered per configuration, as arrays; each is looked up once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Axis, Points, Value
from carbonsweep.domain import DTYPE_BYTES, Workload
from carbonsweep.facts import Gpu
from carbonsweep.facts.engines import Engine, engine

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Facts gathered per configuration, arrays of shape (configurations,); lengths in tokens, the rest SI.

    Any shapes that broadcast together will do: of (configuration, workload) pairs, what depends on one of the two alone
    is held, and computed with, once.
    """

    output_tokens: int | Array
    longest_prompt: int | Array
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
    host_layers: Array  # layers, weighed by the operators each launches, one of a Llama being 1
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
    free_sequences: Array
    sequence_busy: Array
    sequence_power: Array
    bandwidth_efficiency: Array
    compute_efficiency: Array
    compute_half_rows: Array
    cuda_core_flop_per_s: Array
    attention_flop_factor: Array
    kv_traffic_factor: Array
    kv_group_exponent: Array
    kernel_s_per_layer: Array
    weight_bytes_factor: Array
    unpacking_bytes_per_parameter: Array
    unpacking_half_rows: Array
    memory_reserve: Array
    memory_share: Array
    activation_bytes: Array
    spill_limit: Array
    spill_bytes_per_s: Array
    link_latency_s: Array
    waiting_w: Array
    prefill_power_floor: Array
    decode_power_floor: Array
    compute_power: Array
    kv_power: Array


def gathered(points: Points, workload: Workload) -> Inputs:
    """Look every fact up once per distinct value, then spread it over the points by index. Raises UnknownFact."""
    return Inputs(
        output_tokens=workload.output_tokens,
        longest_prompt=max(workload.prompt_tokens),
        prompt=np.full(len(points), workload.mean_prompt_tokens),
        padded_prompt=_spread(points.batch_size, map(workload.expected_longest, points.batch_size.values)),
        **of_configurations(points),
    )


def of_configurations(points: Points) -> dict[str, Array]:
    """The inputs that do not depend on the workload, by field of `Inputs`, one value per point. Raises UnknownFact."""
    gpus, dtypes, engines = points.gpu.values, points.dtype.values, points.engine.values
    gpu_table = np.array([[_gpu_values(gpu, dtype) for dtype in dtypes] for gpu in gpus], dtype=float)
    model_table = np.array([_model_values(model) for model in points.model.values], dtype=float)
    engine_table = np.array(
        [[[_engine_values(engine, gpu, dtype) for dtype in dtypes] for gpu in gpus] for engine in engines], dtype=float
    )
    gpu, dtype = points.gpu.index, points.dtype.index
    return {
        "batch": _spread(points.batch_size, points.batch_size.values),
        "count": _spread(points.gpu_count, points.gpu_count.values),
        "bytes_per_value": _spread(points.dtype, (DTYPE_BYTES[each] for each in dtypes)),
        **dict(zip(_GPU_FIELDS, gpu_table[gpu, dtype].T, strict=True)),
        **dict(zip(_MODEL_FIELDS, model_table[points.model.index].T, strict=True)),
        **dict(zip(_ENGINE_FIELDS, engine_table[points.engine.index, gpu, dtype].T, strict=True)),
    }


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
    "host_layers",
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
        row.layers,  # every model of the tables is Llama-like
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
    "free_sequences",
    "sequence_busy",
    "sequence_power",
    "bandwidth_efficiency",
    "compute_efficiency",
    "compute_half_rows",
    "cuda_core_flop_per_s",
    "attention_flop_factor",
    "kv_traffic_factor",
    "kv_group_exponent",
    "kernel_s_per_layer",
    "weight_bytes_factor",
    "unpacking_bytes_per_parameter",
    "unpacking_half_rows",
    "memory_reserve",
    "memory_share",
    "activation_bytes",
    "spill_limit",
    "spill_bytes_per_s",
    "link_latency_s",
    "waiting_w",
    "prefill_power_floor",
    "decode_power_floor",
    "compute_power",
    "kv_power",
)


def _engine_values(name: str, gpu: str, dtype: str) -> tuple[float, ...]:
    return engine_values(engine(name, facts.gpu(gpu).key), facts.gpu(gpu), dtype)


def engine_inputs(row: Engine, gpu: Gpu, dtype: str) -> dict[str, float]:
    """What `row` is on `gpu`, by field of `Inputs`."""
    return dict(zip(_ENGINE_FIELDS, engine_values(row, gpu, dtype), strict=True))


def engine_values(row: Engine, gpu: Gpu, dtype: str) -> tuple[float, ...]:
    """What `row` is on `gpu`, in the order of the engine's fields of `Inputs`."""
    peak = gpu.peak_flop_per_s.get(dtype, np.nan)
    density = gpu.tdp_w / gpu.die_mm2 / row.power_reference_w_per_mm2
    floor = 1 - row.power_area_share + row.power_area_share / density
    return (
        row.host_s_per_layer,
        row.host_s_per_pass,
        row.sequence_s_per_layer * (row.sequence_reference_flop_per_s / peak) ** row.sequence_exponent,
        row.free_sequences,
        row.sequence_busy,
        row.sequence_power,
        row.bandwidth_efficiency,
        _efficiency_on(row, gpu, peak),
        row.compute_half_rows,
        row.cuda_core_efficiency * gpu.peak_flop_per_s.get("fp32", 0.0),
        row.attention_flop_factor,
        row.kv_traffic_factor,
        row.kv_group_exponent,
        row.kernel_s_per_layer,
        row.weight_bytes_factor,
        row.unpacking_bytes_per_parameter,
        row.unpacking_half_rows,
        row.memory_reserve_bytes,
        row.memory_share,
        row.activation_bytes_per_row_and_hidden,
        row.spill_limit_bytes,
        row.spill_bytes_per_s,
        row.link_latency_s,
        row.waiting_idle_factor * gpu.idle_w,
        row.prefill_power_floor * floor,
        row.decode_power_floor * floor,
        row.compute_power,
        row.kv_power,
    )


COMPUTE_CEILING: Final = 0.8
"""Large matrix products of good libraries reach at most about this share of the data sheet's rate."""
REFERENCE_NM: Final = 7.0


def _efficiency_on(row: Engine, gpu: Gpu, peak: float) -> float:
    """Share of peak reached at many rows: a board that has few joules for each operation must clock down.

    The budget is TDP over peak; an operation's energy is taken to grow with the feature size of the process, so that
    budgets of different processes compare. A T4 has half the budget of an A100, an A10G three times as much.
    """
    feature_nm = float(gpu.process.removesuffix("nm"))
    budget = gpu.tdp_w / peak * REFERENCE_NM / feature_nm
    within = np.clip(budget, row.compute_budget_low_j_per_flop, row.compute_budget_high_j_per_flop)
    scaled = row.compute_efficiency * (within / row.compute_reference_j_per_flop) ** row.compute_budget_exponent
    return float(np.minimum(scaled, max(COMPUTE_CEILING, row.compute_efficiency)))
