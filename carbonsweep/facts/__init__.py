"""Facts: GPUs, language models, processes, memories, grids, links and published footprints, each with its source.

Look a row up by name (case does not matter), or get UnknownFact with the closest names. Tables load once, when first
asked for; a row without a source does not load (FactError).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from carbonsweep.errors import UnknownFact
from carbonsweep.facts.frozen import FrozenMapping
from carbonsweep.facts.loading import FactError, rows_of_file
from carbonsweep.facts.rows import Gpu, Grid, LanguageModel, Link, Memory, Process, PublishedFootprint, QualityScore

__all__ = [
    "CPU",
    "FactError",
    "FrozenMapping",
    "Gpu",
    "Grid",
    "LanguageModel",
    "Link",
    "Memory",
    "Process",
    "PublishedFootprint",
    "QualityScore",
    "device_key",
    "gpu",
    "gpu_of_product",
    "gpus",
    "grid",
    "grids",
    "language_model",
    "language_models",
    "link",
    "links",
    "memories",
    "memory",
    "process",
    "processes",
    "published_footprints",
    "quality_scores",
]

CPU: Final = "CPU"
"""A device kind of its own: whatever processor this machine has. Never a row of gpus.toml, never a stand-in for one."""

_FOLDER = Path(__file__).parent
_Row = TypeVar("_Row")


@functools.cache
def gpus() -> Mapping[str, Gpu]:
    """All GPU kinds by key."""
    return rows_of_file(_FOLDER / "gpus.toml", Gpu)


@functools.cache
def language_models() -> Mapping[str, LanguageModel]:
    """All language models by key."""
    return rows_of_file(_FOLDER / "models.toml", LanguageModel)


@functools.cache
def processes() -> Mapping[str, Process]:
    """All semiconductor processes by key ("12nm")."""
    return rows_of_file(_FOLDER / "processes.toml", Process)


@functools.cache
def memories() -> Mapping[str, Memory]:
    """All memory technologies by key."""
    return rows_of_file(_FOLDER / "memories.toml", Memory)


@functools.cache
def grids() -> Mapping[str, Grid]:
    """All grid regions by key: the paper's QC, CISO and PACE, and Electricity Maps zones."""
    return rows_of_file(_FOLDER / "grids.toml", Grid)


@functools.cache
def links() -> Mapping[str, Link]:
    """All kinds of link a KV cache can be handed over, by key."""
    return rows_of_file(_FOLDER / "links.toml", Link)


@functools.cache
def published_footprints() -> Mapping[str, PublishedFootprint]:
    """All published embodied footprints, by "preset-device"."""
    return rows_of_file(_FOLDER / "footprints.toml", PublishedFootprint)


@functools.cache
def quality_scores() -> Mapping[str, QualityScore]:
    """All published quality scores, by "model benchmark"."""
    return rows_of_file(_FOLDER / "quality.toml", QualityScore)


def gpu(name: str) -> Gpu:
    """The GPU kind called `name`; raises UnknownFact."""
    return _named("GPU", name, gpus())


def gpu_of_product(nvml_name: str) -> Gpu | None:
    """The GPU kind whose NVML product name is exactly `nvml_name`, or None: a near miss is another board."""
    return next((row for row in gpus().values() if nvml_name in row.product_names), None)


def language_model(name: str) -> LanguageModel:
    """The language model called `name`; raises UnknownFact."""
    return _named("model", name, language_models())


def process(name: str) -> Process:
    """The semiconductor process called `name`; raises UnknownFact."""
    return _named("process", name, processes())


def memory(name: str) -> Memory:
    """The memory technology called `name`; raises UnknownFact."""
    return _named("memory", name, memories())


def link(name: str) -> Link:
    """The kind of link called `name`; raises UnknownFact."""
    return _named("link", name, links())


def grid(name: str) -> Grid:
    """The grid region called `name`; raises UnknownFact."""
    return _named("region", name, grids())


def _named(kind: str, name: str, rows: Mapping[str, _Row]) -> _Row:
    folded = name.casefold()
    for key, row in rows.items():
        if key.casefold() == folded:
            return row
    raise UnknownFact(kind, name, rows)


def device_key(name: str) -> str:
    """The key of a GPU kind, or CPU, in any case. Raises UnknownFact naming the closest GPU kinds."""
    return CPU if name.casefold() == CPU.casefold() else gpu(name).key
