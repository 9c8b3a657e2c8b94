"""A guided search runs what its guide suggests, stops at the stated chance, and forgets nothing when it is killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from carbonsweep import facts, inputs
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.records import is_failure
from carbonsweep.search.counsel import LEAST_MEASURED
from carbonsweep.search.guided.guide import Guide
from carbonsweep.search.journal import journal
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space
from carbonsweep.search.study import AHEAD, Search
from carbonsweep.trial import trial
from tests.conftest import FAILED, SHORT, TOO_BIG, measurement, record
from tests.search.guide_double import ListedGuide
from tests.search.test_study import ADAS, POINTS, SPACE, T4S, asking, configuration_of, nothing, on_gpu, run

BACKWARDS = POINTS[::-1]


def guided(
    guide: ListedGuide | Guide,
    *,
    question: Question | None = None,
    trials: int = 100,
    chance_left: float = 0.05,
    records: Mapping[Configuration, TrialRecord] | None = None,
    storage: BaseStorage | None = None,
    space: Space = SPACE,
) -> Search:
    known = {} if records is None else {c: found for c, found in records.items() if not is_failure(found)}
    return Search(
        space=space,
        question=question or asking(),
        name="test",
        trials=trials,
        seed=0,
        known=known,
        sampler="guided",
        storage=storage,
        guide=guide,
        chance_left=chance_left,
    )


def falling_to(low: float, after: int) -> Callable[[int], float]:
    """A chance of 1 until there are `after` records, then `low`."""
    return lambda records: low if records >= after else 1.0


def fits(configuration: Configuration) -> TrialRecord:
    return record(configuration, measurement(ttft_s=float(configuration.batch_size)))


# ---- choosing ----


def test_it_runs_what_the_guide_suggests_and_optuna_keeps_the_record(tmp_path: Path) -> None:
    searching = guided(ListedGuide(BACKWARDS), storage=journal(tmp_path))
    assert run(searching, by=fits) == BACKWARDS
    assert searching.suggest() is None
    complete = searching.study.get_trials(states=(TrialState.COMPLETE,))
    assert [configuration_of(each) for each in complete] == BACKWARDS
    assert (searching.stopped_by, searching.chance_left, searching.guided_by) == ("exhausted", 0.0, "guided by a list")


def test_the_guide_knows_outcomes_what_runs_and_what_cannot_run() -> None:
    guide = ListedGuide(BACKWARDS)
    searching = guided(guide)
    first, second = searching.suggest(), searching.suggest()
    assert first is not None
    searching.tell(fits(first))
    assert guide.suggestions == [
        (frozenset(), frozenset(), frozenset()),
        (frozenset(), frozenset({first}), frozenset()),
    ]
    searching.close(lambda configuration: configuration in POINTS[:2])
    searching.suggest()
    assert guide.suggestions[2] == (frozenset({first}), frozenset({second}), frozenset(POINTS[:2]))


def test_what_failed_or_has_no_joules_is_closed_to_the_guide_and_no_outcome() -> None:
    guide = ListedGuide(BACKWARDS)
    searching = guided(guide, question=asking("energy"))
    made = {
        BACKWARDS[0]: record(BACKWARDS[0], FAILED),
        BACKWARDS[1]: record(BACKWARDS[1], measurement(prefill_j=None)),
        BACKWARDS[2]: record(BACKWARDS[2], TOO_BIG),
    }
    for _ in range(3):
        configuration = searching.suggest()
        assert configuration is not None
        searching.tell(made[configuration])
    searching.suggest()
    assert guide.suggestions[-1] == (frozenset({BACKWARDS[2]}), frozenset(), frozenset(BACKWARDS[:2]))


def test_a_record_of_another_batch_size_is_none_of_the_guides_space() -> None:
    outside = Configuration(
        model="LLaMA-7B", gpu="T4", gpu_count=1, batch_size=64, dtype="fp16", engine="paper"
    )  # it implies that larger ones do not fit, and the space has none
    guide = ListedGuide(POINTS)
    searching = guided(guide, records={outside: record(outside, TOO_BIG)})
    searching.suggest()
    assert guide.suggestions == [(frozenset(), frozenset(), frozenset())]


def test_a_suggestion_that_is_taken_is_an_error_rather_than_a_loop() -> None:
    class Stubborn(ListedGuide):
        def suggestion(self, *_: object, **__: object) -> Configuration | None:
            return POINTS[0]

    searching = guided(Stubborn(POINTS))
    searching.suggest()
    with pytest.raises(ValueError, match=r"the guide suggested TinyLlama-1\.1B on T4"):
        searching.suggest()


def test_a_guided_search_needs_a_guide_and_no_other_takes_one() -> None:
    for sampler, guide in (("guided", None), ("tpe", ListedGuide(POINTS))):
        with pytest.raises(ValueError, match=f"sampler {sampler}"):
            Search(
                space=SPACE,
                question=asking(),
                name="test",
                trials=4,
                seed=0,
                known={},
                sampler=sampler,  # type: ignore[arg-type]
                guide=guide,
            )


# ---- stopping ----


def test_it_stops_when_the_chance_falls_below_the_level_and_says_so() -> None:
    searching = guided(ListedGuide(BACKWARDS, falling_to(0.04, after=5)))
    assert run(searching, by=fits) == BACKWARDS[:5]
    assert (searching.remaining, searching.stopped_by, searching.chance_left) == (0, "chance", 0.04)


def test_at_the_level_itself_it_goes_on() -> None:
    assert len(run(guided(ListedGuide(BACKWARDS, lambda _: 0.05)), by=fits)) == len(POINTS)


def test_level_0_never_stops_before_the_budget() -> None:
    guide = ListedGuide(BACKWARDS, lambda _: 0.0)
    assert len(run(guided(guide, chance_left=0.0), by=fits)) == len(POINTS)
    short = guided(ListedGuide(BACKWARDS, lambda _: 0.0), chance_left=0.0, trials=4)
    assert len(run(short, by=fits)) == 4
    assert (short.stopped_by, short.chance_left) == ("trials", 0.0)


def test_it_does_not_stop_on_fewer_measurements_than_three_and_a_refusal_is_none() -> None:
    def refuses_two(configuration: Configuration) -> TrialRecord:
        return record(configuration, TOO_BIG) if configuration in BACKWARDS[1:3] else fits(configuration)

    guide = ListedGuide(BACKWARDS, lambda _: 0.0)
    searching = guided(guide)
    assert len(run(searching, by=refuses_two)) == LEAST_MEASURED + 2
    # Before three measurements the guide's word is not even asked for: a chance that nobody can know is not shown.
    assert {len(records) for records, _, _ in guide.chances} == {LEAST_MEASURED + 2}


def test_what_runs_when_it_stops_is_left_to_end_and_may_bring_the_search_back() -> None:
    chances = {3: 0.01, 4: 0.5, 5: 0.01}
    searching = guided(ListedGuide(BACKWARDS, lambda records: chances.get(records, 1.0)))
    for configuration in [searching.suggest() for _ in range(3)]:
        assert configuration is not None
    late = searching.suggest()
    for configuration in BACKWARDS[:3]:
        searching.tell(fits(configuration))
    assert late == BACKWARDS[3]
    assert (searching.suggest(), searching.remaining, searching.unfinished) == (None, 0, 1)
    searching.tell(fits(late))  # it was not what was hoped for
    assert searching.stopped_by is None
    assert run(searching, by=fits) == [BACKWARDS[4]]
    assert searching.stopped_by == "chance"


def test_a_kind_in_doubt_is_looked_at_before_it_stops() -> None:
    searching = guided(ListedGuide(ADAS, falling_to(0.01, after=3), doubted=T4S[1:]))
    assert run(searching, by=fits) == [*ADAS[:3], T4S[1]]
    assert searching.stopped_by == "chance"


def test_what_a_look_finds_may_bring_the_search_back() -> None:
    chances = {3: 0.01, 4: 0.5, 5: 0.01}
    searching = guided(ListedGuide(ADAS, lambda records: chances.get(records, 1.0), doubted=T4S[1:]))
    assert run(searching, by=fits) == [*ADAS[:3], T4S[1], ADAS[3]]


def test_it_waits_for_the_gpu_of_a_kind_in_doubt_and_runs_nothing_else_meanwhile() -> None:
    searching = guided(ListedGuide([*ADAS, *T4S], falling_to(0.01, after=3), doubted=T4S))
    assert run(searching, by=fits, most=3) == ADAS[:3]
    for _ in range(3):
        assert searching.suggest(on_gpu("RTX6000Ada")) is None
        assert searching.wished() == T4S[:1]
        assert searching.unfinished == 1
    assert searching.suggest() == T4S[0]
    # It runs: nothing more is wanted, whatever is free.
    assert (searching.suggest(), searching.remaining, searching.unfinished) == (None, 0, 1)
    searching.tell(fits(T4S[0]))
    assert (searching.suggest(), searching.stopped_by) == (None, "chance")


def test_a_look_that_fails_or_dies_is_taken_elsewhere_and_a_kind_that_leaves_is_not_waited_for() -> None:
    searching = guided(ListedGuide([*ADAS, *T4S], falling_to(0.01, after=3), doubted=T4S))
    assert run(searching, by=fits, most=3) == ADAS[:3]
    assert searching.suggest() == T4S[0]
    searching.tell(record(T4S[0], FAILED))
    assert searching.suggest() == T4S[1]
    searching.abandon(T4S[1])
    assert searching.suggest(nothing) is None
    assert searching.wished() == T4S[2:3]
    searching.close(on_gpu("T4"))
    assert (searching.suggest(), searching.unfinished, searching.stopped_by) == (None, 0, "chance")


def test_of_several_kinds_in_doubt_the_one_whose_gpu_is_free_is_looked_at_first() -> None:
    kinds = tuple(facts.gpus())[: AHEAD + 3]
    many = replace(SPACE, models=("TinyLlama-1.1B",), gpus=kinds, batch_sizes=(1, 2, 4))
    first, *rest = ([c for c in many.configurations() if c.gpu == gpu] for gpu in kinds)
    guide = ListedGuide(first, falling_to(0.01, after=3), doubted=[each[0] for each in rest])
    searching = guided(guide, space=many)
    assert run(searching, by=fits, most=3) == first
    assert searching.in_doubt == kinds[1:]
    assert searching.suggest(on_gpu(kinds[-1])) == rest[-1][0]
    assert searching.suggest(nothing) is None
    # All of them are wanted, so each may have the GPU that comes free, however many wait.
    assert searching.wished() == [each[0] for each in rest[:-1]]
    assert searching.suggest(on_gpu(kinds[-2])) == rest[-2][0]


def test_a_meter_that_fails_on_a_kind_leaves_it_in_doubt_and_that_trial_is_lost() -> None:
    guide = ListedGuide([*ADAS, *T4S], falling_to(0.01, after=3), doubted=T4S)
    searching = guided(guide, question=asking("energy"))
    assert run(searching, by=fits, most=3) == ADAS[:3]
    assert searching.suggest() == T4S[0]
    searching.tell(record(T4S[0], measurement(prefill_j=None)))
    assert searching.suggest() == T4S[1]
    assert guide.doubts[-1] == (frozenset(ADAS[:3]), frozenset(T4S[:1]), frozenset(T4S[:1]))


def test_a_refused_look_is_known_and_what_was_closed_untried_is_not_lost() -> None:
    guide = ListedGuide([*ADAS, *T4S], falling_to(0.01, after=3), doubted=T4S)
    searching = guided(guide)
    run(searching, by=fits, most=3)
    assert searching.suggest() == T4S[0]
    searching.tell(record(T4S[0], TOO_BIG))
    searching.close(lambda configuration: configuration in T4S[1:3])
    searching.suggest(nothing)
    assert guide.doubts[-1] == (frozenset([*ADAS[:3], T4S[0]]), frozenset(T4S[1:3]), frozenset())


def test_the_rivals_are_worked_out_once_for_what_is_known() -> None:
    guide = ListedGuide(ADAS, falling_to(0.01, after=3), doubted=T4S)
    searching = guided(guide)
    run(searching, by=fits, most=3)
    for _ in range(5):
        assert (searching.suggest(nothing), searching.in_doubt) == (None, ("T4",))
    assert len(guide.doubts) == 1


def test_the_budget_ends_a_search_whatever_is_in_doubt() -> None:
    searching = guided(ListedGuide(ADAS, falling_to(0.01, after=3), doubted=T4S), trials=3)
    assert run(searching, by=fits) == ADAS[:3]
    assert searching.stopped_by == "trials"
    # A level of 0 never stops for a chance, so nothing is in doubt at its end either.
    assert run(guided(ListedGuide(BACKWARDS, lambda _: 0.0, doubted=T4S), chance_left=0.0), by=fits) == BACKWARDS


def test_what_waits_for_its_gpu_when_it_stops_is_dropped_and_counts_as_untried() -> None:
    guide = ListedGuide([*ADAS[:3], *T4S, *ADAS[3:]], falling_to(0.0, after=3))
    searching = guided(guide)
    ran = [searching.suggest(on_gpu("RTX6000Ada")) for _ in range(3)]
    assert ran == ADAS[:3]
    searching.suggest(on_gpu("RTX6000Ada"))
    assert searching.wished() == T4S[:AHEAD]
    for configuration in ADAS[:3]:
        searching.tell(fits(configuration))
    # The chance is that of what is not being measured: the waiting are as untried as the rest.
    assert guide.chances == []
    assert searching.suggest(nothing) is None
    assert guide.chances == [(frozenset(ADAS[:3]), frozenset(), frozenset())]
    assert (searching.wished(), searching.unfinished, searching.remaining) == ([], 0, 0)
    assert TrialState.RUNNING not in [each.state for each in searching.study.trials]


def test_what_waits_was_chosen_before_the_news_and_is_chosen_again_without_a_trace() -> None:
    # One worker: while it is busy the guide is asked ahead, and each record makes it think again.
    guide = ListedGuide(POINTS)
    searching = guided(guide)
    first = searching.suggest()
    assert first is not None
    assert searching.suggest(nothing) is None
    assert searching.wished() == POINTS[1 : 1 + AHEAD]
    guide.order = BACKWARDS
    searching.tell(fits(first))
    assert searching.wished() == []
    assert searching.suggest() == BACKWARDS[0]
    assert [configuration_of(each) for each in searching.study.trials] == [first, BACKWARDS[0]]


def test_what_died_or_was_cut_short_still_waits_after_the_news(tmp_path: Path) -> None:
    first = guided(ListedGuide(BACKWARDS), storage=journal(tmp_path))
    cut = first.suggest()
    searching = guided(ListedGuide(POINTS), storage=journal(tmp_path))
    assert searching.suggest(nothing) is None  # the one cut short is among those that wait
    died = searching.suggest(lambda configuration: configuration == POINTS[0])
    assert died == POINTS[0]
    searching.again(died)
    searching.learn(fits(POINTS[5]))
    assert searching.wished() == [died, cut]


def test_what_died_waits_untried_and_is_not_run_again_once_the_chance_is_low() -> None:
    guide = ListedGuide(POINTS, falling_to(0.0, after=3))
    searching = guided(guide)
    ran = [searching.suggest() for _ in range(4)]
    assert ran == POINTS[:4]
    searching.again(POINTS[3])
    for configuration in POINTS[:3]:
        searching.tell(fits(configuration))
    assert searching.unfinished == 1
    assert searching.suggest() is None
    # Nobody measures it now, so the chance is also that of the one that died.
    assert guide.chances == [(frozenset(POINTS[:3]), frozenset(), frozenset())]
    assert (searching.wished(), searching.unfinished, searching.stopped_by) == ([], 0, "chance")


def test_a_found_record_of_what_only_waits_is_its_outcome() -> None:
    searching = guided(ListedGuide(POINTS))
    searching.suggest(nothing)
    searching.learn(fits(POINTS[1]))
    assert (searching.told, searching.unfinished) == (1, 0)
    assert POINTS[1] not in run(searching, by=fits)


def test_the_chance_is_worked_out_once_for_what_is_known() -> None:
    guide = ListedGuide(BACKWARDS, lambda _: 0.5)
    searching = guided(guide)
    run(searching, by=fits, most=4)
    before = len(guide.chances)
    for _ in range(20):
        assert searching.remaining == 8
        assert searching.chance_left == 0.5
    assert len(guide.chances) == before + 1


def test_kinds_that_are_closed_leave_the_rest_to_the_chance() -> None:
    guide = ListedGuide(POINTS, lambda _: 0.5)
    searching = guided(guide)
    searching.close(on_gpu("T4"))
    run(searching, by=fits)
    assert searching.stopped_by == "closed"
    assert all(closed >= set(T4S) for _, _, closed in guide.chances)


# ---- being killed ----


def test_it_goes_on_where_it_was_killed_and_first_with_what_was_running(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    first = guided(ListedGuide(BACKWARDS), storage=journal(tmp_path))
    run(first, by=fits, most=4, into=kept)
    stale = [first.suggest(), first.suggest()]
    again = guided(ListedGuide(POINTS), storage=journal(tmp_path), records=kept)
    handed = run(again, by=fits, into=kept)
    assert handed[:2] == stale == BACKWARDS[4:6]
    assert handed[2:] == [each for each in POINTS if each not in BACKWARDS[:6]]
    assert TrialState.RUNNING not in [each.state for each in again.study.trials]


def test_a_search_that_had_stopped_stays_stopped_and_says_the_same(tmp_path: Path) -> None:
    kept: dict[Configuration, TrialRecord] = {}
    chance = falling_to(0.01, after=5)
    first = guided(ListedGuide(BACKWARDS, chance), storage=journal(tmp_path))
    run(first, by=fits, into=kept)
    again = guided(ListedGuide(BACKWARDS, chance), storage=journal(tmp_path), records=kept)
    assert (again.remaining, again.stopped_by, again.chance_left) == (0, "chance", 0.01)
    lower = guided(ListedGuide(BACKWARDS, chance), storage=journal(tmp_path), records=kept, chance_left=0.005)
    assert lower.remaining == 7  # a stricter level goes on from the same records


# ---- with the real guide ----


SCENARIO = inputs.scenario({"region": "QC"}, SPACE.gpus)
CARBON = inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=0.2, slo_latency=None, scenario=SCENARIO)


def real(records: Mapping[Configuration, TrialRecord] | None = None, storage: BaseStorage | None = None) -> Search:
    """Carbon in Québec over the twelve points, under a limit."""
    guide = Guide(configurations=tuple(SPACE.configurations()), workload=SHORT, question=CARBON, seed=0)
    return guided(guide, question=CARBON, records=records, storage=storage)


def modelled(configuration: Configuration) -> TrialRecord:
    return trial(RooflineBench(), configuration, SHORT)


def test_killed_after_any_trial_the_real_guide_takes_the_same_way(tmp_path: Path) -> None:
    whole: dict[Configuration, TrialRecord] = {}
    way = run(real(), by=modelled, into=whole)
    assert LEAST_MEASURED <= len(way) < len(POINTS)
    kept: dict[Configuration, TrialRecord] = {}
    for _ in way:
        run(real(kept, journal(tmp_path)), by=modelled, most=1, into=kept)
    assert list(kept) == way
    assert real(kept, journal(tmp_path)).stopped_by == "chance"


def test_the_real_guide_finds_the_best_of_its_own_world() -> None:
    kept: dict[Configuration, TrialRecord] = {}
    run(real(), by=modelled, into=kept)
    found, whole = answer(kept.values(), CARBON), answer(map(modelled, POINTS), CARBON)
    assert found.best is not None
    assert whole.best is not None
    assert found.best.record.configuration == whole.best.record.configuration


def test_a_world_that_refuses_everything_is_tried_to_the_end() -> None:
    searching = real()
    assert len(run(searching, by=lambda c: record(c, TOO_BIG))) == len(POINTS)
    assert searching.stopped_by == "exhausted"
