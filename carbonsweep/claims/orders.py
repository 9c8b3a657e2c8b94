"""The paper's orders and peaks as margins: the logarithm of how far the winner is ahead, above 0 where the order holds.

A cell that does not fit takes no part (its margin is infinite); NaN where a cell it needs is unknown.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from carbonsweep.claims.cells import ADA, BATCHES, GPUS, SIZES, T4, Array, Cells, Flags
from carbonsweep.claims.grams import LIFETIME_YEARS, REGIONS, embodied_share, operational_and_embodied_g
from carbonsweep.claims.ratios import (
    at,
    decode_j_per_token,
    decode_throughput,
    latency_ratio,
    numbers,
    prefill_j_per_token,
    prefill_throughput,
)

DIRTIER = ("CISO", "PACE")
LIFETIMES_YEARS = (4.0, 5.0, 6.0, 7.0, 8.0)
PEAKS = {("C07", "T4"): 8, ("C07", "RTX6000Ada"): 32, ("C08", "T4"): 8, ("C08", "RTX6000Ada"): 16}


@dataclass(frozen=True, slots=True)
class Margins:
    """One margin per label, `values` of shape (..., labels)."""

    labels: tuple[str, ...]
    values: Array

    @property
    def least(self) -> Array:
        """Of all labels, shape (...)."""
        return np.asarray(np.min(self.values, axis=-1))


def margins(cells: Cells) -> dict[str, Margins]:
    """Of every claim that has an order: its own, and what a ratio's sentence orders beside the number."""
    return {
        "C02": _c02(cells),
        "C03": _c03(cells),
        "C07": _peaks(cells, "C07", prefill_throughput(cells)),
        "C08": _peaks(cells, "C08", 1 / prefill_j_per_token(cells)),
        "C09": _c09(cells),
        "C11": _c11(cells),
        "C13": _c13(cells),
        "C15": _c15(cells),
        "C17": _c17(cells),
        "C18": _c18(cells),
        "C19": _c19(cells),
    }


def stacked(pairs: Iterable[tuple[str, Array]]) -> Margins:
    """Margins of one value each."""
    labels, values = zip(*pairs, strict=True)
    return Margins(tuple(labels), np.stack(values, axis=-1))


