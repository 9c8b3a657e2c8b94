"""The rows of the fact tables, and the quantities that follow from a row alone.

Every row has `source`: the key "default" names where its values were read; a key named like a field overrides it for
that field. `estimated` lists the fields that are somebody's guess, so that no guess passes for a data sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonsweep.facts.frozen import FrozenMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU kind. `peak_flop_per_s` is dense, by dtype; a dtype that is absent is not supported.

    `memory_gb` is the capacity as sold (embodied carbon counts it); `memory_bytes` what the driver offers.
    `idle_w` is the board with a model loaded and no work: the floor a serving GPU never leaves.
    """

    key: str
    product_names: tuple[str, ...]
    architecture: str
    year: int
    peak_flop_per_s: Mapping[str, float]
    memory_bandwidth_bytes_per_s: float
    memory_gb: float
    memory_bytes: float
    tdp_w: float
    idle_w: float
    die_mm2: float
    process: str
    memory: str
    link_bytes_per_s: float
    source: Mapping[str, str]
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A decoder-only Llama-like transformer: its shape, and what follows from it.

    Shapes: `layers` blocks of attention (`heads` queries, `kv_heads` keys and values of `head_dim`) and a gated MLP
    (`hidden` -> `mlp` -> `hidden`); `tied` when the output head is the embedding; `qkv_bias` as in Qwen2.5.
    """

    key: str
    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    qkv_bias: bool
    context_tokens: int
    published_parameters: int
    hub_id: str
    source: Mapping[str, str]
    rope: Mapping[str, float | str] | None = None
    norm_epsilon: float = 1e-5
    paper_size: str | None = None
    note: str | None = None
    estimated: tuple[str, ...] = ()

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def block_parameters(self) -> int:
        """Weights of all blocks and the final norm: what every token is multiplied with, the head apart."""
        query, key_value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * self.hidden * query + 2 * self.hidden * key_value
        bias = query + 2 * key_value if self.qkv_bias else 0
        return self.layers * (attention + bias + 3 * self.hidden * self.mlp + 2 * self.hidden) + self.hidden

    @property
    def parameters(self) -> int:
        """Embedding, blocks and, unless tied, the output head."""
        return self.block_parameters + self.embedding_parameters * (1 if self.tied else 2)

    def weight_bytes(self, bytes_per_weight: int) -> int:
        return self.parameters * bytes_per_weight

    def kv_bytes_per_token(self, bytes_per_value: int) -> int:
        """Keys and values of one token in every layer: 2 L n_kv d b."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_per_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A semiconductor process as ACT describes it, per cm2 of wafer.

    `gas_95_g_per_cm2` and `gas_99_g_per_cm2` are its direct gas emissions at 95 % and 99 % abatement.
    """

    key: str
    energy_kwh_per_cm2: float
    gas_95_g_per_cm2: float
    gas_99_g_per_cm2: float
    material_g_per_cm2: float
    source: Mapping[str, str]
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Embodied carbon of a memory technology, per GB of capacity."""

    key: str
    g_per_gb: float
    source: Mapping[str, str]
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Mean carbon intensity of a grid region in one year; None where that basis was not published."""

    key: str
    name: str
    year: int
    source: Mapping[str, str]
    lifecycle_g_per_kwh: float | None = None
    direct_g_per_kwh: float | None = None
    zone: str | None = None
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFootprint:
    """Embodied carbon somebody published for a device, with the range found in the literature."""

    key: str
    device: str
    preset: str
    kg: float
    low_kg: float
    high_kg: float
    boundary: str
    source: Mapping[str, str]
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityScore:
    """What somebody published for a model on a benchmark: percent of right answers, above 0 and at most 100.

    `protocol` says how it was asked ("5-shot"), `harness` with which code, `checkpoint` of which weights.
    """

    key: str
    model: str
    benchmark: str
    score_percent: float
    protocol: str
    harness: str
    checkpoint: str
    date: str
    source: Mapping[str, str]
    estimated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.score_percent > 100 or self.key != f"{self.model} {self.benchmark}":
            raise ValueError(f"{self.key}: a score is at most 100 %, and its key is its model and benchmark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A kind of link a KV cache can be handed over, from one replica's GPU to another's.

    `bandwidth_bytes_per_s` is one direction, `efficiency` the share of it that large copies reach; `latency_s` passes
    before the first byte arrives. `overlap_share` of the copy can hide behind the prefill. `energy_j_per_byte` is that
    of both ends together. `gpus` are the kinds that have it, each joined to its own kind only; None: it joins any two.
    `slot_bytes_per_s`: one direction of the slots of kinds with NVLink of their own, where they are slower than this.
    """

    key: str
    name: str
    bandwidth_bytes_per_s: float
    efficiency: float
    latency_s: float
    overlap_share: float
    energy_j_per_byte: float
    energy_low_j_per_byte: float
    energy_high_j_per_byte: float
    source: Mapping[str, str]
    gpus: tuple[str, ...] | None = None
    slot_bytes_per_s: Mapping[str, float] = FrozenMapping({})
    estimated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (0 < self.efficiency <= 1 and 0 <= self.overlap_share <= 1):
            raise ValueError(f"{self.key}: efficiency and overlap_share are shares, at most 1")
        if not self.energy_low_j_per_byte <= self.energy_j_per_byte <= self.energy_high_j_per_byte:
            raise ValueError(f"{self.key}: the range of energy_j_per_byte does not hold it")

    def joins(self, prefill_gpu: str, decode_gpu: str) -> bool:
        """Whether it can join these two GPU kinds."""
        return self.gpus is None or (prefill_gpu == decode_gpu and prefill_gpu in self.gpus)
