"""What another centre of one prior would have changed: held-out errors under each that was weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from carbonsweep.calibration.heldout import HeldOut, held_out
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.stacks import Stack

PARAMETER: Final = "power_area_share"
CENTRES: Final = (0.25, 0.35, 0.5)
"""The centres that were compared, on these held-out errors, before one of them stayed."""


def under_other_centres(
    stacks: Sequence[Stack], observations: Sequence[Observation], told: Callable[[str], None] = lambda _: None
) -> Mapping[float, tuple[HeldOut, ...]]:
    """GPUs left out of those of `stacks` that ran on several, by centre of the prior of `PARAMETER`."""
    found = {}
    for centre in CENTRES:
        moved = [_moved(what, centre) for what in stacks if PARAMETER in what.family.priors]
        held = [held_out(what, observations, "gpu", told) for what in moved]
        found[centre] = tuple(each for each in held if each is not None)
    return found


def _moved(what: Stack, centre: float) -> Stack:
    return replace(what, instead=(replace(what.family.priors[PARAMETER], mean=centre),))
