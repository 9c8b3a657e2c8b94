"""What is believed of the rest: broad of a GPU nobody timed, nothing from a run that was held impossible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import kurtosis

from carbonsweep.domain import Refusal
from carbonsweep.search.guided.belief import Belief, Candidates
from tests.conftest import SHORT, record
from tests.search.guided.worlds import World, asking, by_size, configurations

WORLD = World(configurations=configurations(), seconds=by_size)


def believed(known: list[int], where: list[int], of: Candidates) -> np.ndarray:
    """Logarithm of drawn latencies, (draws, len(where))."""
    seen = Belief(of, {i: WORLD.record(WORLD.configurations[i]) for i in known})
    return np.log(seen.joint(np.array(where), 2000, 0).losses[..., 0])


def test_a_gpu_that_was_never_timed_may_surprise() -> None:
    # All batches of one model are timed on three GPUs, as guided; left are the other model there, and the H100.
    of = Candidates(WORLD.configurations, SHORT, asking(), WORLD.guidance())
    drawn = believed(list(range(9)), [13, 10], of)  # LLaMA-7B on a T4, TinyLlama on an H100
    timed, untimed = kurtosis(drawn, axis=0)
    # Of a normal distribution 0; of Student's with 3 degrees of freedom without bound.
    assert timed < 4
    assert untimed > 6


def test_what_is_refused_for_certain_runs_in_no_draw() -> None:
    # No cause of a refusal spares another batch size; another model shares some causes, but not all.
    first, other_batch, other_model = WORLD.configurations[0], 1, 12
    refused = {0: record(first, Refusal(kind="unsupported", reason="made up"))}
    seen = Belief(Candidates(WORLD.configurations, SHORT, asking(), WORLD.guidance()), refused)
    runs = seen.joint(np.array([other_batch, other_model]), 400, 0).runs.mean(axis=0)
    assert runs[0] == 0
    assert 0.2 < runs[1] < 0.8


def test_a_run_that_the_device_model_held_impossible_corrects_nothing_else() -> None:
    guided = WORLD.guidance()
    supported = np.array([c.gpu != "H100" for c in WORLD.configurations])
    of = Candidates(WORLD.configurations, SHORT, asking(), replace(guided, supported=supported))
    on_t4 = [0, 1, 2]
    assert np.array_equal(believed([9], on_t4, of), believed([], on_t4, of))
    assert not np.allclose(believed([0], on_t4, of), believed([], on_t4, of))
