"""Where two measurements swap: the intensity, lifetime or embodied value at which their total grams are equal.

Total grams of a functional unit (HotCarbon'24, Equation 4, with this project's terms) are

    total = W x g + E / L                                                                          (1)

    W = PUE x (joules + idle joules + host joules) / (3.6e6 J/kWh x units)       kWh, at the facility's meter
    E = sum over device kinds d of D_d x (kg_d x share_d + host_kg) x 1000       gram-seconds
    D_d = sum over phases on d of occupied seconds x devices / (utilisation x units)     device-seconds of life

Utilisation is that of the devices under the scenario (`carbon.load`). g is the intensity in g/kWh, L the lifetime in
seconds, kg_d what making one device of kind d takes, share_d what its second life still carries. W and D depend on
neither g, L nor kg. So (1) is a straight line in g, in 1/L and in each kg_d, and two lines a1 + b1 x and a2 + b2 x
cross at most once, at

    x = (a2 - a1) / (b1 - b2)                                                                      (2)

below which the one with the smaller a emits less, above which the one with the smaller b does. Where (2) is not above 0
or not finite, or the slopes are equal, they never swap: one emits less everywhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from carbonsweep.carbon.footprint import footprint, functional_units
from carbonsweep.carbon.intensity import given_intensity
from carbonsweep.carbon.load import load_of
from carbonsweep.carbon.write_off import charged_kg, share_left
from carbonsweep.domain import Measurement, Scenario
from carbonsweep.errors import BadInput
from carbonsweep.units import G_PER_KG

Side = Literal["A", "B"]

EQUAL: Final = 1e-12
"""Relative difference below which two numbers are one: a dozen roundings of double precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """At which value two measurements swap, and who emits less on either side; None where they are equal.

    `at` is None where they never swap for any value above 0: `below` and `above` then name the same one.
    """

    at: float | None
    below: Side | None
    above: Side | None

    @property
    def always(self) -> Side | None:
        """Who emits less everywhere; None where they swap, or are equal everywhere."""
        return self.below if self.at is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one functional unit takes: kWh at the facility's meter, and seconds of life of each kind of device.

    `life_s` counts a busy second as 1 / utilisation seconds, and each of several devices (module docstring: W and D).
    """

    kwh: float
    life_s: Mapping[str, float]

    def embodied_g_s(self, charged_kg: Mapping[str, float], host_kg: float = 0.0) -> float:
        """Gram-seconds of embodied carbon (E): over a lifetime in seconds, grams. `charged_kg` is after any share."""
        return sum(s * (charged_kg[device] + host_kg) for device, s in self.life_s.items()) * G_PER_KG


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Where A and B swap: `intensity` in g/kWh, `lifetime` in seconds, `embodied` in kg of a whole device of a kind.

    Each with everything else as the scenario has it.
    """

    intensity: Swap
    lifetime: Swap
    embodied: Mapping[str, Swap]


def break_even(a: Measurement, b: Measurement, scenario: Scenario) -> BreakEven:
    """Where A and B swap under a scenario. Raises EnergyUnknown and BadInput as `footprint`."""
    need_a, need_b = needs(a, scenario), needs(b, scenario)
    kinds = dict.fromkeys((*need_a.life_s, *need_b.life_s))
    return BreakEven(
        intensity=intensity_swap(need_a, need_b, scenario),
        lifetime=lifetime_swap(need_a, need_b, scenario),
        embodied={kind: embodied_swap(need_a, need_b, scenario, kind) for kind in kinds},
    )


def needs(measurement: Measurement, scenario: Scenario) -> Needs:
    """What a functional unit of a measurement takes. Raises EnergyUnknown as `footprint`.

    W is the operational part of the footprint at 1 g/kWh, so every term of it (idle, host, assumed power, PUE) is that
    of every other price.
    """
    at_one = footprint(measurement, dataclasses.replace(scenario, intensity=given_intensity(1.0)))
    units, loaded = functional_units(measurement, scenario.functional_unit), load_of(measurement, scenario)
    life_s: dict[str, float] = {}
    for phase, utilisation in ((measurement.prefill, loaded.prefill), (measurement.decode, loaded.decode)):
        taken_s = phase.occupied_s * phase.gpu_count / (utilisation * units)
        life_s[phase.gpu] = life_s.get(phase.gpu, 0.0) + taken_s
    return Needs(kwh=at_one.operational_g, life_s=life_s)


def intensity_swap(a: Needs, b: Needs, scenario: Scenario) -> Swap:
    """The intensity (g/kWh) at which A and B swap; `below` holds on a cleaner grid.

    (1) in x = g: intercepts E / L, slopes W, so g = (E_b - E_a) / (L (W_a - W_b)).
    """
    lifetime_s = scenario.lifetime_s
    e_a, e_b = (_embodied_g_s(each, scenario) for each in (a, b))
    return crossing((e_a / lifetime_s, a.kwh), (e_b / lifetime_s, b.kwh))


