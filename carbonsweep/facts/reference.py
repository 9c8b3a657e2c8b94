"""Models that others measured and the device model is calibrated on: their shapes, and what they ask of the host."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import msgspec

from carbonsweep.errors import UnknownFact

VIEW_SHARE: Final = 0.3
"""Host time of an operator that launches no kernel, over one that does. Assumed: PyTorch's dispatcher alone takes some
1 to 2 us, with a kernel launch 4 to 6 us; between 0 and 0.6 the held-out errors change by less than a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """Operators of one decode step, per layer and per pass: those that launch kernels, and views."""

    kernels: float
    views: float
    pass_kernels: float
    pass_views: float

    @property
    def host_work(self) -> float:
        """Host work of one layer, in kernel launches."""
        return self.kernels + VIEW_SHARE * self.views


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Operators under each attention; `sdpa` is None where transformers has none for it and runs eager."""

    eager: Operators
    source: str
    sdpa: Operators | None = None

    def under(self, attention: str) -> Operators:
        """What runs when `attention` is asked for: a fused kernel of any kind counts as sdpa."""
        return self.eager if attention == "eager" or self.sdpa is None else self.sdpa


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceModel:
    """A decoder-only transformer by its shape; `kv_heads` may be a mean over layers that differ."""

    key: str
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: float
    head_dim: int
    mlp: int
    gated: bool
    vocabulary: int
    tied: bool
    context_tokens: int
    parameters_billions: float
    checkpoints: tuple[str, ...]
    source: str
    embedding_width: int | None = None

    @property
    def block_parameters(self) -> float:
        """Weights of all matrices in all blocks: query and output, key and value, and the MLP's two or three."""
        attention = 2 * self.heads * self.head_dim + 2 * self.kv_heads * self.head_dim
        return self.layers * self.hidden * (attention + (3 if self.gated else 2) * self.mlp)

    @property
    def head_parameters(self) -> float:
        """Weights of the output head, which are those of the embedding where they are tied."""
        return float((self.embedding_width or self.hidden) * self.vocabulary)

    @property
    def parameters(self) -> float:
        """All matrices; biases, norms and learned positions are left out."""
        return self.block_parameters + self.head_parameters * (1 if self.tied else 2)

    @property
    def kv_values_per_token(self) -> float:
        """Numbers in the key-value cache for each token."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def host_layers(self, attention: str) -> float:
        """Layers, weighed by the host work of each: a Llama's under sdpa is 1."""
        mine = architectures()[self.architecture].under(attention).host_work
        return self.layers * mine / architectures()["llama"].under("sdpa").host_work


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """Every row of operators.toml."""
    return {key: msgspec.convert(row, Architecture) for key, row in _table("operators.toml").items()}


@functools.cache
def reference_models() -> Mapping[str, ReferenceModel]:
    """Every row of reference_models.toml, by key."""
    rows = _table("reference_models.toml")
    return {key: msgspec.convert({**row, "key": key}, ReferenceModel) for key, row in rows.items()}


def reference_model(checkpoint: str) -> ReferenceModel:
    """The shape of a checkpoint by its hub name, in any case. Raises UnknownFact with the closest."""
    known = _by_checkpoint()
    if checkpoint.casefold() not in known:
        raise UnknownFact(
            "reference model", checkpoint, (name for row in reference_models().values() for name in row.checkpoints)
        )
    return known[checkpoint.casefold()]


@functools.cache
def _by_checkpoint() -> Mapping[str, ReferenceModel]:
    return {name.casefold(): row for row in reference_models().values() for name in row.checkpoints}


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(files("carbonsweep.facts").joinpath(name).read_text(encoding="utf-8"))
