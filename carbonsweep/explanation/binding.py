"""What holds the best back: each limit with its slack and who would be best without it, and memory."""

from __future__ import annotations

from dataclasses import dataclass

from carbonsweep.answer import Answer, Candidate, lacking_bytes
from carbonsweep.domain import TrialRecord
from carbonsweep.explanation.choices import neighbours
from carbonsweep.explanation.sensitivity import relative
from carbonsweep.search.noise import Interval
from carbonsweep.ties import limits_in_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit that is set: the best's distance below it relative to it, and the best with this one limit lifted.

    `saving` is relative to the best's objective, above 0 where the limit binds, None where that is 0. `noise` is the
    interval of the best's latency where the limit lies in it.
    """

    name: str
    limit_s: float
    value_s: float
    slack: float
    without: Candidate
    saving: float | None
    binds: bool
    noise: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The next larger batch size of the best, refused because it does not fit; `lacking_bytes` on each device.

    `last_step` is how the objective changed over the step before, from the next smaller batch size to the best's; what
    the refused one would give is unknown, since it does not run.
    """

    refused: TrialRecord
    lacking_bytes: float | None
    smaller_batch: int | None
    last_step: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Everything that holds the best back; `saving` is that of lifting every limit at once, for `without_limits`."""

    limits: tuple[Limit, ...]
    without_limits: Candidate
    saving: float | None
    memory: Memory | None

    @property
    def binding_limits(self) -> tuple[Limit, ...]:
        """Limits that cost something each by itself, the costliest first."""
        return tuple(sorted((limit for limit in self.limits if limit.binds), key=lambda limit: -(limit.saving or 0)))

    @property
    def bind_together(self) -> bool:
        """Whether only lifting several limits at once would change the best."""
        return not self.binding_limits and bool(self.saving)


def binding(found: Answer) -> Binding | None:
    """None where the answer has no best."""
    best = found.best
    if best is None:
        return None
    noise = limits_in_noise(found)
    limits = tuple(
        _limit(found, best, name, limit, noise.get(name)) for name, limit in found.question.slo.limits().items()
    )
    free = _best([*found.feasible, *found.infeasible])
    return Binding(limits=limits, without_limits=free, saving=saving(best, free), memory=_memory(found, best))


def saving(best: Candidate, other: Candidate) -> float | None:
    """What `other` saves of the best's first objective, relative to it (of throughput: gains); None where that is 0."""
    change = relative(other.losses[0], best.losses[0])
    return None if change is None else 0.0 - change


def _limit(found: Answer, best: Candidate, name: str, limit_s: float, noise: Interval | None) -> Limit:
    others = [n for n in found.question.slo.limits() if n != name]
    without = _best([*found.feasible, *(c for c in found.infeasible if all(c.excess[n] <= 0 for n in others))])
    return Limit(
        name=name,
        limit_s=limit_s,
        value_s=getattr(best.measurement, name),
        slack=-best.excess[name],
        without=without,
        saving=saving(best, without),
        binds=without.losses[0] < best.losses[0],
        noise=noise,
    )


def _best(candidates: list[Candidate]) -> Candidate:
    """By the first objective; of equals the first, so a feasible one stays."""
    return min(candidates, key=lambda c: c.losses[0])


def _memory(found: Answer, best: Candidate) -> Memory | None:
    smaller, larger = neighbours(found, best)
    record = next((r for r in found.refused if r.configuration == larger), None)
    if record is None or record.refusal is None or record.refusal.kind != "does-not-fit":
        return None
    before = next((c for c in (*found.feasible, *found.infeasible) if c.record.configuration == smaller), None)
    return Memory(
        refused=record,
        lacking_bytes=lacking_bytes(record),
        smaller_batch=None if before is None else before.record.configuration.batch_size,
        last_step=None if before is None else relative(best.values[0], before.values[0]),
    )
