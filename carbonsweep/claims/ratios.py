"""Every number the paper's claims compare, from the cells: one value per label, arrays where the cells have more axes.

Definitions are the paper's: latency and energy are of one batch run; prefill counts real prompt tokens, decode output
tokens; the largest share is that of a prompt, over batch sizes. NaN where a cell it needs is unknown.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from carbonsweep.claims.cells import ADA, BATCHES, GPUS, SIZES, T4, Array, Cells
from carbonsweep.claims.grams import REGIONS, embodied_share, operational_and_embodied_g

OVERFULL: Final = -np.inf
"""What a ratio is where one of the GPUs runs out of memory: never the largest."""


def at(batch_size: int) -> int:
    """The place of a batch size on the last axis."""
    return BATCHES.index(batch_size)


def of_gpus(quantity: Array, cells: Cells) -> Array:
    """T4 / Ada, shape (..., size, batch); OVERFULL where either does not fit."""
    fits = cells.fits[..., T4, :] & cells.fits[..., ADA, :]
    return np.where(fits, quantity[..., T4, :] / quantity[..., ADA, :], OVERFULL)


def latency_ratio(cells: Cells) -> Array:
    """T4 / Ada latency of a batch run, shape (..., size, batch)."""
    return of_gpus(cells.latency_s, cells)


def energy_ratio(cells: Cells) -> Array:
    """T4 / Ada energy of a batch run, shape (..., size, batch)."""
    return of_gpus(cells.energy_j, cells)


def prefill_throughput(cells: Cells) -> Array:
    """Real prompt tokens per second, shape (..., size, GPU, batch)."""
    return cells.prompt_tokens / cells.prefill_s


def decode_throughput(cells: Cells) -> Array:
    """Output tokens per second, shape (..., size, GPU, batch)."""
    return cells.output_tokens / cells.decode_s


def prefill_j_per_token(cells: Cells) -> Array:
    """Joules per real prompt token, shape (..., size, GPU, batch)."""
    return cells.prefill_j / cells.prompt_tokens


def decode_j_per_token(cells: Cells) -> Array:
    """Joules per output token, shape (..., size, GPU, batch)."""
    return cells.decode_j / cells.output_tokens


def largest(ratios: Array) -> Array:
    """Over sizes and batches; NaN where any is unknown."""
    return np.asarray(np.max(ratios, axis=(-2, -1)))


def numbers(cells: Cells) -> dict[str, dict[str, Array]]:
    """Ours, by claim and by the label the table of claims gives each value. Shape (...): that of the leading axes."""
    latency, energy = latency_ratio(cells), energy_ratio(cells)
    prefill_j, decode_j = prefill_j_per_token(cells)[..., 0, :, :], decode_j_per_token(cells)[..., 0, :, :]
    throughput = decode_throughput(cells)[..., 0, :, :]
    one = at(1)
    return {
        "C01": {size: latency[..., i, one] for i, size in enumerate(SIZES)},
        "C02": {"7B b4": largest(latency)},
        "C04": {size: energy[..., SIZES.index(size), one] for size in ("1B", "7B")},
        "C05": {"3B": energy[..., SIZES.index("3B"), one]},
        "C06": {"largest, b > 1": largest(energy[..., one + 1 :])},
        "C10": {
            "J/token": decode_j[..., T4, one] / decode_j[..., ADA, one],
            "tokens/s": throughput[..., T4, one] / throughput[..., ADA, one],
        },
        "C11": {"b64": throughput[..., ADA, at(64)] / throughput[..., T4, at(64)]},
        "C12": {"b16": decode_j[..., ADA, at(16)] / decode_j[..., T4, at(16)]},
        "C16": _largest_shares(cells),
        "C17": {
            "J/token": prefill_j[..., ADA, at(16)] / prefill_j[..., ADA, at(32)],
            "g/token": prefill_carbon_ratio(cells, "QC"),
        },
    }


def prefill_carbon_ratio(cells: Cells, region: str) -> Array:
    """1B prefill on the Ada: grams per prompt token at batch 16 over those at batch 32."""
    operational, embodied = operational_and_embodied_g(cells, region, "prefill")
    per_token = ((operational + embodied) / cells.prompt_tokens)[..., 0, ADA, :]
    return np.asarray(per_token[..., at(16)] / per_token[..., at(32)])


def _largest_shares(cells: Cells) -> dict[str, Array]:
    of_1b = {region: embodied_share(cells, region)[..., 0, :, :] for region in REGIONS}
    return {
        f"{gpu} {region}": np.max(of_1b[region][..., i, :], axis=-1) for i, gpu in enumerate(GPUS) for region in REGIONS
    }
