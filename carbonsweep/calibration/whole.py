"""The whole calibration: every stack fitted, held out, stated and drawn, as the tables that are written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carbonsweep.calibration.bootstrap import Drawn, drawn
from carbonsweep.calibration.fit import Fitted, Parameters
from carbonsweep.calibration.heldout import HeldOut, foreign_prefill, held_out
from carbonsweep.calibration.observations import Observation, Rows
from carbonsweep.calibration.other_centres import CENTRES, PARAMETER, under_other_centres
from carbonsweep.calibration.priors import LAWS
from carbonsweep.calibration.stacks import STACKS, Stack, by_gpu, by_model, fit_of
from carbonsweep.calibration.stated import Stated, general_of, table
from carbonsweep.calibration.writing import DRAW_COUNT, rounded

POOLED: Final = tuple(what for what in STACKS if what.name != "healthy")
"""Each row once: `healthy` is fitted to rows of other stacks."""
SPLITS: Final = ("model", "gpu", "batch")
SOURCES: Final = {
    "llm_perf_t4_a10g_figures.csv": "HF LLM-Perf leaderboard",
    "argonne_a100_h100_power.csv": "Argonne LLM-Inference-Bench (BSD-3-Clause)",
}
OPTIMUM_SOURCE: Final = "optimum-benchmark, running llamas (Apache-2.0)"
RECORDED_SOURCE: Final = "own GPU records"

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All of it: by stack name, for held-out rows by (stack, split), and under other centres of a prior."""

    rows: Rows
    fits: Mapping[str, Fitted]
    held: Mapping[tuple[str, str], HeldOut]
    stated: Mapping[str, Mapping[str, Stated]]
    draws: Mapping[str, Drawn]
    other_centres: Mapping[float, tuple[HeldOut, ...]]

    def engine_rows(self) -> dict[str, dict[str, Any]]:
        """The rows for engines.toml."""
        return {what.name: _engine_row(what, self) for what in STACKS}


def calibrated(rows: Rows, told: Told = lambda _: None) -> Calibration:
    """Fit and validate everything on `rows`. `told` hears of each fit (`fit_count` of them). Raises BadInput."""
    observations = rows.observations
    fits: dict[str, Fitted] = {}
    held: dict[tuple[str, str], HeldOut] = {}
    for what in STACKS:
        told(what.name)
        fits[what.name] = fit_of(what, observations)
        for split in SPLITS:
            if found := held_out(what, observations, split, told):
                held[what.name, split] = found
        if what.family_name == "serving" and (found := foreign_prefill(what, fits[what.name], observations)):
            held[what.name, "prefill"] = found
    stated = {what.name: table(held, what, tuple(fits[what.name].own)) for what in STACKS}
    draws = {what.name: _draws(what, observations, fits, held, told) for what in STACKS}
    others = under_other_centres(POOLED, observations, told)
    return Calibration(rows=rows, fits=fits, held=held, stated=stated, draws=draws, other_centres=others)


def _draws(
    what: Stack,
    observations: Sequence[Observation],
    fits: Mapping[str, Fitted],
    held: Mapping[tuple[str, str], HeldOut],
    told: Told,
) -> Drawn:
    fit = fits[what.name]
    own = {gpu: held[what.name, "model"].on(gpu) for gpu in fit.own}
    return drawn(what, observations, fit, {"": general_of(held, what), **own}, told)


def fit_count(observations: Sequence[Observation]) -> int:
    """How many times `calibrated` tells of a fit."""
    count = len(STACKS) * (1 + DRAW_COUNT)
    for what in STACKS:
        mine = [each for each in observations if what.mine(each)]
        models, gpus = {by_model(each) for each in mine}, {by_gpu(each) for each in mine}
        count += sum(len(groups) for groups in (models, gpus) if len(groups) > 1)
        if what in POOLED and PARAMETER in what.family.priors and len(gpus) > 1:
            count += len(CENTRES) * len(gpus)
        count += any(each.origin.batch_size > what.small_batch for each in mine)
    return count


def _engine_row(what: Stack, done: Calibration) -> dict[str, Any]:
    fit, stated = done.fits[what.name], done.stated[what.name]
    mine = [each for each in done.rows.observations if what.mine(each)]
    row: dict[str, Any] = {
        "version": f"fit {_digest(mine)}",
        "source": _source(what, mine),
        **_numbers(fit.general),
        **stated[""].fields(),
    }
    row["gpu"] = {gpu: {**_differences(fit.on(gpu), fit.general), **stated[gpu].fields()} for gpu in sorted(fit.own)}
    return row


def _numbers(parameters: Parameters) -> dict[str, float]:
    return {name: rounded(value) for name, value in sorted(parameters.items())}


def _differences(own: Parameters, general: Parameters) -> dict[str, float]:
    changed = {name: value for name, value in own.items() if value != general[name] and name not in LAWS}
    return _numbers(changed)


def _source(what: Stack, mine: Sequence[Observation]) -> str:
    files = sorted({each.origin.source for each in mine})
    names = sorted({SOURCES.get(file, OPTIMUM_SOURCE if file.endswith(".csv") else RECORDED_SOURCE) for file in files})
    gpus = ", ".join(sorted({each.origin.gpu for each in mine}))
    models = len({each.model.key for each in mine})
    return (
        f"{what.what}: fitted by `carbonsweep calibrate` to {len(mine)} rows of {models} models on {gpus} "
        f"({'; '.join(names)}); priors and what is not fitted: calibration_priors.toml, {what.family_name}"
    )


def _digest(mine: Sequence[Observation]) -> str:
    """Names the rows of a fit: other rows, another version."""
    text = "\n".join(repr((each.origin, each.prefill_s, each.step_s, each.whole_s, each.power_w)) for each in mine)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
