"""Board power of one phase: waiting for the host, working as the phase works, or at the sequences' own work."""

from __future__ import annotations

import numpy as np

from carbonsweep.bench.roofline_inputs import Array, Inputs


def power_w(
    x: Inputs, floor: Array, flop: Array, kv_share: Array | float, gpu_s: Array, busy: Array, sequences: Array | float
) -> Array:
    """Watts over all GPUs, at least idle and at most TDP.

    `flop` is the phase's work over all GPUs, done in `gpu_s` of each; `busy` and `sequences` are the shares of the
    phase's time a GPU does that work, and work that every sequence of a decode batch brings. Growth with the square
    root of compute utilisation and with KV traffic: notes on `Engine`.
    """
    utilisation = flop / x.count / (gpu_s * x.flop_per_s)
    working_w = x.tdp_w * (floor + x.compute_power * np.sqrt(utilisation) + x.kv_power * kv_share)
    working_w = np.maximum(working_w, x.waiting_w)
    sequences_w = np.maximum(working_w, x.tdp_w * x.sequence_power)
    above_waiting_w = (working_w - x.waiting_w) * busy + (sequences_w - x.waiting_w) * sequences
    drawn_w = x.waiting_w + above_waiting_w / np.maximum(busy + sequences, 1.0)
    return x.count * np.clip(drawn_w, x.idle_w, x.tdp_w)
