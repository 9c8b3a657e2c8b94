"""What Optuna is told of a trial, and what it must be told so that its samplers can use it."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search import parameters
from carbonsweep.search.ledger import HOST, PENALTY, REFUSED, Ledger
from carbonsweep.search.objectives import Question
from carbonsweep.search.sampling import SamplerName, optuna_sampler
from tests.conftest import TOO_BIG, measurement, record
from tests.search.test_study import POINTS, SPACE, asking

LIMITED = asking("latency", "throughput", tpot_s=0.02, ttft_s=1.0)


def ledger(question: Question = LIMITED, sampler: SamplerName = "random", study: optuna.Study | None = None) -> Ledger:
    return Ledger(
        space=SPACE,
        question=question,
        name="test" if study is None else study.study_name,
        storage=None if study is None else study._storage,
        sampler=sampler,
        optuna_sampler=RandomSampler(seed=0) if sampler == "gp" else optuna_sampler(sampler, trials=20, seed=0),
    )


def measured(configuration: Configuration, ttft_s: float) -> TrialRecord:
    return record(configuration, measurement(ttft_s=ttft_s, decode_s=3 * ttft_s))


def told(kept: Ledger, *records: TrialRecord) -> None:
    for each in records:
        kept.tell(kept.begin(each.configuration), each)


def test_what_is_begun_is_that_configuration_whatever_is_in_the_queue() -> None:
    kept = ledger()
    for configuration in POINTS[:3]:
        kept.study.enqueue_trial(parameters.params(SPACE, configuration))
    trial = kept.begin(POINTS[5])
    assert parameters.configuration(SPACE, trial.params) == POINTS[5]
    assert kept.finished() == set()


def test_running_and_queued_trials_of_before_are_closed_and_named() -> None:
    kept = ledger()
    kept.begin(POINTS[0]).set_user_attr(HOST, "one")
    kept.begin(POINTS[1])
    kept.study.enqueue_trial(parameters.params(SPACE, POINTS[2]))
    assert kept.close_stale() == [(POINTS[0], "one"), (POINTS[1], None), (POINTS[2], None)]
    assert kept.close_stale() == []
    assert [trial.state for trial in kept.study.trials] == [TrialState.FAIL] * 3


def test_for_gp_a_refusal_is_as_bad_as_the_worst_on_every_count() -> None:
    # Optuna's GP standardises values: a loss of 1e12 beside 4 s would leave nothing of the rest.
    kept = ledger(sampler="gp")
    slow, quick = measured(POINTS[0], 2.0), measured(POINTS[1], 0.5)
    told(kept, slow, quick, record(POINTS[2], TOO_BIG))
    *_, refused = kept.study.trials
    assert slow.measurement is not None
    assert refused.values == [slow.measurement.prompt_latency_s, slow.measurement.throughput]
    assert refused.constraints == {REFUSED: 1.0, **LIMITED.slo.excess(slow.measurement)}


def test_for_gp_a_refusal_before_any_measurement_is_held_back_until_there_is_one() -> None:
    kept = ledger(sampler="gp")
    told(kept, record(POINTS[0], TOO_BIG), record(POINTS[1], TOO_BIG))
    assert kept.finished() == set()
    told(kept, measured(POINTS[2], 1.0))
    assert kept.finished() == set(POINTS[:3])
    values = {tuple(t.values) for t in kept.study.get_trials(states=(TrialState.COMPLETE,))}
    assert len(values) == 1  # as bad as the only one measured


def test_for_gp_every_trial_has_the_same_constraints_also_in_a_study_that_goes_on() -> None:
    first = ledger(sampler="gp")
    told(first, measured(POINTS[0], 2.0))
    second = ledger(sampler="gp", study=first.study)
    second.add(record(POINTS[1], TOO_BIG))  # as bad as the worst of before
    assert second.study.trials[1].values == first.study.trials[0].values
    second.add(measured(POINTS[2], 0.1))
    names = {tuple(trial.constraints) for trial in second.study.trials}
    assert names == {(REFUSED, "ttft_s", "tpot_s")}
    assert all(math.isfinite(value) and abs(value) < PENALTY for t in second.study.trials for value in t.values)


@pytest.mark.parametrize("sampler", ["tpe", "random", "exhaustive", "guided"])
def test_the_others_are_told_a_penalty(sampler: SamplerName) -> None:
    kept = ledger(sampler=sampler)
    told(kept, record(POINTS[0], TOO_BIG))
    (refused,) = kept.study.trials
    assert (refused.values, refused.constraints) == ([PENALTY, -PENALTY], {REFUSED: 1.0})


def test_for_nsga2_a_reused_record_belongs_to_a_generation_so_that_it_can_be_a_parent() -> None:
    kept = ledger(sampler="nsga2")
    for i, point in enumerate(POINTS):
        kept.add(measured(point, 1.0 + i))
    sampler = kept.study.sampler
    assert isinstance(sampler, optuna.samplers.NSGAIISampler)
    # Twenty trials have generations of four: twelve records are the first three.
    assert [len(sampler.get_population(kept.study, generation)) for generation in range(4)] == [4, 4, 4, 0]
    assert all(trial.user_attrs["reused"] for trial in kept.study.trials)
    # Its best are the parents of what it proposes next.
    kept.proposed()
    parents = sampler.get_parent_population(kept.study, 3)
    assert {parameters.configuration(SPACE, each.params) for each in parents} >= {POINTS[0]}
