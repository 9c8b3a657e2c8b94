"""One measured run of somebody's, as the fit sees it; and a row that is left out, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from carbonsweep.facts.reference import ReferenceModel

PowerSpan = Literal["decode", "whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a row stands: the file, its line (the header is 1), and what it is a run of."""

    source: str
    line: int
    gpu: str
    engine: str
    checkpoint: str
    attention: str
    batch_size: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A static batch of `origin.batch_size` prompts of one length; what the source does not state is None.

    `step_s` is one decode step, `whole_s` prefill and all steps; `power_w` is the board's mean over decode, or over the
    whole run, as `power_span` says.
    """

    origin: Origin
    model: ReferenceModel
    prefill_s: float | None = None
    step_s: float | None = None
    whole_s: float | None = None
    power_w: float | None = None
    power_span: PowerSpan = "whole"

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token: of decode, or of the whole run where phases were not told apart."""
        return self.step_s if self.whole_s is None else self.whole_s / self.origin.output_tokens

    @property
    def energy_per_token_j(self) -> float | None:
        """Joules per output token over what `power_w` covers."""
        if self.power_w is None or (seconds := self._seconds_per_token) is None:
            return None
        return self.power_w * seconds / self.origin.batch_size

    @property
    def _seconds_per_token(self) -> float | None:
        if self.whole_s is not None or self.power_span == "decode":
            return self.tpot_s
        if self.prefill_s is None or self.step_s is None:
            return None
        tokens = self.origin.output_tokens
        return (self.prefill_s + (tokens - 1) * self.step_s) / tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A row that no fit and no error counts."""

    origin: Origin
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Everything that was read: each row is in one of the two."""

    observations: tuple[Observation, ...]
    exclusions: tuple[Exclusion, ...]

    @property
    def excluded_share(self) -> float:
        """Share of all rows that were left out."""
        return len(self.exclusions) / (len(self.exclusions) + len(self.observations))

    def __add__(self, other: Rows) -> Rows:
        return Rows(observations=self.observations + other.observations, exclusions=self.exclusions + other.exclusions)
