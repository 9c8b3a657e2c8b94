"""A space is the product of what the user listed, names looked up, each once."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonsweep import facts
from carbonsweep.domain import DTYPE_BYTES
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.search.space import KindChoices, Space, space
from tests.conftest import configuration


def made(**changes: Any) -> Space:
    start: dict[str, Any] = {
        "models": ("TinyLlama-1.1B", "LLaMA-7B"),
        "gpus": ("T4", "RTX6000Ada"),
        "gpu_counts": (1,),
        "batch_sizes": (1, 2, 4),
        "dtypes": ("fp16",),
        "engines": ("paper",),
    }
    return space(**{**start, **changes})


def some_of(names: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=5).map(tuple)


@given(
    some_of(facts.language_models()),
    some_of([*facts.gpus(), facts.CPU]),
    some_of([1, 2, 4]),
    some_of([1, 2, 4, 8]),
    some_of(DTYPE_BYTES),
)
def test_a_space_is_the_product_of_its_axes_each_point_once(
    models: tuple[str, ...],
    gpus: tuple[str, ...],
    counts: tuple[int, ...],
    batches: tuple[int, ...],
    dtypes: tuple[str, ...],
) -> None:
    whole = made(models=models, gpus=gpus, gpu_counts=counts, batch_sizes=batches, dtypes=dtypes)
    points = [(c.model, c.gpu, c.gpu_count, c.batch_size, c.dtype, c.engine) for c in whole.configurations()]
    axes = (set(models), set(gpus), set(counts), set(batches), set(dtypes), {"paper"})
    assert set(points) == set(itertools.product(*axes))
    assert len(points) == whole.size == len(set(points))
    assert all(point in whole for point in whole.configurations())


def test_the_default_space_has_42_points() -> None:
    # 3 models x 2 GPUs x 7 batch sizes
    whole = made(models=("TinyLlama-1.1B", "OpenLLaMA-3B", "LLaMA-7B"), batch_sizes=(1, 2, 4, 8, 16, 32, 64))
    assert whole.size == 42


def test_points_come_in_the_users_order_with_the_last_axis_fastest() -> None:
    whole = made(gpus=("RTX6000Ada", "T4"), models=("TinyLlama-1.1B",), batch_sizes=(4, 1))
    assert [(c.gpu, c.batch_size) for c in whole.configurations()] == [
        ("RTX6000Ada", 4),
        ("RTX6000Ada", 1),
        ("T4", 4),
        ("T4", 1),
    ]


def test_names_are_found_in_any_case_and_repetitions_dropped() -> None:
    whole = made(gpus=("t4", "rtx6000ada", "T4", "cpu"), dtypes=("FP16", "fp16"), batch_sizes=(2, 2, 1))
    assert whole.gpus == ("T4", "RTX6000Ada", "CPU")
    assert whole.dtypes == ("fp16",)
    assert whole.batch_sizes == (2, 1)


@pytest.mark.parametrize(
    ("axis", "names", "closest"),
    [
        ("models", ("TinyLama-1.1B",), "TinyLlama-1.1B"),
        ("gpus", ("RTX6000",), "RTX6000Ada"),
        ("dtypes", ("bp16",), "bf16"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(axis: str, names: tuple[str, ...], closest: str) -> None:
    with pytest.raises(UnknownFact, match=rf"did you mean .*{closest}"):
        made(**{axis: names})


@pytest.mark.parametrize("axis", ["models", "gpus", "gpu_counts", "batch_sizes", "dtypes", "engines"])
def test_an_empty_axis_is_refused_by_the_name_of_its_option(axis: str) -> None:
    option = {"engines": "engine"}.get(axis, axis.replace("_", "-"))
    with pytest.raises(BadInput, match=f"--{option} is empty"):
        made(**{axis: ()})


@pytest.mark.parametrize("axis", ["gpu_counts", "batch_sizes"])
@pytest.mark.parametrize("number", [0, -8])
def test_counts_below_one_are_refused(axis: str, number: int) -> None:
    with pytest.raises(BadInput, match=f"holds {number}"):
        made(**{axis: (1, number)})


def test_what_is_not_listed_is_not_in_the_space() -> None:
    assert configuration() in made()
    assert configuration(batch_size=3) not in made()
    assert configuration(engine="healthy") not in made()
    assert "TinyLlama-1.1B" not in made()


# ---- kinds with choices of their own ----

T4_MEASURED = KindChoices(gpu="T4", dtypes=("fp16",), engines=("transformers",))
ADA_MODELLED = KindChoices(gpu="RTX6000Ada", dtypes=("fp16", "fp32"), engines=("paper", "healthy"))


def mixed(**changes: Any) -> Space:
    start: dict[str, Any] = {
        "dtypes": ("fp16", "fp32"),
        "engines": ("transformers", "paper", "healthy"),
        "of_kind": (T4_MEASURED, ADA_MODELLED),
    }
    return made(**{**start, **changes})


def test_a_kind_is_tried_with_its_own_dtypes_and_engines_only() -> None:
    whole = mixed()
    tried = {(c.gpu, c.dtype, c.engine) for c in whole.configurations()}
    assert tried == {
        ("T4", "fp16", "transformers"),
        *(("RTX6000Ada", dtype, engine) for dtype in ("fp16", "fp32") for engine in ("paper", "healthy")),
    }
    # 2 models x 3 batch sizes, times 1 on the T4 and 2 x 2 on the other.
    assert whole.size == len(list(whole.configurations())) == 6 * (1 + 4)


def test_what_one_kind_has_is_not_in_the_space_on_another() -> None:
    whole = mixed()
    assert all(point in whole for point in whole.configurations())
    assert configuration(engine="transformers") in whole
    assert configuration(engine="paper") not in whole
    assert configuration(engine="transformers", dtype="fp32") not in whole
    assert configuration(gpu="RTX6000Ada", engine="transformers") not in whole
    assert configuration(gpu="L4") not in whole


def test_a_kind_without_choices_of_its_own_has_all_of_them() -> None:
    whole = mixed(of_kind=(T4_MEASURED,))
    assert whole.engines_on("RTX6000Ada") == whole.engines
    assert whole.dtypes_on("RTX6000Ada") == whole.dtypes
    assert whole.size == 6 * (1 + 2 * 3)


def test_dtypes_of_a_kind_are_looked_up_and_its_choices_keep_the_order_of_the_axis() -> None:
    whole = mixed(of_kind=(KindChoices(gpu="T4", dtypes=("FP32", "fp16"), engines=("healthy", "paper")),))
    assert whole.dtypes_on("T4") == ("fp16", "fp32")
    assert whole.engines_on("T4") == ("paper", "healthy")
    with pytest.raises(UnknownFact, match="bp16"):
        mixed(of_kind=(KindChoices(gpu="T4", dtypes=("bp16",), engines=("paper",)),))


def test_two_spaces_are_the_same_in_words_only_where_their_kinds_have_the_same_choices() -> None:
    # The name of a study is made of these words.
    assert repr(mixed()) == repr(mixed())
    assert repr(mixed()) != repr(mixed(of_kind=(T4_MEASURED,)))
    assert hash(mixed()) == hash(mixed())


@pytest.mark.parametrize("changes", [{"dtypes": ("bf16",)}, {"engines": ("vllm",)}])
def test_a_kind_that_would_be_left_out_in_silence_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"KindChoices.*T4.* has nothing in common with"):
        mixed(of_kind=(replace(T4_MEASURED, **changes),))
