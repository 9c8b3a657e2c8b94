"""How near a value must come to the paper's to meet a claim, and how far the whole of them may be off."""

from __future__ import annotations

from typing import Final

from carbonsweep.claims.statements import Claim

RELATIVE: Final = 0.10
"""A ratio is met within 10 %."""
NEAR_ONE: Final = (0.8, 1.25)
NEAR_ONE_ABSOLUTE: Final = 0.03
"""A ratio between these two is met within 0.03: 10 % of it could put the other GPU ahead."""
SHARE_ABSOLUTE: Final = 0.015
"""An embodied share is met within 1.5 percentage points."""
BEYOND: Final = 0.20
"""No ratio may be off by more."""


def tolerance(claim: Claim, value: float) -> float:
    """The largest absolute difference that meets `value` of `claim`; 0 for what must be exact."""
    if claim.kind == "ratio":
        return NEAR_ONE_ABSOLUTE if NEAR_ONE[0] <= value <= NEAR_ONE[1] else RELATIVE * value
    return SHARE_ABSOLUTE if claim.kind == "share" else 0.0
