"""Shapes and operators of the models the calibration uses: they add up to what is published, and count again."""

from __future__ import annotations

import pytest

from carbonsweep.errors import UnknownFact
from carbonsweep.facts.reference import VIEW_SHARE, architectures, reference_model, reference_models


@pytest.mark.parametrize("key", reference_models())
def test_a_shape_adds_up_to_the_published_parameters(key: str) -> None:
    # Biases, norms and learned positions are left out: below 2 % of the smallest model.
    row = reference_models()[key]
    assert row.parameters / 1e9 == pytest.approx(row.parameters_billions, rel=0.02)
    assert row.source


def test_every_architecture_is_counted_and_every_checkpoint_is_of_one_shape() -> None:
    rows = reference_models().values()
    assert {row.architecture for row in rows} <= set(architectures())
    names = [name.casefold() for row in rows for name in row.checkpoints]
    assert len(names) == len(set(names))


def test_shapes_by_hand() -> None:
    gpt2 = reference_model("openai-community/GPT2")
    # Twelve layers of 4 x 768^2 in attention and 2 x 768 x 3072 in the MLP; the head is the embedding.
    assert gpt2.block_parameters == 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert gpt2.parameters == gpt2.block_parameters + 768 * 50257
    assert gpt2.kv_values_per_token == 2 * 12 * 768
    llama = reference_model("meta-llama/Meta-Llama-3-8B")
    assert llama.block_parameters == 32 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336)
    assert llama.kv_values_per_token == 2 * 32 * 8 * 128


def test_a_layer_of_a_llama_under_sdpa_is_the_unit_of_host_work() -> None:
    llama = reference_model("meta-llama/Llama-2-7b-hf")
    assert llama.host_layers("sdpa") == llama.host_layers("fa2") == 32
    work = architectures()["llama"]
    expected = (work.eager.kernels + VIEW_SHARE * work.eager.views) / (40 + VIEW_SHARE * 36)
    assert llama.host_layers("eager") == pytest.approx(32 * expected)


def test_an_architecture_without_fused_attention_runs_eager() -> None:
    neo = reference_model("EleutherAI/gpt-neo-1.3B")
    assert architectures()["gpt_neo"].sdpa is None
    assert neo.host_layers("sdpa") == neo.host_layers("eager")


def test_an_unknown_checkpoint_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownFact, match="did you mean openai-community/gpt2"):
        reference_model("openai-community/gpt22")


@pytest.mark.parametrize(("name", "attention"), [("llama", "sdpa"), ("gpt2", "eager")])
def test_operators_can_be_counted_again(name: str, attention: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from checks.operators_per_layer import counted

    two, four = counted(name, 2, attention), counted(name, 4, attention)
    row = architectures()[name].under(attention)
    assert ((four[0] - two[0]) / 2, (four[1] - two[1]) / 2) == (row.kernels, row.views)
