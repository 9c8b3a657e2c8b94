"""The calibration's errors as a page of tables, and the list of rows it used."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.alternatives import LAWS, alternative
from carbonsweep.calibration.cases import QUANTITIES, Cases, Values, cases
from carbonsweep.calibration.heldout import HeldOut, joined, mape
from carbonsweep.calibration.observations import Exclusion, Observation, Rows
from carbonsweep.calibration.other_centres import PARAMETER
from carbonsweep.calibration.priors import Prior
from carbonsweep.calibration.ranking import Picks, picks
from carbonsweep.calibration.stacks import STACKS
from carbonsweep.calibration.whole import POOLED, Calibration
from carbonsweep.shares import percent
from carbonsweep.tables import markdown_table

HEADINGS: Final = ("prefill time", "time per output token", "power", "J/token")
TARGETS: Final[Mapping[str, Mapping[str, float]]] = {
    "model": {"prefill_s": 0.12, "tpot_s": 0.12, "power_w": 0.08, "energy_per_token_j": 0.15},
    "gpu": {"prefill_s": 0.20, "tpot_s": 0.20, "power_w": 0.15, "energy_per_token_j": 0.25},
}
EDGE: Final = 1.96

INTRODUCTION: Final = """# Errors of the device model, out of sample

Written by `carbonsweep calibrate`. Every number compares a modelled value with a measured one of a row that the fit had
not seen; mean absolute percentage error, in brackets the mean error (bias; below 0: the model says too little), and the
number of rows. Models whose blocks have one shape leave together, whatever their weights, vocabulary or library; so do
boards that carry one die (H100 and GH200). A row of TensorRT-LLM, vLLM or DeepSpeed-MII is a whole run: its time per
output token is the run's seconds over its output tokens. Power and J/token of the T4 are those of decode, all others
those of whole runs: where only whole runs were measured, a phase is stated to be known no better than the whole
(`facts/engines.toml`). No source has power of prefill alone, none has power on the A100-80, and none times a prefill
under a serving stack.

How the forms were chosen: the equations, and which parameters are free, were settled with all rows in view, so the
split protects the values and not the forms. Compute efficiency grows with the joules a board has for each operation; a
share of the power floors is watts per die area, the rest a share of TDP. The priors of that exponent and share, and of
what grouped heads cost, lie half-way between their limits. Tried and given up: compute efficiency by peak over
bandwidth (prefill on a left-out GPU 10.6 % off, less than below, but it tells two boards of one chip apart that differ
in memory alone), and floors that fall with a power of TDP over die area (power on a left-out GPU 9.6 % off). Both were
tried while boards of one die still left one by one. Prior means are what is published about the hardware, not found by
a search over these rows; whoever wrote them knew the rows. That few rows may run on the CUDA cores, at half of their
rate, is fitted to nothing: no board here is slow enough at tensor products to tell, and without it those that are
(P100, V100) came out up to five times too slow.
"""


def error_page(done: Calibration) -> str:
    """Everything about the errors, as Markdown."""
    parts = [
        INTRODUCTION,
        verdicts(done),
        "## A model that was left out, on a GPU that was calibrated\n\n" + _split(done, "model"),
        "## A GPU that was left out: predicted from its data sheet\n\n" + _split(done, "gpu"),
        "## Large batches that were left out\n\nThe fit saw batches up to "
        + ", ".join(f"{what.small_batch} ({what.name})" for what in STACKS)
        + ".\n\n"
        + _split(done, "batch"),
        "## Prefill of serving stacks\n\n" + _prefill(done),
        "## The usual alternatives on the same rows\n\n" + _alternatives(done),
        "## Which of two GPUs needs less energy\n\n" + _ranking(done),
        "## Fitted values and their priors\n\n" + _parameters(done),
        "## Another centre of a prior\n\n" + _other_centres(done),
        "## Rows\n\n" + _rows(done.rows),
    ]
    return "\n".join(parts)


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its last line break."""
    return markdown_table(header, body) + "\n"


def cell(errors: Array) -> str:
    """ "7.2 % (+1.5), 167", or a dash where nothing was measured."""
    if not len(errors):
        return "–"
    return f"{percent(mape(errors), 1)} ({100 * float(np.mean(errors)):+.1f}), {len(errors)}"


