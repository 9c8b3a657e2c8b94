"""How long a server may keep us waiting."""

from __future__ import annotations

from dataclasses import dataclass

from carbonsweep.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds to wait for a connection, for the first token, and from one chunk to the next. Raises BadInput."""

    connect_s: float = 10.0
    first_token_s: float = 300.0
    stall_s: float = 60.0

    def __post_init__(self) -> None:
        if not all(0 < each_s < 1e6 for each_s in (self.connect_s, self.first_token_s, self.stall_s)):
            raise BadInput(
                f"timeouts {self.connect_s:g}, {self.first_token_s:g}, {self.stall_s:g} s: all must be above 0"
            )
