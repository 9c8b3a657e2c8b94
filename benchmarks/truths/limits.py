"""How the limits of a truth are set: by quartiles of its own rows, before any search has seen it.

Every limit of one truth is the same quartile of its quantity, over the configurations that have one. The loosest of the
three quartiles is taken at which the limits bind: without any single one of them the optimum would be another.
Where at no quartile every limit binds, the loosest is taken at which they bind together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

QUARTILES: Final = (0.75, 0.5, 0.25)


def limits_at(quantities: Mapping[str, Array], quantile: float) -> dict[str, float]:
    """Each limit, in the unit of its quantity; NaN marks a configuration that has no value."""
    return {name: float(np.nanquantile(values, quantile)) for name, values in quantities.items()}


def binding_quartile(losses: Array, quantities: Mapping[str, Array]) -> float:
    """The loosest quartile at which the limits bind; `losses` of shape (configurations,), less is better.

    Raises ValueError where the optimum keeps to every quartile by itself: then no limit means anything.
    """
    for together in (False, True):
        for quantile in QUARTILES:
            if _binds(losses, quantities, limits_at(quantities, quantile), together):
                return quantile
    raise ValueError(f"no quartile of {', '.join(quantities)} binds")


def _binds(losses: Array, quantities: Mapping[str, Array], limits: Mapping[str, float], together: bool) -> bool:
    within = {name: values <= limits[name] for name, values in quantities.items()}
    if not np.all(list(within.values()), axis=0).any():
        return False
    dropped = [set(within)] if together else [{name} for name in within]
    return all(_best(losses, within, without) != _best(losses, within, set()) for without in dropped)


def _best(losses: Array, within: Mapping[str, NDArray[np.bool_]], without: set[str]) -> int:
    kept = np.isfinite(losses)
    for name, inside in within.items():
        if name not in without:
            kept &= inside
    return int(np.argmin(np.where(kept, losses, np.inf)))