def _pooled(done: Calibration, split: str) -> list[HeldOut]:
    return [done.held[what.name, split] for what in POOLED if (what.name, split) in done.held]


def verdicts(done: Calibration) -> str:
    """What was asked of the errors, and what was found."""
    body = []
    for split, says in (("model", "new model, calibrated GPU"), ("gpu", "GPU never calibrated")):
        parts = _pooled(done, split)
        for quantity, heading in zip(QUANTITIES, HEADINGS, strict=True):
            target, errors = TARGETS[split][quantity], joined(parts, quantity)
            met = "met" if mape(errors) <= target else "missed"
            over = _beyond(parts, quantity, target)
            body.append([says, heading, f"{100 * target:.0f} %", cell(errors), met, over or "none"])
    header = ["split", "quantity", "target", "pooled", "verdict", "engines beyond the target by themselves"]
    return "## Targets\n\n" + table(header, body)


def _beyond(parts: Sequence[HeldOut], quantity: str, target: float) -> str:
    found = []
    for part in parts:
        gpus = part.rows.gpus
        alone = [(gpu, part.on(gpu).errors(quantity)) for gpu in gpus]
        together = [("on all its GPUs", part.errors(quantity))] if len(gpus) > 1 else []
        found += [
            f"{part.stack.name} {where} {percent(mape(errors), 1)}"
            for where, errors in (*together, *alone)
            if len(errors) and mape(errors) > target
        ]
    return ", ".join(found)


def _split(done: Calibration, split: str) -> str:
    body = []
    for what in STACKS:
        if found := done.held.get((what.name, split)):
            body += [[what.name, gpu, *_cells(found.on(gpu))] for gpu in found.rows.gpus]
            if len(found.rows.gpus) > 1:
                body.append([what.name, "all", *_cells(found)])
    parts = _pooled(done, split)
    body.append(["**all but healthy**", "**all**", *(f"**{cell(joined(parts, each))}**" for each in QUANTITIES)])
    return table(["engine", "GPU", *HEADINGS], body)


def _prefill(done: Calibration) -> str:
    body = []
    for what in STACKS:
        if found := done.held.get((what.name, "prefill")):
            body += [[what.name, gpu, cell(found.on(gpu).errors("prefill_s"))] for gpu in found.rows.gpus]
    note = (
        "No source times it. The general rows of the serving stacks against what transformers needed for models of 4 "
        "billion parameters and more, on GPUs none of them was fitted to: another engine, so a serving stack should "
        "need no more.\n\n"
    )
    return note + table(["engine", "GPU", "prefill time"], body)


def _cells(found: HeldOut) -> list[str]:
    return [cell(found.errors(each)) for each in QUANTITIES]


def _relative(rows: Cases, model: Values, quantity: str) -> Array:
    measured = rows.measured[quantity]
    known = np.isfinite(measured)
    return np.asarray(model[quantity][known] / measured[known] - 1, dtype=float)


def _alternatives(done: Calibration) -> str:
    body = []
    for split, says in (("model", "device model, model left out"), ("gpu", "device model, GPU left out")):
        body.append([says, "all", *(cell(joined(_pooled(done, split), each)) for each in QUANTITIES)])
    rows = cases(done.rows.observations)
    left = cases([each for part in _pooled(done, "gpu") for each in part.rows.observations])
    for name, law in LAWS.items():
        body.append([name, "all", *(cell(_relative(rows, alternative(rows, law), each)) for each in QUANTITIES)])
        body.append(
            [
                f"{name}, rows of GPU left out",
                "all",
                *(cell(_relative(left, alternative(left, law), q)) for q in QUANTITIES),
            ]
        )
    for gpu in rows.gpus:
        mine = rows.where(lambda each, gpu=gpu: each.origin.gpu == gpu)  # type: ignore[misc]
        parts = [part.on(gpu) for part in _pooled(done, "model") if gpu in part.rows.gpus]
        body.append(["device model, model left out", gpu, *(cell(joined(parts, each)) for each in QUANTITIES)])
        for name, law in LAWS.items():
            body.append([name, gpu, *(cell(_relative(mine, alternative(mine, law), each)) for each in QUANTITIES)])
    note = "No parameter of these is fitted; their time is the larger of work over peak and bytes over bandwidth."
    return note + "\n\n" + table(["model", "GPU", *HEADINGS], body)


