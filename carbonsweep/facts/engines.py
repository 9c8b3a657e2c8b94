"""Serving stacks as the device model knows them: host time, efficiencies, power shares, each with its source.

An engine row holds values for any GPU; a `gpu` sub-table overrides them where a GPU is known better.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any

import msgspec

from carbonsweep.errors import CarbonsweepError, UnknownFact


class EngineFactError(CarbonsweepError):
    """An engine row that cannot be used; the message names row and field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Parameters of one serving stack on one GPU, for the equations of `bench.roofline`.

    Host: `host_s_per_layer` and `host_s_per_pass` are the CPU's time to launch one forward pass, which the GPU's work
    hides or not. `sequence_s_per_layer` is the extra time each sequence of a decode batch costs in every layer on a
    GPU of `sequence_reference_flop_per_s`, falling with the compute rate to the power `sequence_exponent`. The
    time of the first `free_sequences` (0 or 1) is part of the host's pass, and no work of the GPU: nothing is padded or
    copied for a batch of 1.
    GPU: the share of peak bandwidth reached, the share of peak compute at many rows and the rows at which half of it
    is reached, what attention computes (4: the full square, 2: its causal half), and how often a decode step moves the
    KV cache (1: reads it once; an eager cache that is copied whenever it grows moves it several times).
    Memory: reserve for context and workspace, the share of the card that may be used, activation bytes per row and
    hidden unit; `spill_limit_bytes` may lie in host memory instead (0: nothing may), and what does is fetched in every
    pass at `spill_bytes_per_s`.
    Power: `waiting_idle_factor` times idle power while the host is awaited; while the GPU works, shares of TDP: a floor
    per phase, growth with the square root of compute utilisation and with the share of KV traffic. The floors are those
    of a board of `power_reference_w_per_mm2` (TDP over die area); `power_area_share` of a floor is so many watts per
    die area on every board, hence a larger share of a smaller TDP, the rest the same share of TDP on every board.
    `sequence_busy` is the share of the per-sequence time the GPU really works, at
    `sequence_power` times TDP where that is more than the phase draws (0: as the phase draws).
    `kernel_s_per_layer`: GPU time a Llama's layer loses between kernels (ramps, tails, waits), whatever its size.
    `kv_group_exponent`: the query heads of one key-value head share its reads (0), each reads for itself (1), or in
    between. Compute efficiency is that of a GPU with `compute_reference_j_per_flop` to spend (TDP over peak, in terms
    of a 7 nm process), and grows with that budget to the power `compute_budget_exponent`, between a low and a high one.
    Quantised weights: bytes of a stored block weight over those of the dtype, and the bytes moved to unpack it where
    a pass has many rows, half of them at `unpacking_half_rows`.
    `cuda_core_efficiency`: share of the fp32 rate that products of few rows reach on the CUDA cores, half of it at 4
    rows; a pass takes whichever is faster, they or the tiles of a large product, which few rows leave empty (0: always
    tiles). It matters on boards whose tensor cores are slow, or absent, for their bandwidth.
    Errors are relative half-widths of the 95 % interval of a phase's time, and of its energy.
    """

    key: str
    version: str
    host_s_per_layer: float
    host_s_per_pass: float
    sequence_s_per_layer: float
    sequence_reference_flop_per_s: float
    sequence_exponent: float
    sequence_busy: float
    bandwidth_efficiency: float
    compute_efficiency: float
    compute_half_rows: float
    attention_flop_factor: float
    kv_traffic_factor: float
    memory_reserve_bytes: float
    memory_share: float
    activation_bytes_per_row_and_hidden: float
    spill_limit_bytes: float
    spill_bytes_per_s: float
    link_latency_s: float
    waiting_idle_factor: float
    power_reference_w_per_mm2: float
    power_area_share: float
    prefill_power_floor: float
    decode_power_floor: float
    compute_power: float
    kv_power: float
    prefill_time_error: float
    prefill_energy_error: float
    decode_time_error: float
    decode_energy_error: float
    error_source: str
    source: str
    kernel_s_per_layer: float = 0.0
    kv_group_exponent: float = 0.0
    compute_budget_exponent: float = 0.0
    compute_reference_j_per_flop: float = 1.28e-12
    compute_budget_low_j_per_flop: float = 0.4e-12
    compute_budget_high_j_per_flop: float = 4e-12
    weight_bytes_factor: float = 1.0
    unpacking_bytes_per_parameter: float = 0.0
    unpacking_half_rows: float = 1.0
    free_sequences: float = 0.0
    sequence_power: float = 0.0
    cuda_core_efficiency: float = 0.0


def engine(name: str, gpu: str) -> Engine:
    """The row of engine `name` as it holds on `gpu`. Raises UnknownFact naming the closest engines."""
    return _engine(engine_key(name), gpu)


def engine_key(name: str) -> str:
    """The row's own spelling of `name`. Raises UnknownFact naming the closest engines."""
    by_folded = {key.casefold(): key for key in engine_names()}
    if name.casefold() not in by_folded:
        raise UnknownFact("engine", name, engine_names())
    return by_folded[name.casefold()]


def engine_names() -> tuple[str, ...]:
    """Every engine the device model knows."""
    return tuple(_tables())


@functools.cache
def _engine(key: str, gpu: str) -> Engine:
    row = dict(_tables()[key])
    by_gpu: dict[str, dict[str, Any]] = {kind.casefold(): values for kind, values in row.pop("gpu", {}).items()}
    overrides = by_gpu.get(gpu.casefold(), {})
    merged: dict[str, Any] = {**row, **overrides, "key": key}
    known = {field.name for field in fields(Engine)}
    if unknown := set(merged) - known:
        raise EngineFactError(f"engines.toml, {key}: unknown fields {', '.join(sorted(unknown))}")
    try:
        loaded = msgspec.convert(merged, Engine)
    except msgspec.ValidationError as error:
        raise EngineFactError(f"engines.toml, {key}: {error}") from error
    if not loaded.source.strip() or not loaded.error_source.strip():
        raise EngineFactError(f"engines.toml, {key}: a row without a source does not load")
    return loaded


@functools.cache
def _tables() -> Mapping[str, dict[str, Any]]:
    return tomllib.loads(files("carbonsweep.facts").joinpath("engines.toml").read_text(encoding="utf-8"))