def lifetime_swap(a: Needs, b: Needs, scenario: Scenario) -> Swap:
    """The lifetime (s), common to all devices, at which A and B swap; `below` holds for devices replaced sooner.

    (1) in x = 1 / L: intercepts W g, slopes E, so L = (E_b - E_a) / (g (W_a - W_b)). A long life is a small x, hence
    the sides change places. In a second life it is how long the devices serve from now on. Raises BadInput where the
    scenario names no intensity.
    """
    g_per_kwh = _g_per_kwh(scenario)
    e_a, e_b = (_embodied_g_s(each, scenario) for each in (a, b))
    inverse = crossing((a.kwh * g_per_kwh, e_a), (b.kwh * g_per_kwh, e_b))
    if inverse.at is None:
        return inverse
    return Swap(at=1 / inverse.at, below=inverse.above, above=inverse.below)


def embodied_swap(a: Needs, b: Needs, scenario: Scenario, device: str) -> Swap:
    """The kilograms of making one whole `device` at which A and B swap, every other device as it is.

    (1) in x = kg_d: slopes D_d x share_d x 1000 / L, intercepts everything else. For A on d and B on another kind that
    is kg = (total_b - (W_a g + D_a host_kg 1000 / L)) / (D_a share 1000 / L). The value is of a new device, before any
    share of a second life; where nothing is charged (share 0) they never swap. Raises BadInput as `lifetime_swap`.
    """
    g_per_kwh, share = _g_per_kwh(scenario), share_left(device, scenario)

    def line(each: Needs) -> tuple[float, float]:
        rest_g_s = _embodied_g_s(each, scenario, {device: 0.0})
        slope = each.life_s.get(device, 0.0) * share * G_PER_KG / scenario.lifetime_s
        return each.kwh * g_per_kwh + rest_g_s / scenario.lifetime_s, slope

    return crossing(line(a), line(b))


def crossing(a: tuple[float, float], b: tuple[float, float]) -> Swap:
    """Where the lines a and b, each (intercept, slope), cross above 0, by (2); the lower one is the better."""
    (intercept_a, slope_a), (intercept_b, slope_b) = a, b
    at_zero, far_out = _lower(intercept_a, intercept_b), _lower(slope_a, slope_b)
    if at_zero is not None and far_out is not None and at_zero != far_out:
        at = (intercept_b - intercept_a) / (slope_a - slope_b)
        if 0 < at < math.inf and 1 / at < math.inf:
            return Swap(at=at, below=at_zero, above=far_out)
    winner = at_zero or far_out
    return Swap(at=None, below=winner, above=winner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """The candidate (by place) that emits least from `low` up to `high`, both in g/kWh x s; `high` may be infinite."""

    place: int
    low: float
    high: float


def reigns(
    candidates: Sequence[Needs], scenario: Scenario, replaced_kg: Mapping[str, float] | None = None
) -> list[Reign]:
    """Who of many emits least, as intensity x lifetime grows from 0.

    L x total = W x (g L) + E: over intensity and lifetime together the winner depends on their product alone, and it is
    the lower envelope of straight lines. `replaced_kg` stands for what the scenario charges for its kinds. Raises
    BadInput for no candidates.
    """
    if not candidates:
        raise BadInput("nobody can win among no configurations")
    lines = [(_embodied_g_s(each, scenario, replaced_kg), each.kwh) for each in candidates]
    place = min(range(len(lines)), key=lambda i: lines[i])
    found, low = [], 0.0
    while True:
        followers = []
        for i, (g_s, kwh) in enumerate(lines):
            if _lower(lines[place][1], kwh) == "B":
                # Not before `low`: there rounding alone can have put it.
                at = max(low, (g_s - lines[place][0]) / (lines[place][1] - kwh))
                followers.append((at, kwh, i))
        at, _, following = min(followers, default=(math.inf, 0.0, place))
        if at > low:
            found.append(Reign(place=place, low=low, high=at))
        if at == math.inf:
            return found
        place, low = following, at


def _embodied_g_s(each: Needs, scenario: Scenario, replaced_kg: Mapping[str, float] | None = None) -> float:
    """E under a scenario; the kilograms of `replaced_kg` stand for what its kinds are charged."""
    replaced = replaced_kg or {}
    kg = {device: replaced[device] if device in replaced else charged_kg(device, scenario) for device in each.life_s}
    return each.embodied_g_s(kg, scenario.host_embodied_kg)


def _g_per_kwh(scenario: Scenario) -> float:
    if scenario.intensity is None:
        raise BadInput("grams need a carbon intensity: name a --region, or give --carbon-intensity-g-per-kwh")
    return scenario.intensity.g_per_kwh


def _lower(a: float, b: float) -> Side | None:
    if math.isclose(a, b, rel_tol=EQUAL, abs_tol=0.0):
        return None
    return "A" if a < b else "B"
