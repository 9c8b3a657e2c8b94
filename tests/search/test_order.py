"""The order in which measuring pays: each model loaded as seldom as possible, small batches first."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from carbonsweep.domain import Configuration
from carbonsweep.search.order import grouped, next_in_order, weights_group
from carbonsweep.search.space import Space
from tests.conftest import configuration

SPACE = Space(
    models=("LLaMA-7B", "TinyLlama-1.1B"),
    gpus=("T4", "L4"),
    gpu_counts=(1,),
    batch_sizes=(8, 1, 4),
    dtypes=("fp16", "fp32"),
    engines=("transformers",),
)


def switches(order: list[Configuration]) -> int:
    """How often one worker that runs `order` loads weights."""
    groups = [weights_group(each) for each in order]
    return sum(before != after for before, after in zip([None, *groups], groups, strict=False))


def test_a_group_is_everything_but_the_batch_size() -> None:
    start = configuration()
    assert weights_group(start) == weights_group(configuration(batch_size=64))
    for changes in ({"model": "LLaMA-7B"}, {"gpu": "L4"}, {"gpu_count": 2}, {"dtype": "fp32"}, {"engine": "healthy"}):
        assert weights_group(start) != weights_group(configuration(**changes))


@given(st.permutations(list(SPACE.configurations())))
def test_one_worker_loads_each_group_once_and_sees_its_batch_sizes_ascending(mixed: list[Configuration]) -> None:
    order = grouped(mixed)
    assert sorted(order) == sorted(mixed)
    assert switches(order) == 8  # 2 models x 2 GPUs x 2 dtypes
    for before, after in itertools.pairwise(order):
        assert before.batch_size < after.batch_size or weights_group(before) != weights_group(after)
    gpus = [each.gpu for each in order]
    assert sum(a != b for a, b in itertools.pairwise(gpus)) == 1


def test_groups_keep_the_users_order() -> None:
    first, *_, last = grouped(SPACE.configurations())
    assert (first.gpu, first.model, first.dtype) == ("T4", "LLaMA-7B", "fp16")
    assert (last.gpu, last.model, last.dtype) == ("L4", "TinyLlama-1.1B", "fp32")


def test_a_worker_stays_with_the_weights_it_holds() -> None:
    a, b = configuration(model="LLaMA-7B"), configuration(batch_size=8)
    assert next_in_order([a, b], [], configuration(batch_size=4)) == b
    assert next_in_order([a, b], [], None) == a


def test_a_second_worker_takes_a_group_of_its_own_and_joins_one_only_when_none_is_left() -> None:
    running = configuration(batch_size=1)
    joining, own = configuration(batch_size=2), configuration(model="LLaMA-7B")
    assert next_in_order([joining, own], [running], None) == own
    assert next_in_order([joining], [running], None) == joining


def test_a_new_group_is_for_the_gpu_with_the_fewest_trials() -> None:
    running = configuration(gpu="T4")
    more, other = configuration(gpu="T4", model="LLaMA-7B"), configuration(gpu="L4", model="LLaMA-7B")
    assert next_in_order([more, other], [running], None) == other


@given(st.integers(1, 5), st.integers(0, 1000))
def test_workers_that_never_finish_together_load_each_group_about_once(workers: int, seed: int) -> None:
    # Each worker is busy for a random time; the next configuration goes to the one that has just finished.
    dealer, untried = random.Random(seed), grouped(SPACE.configurations())
    held: list[Configuration | None] = [None] * workers
    loads, last = 0, None
    for worker in [*range(workers), *[dealer.randrange(workers) for _ in range(1000)]]:
        if not untried:
            break
        last = held[worker]
        running = [each for i, each in enumerate(held) if each is not None and i != worker]
        chosen = next_in_order(untried, running, last)
        loads += last is None or weights_group(last) != weights_group(chosen)
        held[worker] = chosen
        untried.remove(chosen)
    assert not untried
    # 8 groups once each. Once all have begun, at most one a worker is unfinished, with two of its three sizes left:
    # only those can still be taken by a worker that held other weights.
    assert 8 <= loads <= 8 + 2 * workers
