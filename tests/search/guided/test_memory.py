"""The memory boundary moves with one refusal, is certain where batch sizes imply it, and draws stay between bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonsweep.domain import Configuration, Refusal, TrialRecord
from carbonsweep.search.guided.belief import Candidates
from carbonsweep.search.guided.memory import Memory, _between, memory
from tests.conftest import SHORT, measurement, record
from tests.search.guided.worlds import World, asking, by_size, configurations

BATCHES = (1, 2, 4, 8, 16)
ALL = configurations(gpus=("T4", "H100"), batches=BATCHES)


def share_of(c: Configuration) -> float:
    """Half of the memory at batch 1, 1.5 times at 16."""
    return 0.4 + c.batch_size / 14.5


WORLD = World(configurations=ALL, seconds=by_size, memory=share_of)


def learned(*records: TrialRecord, memory_off: float = 1.0) -> tuple[Candidates, Memory]:
    of = Candidates(ALL, SHORT, asking(), WORLD.guidance(memory_off=memory_off))
    return of, memory(of.rows, of.group, of.guidance, {of.index[r.configuration]: r for r in records})


def chances(*records: TrialRecord, memory_off: float = 1.0) -> dict[Configuration, float]:
    of, known = learned(*records, memory_off=memory_off)
    drawn = known.fits(np.arange(len(ALL)), 500, np.random.default_rng(0)).mean(axis=0)
    return dict(zip(of.configurations, drawn.tolist(), strict=True))


def refused(index: int, needed: float | None = None) -> TrialRecord:
    available = None if needed is None else 1e10
    return record(
        ALL[index], Refusal(kind="does-not-fit", reason="made up", needed_bytes=needed, available_bytes=available)
    )


def test_before_any_trial_the_device_model_decides_as_far_as_it_knows() -> None:
    # Log of needed over available: -0.76 at batch 1, 0.41 at 16; the stated error of 25 % is 0.11.
    found = chances()
    assert found[ALL[0]] == 1.0
    assert found[ALL[4]] < 0.01


def test_what_is_refused_at_one_batch_size_is_refused_at_every_larger_one_and_what_fits_fits_at_every_smaller() -> None:
    found = chances(refused(2), WORLD.record(ALL[1]))
    assert [found[c] for c in ALL[:5]] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("order", [(1, 3), (3, 1)])
def test_of_two_refusals_the_smaller_batch_tells_of_what_lies_between(order: tuple[int, int]) -> None:
    roomy = replace(WORLD, memory=lambda _: 0.2)
    of = Candidates(ALL, SHORT, asking(), roomy.guidance())
    assert memory(of.rows, of.group, of.guidance, {i: refused(i) for i in order}).known[:5].tolist() == [
        0,
        -1,
        -1,
        -1,
        -1,
    ]


def test_a_refusal_is_certain_of_larger_batches_whatever_the_device_model_says_of_them() -> None:
    # It says 0.6 of what there is at every batch size: without the implication, some would fit.
    flat = replace(WORLD, memory=lambda _: 0.6)
    of = Candidates(ALL, SHORT, asking(), flat.guidance())
    refusal = memory(of.rows, of.group, of.guidance, {1: refused(1)})
    assert refusal.known[:5].tolist() == [0, -1, -1, -1, -1]
    assert not refusal.fits(np.arange(1, 5), 500, np.random.default_rng(0)).any()


def test_one_refusal_moves_the_boundary_of_the_other_model_on_the_same_gpu() -> None:
    # Batch 8 needs 0.95 of what there is: it fits more often than not, until batch 4 of another model did not.
    other = ALL.index(replace(ALL[3], model="LLaMA-7B"))
    assert chances()[ALL[other]] > 0.6
    assert chances(refused(2))[ALL[other]] < 0.3


def test_what_was_asked_tells_more_than_that_it_did_not_fit() -> None:
    # The guide says 0.75 of batch 16 and 0.48 of batch 8. That 16 does not fit moves it by ln(1 / 0.75) = 0.29; that it
    # asked for 1.7 times what there is by 0.82, and batch 8 fits only if it moves by less than ln(1 / 0.48) = 0.74.
    silent, telling = refused(4), refused(4, needed=1.7e10)
    assert chances(silent, memory_off=0.5)[ALL[3]] > 0.9
    assert chances(telling, memory_off=0.5)[ALL[3]] < 0.5


def test_a_measured_peak_tells_more_than_that_it_fitted() -> None:
    # Guided to half of the truth, as above: batch 8 fitted, with a peak of 0.95 of what there is; 16 then cannot fit.
    peak = measurement(gpu="T4", batch_size=8, peak_memory_bytes=0.95e10)
    fitted = replace(peak, peak_memory_bytes=None)
    assert chances(record(ALL[3], fitted), memory_off=0.5)[ALL[4]] > 0.9
    assert chances(record(ALL[3], peak), memory_off=0.5)[ALL[4]] < 0.2


def test_a_peak_far_below_what_was_guided_moves_the_boundary_up() -> None:
    # Guided to 1.4 of the truth: 0.95 of what there is at batch 8 and 2.1 at 16 (true: 0.68, 1.5); measured at 8: 0.4.
    peak = measurement(gpu="T4", batch_size=8, peak_memory_bytes=0.4e10)
    fitted = replace(peak, peak_memory_bytes=None)
    near = {"memory_off": 0.8}  # guided: 0.76 at batch 8, 1.2 at batch 16
    assert chances(record(ALL[3], fitted), **near)[ALL[4]] < 0.1
    assert chances(record(ALL[3], peak), **near)[ALL[4]] > 0.9


def test_chances_by_themselves_agree_with_joint_draws() -> None:
    _, known = learned(refused(3), WORLD.record(ALL[1]))
    where = np.arange(len(ALL))
    joint = known.fits(where, 4000, np.random.default_rng(1)).mean(axis=0)
    alone = known.chances(where, np.random.default_rng(2))
    assert np.abs(joint - alone).max() < 0.12  # the mean of a truncated normal stands for its shape


def test_draws_between_bounds_have_the_moments_of_the_truncated_normal() -> None:
    # One dimension, above 1: the mean of a standard normal there is pdf(1) / (1 - cdf(1)) = 0.24197 / 0.15866 = 1.525.
    drawn = _between(np.eye(1), np.array([1.0]), np.array([np.inf]), 20_000, np.random.default_rng(0))
    assert drawn.min() >= 1
    assert drawn.mean() == pytest.approx(1.525, abs=0.01)


def test_draws_far_in_a_tail_stay_finite_and_between_their_bounds() -> None:
    covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
    drawn = _between(covariance, np.array([30.0, -np.inf]), np.array([np.inf, -50.0]), 100, np.random.default_rng(0))
    assert np.isfinite(drawn).all()
    assert drawn[:, 0].min() >= 30
    assert drawn[:, 1].max() <= -50
