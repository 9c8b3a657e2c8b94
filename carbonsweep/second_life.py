"""How much of the making of a device its second life still carries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

Policy = Literal["all", "none", "left"]
POLICIES: Final[tuple[Policy, ...]] = ("all", "none", "left")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondLife:
    """What the work of one kind of device is charged for its making, where the device is not new.

    `all`: everything, as if it were new. `none`: nothing, the making is sunk in the first life. `left`: what a linear
    write-off over `first_lifetime_s` has not yet written off at `age_s` (the age when this life begins):

        share = max(0, 1 - age / first lifetime)

    That share is carried over the scenario's lifetime, which is then how long the device serves from now on. The first
    lifetime is history: it does not grow with the years the device is given now. A device that only serves its first
    lifetime to the end is `all`, since a linear write-off charges every year of it alike.
    """

    device: str
    policy: Policy
    age_s: float | None = None
    first_lifetime_s: float | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"second-life policy is {self.policy!r}: valid are {', '.join(POLICIES)}")
        if self.policy != "left":
            if self.age_s is not None or self.first_lifetime_s is not None:
                raise ValueError(f"second-life policy {self.policy!r} asks for no age and no first lifetime")
            return
        if self.age_s is None or not 0 <= self.age_s < math.inf:
            raise ValueError(f"age_s is {self.age_s}: what is left depends on an age, finite and not negative")
        if self.first_lifetime_s is None or not 0 < self.first_lifetime_s < math.inf:
            raise ValueError(f"first_lifetime_s is {self.first_lifetime_s}: it must be a finite number above 0")

    @property
    def share(self) -> float:
        """Share of the embodied carbon this life carries, from 0 to 1."""
        if self.policy == "all":
            return 1.0
        if self.age_s is None or self.first_lifetime_s is None:
            return 0.0
        return max(0.0, 1 - self.age_s / self.first_lifetime_s)
