"""Energy to grams: E x PUE x CI, and the energy of waiting. Elementwise: floats in, float out; arrays in, array out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from carbonsweep.units import J_PER_KWH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Quantity = TypeVar("Quantity", float, "NDArray[np.float64]")


def operational_g(energy_j: Quantity, intensity_g_per_kwh: Quantity | float, pue: float = 1.0) -> Quantity:
    """Grams of `energy_j` joules drawn in a facility of that PUE on a grid of that intensity (g/kWh).

    HotCarbon'24, Equation 2, times PUE (facility energy over IT energy; the paper's is 1).
    """
    return energy_j / J_PER_KWH * pue * intensity_g_per_kwh


def idle_energy_j(idle_w: Quantity | float, busy_s: Quantity, utilisation: Quantity | float) -> Quantity:
    """Joules a device draws while it waits, per `busy_s` seconds of work: P_idle x busy x (1 - u) / u.

    A device that works the share u of its life waits (1 - u) / u seconds for each second of work; at u = 1 it never
    does. Attributing that wait to the work is this project's accounting; the paper has no idle term.
    """
    return busy_s * idle_w * ((1 - utilisation) / utilisation)
