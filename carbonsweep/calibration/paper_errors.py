"""How far the fit of the paper's stack can be trusted: claims left out and predicted, and draws of the whole fit.

Nothing measured stands behind the row, so what is held out is claims. A draw refits numbers resampled and moved within
their rounding; the orders are the paper's in every draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from carbonsweep.calibration.paper_parameters import PARAMETERS, Array
from carbonsweep.calibration.paper_stack import SEED, Target, fit, modelled_cells, targets
from carbonsweep.claims.cells import GPUS, Cells
from carbonsweep.claims.ratios import numbers
from carbonsweep.shares import signed_percent

DRAWS: Final = 64
DRAW_GENERATIONS: Final = 250
"""Of a search that starts beside the fit's own values; from nowhere it takes thousands."""
LEFT_OUT_GENERATIONS: Final = 1200

TIMES: Final = frozenset({"C01 1B", "C01 3B", "C01 7B", "C02 7B b4", "C10 tokens/s", "C11 b64"})
"""Targets that are a quotient of times of the two GPUs; the other ratios are quotients of energies."""
WITHIN_ONE_GPU: Final = "C17"
"""Its two quotients are of one GPU: they say nothing about how far a GPU is off as a whole."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One number of a claim that was left out, as the refit without the whole claim predicts it."""

    claim: str
    label: str
    paper: float
    predicted: float

    @property
    def relative_error(self) -> float:
        """Predicted over the paper's, less 1."""
        return self.predicted / self.paper - 1


def left_out_claims(tell: Progress = lambda line: None) -> tuple[HeldOut, ...]:
    """Refit without each fitted claim, its numbers and its own order both, and predict it. Takes minutes."""
    found: list[HeldOut] = []
    for claim in dict.fromkeys(aim.claim for aim in targets()):
        others = [aim for aim in targets() if aim.claim != claim]
        ours = _numbers(fit(others, generations=LEFT_OUT_GENERATIONS, left_out=claim))
        found += [
            HeldOut(claim=claim, label=aim.label, paper=aim.value, predicted=ours[aim.claim, aim.label])
            for aim in targets()
            if aim.claim == claim
        ]
        errors = [f"{each.label} {signed_percent(each.relative_error)}" for each in found if each.claim == claim]
        tell(f"without {claim}: {', '.join(errors)}")
    return tuple(found)


def _numbers(values: Sequence[float]) -> Mapping[tuple[str, str], float]:
    ours = numbers(modelled_cells(np.array(values)[:, None]))
    return {(claim, label): float(value[0]) for claim, each in ours.items() for label, value in each.items()}


def drawn_fits(fitted: Sequence[float], tell: Progress = lambda line: None) -> Array:
    """Bootstrap of the fit: values of shape (DRAWS, parameters). Takes minutes."""
    dice = np.random.default_rng(SEED)
    drawn = []
    for i in range(DRAWS):
        aims = list(resampled(dice))
        drawn.append(fit(aims, seed=SEED + 1 + i, generations=DRAW_GENERATIONS, start=fitted))
        tell(f"draw {i + 1} of {DRAWS}")
    return np.array(drawn)


def resampled(dice: np.random.Generator) -> Iterator[Target]:
    """As many targets, drawn with replacement, each moved within half of its last digit."""
    known = targets()
    for i in dice.integers(len(known), size=len(known)):
        half = known[i].digit / 2
        yield replace(known[i], value=known[i].value + float(dice.uniform(-half, half)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Standard deviations of logarithms, of one GPU: what a draw of parameters does not see."""

    time: float
    power: float


def held_out_spread(held_out: Sequence[HeldOut]) -> Spread:
    """From the ratios left out: half of a quotient's variance falls to each of its two GPUs.

    What energies are off beyond times is put down to power; the embodied shares, which are one power each, count too.
    """
    of_times = [_log_error(each) for each in held_out if f"{each.claim} {each.label}" in TIMES]
    of_energies = [
        _log_error(each)
        for each in held_out
        if f"{each.claim} {each.label}" not in TIMES and each.claim not in ("C16", WITHIN_ONE_GPU)
    ]
    of_shares = [_log_power_error(each) for each in held_out if each.claim == "C16" and each.label.endswith("QC")]
    time = float(np.mean(np.square(of_times)) / 2)
    energy = float(np.mean(np.square(of_energies)) / 2)
    power = max(energy - time, float(np.mean(np.square(of_shares))))
    return Spread(time=float(np.sqrt(time)), power=float(np.sqrt(power)))


def _log_error(held_out: HeldOut) -> float:
    return float(np.log(held_out.predicted / held_out.paper))


def _log_power_error(held_out: HeldOut) -> float:
    """Of the power behind an embodied share: share / (1 - share) is embodied over operational carbon."""
    odds = [share / (1 - share) for share in (held_out.predicted, held_out.paper)]
    return float(np.log(odds[1] / odds[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseErrors:
    """Relative half-widths of the 95 % interval, of one GPU, as the engine row holds them."""

    prefill_time_error: float
    prefill_energy_error: float
    decode_time_error: float
    decode_energy_error: float


def phase_errors(fitted: Sequence[float], drawn: Array, spread: Spread) -> dict[str, PhaseErrors]:
    """By GPU: draws and held-out error together, at the worst of the cells that fit."""
    best, draws = modelled_cells(np.array(fitted)[:, None]), modelled_cells(drawn.T)
    made = {}
    for g, gpu in enumerate(GPUS):
        sigma = {
            name: np.hypot(_log_deviation(draws, best, name, g), systematic)
            for name, systematic in (
                ("prefill_s", spread.time),
                ("prefill_j", np.hypot(spread.time, spread.power)),
                ("decode_s", spread.time),
                ("decode_j", np.hypot(spread.time, spread.power)),
            )
        }
        made[gpu] = PhaseErrors(
            prefill_time_error=half_width(sigma["prefill_s"]),
            prefill_energy_error=half_width(sigma["prefill_j"]),
            decode_time_error=half_width(sigma["decode_s"]),
            decode_energy_error=half_width(sigma["decode_j"]),
        )
    return made


def _log_deviation(draws: Cells, best: Cells, name: str, g: int) -> float:
    """Largest root mean square, over the draws, of the logarithm against the fit: of the cells that fit."""
    fits = best.fits[0, :, g]
    ratio = np.log(getattr(draws, name)[:, :, g][:, fits] / getattr(best, name)[0, :, g][fits])
    return float(np.sqrt(np.mean(np.square(ratio), axis=0)).max())


def half_width(sigma: float) -> float:
    """Of the 95 % interval, relative, from the standard deviation of a logarithm; the wider side."""
    return round(float(np.expm1(1.96 * sigma)), 2)


def drawn_columns(drawn: Array, spread: Spread) -> dict[str, dict[str, list[float]]]:
    """The draws as `engine_draws.json` holds them: by GPU, by field; joint over both GPUs.

    Each GPU's time and power have a factor of their own, log-normal, for what no draw of parameters sees.
    """
    dice = np.random.default_rng(SEED)
    columns: dict[str, dict[str, list[float]]] = {gpu: {} for gpu in GPUS}
    for parameter, values in zip(PARAMETERS, drawn.T, strict=True):
        for gpu in GPUS if parameter.gpu is None else (parameter.gpu,):
            columns[gpu][parameter.field] = [float(value) for value in values]
    for gpu in GPUS:
        columns[gpu]["time_factor"] = [float(each) for each in np.exp(dice.normal(0.0, spread.time, len(drawn)))]
        columns[gpu]["power_factor"] = [float(each) for each in np.exp(dice.normal(0.0, spread.power, len(drawn)))]
    return columns
