"""A search hands out what nobody has evaluated, tells Optuna the truth about it, and survives being killed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from carbonsweep import facts
from carbonsweep.answer import answer
from carbonsweep.domain import Configuration, Scenario, Slo, TrialRecord
from carbonsweep.records import is_failure
from carbonsweep.search import parameters
from carbonsweep.search.journal import JOURNAL, journal
from carbonsweep.search.ledger import PENALTY, REFUSED
from carbonsweep.search.objectives import Question, objectives, worst_excess
from carbonsweep.search.order import grouped, weights_group
from carbonsweep.search.sampling import SamplerName
from carbonsweep.search.space import Space
from carbonsweep.search.study import AHEAD, Search
from carbonsweep.units import S_PER_YEAR
from tests.conftest import FAILED, TOO_BIG, measurement, record
from tests.search.guide_double import ListedGuide

SPACE = Space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 2, 4),
    dtypes=("fp16",),
    engines=("paper",),
)
POINTS = list(SPACE.configurations())
LARGE = replace(
    SPACE,
    models=tuple(facts.language_models())[:10],
    gpus=tuple(facts.gpus())[:10],
    batch_sizes=(1, 2, 4, 8, 16, 32, 64),
    dtypes=("fp16", "fp32"),
)
SCENARIO = Scenario(intensity=None, lifetime_s=5 * S_PER_YEAR, embodied="paper")
Outcome = Callable[[Configuration], TrialRecord]


def asking(*names: str, **limits: float) -> Question:
    return Question(objectives=objectives(names or ("latency",)), slo=Slo(**limits), scenario=SCENARIO)


def outcome(configuration: Configuration) -> TrialRecord:
    """A made-up world: seconds from the configuration alone, all different; 7B does not fit a T4 at batch 4."""
    model = SPACE.models.index(configuration.model) if configuration.model in SPACE.models else 1
    if configuration.model == "LLaMA-7B" and configuration.gpu == "T4" and configuration.batch_size >= 4:
        return record(configuration, TOO_BIG)
    spread = int(configuration.fingerprint[:4], 16) / 0xFFFF
    ttft_s = (1 + model) * (2.0 if configuration.gpu == "T4" else 1.0) * (1 + 0.1 * configuration.batch_size) + spread
    return record(configuration, measurement(ttft_s=ttft_s, decode_s=3 * ttft_s, gpu="T4"))


def search(
    question: Question,
    *,
    space: Space = SPACE,
    trials: int = 10_000,
    seed: int = 0,
    records: Mapping[Configuration, TrialRecord] | None = None,
    storage: BaseStorage | None = None,
    loads_weights: bool = False,
    sampler: SamplerName | None = None,
    guide: ListedGuide | None = None,
) -> Search:
    """`records` is what the record file would hold; a failure in it is not reusable.

    Without a `sampler`: exhaustive where as many trials are allowed as there are points, else tpe.
    """
    known = {} if records is None else {c: found for c, found in records.items() if not is_failure(found)}
    return Search(
        space=space,
        question=question,
        name="test",
        trials=trials,
        seed=seed,
        known=known,
        storage=storage,
        loads_weights=loads_weights,
        sampler=sampler or ("exhaustive" if trials >= space.size else "tpe"),
        guide=guide,
    )


def configuration_of(frozen: FrozenTrial, space: Space = SPACE) -> Configuration:
    return parameters.configuration(space, frozen.params)


def run(
    searching: Search,
    *,
    by: Outcome = outcome,
    most: int = 10_000,
    into: dict[Configuration, TrialRecord] | None = None,
) -> list[Configuration]:
    """Run to the end or for `most` trials; the records go where a sweep would write them before it tells."""
    handed: list[Configuration] = []
    while len(handed) < most and (configuration := searching.suggest()) is not None:
        handed.append(configuration)
        made = by(configuration)
        if into is not None:
            into[configuration] = made
        searching.tell(made)
    return handed


def states(study: optuna.Study) -> list[TrialState]:
    return [frozen.state for frozen in study.trials]


@pytest.fixture(params=["memory", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage | None:
    return journal(tmp_path) if request.param == "journal" else None


# ---- handing out ----


def test_a_finite_space_is_visited_exactly_once_each(storage: BaseStorage | None) -> None:
    searching = search(asking(), storage=storage)
    handed = run(searching)
    assert sorted(handed) == sorted(POINTS)
    assert searching.suggest() is None
    assert (searching.told, searching.remaining, searching.reused) == (12, 0, 0)
    assert states(searching.study) == [TrialState.COMPLETE] * 12


def test_a_finite_space_is_visited_once_each_with_all_in_flight_at_once() -> None:
    searching = search(asking())
    handed = [searching.suggest() for _ in range(13)]
    assert handed.pop() is None
    assert {each for each in handed if each is not None} == set(POINTS)


@pytest.mark.parametrize("trials", [1, 5, 11])
def test_the_budget_is_kept_however_many_are_in_flight(trials: int) -> None:
    assert len(run(search(asking(), trials=trials))) == trials
    at_once = search(asking(), trials=trials)
    handed = [configuration for _ in range(trials + 3) if (configuration := at_once.suggest()) is not None]
    assert len(handed) == len(set(handed)) == trials
    assert at_once.remaining == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_large_space_is_sampled_without_handing_out_anything_twice(seed: int) -> None:
    # 1,400 points, three in flight at a time.
    searching = search(asking("latency", tpot_s=0.05), space=LARGE, trials=60, seed=seed)
    flight: list[Configuration] = []
    handed: list[Configuration] = []
    while (configuration := searching.suggest()) is not None:
        handed.append(configuration)
        flight.append(configuration)
        if len(flight) == 3:
            searching.tell(outcome(flight.pop(0)))
    assert len(handed) == len(set(handed)) == 60
    assert all(configuration in LARGE for configuration in handed)


def test_a_space_sampled_nearly_to_the_end_still_hands_out_nothing_twice() -> None:
    # TPE proposes its favourites again and again; the eleventh of twelve must be another.
    searching = search(asking(), trials=11)
    assert len(set(run(searching))) == 11
    # What it proposes once more it is told once more: it learned nothing from a trial that failed.
    assert set(states(searching.study)) == {TrialState.COMPLETE}
    assert len(searching.study.trials) > 11


@pytest.mark.parametrize(("space", "trials"), [(SPACE, 12), (LARGE, 25)], ids=["exhaustive", "sampled"])
def test_the_same_seed_gives_the_same_suggestions_and_another_seed_others(space: Space, trials: int) -> None:
    first, second, other = (run(search(asking(), space=space, trials=trials, seed=seed)) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def test_sampling_learns_from_what_it_is_told() -> None:
    # Latency depends on the batch size alone, 64 of 7 sizes is best. Of trials 21 to 40 of three searches, blind
    # sampling has 60/7 = 8.6 there with a standard deviation of 2.7: 18 is 3.5 of them away.
    def world(configuration: Configuration) -> TrialRecord:
        return record(configuration, measurement(ttft_s=1.0, decode_s=100.0 / configuration.batch_size))

    later = [c for seed in range(3) for c in run(search(asking(), space=LARGE, trials=40, seed=seed), by=world)[20:]]
    assert sum(configuration.batch_size == 64 for configuration in later) >= 18


# ---- in the order that loads weights least ----


def test_where_weights_cost_time_everything_is_handed_out_group_by_group(storage: BaseStorage | None) -> None:
    searching = search(asking(), storage=storage, loads_weights=True)
    assert run(searching) == grouped(POINTS)
    assert searching.suggest() is None
    assert states(searching.study) == [TrialState.COMPLETE] * 12  # Optuna knows each, once
    assert {configuration_of(frozen) for frozen in searching.study.trials} == set(POINTS)


def test_workers_side_by_side_get_groups_of_their_own() -> None:
    # Four groups (2 GPUs x 2 models) of three batch sizes: four workers meet in none, and each stays in its own.
    searching = search(asking(), loads_weights=True)
    flight = [searching.suggest() for _ in range(4)]
    handed = {weights_group(each) for each in flight if each is not None}
    assert len(handed) == 4
    for _ in range(2):
        for i, before in enumerate(flight):
            assert before is not None
            searching.tell(outcome(before))
            after = flight[i] = searching.suggest()
            assert after is not None
            assert weights_group(after) == weights_group(before)
            assert after.batch_size == 2 * before.batch_size
    assert searching.suggest() is None


def test_a_space_that_is_only_sampled_is_left_to_the_sampler() -> None:
    handed = [run(search(asking(), trials=8, seed=2, loads_weights=loads)) for loads in (True, False)]
    assert handed[0] == handed[1]


def test_known_records_leave_the_order_of_the_rest_unchanged() -> None:
    before = {configuration: outcome(configuration) for configuration in POINTS[3:8]}
    searching = search(asking(), records=before, loads_weights=True)
    assert run(searching) == [each for each in grouped(POINTS) if each not in before]


def test_in_order_too_what_was_running_at_a_kill_comes_first_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    first = search(asking(), storage=journal(tmp_path), loads_weights=True)
    run(first, most=4, into=kept)
    stale = [first.suggest(), first.suggest()]
    second = search(asking(), storage=journal(tmp_path), records=kept, loads_weights=True)
    handed = run(second, into=kept)
    assert handed[:2] == stale
    assert handed[2:] == [each for each in grouped(POINTS) if each not in [*list(kept)[:4], *stale]]
    # 4 told before the kill, 2 closed as failed, 8 after it: no entry more.
    assert len(second.study.trials) == 14


def test_in_order_too_a_sweep_that_is_killed_twice_visits_everything_once(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    dealer = random.Random(1)
    finished: list[Configuration] = []
    for _ in range(4):
        searching = search(asking(), storage=journal(tmp_path), records=kept, loads_weights=True)
        finished += run(searching, most=dealer.randint(0, 3), into=kept)
        for _ in range(dealer.randint(1, 3)):
            searching.suggest()  # and the process dies
    last = search(asking(), storage=journal(tmp_path), records=kept, loads_weights=True)
    finished += run(last, into=kept)
    assert sorted(finished) == sorted(POINTS)
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states(last.study))


# ---- records from before ----


def test_a_record_outside_the_space_is_kept_for_what_it_implies_and_is_no_trial() -> None:
    outside = replace(POINTS[0], batch_size=64)
    searching = search(asking(), records={outside: record(outside, TOO_BIG)})
    assert (searching.reused, searching.told, searching.remaining) == (0, 0, 12)
    assert searching.outcomes == {outside: record(outside, TOO_BIG)}
    assert outside not in run(searching)


@pytest.mark.parametrize("trials", [12, 8])
def test_known_records_are_told_at_once_and_not_handed_out(storage: BaseStorage | None, trials: int) -> None:
    before = {configuration: outcome(configuration) for configuration in POINTS[3:8]}
    searching = search(asking(), records=before, storage=storage, trials=trials)
    assert (searching.reused, searching.told, searching.remaining) == (5, 5, trials - 5)
    handed = run(searching)
    assert not set(handed) & set(before)
    assert len(handed) == trials - 5  # a reused record counts as a trial
    told = {frozen.user_attrs["record"]: frozen for frozen in searching.study.trials if frozen.user_attrs.get("reused")}
    assert set(told) == {each.key for each in before.values()}


def test_more_records_than_trials_are_all_told_and_leave_nothing_to_run() -> None:
    # The answer ranks them all: a chance worked out from 4 of them would be that of another answer.
    searching = search(asking(), records={point: outcome(point) for point in POINTS}, trials=4)
    assert (searching.told, searching.remaining, searching.suggest()) == (12, 0, None)
    assert len(searching.study.trials) == 12


def test_a_record_told_as_known_has_the_values_and_constraints_of_one_that_ran() -> None:
    question = asking("latency", "throughput", ttft_s=2.0)
    ran, reused = search(question), search(question, records={point: outcome(point) for point in POINTS})
    run(ran)

    def by_point(study: optuna.Study) -> dict[str, Any]:
        return {
            repr(sorted(frozen.params.items())): (frozen.values, frozen.constraints, frozen.state)
            for frozen in study.trials
        }

    assert by_point(ran.study) == by_point(reused.study)


def test_a_record_whose_meter_failed_is_told_infeasible_and_stops_nothing() -> None:
    blind = record(POINTS[0], measurement(prefill_j=None))
    searching = search(asking("energy"), records={POINTS[0]: blind})
    assert len(run(searching)) == len(POINTS) - 1
    (told,) = [frozen for frozen in searching.study.trials if configuration_of(frozen) == POINTS[0]]
    assert told.constraints[REFUSED] > 0


# ---- what Optuna is told ----


def reopened(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="test", storage=journal(folder))


def test_limits_are_stored_as_constraints_and_the_best_trial_is_feasible(tmp_path: Path) -> None:
    # The fastest configuration has the shortest TTFT too, so ask for throughput over a limit that cuts its best.
    question = asking("latency", prompt_latency_s=6.0, tpot_s=0.03)
    run(search(question, storage=journal(tmp_path)))
    study = reopened(tmp_path)
    assert states(study) == [TrialState.COMPLETE] * 12
    violating = 0
    for frozen in study.trials:
        made = outcome(configuration_of(frozen))
        if made.measurement is None:
            assert frozen.constraints == {REFUSED: 1.0}
            continue
        excess = question.slo.excess(made.measurement)
        assert frozen.constraints == {REFUSED: 0.0, **excess}
        violating += worst_excess(excess) > 0
    assert 0 < violating < 11
    best = outcome(configuration_of(study.best_trial)).measurement
    assert best is not None
    assert question.slo.is_met(best)


def test_a_limit_that_cuts_the_winner_changes_the_best_trial(tmp_path: Path) -> None:
    def world(configuration: Configuration) -> TrialRecord:  # large batches: more tokens/s, later first token
        size = configuration.batch_size
        return record(configuration, measurement(ttft_s=float(size), decode_s=10.0 / size, batch_size=size))

    free, limited = search(asking("throughput")), search(asking("throughput", ttft_s=2.5), storage=journal(tmp_path))
    run(free, by=world)
    run(limited, by=world)
    # Tokens/s: batch 1: 150/11, batch 2: 300/7, batch 4: 600/6.5; TTFT 1, 2 and 4 s.
    assert configuration_of(free.study.best_trial).batch_size == 4
    assert configuration_of(reopened(tmp_path).best_trial).batch_size == 2


def test_what_does_not_fit_is_complete_infeasible_and_penalised_in_the_right_direction(tmp_path: Path) -> None:
    run(search(asking("throughput", "latency"), storage=journal(tmp_path)))
    study = reopened(tmp_path)
    (refused,) = [frozen for frozen in study.trials if frozen.constraints[REFUSED] > 0]
    assert configuration_of(refused) == Configuration(
        model="LLaMA-7B", gpu="T4", gpu_count=1, batch_size=4, dtype="fp16", engine="paper"
    )
    assert refused.state == TrialState.COMPLETE
    assert refused.values == [-PENALTY, PENALTY]  # throughput is maximised, latency minimised
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert refused.number not in {frozen.number for frozen in study.best_trials}


def test_a_failure_is_told_as_failed_and_tried_again_by_the_next_search(tmp_path: Path) -> None:
    victim = POINTS[5]
    kept: dict[Configuration, TrialRecord] = {}
    first = search(asking(), storage=journal(tmp_path))
    handed = run(first, by=lambda c: record(c, FAILED) if c == victim else outcome(c), into=kept)
    assert handed.count(victim) == 1  # not again in the same sweep
    assert states(reopened(tmp_path)).count(TrialState.FAIL) == 1

    second = search(asking(), storage=journal(tmp_path), records=kept)
    assert second.remaining == 1
    assert run(second, into=kept) == [victim]
    assert second.suggest() is None


def test_a_trial_whose_worker_died_is_closed_and_tried_again_by_the_next_search(tmp_path: Path) -> None:
    first = search(asking(), storage=journal(tmp_path), trials=1)
    lost = first.suggest()
    assert lost is not None
    first.abandon(lost)
    first.abandon(POINTS[0] if lost != POINTS[0] else POINTS[1])  # never handed out: nothing to close
    assert first.suggest() is None  # it used up its budget
    assert states(reopened(tmp_path)) == [TrialState.FAIL]
    again = search(asking(), storage=journal(tmp_path), trials=12)
    assert lost in run(again)


# ---- being killed ----


def test_what_was_running_when_a_sweep_was_killed_is_closed_and_handed_out_first(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    first = search(asking(), storage=journal(tmp_path))
    run(first, most=4, into=kept)
    stale = [first.suggest(), first.suggest()]
    assert states(reopened(tmp_path)).count(TrialState.RUNNING) == 2

    second = search(asking(), storage=journal(tmp_path), records=kept)
    assert TrialState.RUNNING not in states(second.study)
    handed = run(second, into=kept)
    assert handed[:2] == stale
    assert sorted([*handed, *list(kept)[:4]]) == sorted(POINTS)


def test_a_sweep_that_is_killed_twice_still_visits_everything_once(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    dealer = random.Random(0)
    finished: list[Configuration] = []
    for _ in range(4):
        searching = search(asking(), storage=journal(tmp_path), records=kept)
        finished += run(searching, most=dealer.randint(0, 3), into=kept)
        for _ in range(dealer.randint(1, 3)):
            searching.suggest()  # and the process dies
    last = search(asking(), storage=journal(tmp_path), records=kept)
    finished += run(last, into=kept)
    assert sorted(finished) == sorted(POINTS)
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states(last.study))


def test_a_record_written_before_the_kill_and_not_yet_told_is_not_run_again(tmp_path: Path) -> None:
    first = search(asking(), storage=journal(tmp_path))
    configuration = first.suggest()
    assert configuration is not None
    second = search(asking(), storage=journal(tmp_path), records={configuration: outcome(configuration)})
    assert second.reused == 1
    assert configuration not in run(second)


def test_a_trial_killed_while_it_was_asked_for_does_not_stop_the_next_search(tmp_path: Path) -> None:
    first = search(asking(), storage=journal(tmp_path))
    asked = first.study.ask()
    asked.suggest_categorical("model", SPACE.models)  # and the process dies between two parameters
    first.study.ask()  # or before the first
    second = search(asking(), storage=journal(tmp_path))
    assert sorted(run(second)) == sorted(POINTS)
    assert TrialState.RUNNING not in states(second.study)


@pytest.mark.parametrize("sampler", ["exhaustive", "tpe"])
def test_what_others_put_into_the_queue_does_not_mix_up_configurations(sampler: SamplerName) -> None:
    # More known configurations in the queue than a suggestion asks for; then what is handed out is what Optuna holds.
    known = {configuration: outcome(configuration) for configuration in POINTS[:6]}
    searching = search(asking(), records=known, sampler=sampler)
    for configuration in [*known] * 5:
        searching.study.enqueue_trial(parameters.params(SPACE, configuration))
    run(searching)
    assert sorted({configuration_of(frozen) for frozen in searching.study.trials}) == sorted(POINTS)
    for frozen in searching.study.get_trials(states=(TrialState.COMPLETE,)):
        made = outcome(configuration_of(frozen))
        assert frozen.value == (PENALTY if made.measurement is None else made.measurement.prompt_latency_s)


def test_a_finished_trial_whose_record_is_gone_is_run_again(tmp_path: Path) -> None:
    # Records set aside as damaged, or of another engine version: the journal alone answers nothing.
    kept: dict[Configuration, TrialRecord] = {}
    run(search(asking(), storage=journal(tmp_path)), into=kept)
    del kept[POINTS[7]]
    again = search(asking(), storage=journal(tmp_path), records=kept)
    assert run(again) == [POINTS[7]]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in the last line": lambda content: content[:-20],
    "without the last line end": lambda content: content[:-1],
    "NUL bytes at the end": lambda content: content + b"\0" * 64,
    "garbage in the middle": lambda content: content.replace(b'{"op_code":4', b'{"op_code"4', 1),
    "not UTF-8": lambda content: content[: len(content) // 2] + b"\xff\xfe" + content[len(content) // 2 :],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_journal_is_mended_and_the_search_goes_on(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    run(search(asking(), storage=journal(tmp_path)), most=6, into=kept)
    before = (tmp_path / JOURNAL).read_bytes()
    after = damage(before)
    assert after != before
    (tmp_path / JOURNAL).write_bytes(after)

    searching = search(asking(), storage=journal(tmp_path), records=kept)
    assert set(run(searching, into=kept)) == set(POINTS) - set(list(kept)[:6])
    assert (tmp_path / JOURNAL).read_bytes() != after
    whole = (tmp_path / f"{JOURNAL}.damaged").read_bytes()
    assert after.endswith(whole)
    complete = {configuration_of(frozen) for frozen in reopened(tmp_path).trials if frozen.state == TrialState.COMPLETE}
    assert complete == set(POINTS)  # what the damage took is told again from the records


# ---- where not everything can run now ----


def on_gpu(*gpus: str) -> Callable[[Configuration], bool]:
    return lambda configuration: configuration.gpu in gpus


def nothing(_: Configuration) -> bool:
    return False


SEED_OF_BOTH_KINDS = 1
"""Of a search whose first four suggestions are not all of one kind."""
T4S, ADAS = ([each for each in POINTS if each.gpu == gpu] for gpu in SPACE.gpus)


def test_a_sampler_is_asked_no_further_ahead_than_a_few_and_they_wait_in_its_order() -> None:
    trials = 8
    free, bound = search(asking(), trials=trials), search(asking(), trials=trials)
    chosen = [free.suggest() for _ in range(AHEAD)]
    assert bound.suggest(nothing) is None
    asked = len(bound.study.trials)
    assert bound.suggest(nothing) is None
    assert len(bound.study.trials) == asked
    assert bound.wished() == chosen
    assert (bound.unfinished, bound.remaining) == (AHEAD, trials - AHEAD)
    # A GPU that happens to be free does not bend the search: what was chosen is what runs.
    assert [bound.suggest() for _ in range(AHEAD)] == chosen


def both_kinds_waiting(storage: BaseStorage | None = None) -> Search:
    searching = search(asking(), trials=11, seed=SEED_OF_BOTH_KINDS, storage=storage)  # one less than all: sampled
    searching.suggest(nothing)
    assert {each.gpu for each in searching.wished()} == set(SPACE.gpus)
    return searching


def test_what_waits_goes_first_once_it_is_ready() -> None:
    searching = both_kinds_waiting()
    first = list(searching.wished())
    waiting_adas = [each for each in first if each in ADAS]
    assert [searching.suggest(on_gpu("RTX6000Ada")) for _ in waiting_adas] == waiting_adas
    before = searching.wished()
    assert before == [each for each in first if each in T4S]
    assert [searching.suggest() for _ in before] == before  # a list of its own: handing out takes nothing from it


@pytest.mark.parametrize("loads_weights", [False, True])
def test_where_everything_is_tried_what_is_ready_goes_first_and_nothing_waits(loads_weights: bool) -> None:
    searching = search(asking(), loads_weights=loads_weights)
    handed = [searching.suggest(on_gpu("RTX6000Ada")) for _ in ADAS]
    assert sorted(each for each in handed if each) == sorted(ADAS)
    assert searching.suggest(on_gpu("RTX6000Ada")) is None
    (wished,) = searching.wished()
    assert wished in T4S
    if loads_weights:
        assert wished == next(each for each in grouped(POINTS) if each in T4S)
    assert (searching.unfinished, searching.remaining) == (6, 6)
    assert searching.suggest() in T4S


def test_with_the_budget_handed_out_nothing_is_wished_for() -> None:
    for loads_weights in (False, True):
        searching = search(asking(), loads_weights=loads_weights)
        run(searching)
        assert searching.wished() == []


def test_what_died_goes_first_again_as_the_same_trial() -> None:
    searching = search(asking())
    dead, other = searching.suggest(), searching.suggest()
    assert dead is not None
    assert other is not None
    searching.again(dead)
    assert not searching.is_known(dead)
    assert (searching.unfinished, searching.remaining) == (2, 10)
    between = searching.suggest(lambda each: each != dead)
    assert between not in (None, dead, other)
    assert searching.wished() == [dead]
    assert searching.suggest() == dead
    for each in (dead, other, between):
        assert each is not None
        assert not searching.is_known(each)
        searching.tell(outcome(each))
        assert searching.is_known(each)
    run(searching)
    assert states(searching.study) == [TrialState.COMPLETE] * 12


def test_what_died_goes_before_what_has_never_run() -> None:
    searching = search(asking())
    dead = searching.suggest()
    assert dead is not None
    searching.suggest(nothing)
    searching.again(dead)
    assert searching.suggest() == dead


def test_what_waits_again_when_the_sweep_is_killed_is_queued_by_the_next(tmp_path: Path) -> None:
    first = search(asking(), storage=journal(tmp_path))
    dead = first.suggest()
    assert dead is not None
    first.placed(dead, "one")
    first.again(dead)
    second = search(asking(), storage=journal(tmp_path))
    assert second.interrupted == [(dead, "one")]
    assert second.suggest() == dead


def test_a_killed_sweep_leaves_written_down_where_each_trial_ran(tmp_path: Path) -> None:
    first = search(asking(), storage=journal(tmp_path))
    ran = [first.suggest() for _ in range(4)]
    placed: dict[Configuration, str | None] = {}
    for configuration, host in zip(ran, ("one", "two", None, "three"), strict=True):
        assert configuration is not None
        placed[configuration] = host
        if host is not None:
            first.placed(configuration, host)
    recorded = ran[3]
    assert recorded is not None  # written before the kill, and not told yet
    second = search(asking(), storage=journal(tmp_path), records={recorded: outcome(recorded)})
    assert second.interrupted == [(each, host) for each, host in placed.items() if each != recorded]
    # Told where it ran before, a trial of the second sweep that is placed nowhere yet is nowhere.
    again = second.suggest()
    third = search(asking(), storage=journal(tmp_path), records={recorded: outcome(recorded)})
    assert (again, None) in third.interrupted


# ---- where nothing is left that could run some ----


@pytest.mark.parametrize("loads_weights", [False, True])
def test_what_is_closed_is_handed_out_no_more_and_counted_where_untried(tmp_path: Path, loads_weights: bool) -> None:
    searching = search(asking(), storage=journal(tmp_path), loads_weights=loads_weights)
    t4s, adas = list[Configuration](), list[Configuration]()
    while len(t4s) < 2 and (configuration := searching.suggest()) is not None:
        (t4s if configuration in T4S else adas).append(configuration)
    told, running = t4s
    for each in (told, *adas):
        searching.tell(outcome(each))
    # Six T4 points: one is told, one runs and is left to end.
    assert searching.close(on_gpu("T4")) == 4
    assert (searching.remaining, searching.unfinished) == (6 - len(adas), 1)
    assert sorted([*run(searching), *adas]) == sorted(ADAS)
    assert not searching.is_known(running)
    searching.tell(outcome(running))
    assert (searching.remaining, searching.unfinished, searching.suggest()) == (0, 0, None)
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states(reopened(tmp_path)))


def test_what_waits_is_closed_with_the_rest(tmp_path: Path) -> None:
    searching = both_kinds_waiting(journal(tmp_path))
    waiting = len([each for each in searching.wished() if each in T4S])
    before = states(reopened(tmp_path)).count(TrialState.FAIL)  # points the sampler proposed twice
    assert searching.close(on_gpu("T4")) == 6
    assert not set(searching.wished()) & set(T4S)
    assert states(reopened(tmp_path)).count(TrialState.FAIL) == before + waiting
    assert sorted(run(searching)) == sorted(ADAS)


def test_a_search_with_everything_closed_is_over() -> None:
    searching = search(asking())
    searching.suggest(nothing)
    assert searching.close(lambda _: True) == 12
    assert (searching.remaining, searching.unfinished, searching.wished(), searching.suggest()) == (0, 0, [], None)


def test_closing_some_of_a_sampled_space_leaves_the_budget_to_the_rest() -> None:
    searching = search(asking(), trials=8)
    searching.close(on_gpu("T4"))
    assert searching.remaining == 6  # of eight trials, six points are left
    assert sorted(run(searching)) == sorted(ADAS)


def test_what_was_closed_is_tried_by_the_next_search(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    first = search(asking(), storage=journal(tmp_path))
    first.close(on_gpu("T4"))
    run(first, into=kept)
    assert sorted(run(search(asking(), storage=journal(tmp_path), records=kept))) == sorted(T4S)


# ---- records that are found ----


def test_a_found_record_of_what_runs_or_waits_is_its_outcome() -> None:
    searching = search(asking(), trials=11)
    running = searching.suggest()
    searching.suggest(nothing)
    waiting = searching.wished()[0]
    assert running is not None
    for each in (running, waiting):
        searching.learn(outcome(each))
        assert searching.is_known(each)
    assert (searching.told, searching.reused) == (2, 0)
    assert waiting not in searching.wished()
    searching.tell(outcome(running))  # its supervisor comes back all the same
    assert searching.told == 2
    handed = run(searching)
    assert not {running, waiting} & set(handed)
    assert searching.told == 11
    assert TrialState.RUNNING not in states(searching.study)


def test_a_found_record_nobody_asked_for_is_told_and_not_run(storage: BaseStorage | None) -> None:
    searching = search(asking(), storage=storage, trials=8)
    searching.learn(outcome(POINTS[3]))
    searching.learn(outcome(POINTS[3]))
    assert (searching.told, searching.reused, searching.remaining) == (1, 1, 7)
    assert searching.outcomes == {POINTS[3]: outcome(POINTS[3])}
    assert POINTS[3] not in run(searching)


def test_a_found_failure_of_what_runs_or_waits_is_its_end_and_any_other_says_nothing() -> None:
    searching = search(asking(), trials=11)
    running = searching.suggest()
    searching.suggest(nothing)
    waiting = searching.wished()[0]
    before = states(searching.study).count(TrialState.FAIL)  # points the sampler proposed twice
    assert running is not None
    searching.learn(record(running, FAILED))
    searching.learn(record(waiting, FAILED))
    assert (searching.told, states(searching.study).count(TrialState.FAIL)) == (2, before + 2)
    untried = next(each for each in POINTS if not searching.is_known(each) and each not in searching.wished())
    searching.learn(record(untried, FAILED))
    assert not searching.is_known(untried)
    run(searching)
    assert searching.told == 11


def test_a_found_record_outside_the_space_is_kept_for_what_it_implies() -> None:
    searching = search(asking())
    outside = replace(POINTS[0], batch_size=64)
    searching.learn(record(outside, TOO_BIG))
    assert (searching.told, searching.remaining) == (0, 12)
    assert outside in searching.outcomes


def test_a_closed_configuration_that_is_found_takes_no_other_ones_place() -> None:
    searching = search(asking())
    assert searching.close(on_gpu("T4")) == 6
    searching.learn(outcome(T4S[0]))
    # Found, it is no longer one of the closed: were it counted as both, an Ada point would go untried.
    assert searching.remaining == 6
    assert sorted(run(searching)) == sorted(ADAS)


def test_more_found_records_than_budget_leave_nothing_to_hand_out() -> None:
    searching = search(asking(), trials=3)
    running = searching.suggest()
    assert running is not None
    for each in [each for each in POINTS if each != running][:5]:
        searching.learn(outcome(each))
    assert (searching.remaining, searching.suggest(), searching.unfinished) == (0, None, 1)
    searching.tell(outcome(running))
    assert searching.unfinished == 0


# ---- in whatever order ----


MODES: dict[str, dict[str, Any]] = {
    "exhaustive": {"sampler": "exhaustive"},
    "in order": {"sampler": "exhaustive", "loads_weights": True},
    "tpe": {"sampler": "tpe", "trials": 8},
    "random": {"sampler": "random", "trials": 8},
    "guided": {"sampler": "guided", "trials": 8},
}


@given(st.sampled_from(sorted(MODES)), st.data())
@settings(max_examples=50)
def test_in_whatever_order_things_happen_nothing_runs_twice_and_all_ends(mode: str, data: st.DataObject) -> None:
    budget = MODES[mode].get("trials", 12)
    guide = ListedGuide(POINTS) if mode == "guided" else None
    searching = search(asking(), **MODES[mode], guide=guide, seed=data.draw(st.integers(0, 3)))
    flight: list[Configuration] = []
    handed: set[Configuration] = set()
    over: set[Configuration] = set()  # told, given up, learned or closed: not to be handed out any more

    def hand_out(ready: Callable[[Configuration], bool]) -> bool:
        configuration = searching.suggest(ready)
        if configuration is None:
            return False
        assert ready(configuration)
        assert configuration not in flight
        assert configuration not in over
        flight.append(configuration)
        handed.add(configuration)
        assert len(handed) <= budget
        return True

    for _ in range(data.draw(st.integers(0, 40))):
        deed = data.draw(
            st.sampled_from(["suggest", "suggest", "suggest", "tell", "again", "abandon", "learn", "close"])
        )
        if deed == "suggest":
            hand_out(on_gpu(*data.draw(st.sets(st.sampled_from(SPACE.gpus)))))
        elif deed == "learn":
            learned = data.draw(st.sampled_from(POINTS))
            searching.learn(data.draw(st.sampled_from([outcome(learned), record(learned, FAILED)])))
            if searching.is_known(learned):
                over.add(learned)
                flight = [each for each in flight if each != learned]
        elif deed == "close":
            wish = data.draw(st.sampled_from(POINTS))
            alike = weights_group(wish)
            searching.close(lambda each, alike=alike: weights_group(each) == alike)  # type: ignore[misc]
            over |= {each for each in POINTS if weights_group(each) == alike and each not in flight}
        elif flight:
            ending = flight.pop(data.draw(st.integers(0, len(flight) - 1)))
            if deed == "again":
                searching.again(ending)
            else:
                searching.tell(outcome(ending)) if deed == "tell" else searching.abandon(ending)
                over.add(ending)
    while hand_out(lambda _: True):
        pass
    for each in flight:
        searching.tell(outcome(each))
    assert (searching.remaining, searching.unfinished, searching.suggest()) == (0, 0, None)
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states(searching.study))


# ---- no answer ever violates a limit ----

limits = st.none() | st.floats(0.005, 30.0)


@given(limits, limits, limits, st.sampled_from([("latency",), ("throughput",), ("throughput", "ttft")]))
@settings(max_examples=25)
def test_whatever_the_limits_a_search_answers_within_them(
    ttft_s: float | None, tpot_s: float | None, latency_s: float | None, names: tuple[str, ...]
) -> None:
    given_limits = {"ttft_s": ttft_s, "tpot_s": tpot_s, "prompt_latency_s": latency_s}
    question = asking(*names, **{name: limit for name, limit in given_limits.items() if limit is not None})
    kept: dict[Configuration, TrialRecord] = {}
    searching = search(question)
    run(searching, into=kept)
    found = answer(kept.values(), question)
    misses = {
        made.key: worst_excess(question.slo.excess(made.measurement)) for made in kept.values() if made.measurement
    }
    feasible = {key for key, miss in misses.items() if miss <= 0}
    assert all(c.record.key in feasible for c in (*found.feasible, *found.front, *found.runners_up))
    assert (found.best is None) == (not feasible)
    by_optuna = {frozen.user_attrs["record"] for frozen in searching.study.best_trials}
    assert by_optuna <= feasible
    if len(names) == 1 and feasible:
        assert found.best is not None
        assert by_optuna == {found.best.record.key}
    if not feasible:
        closest = [misses[c.record.key] for c in found.closest]
        assert closest == sorted(misses.values())[:3]
        assert all(0 < miss < math.inf for miss in closest)
