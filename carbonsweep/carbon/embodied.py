"""Embodied carbon of a device under several presets, and its share by time.

A preset is one consistent accounting; presets are never mixed in one ranking. `paper`: HotCarbon'24's Table 1.
`act`: ACT v2's defaults. `sc23`: the conventions of Li et al. SC'23. `vendor`: what vendors and life-cycle studies
publish, else `act` times the published ratio. They differ by 4-6x, so every device also has a range over all presets.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from carbonsweep import facts
from carbonsweep.carbon.operational import Quantity
from carbonsweep.domain import EMBODIED_PRESETS
from carbonsweep.errors import BadInput
from carbonsweep.facts import Gpu, Memory, Process, PublishedFootprint
from carbonsweep.units import CM2_PER_MM2, G_PER_KG

# ACT v2 (facebookresearch/ACT, abc9fbb).
FAB_YIELD: Final = 0.875
PACKAGE_G: Final = 150.0  # per IC package
FAB_TAIWAN_G_PER_KWH: Final = 583.0  # ACT's fab grid, table of 2022: the default
FAB_USA_G_PER_KWH: Final = 380.0  # same table; the alternative SC'23 names
FAB_TAIWAN_2023_G_PER_KWH: Final = 642.0  # ACT v1's later table, its default from 2024-12 to 2025-04

# Li et al. SC'23 (boringlee24/sc23-sustainability, 6e2329a): IC packages on a GPU board.
GPU_IC_PACKAGES: Final = 26

# Vendor footprints over ACT-style ones, as published: 4.5 (B200) to 5.2. The ratio was formed against figures with
# packaging, which are 15-40 % above `act`, so the estimate below errs low; its centre is the geometric mean.
VENDOR_RATIO_LOW: Final = 4.5
VENDOR_RATIO_HIGH: Final = 5.2
VENDOR_RATIO: Final = math.sqrt(VENDOR_RATIO_LOW * VENDOR_RATIO_HIGH)

Abatement = Literal[95, 97, 99]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbodiedCarbon:
    """Kilograms of CO2-equivalent to make one device, with the preset's own range.

    `estimated` when the value is a guess, not the preset's formula or a publication about this device.
    """

    device: str
    preset: str
    kg: float
    low_kg: float
    high_kg: float
    source: str
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """The choices ACT's formulas leave open."""

    fab_g_per_kwh: float
    abatement_percent: Abatement
    memory_yield: float
    ic_packages: int


# `low` is a cleaner fab (US grid, 99 % abatement), `high` a dirtier one (Taiwan 2023, 95 %), and for ACT, which leaves
# packaging out by default, also the board's packages.
ACT = Convention(fab_g_per_kwh=FAB_TAIWAN_G_PER_KWH, abatement_percent=97, memory_yield=FAB_YIELD, ic_packages=0)
ACT_LOW = Convention(fab_g_per_kwh=FAB_USA_G_PER_KWH, abatement_percent=99, memory_yield=FAB_YIELD, ic_packages=0)
ACT_HIGH = Convention(
    fab_g_per_kwh=FAB_TAIWAN_2023_G_PER_KWH,
    abatement_percent=95,
    memory_yield=FAB_YIELD,
    ic_packages=GPU_IC_PACKAGES,
)
SC23 = Convention(
    fab_g_per_kwh=FAB_TAIWAN_G_PER_KWH, abatement_percent=95, memory_yield=1.0, ic_packages=GPU_IC_PACKAGES
)
SC23_LOW = Convention(
    fab_g_per_kwh=FAB_USA_G_PER_KWH, abatement_percent=99, memory_yield=1.0, ic_packages=GPU_IC_PACKAGES
)
SC23_HIGH = Convention(
    fab_g_per_kwh=FAB_TAIWAN_2023_G_PER_KWH, abatement_percent=95, memory_yield=1.0, ic_packages=GPU_IC_PACKAGES
)


def gas_g_per_cm2(process: Process, abatement_percent: Abatement) -> float:
    """Direct gas emissions of a process in g/cm2; 97 % is ACT's default, the mean of its 95 and 99 % columns."""
    if abatement_percent == 95:
        return process.gas_95_g_per_cm2
    if abatement_percent == 99:
        return process.gas_99_g_per_cm2
    return (process.gas_95_g_per_cm2 + process.gas_99_g_per_cm2) / 2


def die_carbon_g(area_cm2: float, process: Process, *, fab_g_per_kwh: float, abatement_percent: Abatement) -> float:
    """Grams of a die of `area_cm2`: area x (CI_fab x EPA + GPA + MPA) / yield (ACT, ISCA'22)."""
    energy_g_per_cm2 = fab_g_per_kwh * process.energy_kwh_per_cm2
    gas = gas_g_per_cm2(process, abatement_percent)
    return area_cm2 * (energy_g_per_cm2 + gas + process.material_g_per_cm2) / FAB_YIELD


def memory_carbon_g(capacity_gb: float, memory: Memory, *, memory_yield: float) -> float:
    """Grams of `capacity_gb` GB. ACT's paper has no yield here; its code divides by the die's, SC'23 by none (1)."""
    return capacity_gb * memory.g_per_gb / memory_yield


def packaging_carbon_g(ic_packages: int) -> float:
    """Grams of the packages of a board: 150 g each (ACT)."""
    return PACKAGE_G * ic_packages


