from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from carbonsweep import facts
from carbonsweep.bench.generation import random_batch
from carbonsweep.bench.hardware import cpu_place
from carbonsweep.bench.loading import loaded_key, random_config, random_model, real_model
from carbonsweep.bench.weights import weights_source
from carbonsweep.errors import BadInput, BenchFailed


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def smollm2(smollm2_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()


def loaded_from(path: Path, name: str) -> Any:
    model = facts.language_model(name)
    return real_model(model, weights_source(str(path), model), "fp32", "cpu")


# ---- random weights ----


def test_random_weights_have_finite_logits_and_the_rotary_frequencies_of_the_real_model(smollm2: Any) -> None:
    model = random_model(facts.language_model("SmolLM2-135M"), "fp32", "cpu")
    assert torch.equal(model.model.rotary_emb.inv_freq, smollm2.model.rotary_emb.inv_freq)
    with torch.inference_mode():
        assert model(random_batch([4], 49152, 0, "cpu").ids).logits.isfinite().all()


@pytest.mark.parametrize("name", sorted(facts.language_models()))
def test_every_model_of_the_fact_table_has_a_random_shape_with_its_parameter_count(name: str) -> None:
    model = facts.language_model(name)
    kind, config = random_config(model)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in kind(config).parameters()) == model.parameters


# ---- real weights ----


def test_weights_of_another_shape_are_refused_naming_what_differs(smollm2_folder: Path) -> None:
    with pytest.raises(BenchFailed, match=r"are not Qwen2.5-0.5B: hidden 576 instead of 896, mlp 1536 instead of"):
        loaded_from(smollm2_folder, "Qwen2.5-0.5B")


def test_weights_replaced_in_their_place_are_another_model(tmp_path: Path) -> None:
    model, place, file = facts.language_model("SmolLM2-135M"), cpu_place(1), tmp_path / "model.gguf"
    file.touch()
    before = loaded_key(model, weights_source(str(file), model), "fp32", place)
    assert loaded_key(model, weights_source(str(file), model), "fp32", place) == before
    os.utime(file, (0, 0))
    assert loaded_key(model, weights_source(str(file), model), "fp32", place) != before


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path, smollm2: Any) -> None:
    tensors = {name: tensor for name, tensor in smollm2.state_dict().items() if "layers.7.mlp.up_proj" not in name}
    smollm2.save_pretrained(tmp_path, state_dict=tensors)
    with pytest.raises(BenchFailed, match=r"1 tensors are missing, such as model.layers.7.mlp.up_proj.weight"):
        loaded_from(tmp_path, "SmolLM2-135M")


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        (("accelerate",), "needs accelerate, missing"),
        (("gguf",), "needs gguf, missing"),
        (("accelerate", "gguf"), "needs accelerate and gguf, missing"),
    ],
)
def test_a_gguf_file_that_nothing_here_can_read_is_bad_input_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, absent: tuple[str, ...], named: str
) -> None:
    for package in absent:
        monkeypatch.setattr(f"transformers.utils.is_{package}_available", lambda: False)
    (tmp_path / "model.gguf").touch()
    with pytest.raises(BadInput, match=rf"{named}.*: pip install 'carbonsweep\[measure\]'$"):
        loaded_from(tmp_path / "model.gguf", "SmolLM2-135M")


def test_a_folder_needs_no_accelerate(monkeypatch: pytest.MonkeyPatch, smollm2_folder: Path) -> None:
    monkeypatch.setattr("transformers.utils.is_accelerate_available", lambda: False)
    weights, _ = loaded_from(smollm2_folder, "SmolLM2-135M")
    assert weights.config.hidden_size == 576
