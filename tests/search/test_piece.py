"""A grid in this process: nothing twice, nothing that cannot fit, nothing that would end too late."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import BenchIdentity, Configuration, Measurement, TrialRecord, Workload
from carbonsweep.errors import BenchFailed, DoesNotFit
from carbonsweep.search.piece import Piece
from tests.conftest import SHORT, TOO_BIG, configuration, measurement, record


@dataclass
class Slow:
    """A bench whose runs take as many seconds of its own clock as the batch has prompts; it stops at `too_large`."""

    too_large: int = 1000
    broken: int = 0
    now_s: float = 0.0
    ran: list[int] = field(default_factory=list)
    name: str = "slow"

    def clock(self) -> float:
        return self.now_s

    def identity(self, configuration: Configuration) -> BenchIdentity:
        return RooflineBench().identity(configuration)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        self.now_s += configuration.batch_size
        self.ran.append(configuration.batch_size)
        if configuration.batch_size == self.broken:
            raise BenchFailed("the driver went away")
        if configuration.batch_size >= self.too_large:
            raise DoesNotFit(2.0, 1.0)
        return measurement()


def grid(*sizes: int) -> list[Configuration]:
    return [configuration(batch_size=size) for size in sizes]


def run(
    bench: Slow, *sizes: int, known: list[TrialRecord] | None = None, limit_s: float | None = None
) -> tuple[dict[int, str], list[int]]:
    """What was kept (the kind of outcome by batch size), and what was left."""
    kept: dict[int, str] = {}

    def keep(record: TrialRecord) -> None:
        kept[record.configuration.batch_size] = "measured" if record.refusal is None else record.refusal.kind

    piece = Piece(bench=bench, workload=SHORT, begun_s=0.0, time_limit_s=limit_s, clock=bench.clock)
    piece.known.update({each.configuration: each for each in known or []})
    left = piece.run(grid(*sizes), starting=lambda _: None, keep=keep)
    return kept, [each.batch_size for each in left]


def test_everything_is_run_and_kept_in_order() -> None:
    bench = Slow()
    assert run(bench, 1, 2, 4) == ({1: "measured", 2: "measured", 4: "measured"}, [])
    assert bench.ran == [1, 2, 4]


def test_what_does_not_fit_spares_the_larger_batches_and_gives_them_records() -> None:
    bench = Slow(too_large=2)
    assert run(bench, 1, 2, 4, 8) == ({1: "measured", **dict.fromkeys((2, 4, 8), "does-not-fit")}, [])
    assert bench.ran == [1, 2]


def test_a_record_from_before_is_kept_again_and_not_run() -> None:
    bench = Slow()
    before = record(configuration(batch_size=2), measurement())
    assert run(bench, 1, 2, known=[before])[0] == {1: "measured", 2: "measured"}
    assert bench.ran == [1]


def test_a_record_of_a_smaller_batch_outside_the_grid_spares_a_run() -> None:
    bench = Slow()
    before = record(configuration(batch_size=8), TOO_BIG)
    assert run(bench, 4, 16, known=[before])[0] == {4: "measured", 16: "does-not-fit"}
    assert bench.ran == [4]


def test_a_failure_implies_nothing() -> None:
    bench = Slow(broken=2)
    assert run(bench, 1, 2, 4)[0] == {1: "measured", 2: "failed", 4: "measured"}


@pytest.mark.parametrize(
    ("limit_s", "ran", "left"),
    [
        # Runs take 1, 2, 4, 8 s. Before the third 3 s are gone and the longest took 2 s, before the fourth 7 s and 4 s.
        (0.5, [1], [2, 4, 8]),
        (1.9, [1], [2, 4, 8]),
        (2.0, [1, 2], [4, 8]),
        (4.9, [1, 2], [4, 8]),
        (5.0, [1, 2, 4], [8]),
        (11.0, [1, 2, 4, 8], []),
    ],
)
def test_nothing_is_started_that_would_end_after_the_limit(limit_s: float, ran: list[int], left: list[int]) -> None:
    bench = Slow()
    assert run(bench, 1, 2, 4, 8, limit_s=limit_s)[1] == left
    assert bench.ran == ran


def test_what_costs_no_time_is_settled_after_the_limit_too() -> None:
    bench = Slow(too_large=2)
    before = record(configuration(batch_size=16), measurement())
    # 1 and 2 take 3 s; 4 is implied and 16 known.
    assert run(bench, 1, 2, 4, 16, known=[before], limit_s=3.0)[1] == []
    assert bench.ran == [1, 2]


def test_pieces_of_a_grid_add_up_to_the_whole() -> None:
    known: list[TrialRecord] = []
    everything: list[int] = []
    left: list[int] = [0]
    while left:
        bench = Slow()
        kept, left = run(bench, 1, 2, 4, 8, known=known, limit_s=3.0)
        known = [record(each, measurement()) for each in grid(*kept)]
        everything += bench.ran
    assert everything == [1, 2, 4, 8]