def board_carbon_kg(
    *, die_cm2: float, process: Process, memory_gb: float, memory: Memory, convention: Convention
) -> float:
    """Kilograms of die, memory and packages of one GPU board under a convention."""
    die_g = die_carbon_g(
        die_cm2,
        process,
        fab_g_per_kwh=convention.fab_g_per_kwh,
        abatement_percent=convention.abatement_percent,
    )
    memory_g = memory_carbon_g(memory_gb, memory, memory_yield=convention.memory_yield)
    return (die_g + memory_g + packaging_carbon_g(convention.ic_packages)) / G_PER_KG


def embodied_carbon(device: str, preset: str) -> EmbodiedCarbon:
    """Embodied carbon of a GPU kind or the CPU; raises BadInput naming the presets that have the device."""
    name = facts.device_key(device)
    found = _embodied(name, _known(preset))
    if found is None:
        raise BadInput(f"embodied preset {preset!r} has no {name}; presets that have it: {', '.join(presets_of(name))}")
    return found


def presets_of(device: str) -> tuple[str, ...]:
    """The presets that know a device; raises UnknownFact for no device at all."""
    name = facts.device_key(device)
    return tuple(preset for preset in EMBODIED_PRESETS if _embodied(name, preset) is not None)


def presets_covering(devices: Iterable[str]) -> tuple[str, ...]:
    """The presets that know every one of the devices."""
    known = [presets_of(device) for device in devices]
    return tuple(preset for preset in EMBODIED_PRESETS if all(preset in presets for presets in known))


def choose_preset(devices: Iterable[str], requested: str | None) -> str:
    """The preset one ranking of `devices` uses: the requested one, else the first that covers them all.

    Raises BadInput when the requested preset lacks a device, or when no preset covers them all.
    """
    names = tuple(dict.fromkeys(facts.device_key(device) for device in devices))
    covering = presets_covering(names)
    have_all = f"presets that have all: {', '.join(covering) or 'none'}"
    if requested is not None:
        lacking = [name for name in names if _embodied(name, _known(requested)) is None]
        if lacking:
            raise BadInput(f"embodied preset {requested!r} has no {' and no '.join(lacking)}; {have_all}")
        return requested
    if not covering:
        known = "; ".join(f"{name}: {', '.join(presets_of(name))}" for name in names)
        raise BadInput(f"no embodied preset has all of these devices ({known}), and presets are never mixed")
    return covering[0]


def embodied_range(device: str) -> tuple[float, float]:
    """Lowest and highest kilograms over every preset that knows the device."""
    found = [embodied_carbon(device, preset) for preset in presets_of(device)]
    return min(one.low_kg for one in found), max(one.high_kg for one in found)


def amortised_g(
    embodied_kg: Quantity | float, occupied_s: Quantity, lifetime_s: float, utilisation: Quantity | float = 1.0
) -> Quantity:
    """Grams of the device's making that fall on `occupied_s` seconds of work. Elementwise.

    HotCarbon'24, Equation 3: C_em x t / LT, where only the busy share u of the lifetime carries the burden.
    """
    return occupied_s * embodied_kg * (G_PER_KG / (lifetime_s * utilisation))


def _known(preset: str) -> str:
    if preset not in EMBODIED_PRESETS:
        raise BadInput(f"unknown embodied preset {preset!r}: valid are {', '.join(EMBODIED_PRESETS)}")
    return preset


@functools.cache
def _embodied(device: str, preset: str) -> EmbodiedCarbon | None:
    published = facts.published_footprints().get(f"{preset}-{device}")
    if published is not None:
        return _from_publication(published)
    if device == facts.CPU or preset == "paper":
        return None
    gpu = facts.gpu(device)
    if preset == "act":
        return _from_formula(gpu, preset, ACT_LOW, ACT, ACT_HIGH)
    if preset == "sc23":
        return _from_formula(gpu, preset, SC23_LOW, SC23, SC23_HIGH)
    return _from_ratio(gpu)


def _from_publication(row: PublishedFootprint) -> EmbodiedCarbon:
    return EmbodiedCarbon(
        device=row.device,
        preset=row.preset,
        kg=row.kg,
        low_kg=row.low_kg,
        high_kg=row.high_kg,
        source=f"{row.source.get('kg', row.source['default'])} ({row.boundary})",
        estimated="kg" in row.estimated,
    )


def _from_formula(gpu: Gpu, preset: str, low: Convention, value: Convention, high: Convention) -> EmbodiedCarbon:
    kg = {
        name: board_carbon_kg(
            die_cm2=gpu.die_mm2 * CM2_PER_MM2,
            process=facts.process(gpu.process),
            memory_gb=gpu.memory_gb,
            memory=facts.memory(gpu.memory),
            convention=convention,
        )
        for name, convention in (("low_kg", low), ("kg", value), ("high_kg", high))
    }
    name = "ACT v2 defaults" if preset == "act" else "conventions of Li et al. SC'23"
    source = f"{name}: {gpu.die_mm2:g} mm2 at {gpu.process}, {gpu.memory_gb:g} GB as {gpu.memory}"
    return EmbodiedCarbon(device=gpu.key, preset=preset, **kg, source=source, estimated=False)


def _from_ratio(gpu: Gpu) -> EmbodiedCarbon:
    act_kg = embodied_carbon(gpu.key, "act").kg
    return EmbodiedCarbon(
        device=gpu.key,
        preset="vendor",
        kg=act_kg * VENDOR_RATIO,
        low_kg=act_kg * VENDOR_RATIO_LOW,
        high_kg=act_kg * VENDOR_RATIO_HIGH,
        source=f"no published footprint: act x {VENDOR_RATIO:.2f}, the published ratio of {VENDOR_RATIO_LOW} to "
        f"{VENDOR_RATIO_HIGH}",
        estimated=True,
    )
