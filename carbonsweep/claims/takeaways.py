"""The paper's five takeaways as margins over the cells and the paper's scenarios; see `orders` for what a margin is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from carbonsweep.claims.cells import ADA, BATCHES, SIZES, T4, Array, Cells
from carbonsweep.claims.grams import REGIONS, embodied_share, operational_and_embodied_g
from carbonsweep.claims.orders import Margins, ahead, both_fit, margins, stacked
from carbonsweep.claims.ratios import (
    at,
    decode_j_per_token,
    energy_ratio,
    latency_ratio,
    prefill_j_per_token,
)

DOMINATES = 0.9
"""Operational share of total carbon from which on it is said to dominate: in PACE, the paper's lowest is 97.9 %."""
WEIGHS = 0.1
"""Embodied share of total carbon from which on it is said to weigh: in QC, the paper's are 19.7 and 30.7 %."""


def takeaway_margins(cells: Cells) -> dict[str, Margins]:
    """Of T1..T5; the takeaway holds where every margin is above 0."""
    return {"T1": _t1(cells), "T2": _t2(cells), "T3": _t3(cells), "T4": _t4(cells), "T5": margins(cells)["C19"]}


def _t1(cells: Cells) -> Margins:
    slower, joules, fit = latency_ratio(cells), energy_ratio(cells), both_fit(cells)

    def pairs() -> Iterator[tuple[str, Array]]:
        for i, size in enumerate(SIZES):
            for j, batch in enumerate(BATCHES):
                fits = fit[..., i, j]
                yield f"{size} b{batch}: Ada faster", ahead(slower[..., i, j], fits)
                if batch == 1:
                    yield f"{size} b1: T4 needs less energy", ahead(1 / joules[..., i, j], fits)
                else:
                    yield f"{size} b{batch}: Ada needs less energy", ahead(joules[..., i, j], fits)

    return stacked(pairs())


def _t2(cells: Cells) -> Margins:
    """Of 1B, as the paper's section 2.3: best batch of prefill below that of decode; best GPUs at batch 1 differ."""
    prefill, decode = prefill_j_per_token(cells)[..., 0, :, :], decode_j_per_token(cells)[..., 0, :, :]
    pairs = [
        (f"{gpu}: prefill's best batch below 64", ahead(prefill[..., g, -1] / prefill[..., g, :-1].min(axis=-1)))
        for g, gpu in ((T4, "T4"), (ADA, "RTX6000Ada"))
    ]
    pairs += [
        (f"{gpu}: decode's best batch is 64", ahead(decode[..., g, :-1].min(axis=-1) / decode[..., g, -1]))
        for g, gpu in ((T4, "T4"), (ADA, "RTX6000Ada"))
    ]
    pairs += [
        ("b1: prefill best on the Ada", ahead(prefill[..., T4, 0] / prefill[..., ADA, 0])),
        ("b1: decode best on the T4", ahead(decode[..., ADA, 0] / decode[..., T4, 0])),
    ]
    return stacked(pairs)


def _t3(cells: Cells) -> Margins:
    """Operation dominates in PACE and embodied carbon weighs in QC; the winner follows the grid.

    That a cleaner grid always helps the T4 is asked of 1B, for which the paper shows it (its Figure 4): at 7B its own
    ratios say otherwise (2.2 times the time carries 0.85 of the Ada's embodied carbon, and needs 0.80 of its energy).
    """
    fit = both_fit(cells)
    total = {region: np.add(*operational_and_embodied_g(cells, region)) for region in REGIONS}
    of_t4 = {region: total[region][..., T4, :] / total[region][..., ADA, :] for region in REGIONS}

    def pairs() -> Iterator[tuple[str, Array]]:
        for g, gpu in ((T4, "T4"), (ADA, "RTX6000Ada")):
            pace, qc = (embodied_share(cells, region)[..., 0, g, :].max(axis=-1) for region in ("PACE", "QC"))
            yield f"1B {gpu}: operation dominates in PACE", ahead((1 - pace) / DOMINATES)
            yield f"1B {gpu}: embodied carbon weighs in QC", ahead(qc / WEIGHS)
        for i, size in enumerate(SIZES):
            fits = fit[..., i, :]
            yield f"{size} b1: the T4 wins in QC", ahead(1 / of_t4["QC"][..., i, at(1)], fits[..., at(1)])
            larger = ahead(of_t4["PACE"][..., i, 1:], fits[..., 1:])
            yield f"{size} above b1: the Ada wins in PACE", np.min(larger, axis=-1)
        cleaner = [
            ahead(of_t4[dirty][..., 0, :] / of_t4[clean][..., 0, :], fit[..., 0, :])
            for dirty, clean in (("PACE", "CISO"), ("CISO", "QC"))
        ]
        yield "1B: the cleaner the grid, the better the T4", np.min(np.stack(cleaner), axis=(0, -1))

    return stacked(pairs())


def _t4(cells: Cells) -> Margins:
    """Somewhere in the paper's own grid, at its own intensities, embodied carbon turns a comparison of configurations.

    The margin is how clearly: the smaller of the two leads, before (in energy) and after (in total carbon).
    """
    turned = [_turn(cells.energy_j, np.add(*operational_and_embodied_g(cells, region)), cells) for region in REGIONS]
    return stacked(
        [("of one model and batch, another GPU is best in carbon than in energy", np.max(np.stack(turned), axis=0))]
    )


def _turn(joules: Array, grams: Array, cells: Cells) -> Array:
    fit = both_fit(cells)
    in_energy = ahead(joules[..., T4, :] / joules[..., ADA, :], fit)  # above 0: the Ada is best
    in_carbon = ahead(grams[..., ADA, :] / grams[..., T4, :], fit)  # above 0: the T4 is
    either = np.maximum(np.minimum(in_energy, in_carbon), np.minimum(-in_energy, -in_carbon))
    return np.asarray(np.max(np.where(fit, either, -np.inf), axis=(-2, -1)))
