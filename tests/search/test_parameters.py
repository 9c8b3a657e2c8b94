"""Optuna proposes exactly the points of a space, whatever its GPU kinds have in common, and reads them back."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from carbonsweep.domain import Configuration, Dtype
from carbonsweep.search import parameters
from carbonsweep.search.space import KindChoices, Space

PLAIN = Space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "H100"),
    gpu_counts=(1,),
    batch_sizes=(1, 2, 4),
    dtypes=("fp16",),
    engines=("paper", "healthy"),
)
MIXED = Space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("CPU", "T4", "H100", "L4"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 2),
    dtypes=("fp16", "fp32"),
    engines=("transformers", "paper", "healthy"),
    of_kind=(
        KindChoices(gpu="CPU", dtypes=("fp32",), engines=("transformers",)),
        KindChoices(gpu="T4", dtypes=("fp16",), engines=("transformers",)),
        KindChoices(gpu="H100", dtypes=("fp16",), engines=("paper", "healthy")),
        KindChoices(gpu="L4", dtypes=("fp16",), engines=("paper", "healthy")),
    ),
)
SPACES = pytest.mark.parametrize("space", [PLAIN, MIXED], ids=["plain", "mixed"])


@pytest.fixture(params=["memory", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    if request.param == "memory":
        return InMemoryStorage()
    return JournalStorage(JournalFileBackend(str(tmp_path / "journal")))


def exhaustive(seed: int = 0) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return BruteForceSampler(seed=seed)


def study(sampler: BaseSampler, storage: BaseStorage | None = None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(study_name="test", storage=storage, sampler=sampler, load_if_exists=True)


def tell(asked: optuna.Study, trial: optuna.Trial, value: float | None) -> None:
    """The exhaustive sampler stops an optimize loop that is not run; the trial is told all the same."""
    try:
        asked.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
    except RuntimeError:
        assert asked.trials[trial.number].state.is_finished()


def handed_out(space: Space, asked: optuna.Study, count: int) -> list[Configuration]:
    made = []
    for _ in range(count):
        trial = parameters.ask(asked, space)
        made.append(parameters.configuration(space, trial.params))
        tell(asked, trial, float(made[-1].batch_size))
    return made


def test_the_mixed_space_of_these_tests_has_48_points() -> None:
    # 2 models x 2 counts x 2 batches = 8, times 1 (CPU) + 1 (T4) + 2 (H100) + 2 (L4) choices of dtype and engine.
    assert MIXED.size == 8 * (1 + 1 + 2 + 2)


@SPACES
def test_the_exhaustive_sampler_hands_out_each_point_once_and_no_other(space: Space, storage: BaseStorage) -> None:
    made = handed_out(space, study(exhaustive(), storage), space.size)
    assert Counter(made) == Counter(space.configurations())


@SPACES
def test_with_all_points_in_flight_at_once_each_is_handed_out_once(space: Space) -> None:
    asked = study(exhaustive())
    made = [parameters.configuration(space, parameters.ask(asked, space).params) for _ in range(space.size)]
    assert Counter(made) == Counter(space.configurations())


@SPACES
def test_the_tree_estimator_proposes_points_of_the_space_only(space: Space, storage: BaseStorage) -> None:
    # More than the ten random ones it starts with.
    made = handed_out(space, study(TPESampler(seed=0), storage), 25)
    assert all(configuration in space for configuration in made)


def test_the_tree_estimator_learns_which_engine_is_best_on_the_kinds_that_share_it() -> None:
    def seconds(configuration: Configuration) -> float:
        return 1.0 if configuration.engine == "healthy" else 2.0

    # 16 of the 48 points are the best. Of 3 x 30 later trials a blind sampler has 30 with a standard deviation of 4.5:
    # 50 is more than four of them away.
    hits = 0
    for seed in range(3):
        asked = study(TPESampler(seed=seed))
        for number in range(45):
            trial = parameters.ask(asked, MIXED)
            configuration = parameters.configuration(MIXED, trial.params)
            tell(asked, trial, seconds(configuration))
            hits += number >= 15 and configuration.engine == "healthy"
    assert hits >= 50


@SPACES
def test_parameters_are_read_back_as_the_configuration_they_came_from(space: Space) -> None:
    for configuration in space.configurations():
        assert parameters.configuration(space, parameters.params(space, configuration)) == configuration


def test_names_are_plain_where_the_kinds_agree_and_carry_the_choices_where_they_do_not() -> None:
    axes = ["model", "gpu", "gpu_count", "batch_size@1+2+4"]
    for configuration in PLAIN.configurations():
        assert list(parameters.params(PLAIN, configuration)) == [*axes, "dtype", "engine"]
    axes = ["model", "gpu", "gpu_count@1+2", "batch_size@1+2"]
    names = {c.gpu: list(parameters.params(MIXED, c)) for c in MIXED.configurations()}
    assert names == {
        "CPU": [*axes, "dtype@fp32", "engine@transformers"],
        "T4": [*axes, "dtype@fp16", "engine@transformers"],
        "H100": [*axes, "dtype@fp16", "engine@paper+healthy"],
        "L4": [*axes, "dtype@fp16", "engine@paper+healthy"],
    }


def test_numbers_are_ranks_so_that_a_sampler_knows_what_lies_between() -> None:
    # Given in any order they ascend: 8 is rank 1, between 4 and 16, one step from each.
    space = replace(PLAIN, batch_sizes=(16, 4, 64, 8))
    first = next(space.configurations())
    name = "batch_size@4+8+16+64"
    ranks = {size: parameters.params(space, replace(first, batch_size=size))[name] for size in (4, 8, 16, 64)}
    assert ranks == {4: 0, 8: 1, 16: 2, 64: 3}
    assert parameters.distributions(space, first)[name] == IntDistribution(0, 3)
    assert parameters.configuration(space, parameters.params(space, first) | {name: 1}).batch_size == 8


def test_a_long_axis_has_a_short_name() -> None:
    space = replace(PLAIN, batch_sizes=tuple(range(1, 401)))
    assert "batch_size@1+...+400" in parameters.params(space, next(space.configurations()))


def test_the_tree_estimator_uses_the_order_of_batch_sizes() -> None:
    # One best of 64 sizes and ever worse ones to both sides: after 12 random and 24 more proposals, those of the order
    # lie close to it. Without an order, each of 64 categories is a stranger to its neighbours: blind, a proposal is 17
    # away on average (of 1..64 around 40: (sum 1..39 + sum 1..24) / 64 = 16.9).
    space = replace(PLAIN, models=("LLaMA-7B",), gpus=("T4",), batch_sizes=tuple(range(1, 65)), engines=("paper",))
    away = []
    for seed in range(3):
        asked = study(TPESampler(seed=seed, n_startup_trials=12))
        for number in range(36):
            trial = parameters.ask(asked, space)
            size = parameters.configuration(space, trial.params).batch_size
            tell(asked, trial, float((size - 40) ** 2))
            away += [abs(size - 40)] if number >= 24 else []
    assert sum(away) / len(away) < 8


some_dtypes = st.lists(st.sampled_from(["fp16", "bf16", "fp32"]), min_size=1, unique=True).map(tuple)
some_engines = st.lists(st.sampled_from(["transformers", "paper", "healthy"]), min_size=1, unique=True).map(tuple)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to three kinds, some of them restricted at random; the axes hold what any kind has."""
    gpus = ("T4", "L4", "H100")[: draw(st.integers(1, 3))]
    of_kind = tuple(
        KindChoices(gpu=gpu, dtypes=draw(some_dtypes), engines=draw(some_engines))
        for gpu in gpus
        if draw(st.booleans())
    )
    dtypes: tuple[Dtype, ...] = ("fp16", "bf16", "fp32")
    return Space(
        models=("TinyLlama-1.1B",),
        gpus=gpus,
        gpu_counts=(1,),
        batch_sizes=(1, 2),
        dtypes=dtypes,
        engines=("transformers", "paper", "healthy"),
        of_kind=of_kind,
    )