def ahead(ratio: Array, fits: Flags | bool = True) -> Array:
    """The logarithm of a ratio that should be above 1; infinite where it takes no part."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(fits, np.log(np.where(fits, ratio, 1.0)), np.inf)


def both_fit(cells: Cells) -> Flags:
    """Shape (..., size, batch)."""
    return np.asarray(cells.fits[..., T4, :] & cells.fits[..., ADA, :])


def _c02(cells: Cells) -> Margins:
    ratios, fit, four = latency_ratio(cells), both_fit(cells), at(4)
    winner = np.where(fit[..., -1, four], ratios[..., -1, four], 0.0)
    return stacked(
        (f"7B b4 above {size} b{batch}", ahead(winner / ratios[..., i, j], fit[..., i, j]))
        for i, size in enumerate(SIZES)
        for j, batch in enumerate(BATCHES)
        if (i, j) != (len(SIZES) - 1, four)
    )


def _c03(cells: Cells) -> Margins:
    ratios, fit = latency_ratio(cells), both_fit(cells)
    faster = [
        (f"{size} b{batch}: Ada faster", ahead(ratios[..., i, j], fit[..., i, j]))
        for i, size in enumerate(SIZES)
        for j, batch in enumerate(BATCHES)
    ]
    t4, ada = cells.fits[..., T4, :], cells.fits[..., ADA, :]
    known = np.isfinite(cells.latency_s) | ~cells.fits
    large = (..., len(SIZES) - 1, len(BATCHES) - 1)
    memory = (
        ("the T4 runs out of memory for 7B at batch 64", ~t4[large], known[..., -1, T4, -1]),
        ("1B fits the T4 at every batch size", t4[..., 0, :].all(axis=-1), known[..., 0, T4, :].all(axis=-1)),
        ("what fits a model fits it at smaller batches", _fits_shrink(t4), known[..., T4, :].all(axis=(-2, -1))),
        ("everything fits the Ada", ada.all(axis=(-2, -1)), known[..., ADA, :].all(axis=(-2, -1))),
    )
    return stacked([*faster, *((label, _flag(holds, sure)) for label, holds, sure in memory)])


def _fits_shrink(fits: Flags) -> Flags:
    return np.asarray((fits[..., :-1] >= fits[..., 1:]).all(axis=(-2, -1)))


def _flag(holds: Flags | np.bool_, known: Flags | np.bool_) -> Array:
    """A yes or no as a margin: infinite either way."""
    return np.where(known, np.where(holds, np.inf, -np.inf), np.nan)


def _peaks(cells: Cells, claim: str, quantity: Array) -> Margins:
    pairs = []
    for g, gpu in enumerate(GPUS):
        best = PEAKS[claim, gpu]
        of_gpu, fits = quantity[..., 0, g, :], cells.fits[..., 0, g, :]
        pairs += [
            (f"{gpu} b{best} above b{batch}", ahead(of_gpu[..., at(best)] / of_gpu[..., j], fits[..., j]))
            for j, batch in enumerate(BATCHES)
            if batch != best
        ]
    return stacked(pairs)


def _c09(cells: Cells) -> Margins:
    throughput, joules = prefill_throughput(cells)[..., 0, :, :], prefill_j_per_token(cells)[..., 0, :, :]
    fit = both_fit(cells)[..., 0, :]
    faster = ahead(throughput[..., ADA, :] / throughput[..., T4, :], fit)
    thriftier = ahead(joules[..., T4, :] / joules[..., ADA, :], fit)
    return Margins(
        tuple(f"b{b}: Ada {what}" for what in ("faster", "thriftier") for b in BATCHES),
        np.concatenate([faster, thriftier], axis=-1),
    )


def _c11(cells: Cells) -> Margins:
    throughput, fit = decode_throughput(cells)[..., 0, :, :], both_fit(cells)[..., 0, :]
    ratio = throughput[..., ADA, :] / throughput[..., T4, :]
    return stacked(
        (f"b64 above b{batch}", ahead(ratio[..., at(64)] / ratio[..., j], fit[..., j]))
        for j, batch in enumerate(BATCHES[:-1])
    )


def _c13(cells: Cells) -> Margins:
    throughput, joules = decode_throughput(cells)[..., 0, :, :], decode_j_per_token(cells)[..., 0, :, :]
    fits = cells.fits[..., 0, :, 1:]
    rises = ahead(throughput[..., 1:] / throughput[..., :-1], fits)
    falls = ahead(joules[..., :-1] / joules[..., 1:], fits)
    return Margins(
        tuple(
            f"{gpu} b{batch}: {what}"
            for what in ("tokens/s rise", "J/token fall")
            for gpu in GPUS
            for batch in BATCHES[1:]
        ),
        np.concatenate([each.reshape(*each.shape[:-2], -1) for each in (rises, falls)], axis=-1),
    )


def _c15(cells: Cells) -> Margins:
    fit = both_fit(cells)[..., 0, :]
    grams = {region: operational_and_embodied_g(cells, region)[0][..., 0, :, :] for region in REGIONS}
    across = [
        (f"b{batch}: T4 in QC below Ada in {region}", ahead(ratio[..., j], fit[..., j]))
        for region in DIRTIER
        for ratio in [grams[region][..., ADA, :] / grams["QC"][..., T4, :]]
        for j, batch in enumerate(BATCHES)
    ]
    # Within a region the intensity cancels; one region says it for all.
    within = grams["QC"][..., T4, :] / grams["QC"][..., ADA, :]
    inside = [
        (f"b{batch}: {'T4' if batch == 1 else 'Ada'} below within a region", ahead(ratio, fit[..., j]))
        for j, batch in enumerate(BATCHES)
        for ratio in [1 / within[..., j] if batch == 1 else within[..., j]]
    ]
    return stacked([*across, *inside])


def _c17(cells: Cells) -> Margins:
    ours, fits = numbers(cells)["C17"], cells.fits[..., 0, ADA, :]
    joules = prefill_j_per_token(cells)[..., 0, ADA, :]
    second = [
        (f"b32 second in J/token, above b{batch}", ahead(joules[..., j] / joules[..., at(32)], fits[..., j]))
        for j, batch in enumerate(BATCHES)
        if batch not in (16, 32)
    ]
    return stacked(
        [
            ("energy ratio below carbon ratio", ahead(ours["g/token"] / ours["J/token"])),
            ("carbon ratio below 1", ahead(1 / ours["g/token"])),
            *second,
        ]
    )


def _c18(cells: Cells) -> Margins:
    operational, embodied = operational_and_embodied_g(cells, "QC", "decode")
    total, fit = (operational + embodied)[..., 0, :, :], both_fit(cells)[..., 0, :]
    joules = cells.decode_j[..., 0, :, :]
    excess = (joules[..., T4, :] / joules[..., ADA, :]) / (total[..., T4, :] / total[..., ADA, :])
    return Margins(tuple(f"b{batch}: T4/Ada lower in carbon" for batch in BATCHES), ahead(excess, fit))


def _c19(cells: Cells) -> Margins:
    """Orders of Figure 7, all of the T4 at batch 1."""
    shares = {
        (region, years): embodied_share(cells, region, years)[..., T4, at(1)]
        for region in REGIONS
        for years in LIFETIMES_YEARS
    }  # each of shape (..., size)
    falls = [
        (f"{region}: lower after {later:g} than {years:g} years", ahead(shares[region, years] / shares[region, later]))
        for region in REGIONS
        for years, later in itertools.pairwise(LIFETIMES_YEARS)
    ]
    drop = {region: shares[region, 4.0] - shares[region, 8.0] for region in REGIONS}
    most = [(f"falls more in QC than in {region}", ahead(drop["QC"] / drop[region])) for region in DIRTIER]
    fits = cells.fits[..., T4, at(1)]
    at_5_years = shares["QC", LIFETIME_YEARS]
    larger = [
        (f"{SIZES[i + 1]} lower than {SIZES[i]}", ahead(at_5_years[..., i] / at_5_years[..., i + 1], fits[..., i + 1]))
        for i in range(len(SIZES) - 1)
    ]
    return stacked([*((label, np.min(each, axis=-1)) for label, each in (*falls, *most)), *larger])
