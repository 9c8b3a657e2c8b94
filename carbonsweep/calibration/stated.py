"""What an engine row states about itself: the errors of its held-out rows, as half-widths, and in words.

A GPU's own row states the errors of models left out on that GPU; the general row those of GPUs left out, and no less
than those of models. Where a source measured only whole runs, no phase is said to be known better than the whole; where
no power or no prefill was measured, the error of the nearest thing that was is taken, and the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.calibration.heldout import HeldOut, half_width, mape
from carbonsweep.calibration.stacks import TRANSFORMERS, Stack, by_gpu, by_model
from carbonsweep.shares import percent

QUANTITY_NAMES: Final = {
    "prefill_s": "prefill time",
    "tpot_s": "time per output token",
    "power_w": "power",
    "energy_per_token_j": "J/token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Relative half-widths of the 95 % interval, and the sentence about them."""

    prefill_time_error: float
    prefill_energy_error: float
    decode_time_error: float
    decode_energy_error: float
    sentence: str

    def fields(self) -> dict[str, float | str]:
        """As fields of an engine row, rounded up to the next percent."""
        errors = {
            "prefill_time_error": self.prefill_time_error,
            "prefill_energy_error": self.prefill_energy_error,
            "decode_time_error": self.decode_time_error,
            "decode_energy_error": self.decode_energy_error,
        }
        return {**{name: math.ceil(100 * value) / 100 for name, value in errors.items()}, "error_source": self.sentence}


def stated(found: HeldOut, elsewhere: HeldOut, prefill_elsewhere: HeldOut) -> Stated:
    """Errors of `found`; power that it lacks is taken from `elsewhere`, prefill time from `prefill_elsewhere`.

    Both are held-out too, under a split at least as hard.
    """
    time = half_width(found.errors("tpot_s"))
    own_power = len(found.errors("power_w")) > 0
    power = half_width((found if own_power else elsewhere).errors("power_w"))
    energy = half_width(found.errors("energy_per_token_j")) if own_power else math.hypot(time, power)
    own_prefill = len(found.errors("prefill_s")) > 0
    prefill = half_width((found if own_prefill else prefill_elsewhere).errors("prefill_s"))
    prefill = prefill if own_prefill else max(prefill, time)
    return Stated(
        prefill_time_error=prefill,
        prefill_energy_error=max(energy, math.hypot(prefill, power)),
        decode_time_error=time,
        decode_energy_error=energy,
        sentence=_sentence(found, own_power, own_prefill, elsewhere, prefill_elsewhere),
    )


def _sentence(found: HeldOut, own_power: bool, own_prefill: bool, power: HeldOut, prefill: HeldOut) -> str:
    group, kind = (by_model, "shapes of model") if found.split == "model" else (by_gpu, "dies")
    groups = len({group(each) for each in found.rows.observations})
    parts = [f"held out: {len(found.rows)} rows, {groups} {kind} left out in turn; mean absolute error {_means(found)}"]
    whole = np.isfinite(found.rows.measured["power_w"]) & ~found.rows.decode_power
    if not own_power:
        parts.append(f"power was not measured here: its error is that of {_named(power)}")
    elif whole.any():
        where = sorted({each.origin.gpu for each, so in zip(found.rows.observations, whole, strict=True) if so})
        parts.append(
            f"power on {', '.join(where)} was measured over whole runs only: no phase is known better than they are"
        )
    else:
        parts.append("power was measured in decode only: prefill's is taken to be as far off")
    if not own_prefill:
        parts.append(
            f"prefill was not timed here: its error is that of {_named(prefill)}, or of the whole run if larger"
        )
    return "; ".join(parts)


def _means(found: HeldOut) -> str:
    known = {name: found.errors(quantity) for quantity, name in QUANTITY_NAMES.items()}
    return ", ".join(f"{name} {percent(mape(errors), 1)}" for name, errors in known.items() if len(errors))


def _named(found: HeldOut) -> str:
    if found.split == "prefill":
        return f"{len(found.rows)} prefills under transformers on {', '.join(found.rows.gpus)}, no row of the fit"
    return f"{found.stack.name} with a {'GPU' if found.split == 'gpu' else 'model'} left out"


def table(held: Mapping[tuple[str, str], HeldOut], what: Stack, gpus: tuple[str, ...]) -> dict[str, Stated]:
    """The statements of `what`, by GPU; "" is the general row. `held` has results by (stack, split)."""
    known = general_of(held, what)
    pooled = held[TRANSFORMERS.name, "gpu"]
    powered = known if len(known.errors("power_w")) else pooled
    timed = held.get((what.name, "prefill"), pooled)
    models = stated(held[what.name, "model"], powered, timed)
    rows = {"": _general(stated(known, powered, timed), models, known.stack.name == what.name, what)}
    return rows | {gpu: stated(held[what.name, "model"].on(gpu), powered, timed) for gpu in gpus}


def general_of(held: Mapping[tuple[str, str], HeldOut], what: Stack) -> HeldOut:
    """GPUs left out of `what`; of the nearest stack that ran on several where it ran on one."""
    nearest = what.base or ("healthy" if what.family_name == "serving" else TRANSFORMERS.name)
    return held.get((what.name, "gpu")) or held[nearest, "gpu"]


def _general(gpus: Stated, models: Stated, own: bool, what: Stack) -> Stated:
    """Neither a GPU left out nor a model may be further off than stated; another stack's GPUs add to own models."""
    join: Callable[[float, float], float] = max if own else math.hypot
    note = (
        ""
        if own
        else f"; {what.name} itself ran on one GPU only, so these are another stack's GPUs, and its own models added"
    )
    return Stated(
        prefill_time_error=join(gpus.prefill_time_error, models.prefill_time_error),
        prefill_energy_error=join(gpus.prefill_energy_error, models.prefill_energy_error),
        decode_time_error=join(gpus.decode_time_error, models.decode_time_error),
        decode_energy_error=join(gpus.decode_energy_error, models.decode_energy_error),
        sentence=gpus.sentence + note,
    )
