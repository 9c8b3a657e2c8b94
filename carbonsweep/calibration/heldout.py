"""Errors on rows that the fit has not seen: a model left out, a GPU left out, large batches left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import QUANTITIES, Cases, Values, cases
from carbonsweep.calibration.fit import Fitted
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.stacks import TRANSFORMERS, Stack, by_gpu, by_model, fit_of, modelled

Split = Literal["model", "gpu", "batch", "prefill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One stack under one split: the rows that were held out, and what fits without them say of them."""

    stack: Stack
    split: Split
    rows: Cases
    modelled: Values

    def errors(self, quantity: str) -> Array:
        """Modelled over measured, less 1, of the rows where `quantity` was measured."""
        measured = self.rows.measured[quantity]
        known = np.isfinite(measured)
        return np.asarray(self.modelled[quantity][known] / measured[known] - 1, dtype=float)

    def on(self, gpu: str) -> HeldOut:
        """The same for the rows of one GPU."""
        mine = np.array([each.origin.gpu == gpu for each in self.rows.observations], dtype=bool)
        return HeldOut(
            stack=self.stack,
            split=self.split,
            rows=self.rows.where(lambda each: each.origin.gpu == gpu),
            modelled={name: values[mine] for name, values in self.modelled.items()},
        )


def held_out(
    what: Stack, observations: Sequence[Observation], split: Split, told: Callable[[str], None] = lambda _: None
) -> HeldOut | None:
    """`what` under `split`; None where there is nothing to hold out (one GPU only, or one model).

    `told` hears of every fit before it is made.
    """
    mine = [each for each in observations if what.mine(each)]
    held: list[tuple[Observation, ...]] = []
    found: list[Values] = []
    for name, left_out in _groups(what, mine, split):
        told(f"{what.name}, without {name}")
        training = [each for each in observations if not left_out(each)]
        testing = [each for each in mine if left_out(each)]
        rows = cases(testing)
        held.append(rows.observations)
        found.append(modelled(fit_of(what, training), rows))
    if not held:
        return None
    together = cases([each for group in held for each in group])
    return HeldOut(
        stack=what,
        split=split,
        rows=together,
        modelled={name: np.concatenate([each[name] for each in found]) for name in QUANTITIES},
    )


LARGE_PARAMETERS: Final = 4e9
"""From this size on the prefill of one prompt keeps a GPU of these rows busy, whatever launches it."""


def foreign_prefill(what: Stack, fit: Fitted, observations: Sequence[Observation]) -> HeldOut | None:
    """What a serving stack's general row says of prefills under transformers, of models large enough to be GPU-bound.

    No source times a prefill under a serving stack. These rows are another engine's, on GPUs the stack never saw: the
    nearest there is to a test. None where there are none.
    """
    large = [each for each in observations if TRANSFORMERS.mine(each) and each.model.parameters >= LARGE_PARAMETERS]
    if not large:
        return None
    rows = cases(large)
    said = modelled(Fitted(general=fit.general, own={}, scores={}), rows)
    return HeldOut(stack=what, split="prefill", rows=rows, modelled=said)


def _groups(
    what: Stack, mine: Sequence[Observation], split: Split
) -> Iterator[tuple[str, Callable[[Observation], bool]]]:
    if split == "batch":
        large = [each for each in mine if each.origin.batch_size > what.small_batch]
        if large:
            yield f"batches above {what.small_batch}", lambda each: each.origin.batch_size > what.small_batch
        return
    of = by_model if split == "model" else by_gpu
    names = sorted({of(each) for each in mine})
    if len(names) > 1:
        for name in names:
            yield name, lambda each, name=name: of(each) == name  # type: ignore[misc]


def joined(parts: Sequence[HeldOut], quantity: str) -> Array:
    """The errors of several stacks in one array."""
    return np.concatenate([part.errors(quantity) for part in parts]) if parts else np.array([])


def mape(errors: Array) -> float:
    """Mean absolute relative error, a share."""
    return float(np.mean(np.abs(errors)))


def half_width(errors: Array) -> float:
    """The relative half-width about the modelled value that holds 95 % of what was measured."""
    off = np.abs(1 / (1 + errors) - 1)
    return float(np.quantile(off, 0.95, method="higher"))


def spread(errors: Array) -> float:
    """Root mean square of the logarithmic error."""
    return float(np.sqrt(np.mean(np.log1p(errors) ** 2)))
