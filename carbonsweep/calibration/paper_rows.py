"""The fit of the paper's stack as rows: of the engine table, of its draws, and of the committed tables beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from carbonsweep.calibration.paper_errors import (
    HeldOut,
    PhaseErrors,
    Progress,
    Spread,
    drawn_columns,
    drawn_fits,
    half_width,
    held_out_spread,
    left_out_claims,
    phase_errors,
)
from carbonsweep.calibration.paper_parameters import ASSUMED, PARAMETERS, Array
from carbonsweep.calibration.paper_stack import ENGINE, SEED, fit, modelled_cells, rounded
from carbonsweep.calibration.paper_terms import Moved, Without, moved_assumptions, without_terms
from carbonsweep.claims.cells import GPUS
from carbonsweep.records import write_atomically

VERSION: Final = "fitted 1"
LEFT_OUT: Final = "claims_left_out.csv"
WITHOUT: Final = "claims_without_a_term.csv"
MOVED: Final = "claims_at_other_assumptions.csv"

SOURCE: Final = (
    "the serving stack behind HotCarbon'24, fitted to its 13 ratios, 6 embodied shares, 4 peaks and its orders: 18 "
    "numbers over its two GPUs, priors and meaning in calibration/paper_parameters.py; for any other GPU the geometric "
    "means of the two, and for the time per further sequence the power law through them: a guess"
)
ERROR_SOURCE: Final = (
    "no measurement: the paper prints neither seconds nor watts, so absolute values rest on data sheets and priors. "
    "Claims left out and predicted, and 64 refits to resampled claims, together; worst cell of {gpu}"
)
ERROR_SOURCE_ELSEWHERE: Final = (
    "no measurement, and not one of the paper's GPUs: how far this row is off on those two, on top of their own error"
)


def recalibrate(results: Path, tell: Progress) -> None:
    """Fit, leave claims out, draw, and write engine rows, draws and the three tables in `results`. Takes half an hour.

    Raises StorageFailed.
    """
    from carbonsweep.calibration.writing import write_draws, write_engines

    found = refitted(tell)
    without, moved = without_terms(tell), moved_assumptions(found.fitted, tell)
    write_engines(found.rows)
    write_draws(found.draws, seed=SEED)
    write_atomically(results / LEFT_OUT, left_out_text(found.held_out))
    write_atomically(results / WITHOUT, without_text(without))
    write_atomically(results / MOVED, moved_text(moved))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitted:
    """The fit with its left-out claims, and what follows for the tables: rows and draws, both by engine."""

    fitted: tuple[float, ...]
    held_out: Sequence[HeldOut]
    rows: Mapping[str, Mapping[str, Any]]
    draws: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]


def refitted(tell: Progress) -> Refitted:
    """Fit, leave claims out and draw, and write nothing."""
    fitted = fit()
    tell("fitted")
    held_out = left_out_claims(tell)
    drawn, spread = drawn_fits(fitted, tell), held_out_spread(held_out)
    return Refitted(
        fitted=tuple(fitted),
        held_out=held_out,
        rows={ENGINE: engine_rows(fitted, drawn, spread)},
        draws={ENGINE: draw_rows(fitted, drawn, spread)},
    )


def engine_rows(fitted: Sequence[float], drawn: Array, spread: Spread) -> dict[str, Any]:
    """The row of any GPU, and under "gpu" what the two fitted ones override."""
    errors = phase_errors(fitted, drawn, spread)
    shared = {p.field: v for p, v in zip(PARAMETERS, fitted, strict=True) if p.gpu is None}
    of_gpu = {gpu: {p.field: v for p, v in zip(PARAMETERS, fitted, strict=True) if p.gpu == gpu} for gpu in GPUS}
    means = zip(PARAMETERS, rounded(np.array(means_of_gpus(fitted))), strict=True)
    elsewhere = {p.field: value for p, value in means if p.gpu is not None}
    return {
        "version": VERSION,
        "source": SOURCE,
        "error_source": ERROR_SOURCE_ELSEWHERE,
        **ASSUMED,
        **shared,
        **elsewhere,
        **asdict(_elsewhere_errors(fitted, errors)),
        "gpu": {
            gpu: {"error_source": ERROR_SOURCE.format(gpu=gpu), **of_gpu[gpu], **asdict(errors[gpu])} for gpu in GPUS
        },
    }


def means_of_gpus(fitted: Sequence[float]) -> tuple[float, ...]:
    """The parameters with those of each GPU replaced by the geometric mean of both: what any other GPU gets."""
    by_field: dict[str, list[float]] = {}
    for parameter, value in zip(PARAMETERS, fitted, strict=True):
        by_field.setdefault(parameter.field, []).append(value)
    return tuple(float(np.exp(np.mean(np.log(by_field[parameter.field])))) for parameter in PARAMETERS)


def _elsewhere_errors(fitted: Sequence[float], errors: Mapping[str, PhaseErrors]) -> PhaseErrors:
    """As if the two GPUs had not been fitted: how far the means are off on them, with the larger error of their rows.

    The farthest of the cells of both is taken for the bound of the 95 % interval that giving a GPU the means adds.
    """
    own = modelled_cells(np.array(fitted)[:, None])
    other = modelled_cells(np.array(means_of_gpus(fitted))[:, None])
    both = own.fits & other.fits

    def off(name: str, error: str) -> float:
        ratio = np.abs(np.log(getattr(other, name)[both] / getattr(own, name)[both]))
        known = max(np.log1p(getattr(each, error)) for each in errors.values())
        return half_width(float(np.hypot(ratio.max(), known)) / 1.96)

    return PhaseErrors(
        prefill_time_error=off("prefill_s", "prefill_time_error"),
        prefill_energy_error=off("prefill_j", "prefill_energy_error"),
        decode_time_error=off("decode_s", "decode_time_error"),
        decode_energy_error=off("decode_j", "decode_energy_error"),
    )


def draw_rows(fitted: Sequence[float], drawn: Array, spread: Spread) -> dict[str, dict[str, list[float]]]:
    """The draws of both GPUs and, under "", of any other: the means of each draw, with what the transfer is off."""
    columns = drawn_columns(drawn, spread)
    means = np.array([means_of_gpus(values) for values in drawn])
    columns[""] = {p.field: [float(value) for value in values] for p, values in zip(PARAMETERS, means.T, strict=True)}
    transfer = transfer_spread(fitted, spread)
    dice = np.random.default_rng(SEED + 1)
    columns[""]["time_factor"] = [float(each) for each in np.exp(dice.normal(0.0, transfer.time, len(drawn)))]
    columns[""]["power_factor"] = [float(each) for each in np.exp(dice.normal(0.0, transfer.power, len(drawn)))]
    return columns


def transfer_spread(fitted: Sequence[float], spread: Spread) -> Spread:
    """The held-out spread with that of giving a GPU the means: root mean squares over the cells of both."""
    own = modelled_cells(np.array(fitted)[:, None])
    other = modelled_cells(np.array(means_of_gpus(fitted))[:, None])
    both = own.fits & other.fits
    time = np.log(other.latency_s[both] / own.latency_s[both])
    power = np.log(other.energy_j[both] / own.energy_j[both]) - time
    return replace(
        spread,
        time=float(np.hypot(spread.time, np.sqrt(np.mean(np.square(time))))),
        power=float(np.hypot(spread.power, np.sqrt(np.mean(np.square(power))))),
    )


def left_out_text(held_out: Sequence[HeldOut]) -> str:
    """CSV: one line per number of a claim that was left out."""
    header = ("claim", "label", "paper", "predicted", "relative_error")
    return _csv(
        header, [(e.claim, e.label, e.paper, f"{e.predicted:.4g}", f"{e.relative_error:.4f}") for e in held_out]
    )


def without_text(without: Sequence[Without]) -> str:
    """CSV: one line per term."""
    header = ("term", "numbers_met", "numbers", "missed")
    return _csv(header, [(e.term, e.numbers_met, e.numbers, " | ".join(e.missed)) for e in without])


def moved_text(moved: Sequence[Moved]) -> str:
    """CSV: one line per other value of a number fixed by hand; names within a field stand apart by spaces."""
    header = ("field", "value", "other", "missed_as_fitted", "missed_refitted", "on_edge_refitted")
    return _csv(
        header,
        [
            (e.name, f"{e.value:g}", f"{e.other:g}", " ".join(e.lost), " ".join(e.lost_refitted), "; ".join(e.on_edge))
            for e in moved
        ],
    )


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