@given(spaces())
def test_a_name_has_the_same_choices_on_every_configuration(space: Space) -> None:
    seen: dict[str, BaseDistribution] = {}
    for configuration in space.configurations():
        made = parameters.distributions(space, configuration)
        values = parameters.params(space, configuration)
        assert list(made) == list(values)
        for name, distribution in made.items():
            assert seen.setdefault(name, distribution) == distribution
            assert distribution._contains(distribution.to_internal_repr(values[name]))


@settings(max_examples=15)
@given(spaces())
def test_any_space_is_exhausted_exactly(space: Space) -> None:
    assert Counter(handed_out(space, study(exhaustive()), space.size)) == Counter(space.configurations())


@SPACES
def test_what_was_told_from_records_is_not_handed_out_again(space: Space, storage: BaseStorage) -> None:
    asked = study(exhaustive(), storage)
    points = list(space.configurations())
    for known in points[::2]:
        asked.add_trial(
            create_trial(
                value=1.0,
                params=parameters.params(space, known),
                distributions=parameters.distributions(space, known),
            )
        )
    assert Counter(handed_out(space, asked, len(points[1::2]))) == Counter(points[1::2])


@SPACES
@pytest.mark.parametrize("sampler", [exhaustive(), TPESampler(seed=0)], ids=["exhaustive", "sampled"])
def test_what_is_queued_is_handed_out_first_whatever_its_kind(
    space: Space, sampler: BaseSampler, storage: BaseStorage
) -> None:
    asked = study(sampler, storage)
    queue = list(space.configurations())[::3]
    for configuration in queue:
        asked.enqueue_trial(parameters.params(space, configuration))
    assert handed_out(space, asked, len(queue)) == queue


