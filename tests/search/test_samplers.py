"""Every sampler through a search: no point twice, the optimum within the whole space, limits told, kills survived."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from carbonsweep import inputs
from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search.guided.guide import Guide
from carbonsweep.search.journal import journal
from carbonsweep.search.ledger import REFUSED
from carbonsweep.search.objectives import Question
from carbonsweep.search.sampling import SAMPLERS, SamplerName
from carbonsweep.search.space import Space
from carbonsweep.search.study import Search
from carbonsweep.trial import trial
from tests.conftest import SHORT
from tests.search.test_study import configuration_of, run, states

SPACE = Space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 4, 16, 64),
    dtypes=("fp16",),
    engines=("paper",),
)
POINTS = list(SPACE.configurations())
SCENARIO = inputs.scenario({"region": "QC"}, SPACE.gpus)
EVERY = pytest.mark.parametrize("sampler", SAMPLERS)


@pytest.fixture(autouse=True)
def what_gp_needs(request: pytest.FixtureRequest) -> None:
    if "[gp" in request.node.name or "-gp]" in request.node.name:
        pytest.importorskip("torch", reason="gp needs the extra 'measure'")


def question(*names: str) -> Question:
    """Tokens under a limit that cuts what has most of them."""
    return inputs.question(objective=names, slo_ttft=None, slo_tpot=0.05, slo_latency=None, scenario=SCENARIO)


def search(
    sampler: SamplerName,
    asked: Question,
    *,
    trials: int = len(POINTS),
    seed: int = 0,
    known: dict[Configuration, TrialRecord] | None = None,
    storage: BaseStorage | None = None,
) -> Search:
    """Guided does not stop by itself here."""
    guide = Guide(configurations=POINTS, workload=SHORT, question=asked, seed=seed) if sampler == "guided" else None
    return Search(
        space=SPACE,
        question=asked,
        name="test",
        trials=trials,
        seed=seed,
        known=known or {},
        sampler=sampler,
        storage=storage,
        guide=guide,
        chance_left=0.0,
    )


def modelled(configuration: Configuration) -> TrialRecord:
    return trial(RooflineBench(), configuration, SHORT)


@EVERY
@pytest.mark.parametrize("names", [("throughput",), ("carbon", "latency")], ids=["one objective", "two"])
def test_each_visits_every_point_once_and_finds_the_optimum(sampler: SamplerName, names: tuple[str, ...]) -> None:
    asked = question(*names)
    kept: dict[Configuration, TrialRecord] = {}
    searching = search(sampler, asked)
    handed = run(searching, by=modelled, into=kept)
    assert sorted(handed) == sorted(POINTS)
    assert (searching.remaining, searching.stopped_by, searching.suggest()) == (0, "exhausted", None)
    found, whole = answer(kept.values(), asked), answer(map(modelled, POINTS), asked)
    assert found.best is not None
    assert whole.best is not None
    assert found.best.record.key == whole.best.record.key
    assert {c.record.key for c in found.front} == {c.record.key for c in whole.front}
    # Optuna's own best keeps the limit: it was told what violates it.
    best = {configuration_of(each, SPACE) for each in searching.study.best_trials}
    assert best <= {c.record.configuration for c in whole.feasible}
    assert best


@EVERY
def test_each_tells_optuna_every_limit_and_what_does_not_fit(sampler: SamplerName) -> None:
    asked = question("throughput")
    searching = search(sampler, asked)
    run(searching, by=modelled)
    complete = searching.study.get_trials(states=(TrialState.COMPLETE,))
    seen = set()
    for frozen in complete:
        made = modelled(configuration_of(frozen, SPACE))
        if made.measurement is None:
            seen.add("refused")
            assert frozen.constraints[REFUSED] == 1.0
        else:
            excess = asked.slo.excess(made.measurement)
            seen.add("violated" if excess["tpot_s"] > 0 else "kept")
            assert frozen.constraints == {REFUSED: 0.0, **excess}
    assert seen == {"refused", "violated", "kept"}


@EVERY
def test_each_keeps_its_budget_with_three_in_flight_and_repeats_itself_with_the_same_seed(sampler: SamplerName) -> None:
    def way() -> list[Configuration]:
        searching = search(sampler, question("throughput"), trials=12)
        flight: list[Configuration] = []
        handed: list[Configuration] = []
        while (configuration := searching.suggest()) is not None:
            handed.append(configuration)
            flight.append(configuration)
            if len(flight) == 3:
                searching.tell(modelled(flight.pop(0)))
        assert searching.stopped_by == "trials"
        return handed

    first = way()
    assert len(first) == len(set(first)) == 12
    assert way() == first


@EVERY
def test_each_goes_on_after_a_kill_and_visits_everything_once(sampler: SamplerName, tmp_path: Path) -> None:
    asked = question("throughput")
    kept: dict[Configuration, TrialRecord] = {}
    finished: list[Configuration] = []
    for most in (5, 4):
        searching = search(sampler, asked, storage=journal(tmp_path), known=kept)
        finished += run(searching, by=modelled, most=most, into=kept)
        searching.suggest()  # and the process dies
    last = search(sampler, asked, storage=journal(tmp_path), known=kept)
    finished += run(last, by=modelled, into=kept)
    assert sorted(finished) == sorted(POINTS)
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states(last.study))


@EVERY
def test_each_counts_records_of_before_as_trials_and_runs_only_the_rest(sampler: SamplerName) -> None:
    known = {point: modelled(point) for point in POINTS[::3]}
    searching = search(sampler, question("throughput"), known=known, trials=10)
    assert (searching.told, searching.reused, searching.remaining) == (len(known), len(known), 10 - len(known))
    handed = run(searching, by=modelled)
    assert not set(handed) & set(known)
    assert len(handed) == 10 - len(known)


@pytest.mark.parametrize("sampler", ["random", "exhaustive"])
def test_a_seed_is_an_order_that_a_kill_does_not_change(sampler: SamplerName, tmp_path: Path) -> None:
    asked = question("throughput")
    whole = run(search(sampler, asked, seed=3), by=modelled)
    assert whole != run(search(sampler, asked, seed=4), by=modelled)
    kept: dict[Configuration, TrialRecord] = {}
    for _ in whole:
        run(search(sampler, asked, seed=3, storage=journal(tmp_path), known=kept), by=modelled, most=1, into=kept)
    assert list(kept) == whole


def test_random_and_exhaustive_differ_in_the_budget_alone() -> None:
    asked = question("throughput")
    drawn = run(search("random", asked, trials=5), by=modelled)
    assert drawn == run(search("exhaustive", asked), by=modelled)[:5]


def test_a_gpu_that_happens_to_be_free_does_not_bend_a_random_order() -> None:
    asked = question("throughput")
    order = run(search("random", asked, trials=8), by=modelled)
    searching = search("random", asked, trials=8)
    on_t4 = [searching.suggest(lambda configuration: configuration.gpu == "T4") for _ in range(3)]
    first_t4s = [configuration for configuration in order if configuration.gpu == "T4"]
    assert on_t4 == first_t4s[:3]
    ahead = order[: order.index(first_t4s[2])]
    assert searching.wished() == [configuration for configuration in ahead if configuration.gpu != "T4"]
