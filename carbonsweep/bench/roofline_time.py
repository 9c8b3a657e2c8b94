"""Seconds of one forward pass: the roofline of its work, the host's launches, what spills and what GPUs exchange."""

from __future__ import annotations

from typing import Final

import numpy as np

from carbonsweep.bench.roofline_inputs import Array, Inputs


def smooth_maximum(first: Array, second: Array) -> Array:
    """(a^3 + b^3)^(1/3): at least the larger, 26 % above it where both are equal, near it from twice on."""
    larger = np.maximum(first, second)
    ratio = np.minimum(first, second) / larger
    return larger * np.cbrt(1 + ratio * ratio * ratio)  # np.power is several times slower


def gpu_s(x: Inputs, flop: Array, traffic_bytes: Array, rows: Array) -> Array:
    """Roofline of one forward pass, in seconds, from the work of all GPUs and the traffic of each."""
    compute_s = flop / x.count / _flop_per_s(x, rows)
    memory_s = traffic_bytes / (x.bandwidth_efficiency * x.bandwidth)
    return smooth_maximum(compute_s, memory_s) + x.host_layers * x.kernel_s_per_layer + _unpacking_s(x, rows)


CUDA_CORE_HALF_ROWS: Final = 4
"""Rows at which CUDA cores reach half of their rate: a weight that is read is used so often."""


def _flop_per_s(x: Inputs, rows: Array) -> Array:
    """Rate of a pass of `rows`: of tiles that fill up, or of the CUDA cores where those are faster."""
    tiles: Array = x.compute_efficiency * rows / (rows + x.compute_half_rows) * x.flop_per_s
    if not np.any(x.cuda_core_flop_per_s):
        return tiles
    return np.maximum(tiles, x.cuda_core_flop_per_s * rows / (rows + CUDA_CORE_HALF_ROWS))


def _unpacking_s(x: Inputs, rows: Array) -> Array | float:
    """Seconds a pass spends on unpacking quantised weights in memory; nothing where no engine has any."""
    if not np.any(x.unpacking_bytes_per_parameter):
        return 0.0
    share: Array = rows / (rows + x.unpacking_half_rows)
    moved = x.block_parameters / x.count * x.unpacking_bytes_per_parameter * share
    return moved / (x.bandwidth_efficiency * x.bandwidth)


def host_s(x: Inputs) -> Array:
    """Seconds the host needs to launch one forward pass."""
    return x.host_layers * x.host_s_per_layer + x.host_s_per_pass


def host_beside_s(x: Inputs, counted_s: Array) -> Array:
    """What is left of the host's time where `counted_s` of it is counted apart: less their smooth minimum, never 0."""
    all_s = host_s(x)
    ratio = counted_s / all_s
    return all_s - counted_s / np.cbrt(1 + ratio * ratio * ratio)


def spilled_s(x: Inputs, lacking_bytes: Array) -> Array:
    """Seconds a pass waits for what lies in host memory: as far as the engine lets anything lie there."""
    return np.clip(lacking_bytes, 0, x.spill_limit) / x.spill_bytes_per_s


def all_reduce_s(x: Inputs, rows: Array) -> Array:
    """Two ring all-reduces of the activations per layer, in seconds; 0 on one GPU.

    A ring of n reduces and then gathers in n - 1 steps each, every step sending 1/n of the data over one link:
    t = 2 (n - 1) (latency + data / (n bandwidth)). Patarasuk and Yuan, J. Parallel Distrib. Comput. 69 (2009) 117-124.
    """
    activation_bytes = rows * x.hidden * x.bytes_per_value
    ring_s = 2 * (x.count - 1) * (x.link_latency_s + activation_bytes / (x.count * x.link))
    return x.layers * 2 * ring_s
