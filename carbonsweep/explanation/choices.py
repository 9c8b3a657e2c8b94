"""Sensitivity to the choices: the best's neighbours in batch size, and the best with another GPU kind, model, dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from carbonsweep.answer import Answer, Candidate, lacking_bytes
from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.explanation.sensitivity import Sensitivity, Setting, relative
from carbonsweep.search.objectives import LIMIT_NAMES, worst_excess
from carbonsweep.shares import signed_percent
from carbonsweep.swaps import short
from carbonsweep.trial import NOT_RUN
from carbonsweep.units import BYTES_PER_GB

AXES: Final = {"gpu": "GPU", "model": "model", "gpu_count": "GPUs per replica", "dtype": "dtype", "engine": "engine"}
"""Fields of a configuration that are compared by the best with each other value, as a reader says them."""
_BATCH: Final = "batch_size"


def choice_sensitivities(found: Answer) -> tuple[Sensitivity, ...]:
    """Of an answer with a best: batch size, then each axis on which the records hold more than one value."""
    best = found.best
    if best is None:
        return ()
    axes = [(field, label, _other_values(found, best, field)) for field, label in AXES.items()]
    return (_batch(found, best), *(_axis(found, best, field, label, others) for field, label, others in axes if others))


def neighbours(found: Answer, best: Candidate) -> tuple[Configuration | None, Configuration | None]:
    """The best's configuration at the next smaller and the next larger batch size of the records, if there is one."""
    own = best.record.configuration
    sizes = {
        each.batch_size: each
        for each in _configurations(found)
        if _same(each, own, *(f for f in _FIELDS if f != _BATCH))
    }
    smaller = max((size for size in sizes if size < own.batch_size), default=None)
    larger = min((size for size in sizes if size > own.batch_size), default=None)
    return (None if smaller is None else sizes[smaller]), (None if larger is None else sizes[larger])


def refused_reason(record: TrialRecord) -> str:
    """Why a configuration gave no result, in few words."""
    if record.refusal is None:
        return "unknown"
    if lacking_bytes(record) is not None:
        return f"does not fit: {lacking_words(record)}"
    return f"{record.refusal.kind}: {record.refusal.reason}"


def lacking_words(record: TrialRecord) -> str:
    """How much memory it lacks; at least, where a smaller batch that does not fit stands for it."""
    lacking = lacking_bytes(record)
    if lacking is None:
        return "by how much is unknown"
    least = "at least " if record.cost == NOT_RUN else ""
    return f"lacks {least}{lacking / BYTES_PER_GB:.4g} GB a device"


_FIELDS: Final = (*AXES, _BATCH)


def _batch(found: Answer, best: Candidate) -> Sensitivity:
    own = best.record.configuration
    settings = [
        _setting(found, best, f"batch {each.batch_size}", lambda other, each=each: other == each)  # type: ignore[misc]
        for each in neighbours(found, best)
        if each is not None
    ]
    here = f"batch {own.batch_size}"
    unknown = None if settings else "no other batch size is among the records"
    return Sensitivity(factor="batch size", kind="choice", here=here, settings=tuple(settings), unknown=unknown)


def _axis(found: Answer, best: Candidate, field: str, label: str, others: Sequence[object]) -> Sensitivity:
    """The best with each other value of a field; the model stays, since another one is a choice of its own."""
    own = best.record.configuration
    fixed = () if field == "model" else ("model",)

    def chosen(value: object) -> Callable[[Configuration], bool]:
        return lambda each: getattr(each, field) == value and _same(each, own, *fixed)

    settings = tuple(_setting(found, best, str(value), chosen(value)) for value in others)
    return Sensitivity(factor=label, kind="choice", here=str(getattr(own, field)), settings=settings)


def _setting(found: Answer, best: Candidate, label: str, belongs: Callable[[Configuration], bool]) -> Setting:
    """The best of those that belong: feasible if one is, else the closest to the limits, else the closest to fit."""
    feasible = next((c for c in found.feasible if belongs(c.record.configuration)), None)
    missing = [c for c in found.infeasible if belongs(c.record.configuration)]
    chosen = feasible or min(missing, key=lambda c: worst_excess(c.excess), default=None)
    if chosen is None:
        refused = [record for record in found.refused if belongs(record.configuration)]
        nearest = min(refused, key=lambda r: (_lacking(r), r.configuration))
        return Setting(
            label=label,
            value=None,
            change=None,
            configuration=nearest.configuration,
            is_feasible=False,
            note=refused_reason(nearest),
        )
    misses = ", ".join(
        f"{LIMIT_NAMES[name]} {signed_percent(excess)}" for name, excess in chosen.excess.items() if excess > 0
    )
    configuration = chosen.record.configuration
    return Setting(
        label=_named(label, configuration, best),
        value=chosen.values[0],
        change=relative(chosen.values[0], best.values[0]),
        configuration=configuration,
        is_feasible=chosen.is_feasible,
        note=f"over a limit: {misses}" if misses else "",
    )


def _named(label: str, configuration: Configuration, best: Candidate) -> str:
    """The value and, where more than the batch size follows from it, the configuration that was chosen with it."""
    shown = short(configuration, best.record.configuration)
    if label.startswith("batch "):
        return label
    return shown if label in shown else f"{label}: {shown}"


def _lacking(record: TrialRecord) -> float:
    """For sorting: unknown comes last."""
    lacking = lacking_bytes(record)
    return float("inf") if lacking is None else lacking


def _other_values(found: Answer, best: Candidate, field: str) -> list[object]:
    """Values of a field that the records hold beside the best's, at the best's model unless it is the model."""
    own = best.record.configuration
    fixed = () if field == "model" else ("model",)
    values = {getattr(each, field) for each in _configurations(found) if _same(each, own, *fixed)}
    return sorted(values - {getattr(own, field)})


def _configurations(found: Answer) -> list[Configuration]:
    """Of every record that has a value, misses a limit, or was refused for good: a failure says nothing of its own."""
    refused = [r for r in found.refused if r.refusal is not None and r.refusal.kind != "failed"]
    records = [*(c.record for c in (*found.feasible, *found.infeasible)), *refused]
    return [record.configuration for record in records]


def _same(one: Configuration, other: Configuration, *names: str) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)
