"""What others would say of the same rows: roofline time from the data sheet, and three laws of power with that time.

Time: the larger of work over peak and bytes over bandwidth, no overhead (LLM-Viewer; GenZ). Power: TDP; a law of
FLOP utilisation, idle + (TDP - idle) min(1, mfu/0.45)^0.7 (VE); TDP (0.3 + 0.4 compute + 0.2 memory + 0.1 network)
(GenZ), whose network share is 0 on one GPU. No parameter of these is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import Cases, Values

MFU_AT_FULL_POWER: Final = 0.45
MFU_EXPONENT: Final = 0.7
STATIC, COMPUTE, MEMORY = 0.30, 0.40, 0.20


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One forward pass on paper: seconds, and the shares of them that compute and memory are busy."""

    seconds: Array
    compute: Array
    memory: Array


Law = Callable[[Phase, Array, Array], Array]
"""Watts of a phase, from it, TDP and idle power."""


def tdp(phase: Phase, tdp_w: Array, idle_w: Array) -> Array:
    """TDP, whatever runs."""
    return tdp_w * np.ones_like(phase.seconds)


def mfu_law(phase: Phase, tdp_w: Array, idle_w: Array) -> Array:
    """Idle power, and a power of compute utilisation up to TDP."""
    return idle_w + (tdp_w - idle_w) * np.minimum(1, phase.compute / MFU_AT_FULL_POWER) ** MFU_EXPONENT


def split_law(phase: Phase, tdp_w: Array, idle_w: Array) -> Array:
    """A static share of TDP, and shares for compute and memory as they are busy."""
    return tdp_w * (STATIC + COMPUTE * phase.compute + MEMORY * phase.memory)


LAWS: Final[Mapping[str, Law]] = {
    "roofline, TDP": tdp,
    "roofline, MFU power law": mfu_law,
    "roofline, 30/40/20/10": split_law,
}


def phases(rows: Cases) -> tuple[Phase, Phase]:
    """Prefill, and one decode step at the mean context, from the data sheet alone."""
    x = rows.facts
    weights = (x["block_parameters"] + x["head_parameters"]) * x["bytes_per_value"]
    kv = x["kv_values_per_token"] * x["bytes_per_value"]
    tokens = x["batch"] * x["prompt"]
    context = x["prompt"] + x["output_tokens"] / 2
    attention = 4 * x["layers"] * x["attention_width"]
    prefill = 2 * x["block_parameters"] * tokens + 2 * x["head_parameters"] * x["batch"]
    decode = (2 * (x["block_parameters"] + x["head_parameters"]) + attention * context) * x["batch"]
    return (
        _phase(rows, prefill + attention / 2 * tokens * x["prompt"], weights + kv * tokens),
        _phase(rows, decode, weights + kv * x["batch"] * context),
    )


def _phase(rows: Cases, flop: Array, moved: Array) -> Phase:
    compute_s, memory_s = flop / rows.facts["flop_per_s"], moved / rows.facts["bandwidth"]
    seconds = np.maximum(compute_s, memory_s)
    return Phase(seconds=seconds, compute=compute_s / seconds, memory=memory_s / seconds)


def alternative(rows: Cases, law: Law) -> Values:
    """The quantities of `Cases.measured`, as the roofline and `law` have them."""
    prefill, step = phases(rows)
    x = rows.facts
    prefill_w, step_w = (law(phase, x["tdp_w"], x["idle_w"]) for phase in (prefill, step))
    decode_s = step.seconds * (x["output_tokens"] - 1)
    whole_s = (prefill.seconds + decode_s) / x["output_tokens"]
    whole_w = (prefill_w * prefill.seconds + step_w * decode_s) / (prefill.seconds + decode_s)
    power_w = np.where(rows.decode_power, step_w, whole_w)
    return {
        "prefill_s": prefill.seconds,
        "tpot_s": np.where(rows.phases_apart, step.seconds, whole_s),
        "power_w": power_w,
        "energy_per_token_j": power_w * np.where(rows.decode_power, step.seconds, whole_s) / x["batch"],
    }