@SPACES
@pytest.mark.parametrize("had", range(7))
def test_a_trial_killed_while_it_was_asked_for_keeps_what_it_had_and_gets_the_rest(
    space: Space, had: int, tmp_path: Path
) -> None:
    path = str(tmp_path / "journal")
    killed_in = study(exhaustive(), JournalStorage(JournalFileBackend(path)))
    handed_out(space, killed_in, 3)
    stale = killed_in.ask()
    chosen = list(space.configurations())[-1]
    values = parameters.params(space, chosen)
    for name, distribution in list(parameters.distributions(space, chosen).items())[:had]:
        # As if the sampler had chosen it.
        killed_in._storage.set_trial_param(
            stale._trial_id, name, distribution.to_internal_repr(values[name]), distribution
        )

    again = study(exhaustive(), JournalStorage(JournalFileBackend(path)))
    (found,) = again.get_trials(states=(TrialState.RUNNING,))
    trial = optuna.Trial(again, found._trial_id)
    configuration = parameters.completed(trial, space)
    assert configuration in space
    axes = list(space.axes())[:had]
    assert [getattr(configuration, axis) for axis in axes] == [getattr(chosen, axis) for axis in axes]
    assert parameters.configuration(space, trial.params) == configuration
    tell(again, trial, None)
    # The exhaustive sampler goes on over what it left behind: every other point, each once.
    rest = handed_out(space, again, space.size - 4)
    assert len(set(rest)) == space.size - 4
    assert configuration not in rest


def test_a_queued_trial_killed_while_it_was_asked_for_becomes_what_was_queued(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    killed_in = study(exhaustive(), JournalStorage(JournalFileBackend(path)))
    queued = list(MIXED.configurations())[7]
    killed_in.enqueue_trial(parameters.params(MIXED, queued))
    killed_in.ask()
    again = study(exhaustive(), JournalStorage(JournalFileBackend(path)))
    (found,) = again.get_trials(states=(TrialState.RUNNING,))
    assert parameters.completed(optuna.Trial(again, found._trial_id), MIXED) == queued


def test_a_trial_that_lacks_a_parameter_is_no_configuration() -> None:
    values = parameters.params(MIXED, next(MIXED.configurations()))
    values.pop("engine@transformers")
    with pytest.raises(KeyError, match="engine@transformers"):
        parameters.configuration(MIXED, values)
