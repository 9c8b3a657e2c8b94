"""The contradictions of the paper, as findings: what arithmetic on its own numbers says, and what the cells say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep import facts
from carbonsweep.carbon.break_even import crossing
from carbonsweep.carbon.embodied import amortised_g, embodied_carbon
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.carbon.operational import operational_g
from carbonsweep.claims.cells import ADA, BATCHES, GPUS, SIZES, T4, Cells
from carbonsweep.claims.grams import (
    LIFETIME_YEARS,
    PRESET,
    REGIONS,
    operational_and_embodied_g,
    priced_g,
    scenario_at,
)
from carbonsweep.claims.ratios import at, decode_j_per_token, energy_ratio, largest, latency_ratio
from carbonsweep.claims.statements import claim, contradictions
from carbonsweep.shares import percent
from carbonsweep.units import S_PER_YEAR

READ: Final = "read, not computed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction: what is said, what the paper's own numbers give, and what the cells give; "" for neither."""

    id: str
    text: str
    arithmetic: str
    ours: str


def findings(cells: Cells) -> tuple[Finding, ...]:
    """All of them, in the order of the table."""
    return tuple(
        Finding(
            id=each.id,
            text=each.text,
            arithmetic=_ARITHMETIC[each.id]() if each.id in _ARITHMETIC else READ,
            ours=_OURS[each.id](cells) if each.id in _OURS else "",
        )
        for each in contradictions()
    )


def power_behind_share_w(gpu: str, region: str, share: float) -> float:
    """Mean board power, in watts, at which a prompt's embodied share is `share`: its Equations 2 and 3 solved for P."""
    embodied_g_per_s = amortised_g(embodied_carbon(gpu, PRESET).kg, 1.0, LIFETIME_YEARS * S_PER_YEAR)
    g_per_j = operational_g(1.0, carbon_intensity(region, "lifecycle").g_per_kwh)
    return embodied_g_per_s * (1 / share - 1) / g_per_j


def share_at_power(gpu: str, region: str, power_w: float) -> float:
    """The inverse of `power_behind_share_w`."""
    embodied_g_per_s = amortised_g(embodied_carbon(gpu, PRESET).kg, 1.0, LIFETIME_YEARS * S_PER_YEAR)
    return embodied_g_per_s / (embodied_g_per_s + power_w * operational_g(1.0, carbon_intensity(region).g_per_kwh))


def power_ratio(size: str) -> float:
    """T4 / Ada mean power at batch 1 that C01 and C04 (for 3B, C05) imply."""
    energies = {**claim("C04").values, **claim("C05").values}
    return energies[size] / claim("C01").values[size]


def flip_g_per_kwh(cells: Cells) -> float | None:
    """The intensity below which batch 32 emits less per token than batch 16: 1B prefill on the Ada. None: nowhere."""
    operational, embodied = priced_g(cells, scenario_at(1.0), "prefill")
    lines = [
        tuple(float(grams[0, ADA, at(b)] / cells.prompt_tokens[0, ADA, at(b)]) for grams in (embodied, operational))
        for b in (16, 32)
    ]
    return crossing((lines[0][0], lines[0][1]), (lines[1][0], lines[1][1])).at


def _embodied_rate_ratio() -> float:
    ada, t4 = (embodied_carbon(gpu, PRESET).kg for gpu in ("RTX6000Ada", "T4"))
    return ada / t4


def _d1() -> str:
    parts = []
    for gpu in GPUS:
        shares = claim("C16").values
        power_w = power_behind_share_w(gpu, "QC", shares[f"{gpu} QC"])
        others = ", ".join(
            f"{region} {percent(share_at_power(gpu, region, power_w), 1)} "
            f"(paper {percent(shares[f'{gpu} {region}'], 1)})"
            for region in REGIONS[1:]
        )
        parts.append(f"{gpu} {power_w:.1f} W from QC, hence {others}")
    return "; ".join(parts)


def _d2() -> str:
    return "T4/Ada power at batch 1: " + ", ".join(f"{size} {power_ratio(size):.3f}" for size in SIZES)


