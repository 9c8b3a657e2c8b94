"""A bench that gives back outcomes known beforehand: nothing runs, nothing is metered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonsweep.bench.power.devices import Instruments
from carbonsweep.domain import Basis, BenchIdentity, Configuration, Measurement, Refusal, Workload
from carbonsweep.errors import DoesNotFit, Unsupported

NOTE: Final = "replayed: this was not run now"

Outcome = Measurement | Refusal
Outcomes = Mapping[Configuration, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """`outcomes` as a bench; `source` names what is replayed, and `basis` says what its numbers are.

    It has no instruments: the cost of a replayed trial is unknown, whatever meters this machine has.
    """

    outcomes: Outcomes
    source: str
    basis: Basis
    name: str = "replay"
    instruments: Instruments = field(
        default_factory=lambda: Instruments(probes=(), flaw="replayed: no device was touched"), repr=False
    )

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """Of the replayed source; nothing measured here has the same."""
        return BenchIdentity(
            bench=self.name,
            basis=self.basis,
            engine_version="replayed",
            weights="replayed",
            calibration=self.source,
            power_protocol="replayed",
            device=configuration.gpu,
        )

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """The known outcome; raises DoesNotFit or Unsupported where that is one, KeyError for a point outside."""
        outcome = self.outcomes[configuration]
        if isinstance(outcome, Measurement):
            return outcome
        if outcome.kind == "does-not-fit":
            raise DoesNotFit(outcome.needed_bytes, outcome.available_bytes)
        raise Unsupported(outcome.reason)