def _ranking(done: Calibration) -> str:
    parts = _pooled(done, "gpu")
    kinds: dict[str, Callable[[HeldOut], Array]] = {
        "device model, GPU left out": lambda part: part.modelled["energy_per_token_j"],
        **{
            name: lambda part, law=law: alternative(part.rows, law)["energy_per_token_j"]  # type: ignore[misc]
            for name, law in LAWS.items()
        },
    }
    body = []
    for name, energy in kinds.items():
        found = sum((picks(part.rows, energy(part)) for part in parts), Picks(0, 0))
        body.append([name, f"{found.right} of {found.pairs}", f"{100 * found.right / max(found.pairs, 1):.0f} %"])
    note = (
        "Pairs of rows of one engine, model, attention, batch and lengths on two GPUs whose measured J/token differ by "
        "more than 15 %. Where one board wins all, a pick is easy: see what the alternatives get. Rows of the T4 count "
        "decode alone, those of the A10G the whole run.\n\n"
    )
    return note + table(["model", "right", "share"], body)


def _parameters(done: Calibration) -> str:
    body = []
    for what in STACKS:
        fit = done.fits[what.name]
        for name, prior in what.family.priors.items():
            value = fit.general[name] / (done.fits[what.base].general[name] if _multiplies(prior) and what.base else 1)
            near = (
                f"at the edge ({fit.scores[name]:+.1f})" if abs(fit.scores[name]) > EDGE else f"{fit.scores[name]:+.1f}"
            )
            body.append([what.name, name, f"{value:.3g}", f"{prior.low:.3g} to {prior.high:.3g}", prior.unit, near])
    header = ["engine", "parameter (general row)", "fitted", "prior, central 95 %", "unit", "prior's standard score"]
    return table(header, body)


def _other_centres(done: Calibration) -> str:
    body = [
        [f"{centre:g}", *(cell(joined(parts, each)) for each in QUANTITIES)]
        for centre, parts in done.other_centres.items()
    ]
    centre = next(iter(POOLED)).family.priors[PARAMETER].mean
    note = (
        f"Centres of the prior of `{PARAMETER}` were compared on the errors of GPUs left out, of the same rows, before "
        f"{centre:g} stayed as the one half-way between its limits. So these rows were not quite unseen: what "
        "the choice is worth is what the lines differ by.\n\n"
    )
    return note + table(["centre", *HEADINGS], body)


def _multiplies(prior: Prior) -> bool:
    return prior.unit == "of the transformers row"


def _rows(rows: Rows) -> str:
    used, out = len(rows.observations), len(rows.exclusions)
    reasons = Counter(each.reason for each in rows.exclusions)
    lines = [
        f"{used} rows are used, {out} ({percent(rows.excluded_share, 1)}) left out; `calibration_rows.csv` has each.",
        "",
    ]
    lines += [f"- {count}: {reason}" for reason, count in reasons.items()]
    return "\n".join(lines) + "\n"


def row_list(rows: Rows) -> str:
    """Every row, used or not, as CSV: what it is a run of, and why it was left out; no measurement of the source."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["file", "line", "gpu", "engine", "checkpoint", "attention", "batch_size"]
    writer.writerow([*columns, "prompt_tokens", "output_tokens", "model", "used", "reason"])
    for each in sorted(_all(rows), key=lambda each: (each.origin.source, each.origin.line)):
        o = each.origin
        what = (
            o.source,
            o.line,
            o.gpu,
            o.engine,
            o.checkpoint,
            o.attention,
            o.batch_size,
            o.prompt_tokens,
            o.output_tokens,
        )
        if isinstance(each, Observation):
            writer.writerow([*what, each.model.key, "yes", ""])
        else:
            writer.writerow([*what, "", "no", each.reason])
    return text.getvalue()


def _all(rows: Rows) -> Iterator[Observation | Exclusion]:
    yield from rows.observations
    yield from rows.exclusions