def _d3() -> str:
    at_both = claim("C06").values["largest, b > 1"] / claim("C02").values["7B b4"]
    return f"2.9 / 11.4 = {at_both:.3f}; TDP {facts.gpu('T4').tdp_w / facts.gpu('RTX6000Ada').tdp_w:.3f}"


def _d5() -> str:
    joules, grams = claim("C17").values["J/token"], claim("C17").values["g/token"]
    shares = {region: percent(claim("C16").values[f"RTX6000Ada {region}"], 1) for region in ("QC", "CISO")}
    needed = {gain: (grams - joules) / (gain - joules) for gain in (1.1, 1.5)}
    return (
        f"with b32 1.1 (1.5) times as fast as b16, embodied carbon must be {percent(needed[1.1])} "
        f"({percent(needed[1.5])}) of b32's total; C16's largest is {shares['QC']} in QC, {shares['CISO']} in CISO"
    )


def _d6() -> str:
    rate = _embodied_rate_ratio()
    slower = {**{f"{s} b1": v for s, v in claim("C01").values.items()}, **claim("C02").values}
    slower["1B decode b64"] = claim("C11").values["b64"]
    said = ", ".join(f"{name} {value:g} ({'T4' if value < rate else 'Ada'})" for name, value in slower.items())
    return f"embodied rate Ada/T4 {rate:.2f}; the T4 is slower by, and on embodied carbon wins: {said}"


def _d7() -> str:
    t4_w, ada_w = (power_behind_share_w(gpu, "QC", claim("C16").values[f"{gpu} QC"]) for gpu in GPUS)
    decode = claim("C10").values["J/token"] * claim("C10").values["tokens/s"]
    return (
        f"minima {t4_w:.1f} / {ada_w:.1f} W = {t4_w / ada_w:.3f}; at batch 1 {decode:.3f} (C10) and "
        f"{power_ratio('1B'):.3f} (C01, C04): the Ada draws {t4_w / decode:.1f} W there if the T4 is at its minimum"
    )


def _d8() -> str:
    t4_ms, ada_ms = ({b: fixed + slope * b for b in BATCHES} for fixed, slope in ((30, 5.7), (31, 0.65)))
    joules = 55 / 45 * ada_ms[16] / t4_ms[16]
    return (
        f"steps of 30 + 5.7 b ms (T4) and 31 + 0.65 b ms (Ada): {ada_ms[1] / t4_ms[1]:.3f} of the tokens/s at b1 (C10: "
        f"0.905), {t4_ms[64] / ada_ms[64]:.2f} times at b64 (C11: 5.4), and at 45 and 55 W {joules:.3f} of the joules "
        "at b16 (C12: 0.425)"
    )


def _d9() -> str:
    ratio, tdp_w = power_ratio("7B"), facts.gpu("RTX6000Ada").tdp_w
    return f"power ratio {ratio:.3f}: a T4 at 57 W needs an Ada at {57 / ratio:.0f} W, {57 / ratio / tdp_w:.2f} of TDP"


def _x1() -> str:
    return (
        f"D5 needs at least 10 % embodied carbon; CISO has at most {percent(claim('C16').values['RTX6000Ada CISO'], 1)}"
    )


def _x2() -> str:
    lower = 1 / claim("C05").values["3B"]
    implied = lower / claim("C01").values["3B"]
    return f"power ratio at 3B {power_ratio('3B'):.2f}; 1.4 times lower is {lower:.2f}, its power ratio {implied:.2f}"


def _x6() -> str:
    return f"total carbon b16/b32 = {claim('C17').values['g/token']}: below 1, so b16 stays best"


def _x7() -> str:
    return f"largest share {percent(max(claim('C16').values.values()), 1)}"


def _x9() -> str:
    fastest, thriftiest = claim("C07").values, claim("C08").values
    return ", ".join(f"{gpu}: fastest {fastest[gpu]:g}, thriftiest {thriftiest[gpu]:g}" for gpu in GPUS)


def _x10() -> str:
    said = {f"{size} b1": value for size, value in claim("C01").values.items()}
    said |= {**claim("C02").values, "1B decode b64": claim("C11").values["b64"]}
    return ", ".join(f"{name} {value:g}" for name, value in said.items())


