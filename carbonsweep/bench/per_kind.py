"""Several benches behind one seam: each GPU kind has its own, so one sweep measures some and models the rest."""

from __future__ import annotations

from dataclasses import dataclass

from carbonsweep.bench import Bench
from carbonsweep.domain import BenchIdentity, Configuration, Measurement, Workload
from carbonsweep.errors import UnknownFact


@dataclass(frozen=True, slots=True, kw_only=True)
class PerKind:
    """The bench of each GPU kind; a record's identity and measurement are those of the one that made it.

    Kinds may share a bench: they still do in a worker process it was sent to.
    """

    benches: tuple[tuple[str, Bench], ...]

    @property
    def name(self) -> str:
        """The names of its benches, each once: "transformers+roofline"."""
        return "+".join(dict.fromkeys(bench.name for _, bench in self.benches))

    def of_kind(self, gpu: str) -> Bench:
        """The bench of a GPU kind. Raises UnknownFact for one that has none."""
        for kind, bench in self.benches:
            if kind == gpu:
                return bench
        raise UnknownFact(f"GPU kind of the {self.name} bench", gpu, [kind for kind, _ in self.benches])

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """That of the bench of the configuration's GPU kind. Raises as that bench, and UnknownFact."""
        return self.of_kind(configuration.gpu).identity(configuration)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """By the bench of the configuration's GPU kind. Raises as that bench, and UnknownFact."""
        return self.of_kind(configuration.gpu).measure(configuration, workload)
