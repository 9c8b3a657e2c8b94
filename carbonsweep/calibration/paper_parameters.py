"""What the fit of the paper's stack may move, and what it assumes: every number with unit, meaning and prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EDGE: Final = 0.02
"""A fitted value this share of its prior's range from either end is said to sit on the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One free number: a field of `Engine`, for one GPU or, where `gpu` is None, for both.

    `seen` is the range that measurements elsewhere have shown, where the prior reaches beyond it.
    """

    field: str
    gpu: str | None
    unit: str
    meaning: str
    low: float
    high: float
    prior: str
    scale: Literal["linear", "log"] = "linear"
    seen: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """Field and GPU, as the tables show it."""
        return self.field if self.gpu is None else f"{self.field}, {self.gpu}"

    def value(self, place: Array) -> Array:
        """From the place within the prior, 0 to 1."""
        if self.scale == "log":
            return np.asarray(self.low * (self.high / self.low) ** place)
        return np.asarray(self.low + (self.high - self.low) * place)

    def place(self, value: float) -> float:
        """The inverse of `value`."""
        if self.scale == "log":
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        return (value - self.low) / (self.high - self.low)

    def on_edge(self, value: float) -> bool:
        """Whether the prior, not the claims, may have decided."""
        return not EDGE <= self.place(value) <= 1 - EDGE

    def is_seen(self, value: float) -> bool:
        """Whether measurements elsewhere have shown such a value; where nobody looked, yes."""
        return self.seen is None or self.seen[0] <= value <= self.seen[1]


def _of_each(
    field: str,
    unit: str,
    meaning: str,
    low: float,
    high: float,
    prior: str,
    *,
    on_t4: tuple[float, float] | None = None,
    on_ada: tuple[float, float] | None = None,
) -> tuple[Parameter, ...]:
    """A number for each GPU; `on_t4` and `on_ada` are the ranges `seen`."""
    one = _of_both(field, unit, meaning, low, high, prior)
    return replace(one, gpu="T4", seen=on_t4), replace(one, gpu="RTX6000Ada", seen=on_ada)


def _of_both(
    field: str,
    unit: str,
    meaning: str,
    low: float,
    high: float,
    prior: str,
    *,
    seen: tuple[float, float] | None = None,
) -> Parameter:
    scale: Literal["linear", "log"] = "log" if high / low > 5 else "linear"
    return Parameter(
        field=field, gpu=None, unit=unit, meaning=meaning, low=low, high=high, prior=prior, scale=scale, seen=seen
    )


PARAMETERS: Final[tuple[Parameter, ...]] = (
    *_of_each(
        "host_s_per_pass",
        "s",
        "host time of a forward pass that does not grow with depth; each GPU sits in its own host",
        5e-3,
        40e-3,
        "eager Hugging Face decoding takes 0.5 to 1 ms per layer and token in public runs: 11 to 32 ms a pass",
        on_t4=(11e-3, 32e-3),
        on_ada=(11e-3, 32e-3),
    ),
    _of_both(
        "host_s_per_layer",
        "s",
        "host time of a forward pass per layer",
        0.05e-3,
        1e-3,
        "from a serving engine's to the eager 1 ms per layer",
    ),
    _of_both(
        "bandwidth_efficiency",
        "share",
        "share of the data sheet's memory bandwidth that streaming weights reaches",
        0.50,
        0.93,
        "0.70 to 0.93 measured on server GPUs; lower for small kernels",
        seen=(0.70, 0.93),
    ),
    *_of_each(
        "compute_efficiency",
        "share",
        "share of the data sheet's fp16 rate that prefill reaches at many rows",
        0.10,
        0.46,
        "model FLOPs utilisation of prefill: 0.18 to 0.46 measured; lower for an eager stack",
        on_t4=(0.18, 0.46),
        on_ada=(0.18, 0.46),
    ),
    *_of_each(
        "compute_half_rows",
        "rows",
        "rows (tokens of a batch) at which half of that is reached",
        8,
        256,
        "one to four tiles of 64 rows of a tensor-core matrix product, and down to an eighth of one",
        on_t4=(64, 256),
        on_ada=(64, 256),
    ),
    _of_both(
        "sequence_s_per_layer",
        "s",
        "time that every further sequence of a decode batch adds per layer, on a T4: KV copies, masks, sampling",
        0.05e-3,
        0.6e-3,
        "D8: C10 to C12 alone need 5.7 ms over 22 layers, 0.26 ms; up to 2.3 times that, down to a fifth",
    ),
    _of_both(
        "sequence_exponent",
        "power",
        "how that time falls with the GPU's fp16 rate",
        0.5,
        2.0,
        "1 if it is compute; D8 has 5.7 against 0.65 ms on 5.6 times the rate: 1.26",
    ),
    *(
        Parameter(
            field="sequence_busy",
            gpu=gpu,
            unit="share",
            meaning="share of that time in which the GPU works at TDP; the rest waits for the host",
            low=0.05,
            high=1.0,
            prior="a share",
        )
        for gpu in ("T4", "RTX6000Ada")
    ),
    *_of_each(
        "prefill_power_floor",
        "share of TDP",
        "board power while prefill works, before compute utilisation adds to it",
        0.25,
        0.95,
        "0.41 to 0.65 on data-centre GPUs; 0.90 on a T4",
        on_t4=(0.41, 0.90),
        on_ada=(0.41, 0.65),
    ),
    *_of_each(
        "decode_power_floor",
        "share of TDP",
        "board power while decode streams weights, before compute and KV traffic add to it",
        0.30,
        0.75,
        "0.38 to 0.56 on data-centre GPUs; up to 0.9 on a T4 at full bandwidth",
        on_t4=(0.38, 0.90),
        on_ada=(0.38, 0.56),
    ),
    _of_both(
        "spill_bytes_per_s",
        "bytes/s",
        "rate at which what lies in host memory is fetched in every pass",
        0.5e9,
        4e9,
        "page faults and pageable copies over PCIe 3: 0.5 to 4 GB/s",
    ),
    _of_both(
        "memory_reserve_bytes",
        "bytes",
        "what context, workspaces and fragmentation keep from the model",
        0.8e9,
        3.5e9,
        "0.8 to 3.5 GB reported for PyTorch and serving engines",
    ),
)
"""18 numbers over both GPUs. The claims give 13 ratios, 6 shares and 4 peaks to fit them to, and their orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A field of the row that is fixed by hand: its value, why, and `others` that could be defended as well."""

    value: float
    why: str
    others: tuple[float, ...] = ()


ASSUMPTIONS: Final[Mapping[str, Assumption]] = {
    "sequence_reference_flop_per_s": Assumption(
        value=65e12, why="the T4's rate: only the unit that sequence_s_per_layer is meant in"
    ),
    "free_sequences": Assumption(
        value=1.0,
        why="nothing is padded or copied for a batch of 1; a form chosen in view of C10 to C12, see Terms left out",
        others=(0.0,),
    ),
    "sequence_power": Assumption(
        value=1.0,
        why="of TDP, the most a GPU draws: sequence_busy is free instead; a form chosen in view of C10 to C12, see "
        "Terms left out",
        others=(0.8,),
    ),
    "attention_flop_factor": Assumption(value=4, why="eager attention computes the full square", others=(2,)),
    "kv_traffic_factor": Assumption(
        value=1.0, why="the cache is read once; that it is copied is in sequence_s_per_layer", others=(6.0,)
    ),
    "memory_share": Assumption(value=1.0, why="no server that keeps a share of the card free"),
    "activation_bytes_per_row_and_hidden": Assumption(
        value=16, why="a few fp16 copies of a layer's activations", others=(8, 32)
    ),
    "spill_limit_bytes": Assumption(
        value=0.5e9,
        why="chosen in view of C02: with it 7B at batch 4 spills and runs, and at batch 8 it runs out of memory",
        others=(0.3e9, 0.8e9),
    ),
    "link_latency_s": Assumption(value=30e-6, why="no say: one GPU"),
    "waiting_idle_factor": Assumption(value=1.0, why="awaiting the host, a GPU draws what it draws idle in P0"),
    "power_reference_w_per_mm2": Assumption(value=0.48, why="no say: power_area_share is 0"),
    "power_area_share": Assumption(value=0.0, why="each GPU has power floors of its own"),
    "compute_power": Assumption(value=0.25, why="0.22 to 0.51 on A100 and H100", others=(0.22, 0.51)),
    "kv_power": Assumption(value=0.25, why="0.25 on A100 and H100", others=(0.0, 0.5)),
}
"""Fields of the row that are not fitted, whatever else they were chosen for."""

ASSUMED: Final[Mapping[str, float]] = {field: each.value for field, each in ASSUMPTIONS.items()}

IDLE_W: Final[Mapping[str, tuple[float, float]]] = {"T4": (25.0, 33.0), "RTX6000Ada": (28.0, 41.0)}
"""Idle power of the table of GPUs that could be defended as well: read-outs in P0 and warm; see the table's notes."""