def _x13() -> str:
    least = claim("C11").values["b64"] * claim("C12").values["b16"]
    return f"at b64 the Ada's power would have to be at least 5.4 x 0.425 = {least:.2f} times the T4's"


def _x14() -> str:
    joules, slower = claim("C10").values["J/token"], 1 / claim("C10").values["tokens/s"]
    embodied = slower / _embodied_rate_ratio()
    return f"T4/Ada at batch 1: {joules:.3f} in energy, {slower:.3f} / 2.58 = {embodied:.3f} in embodied carbon"


def _ours_d2(cells: Cells) -> str:
    ratio = energy_ratio(cells)[:, at(1)] / latency_ratio(cells)[:, at(1)]
    return ", ".join(f"{size} {value:.3f}" for size, value in zip(SIZES, ratio, strict=True))


def _ours_d3(cells: Cells) -> str:
    places = []
    for name, ratios in (("latency", latency_ratio(cells)), ("energy", energy_ratio(cells))):
        if math.isnan(float(largest(ratios))):
            return "unknown: not every configuration has a record"
        i, j = np.unravel_index(int(np.argmax(ratios)), ratios.shape)
        places.append(f"{name} {ratios[i, j]:.1f} at {SIZES[i]} b{BATCHES[j]}")
    return "largest " + ", ".join(places)


def _ours_d5(cells: Cells) -> str:
    flip = flip_g_per_kwh(cells)
    return "batch 16 stays best on every grid" if flip is None else f"the best flips to batch 32 below {flip:.1f} g/kWh"


def _ours_d7(cells: Cells) -> str:
    power_w = (cells.energy_j / cells.latency_s)[0]
    return ", ".join(
        f"{gpu} {power_w[g, at(1)]:.1f} W at batch 1, least {power_w[g].min():.1f} W" for g, gpu in enumerate(GPUS)
    )


def _ours_d8(cells: Cells) -> str:
    steps_ms = 1e3 * cells.decode_s[0] * np.array(BATCHES) / cells.output_tokens[0]
    slopes = (steps_ms[:, -1] - steps_ms[:, 0]) / (BATCHES[-1] - BATCHES[0])
    return ", ".join(
        f"{gpu} {steps_ms[g, 0]:.1f} ms at b1, {slopes[g]:.2f} ms for each further sequence"
        for g, gpu in enumerate(GPUS)
    )


def _ours_d9(cells: Cells) -> str:
    power_w = (cells.energy_j / cells.latency_s)[-1, :, at(1)]
    return f"7B b1: T4 {power_w[T4]:.0f} W, Ada {power_w[ADA]:.0f} W"


def _ours_x13(cells: Cells) -> str:
    joules = decode_j_per_token(cells)[0]
    ratios = joules[ADA] / joules[T4]
    if np.isnan(ratios).any():
        return "unknown: not every batch size has a record"
    return f"least {ratios.min():.3f}, at batch {BATCHES[int(ratios.argmin())]}"


def _ours_x14(cells: Cells) -> str:
    grams = np.add(*operational_and_embodied_g(cells, "QC", "decode"))[0]
    joules, carbon = (each[T4, at(1)] / each[ADA, at(1)] for each in (cells.decode_j[0], grams))
    return f"T4/Ada at batch 1: {joules:.3f} in energy, {carbon:.3f} in total carbon in QC"


_ARITHMETIC: Final[Mapping[str, Callable[[], str]]] = {
    "D1": _d1,
    "D2": _d2,
    "D3": _d3,
    "D5": _d5,
    "D6": _d6,
    "D7": _d7,
    "D8": _d8,
    "D9": _d9,
    "X1": _x1,
    "X2": _x2,
    "X6": _x6,
    "X7": _x7,
    "X9": _x9,
    "X10": _x10,
    "X13": _x13,
    "X14": _x14,
}
_OURS: Final[Mapping[str, Callable[[Cells], str]]] = {
    "D2": _ours_d2,
    "D3": _ours_d3,
    "D5": _ours_d5,
    "X6": _ours_d5,
    "D7": _ours_d7,
    "D8": _ours_d8,
    "D9": _ours_d9,
    "X13": _ours_x13,
    "X14": _ours_x14,
}
