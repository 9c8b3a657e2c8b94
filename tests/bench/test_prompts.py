from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from carbonsweep.bench.prompts import (
    BYTES_PER_TOKEN,
    SLOW_FILE_BYTES,
    batches,
    built_in_workload,
    estimated_tokens,
    prompt_file_workload,
    prompt_workload,
    takes_a_while,
)
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.domain import Workload
from carbonsweep.errors import BadInput, Unsupported
from tests.conftest import configuration


def percentile(values: tuple[int, ...], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def test_the_built_in_prompts_have_the_length_profile_of_bare_alpaca_prompts() -> None:
    workload = built_in_workload(150, 0)
    tokens = workload.prompt_tokens
    # Alpaca by the same tokenizer (999 prompts): mean 19.0, median 15, p90 33, p99 87, max 169.
    assert workload.mean_prompt_tokens == pytest.approx(19.0, abs=0.5)
    assert statistics.median(tokens) == pytest.approx(15, abs=1)
    assert percentile(tokens, 90) == pytest.approx(33, abs=2)
    assert percentile(tokens, 99) == pytest.approx(87, abs=5)
    assert 150 <= max(tokens) <= 170


def test_the_built_in_prompts_are_many_distinct_and_partly_with_an_input() -> None:
    workload = built_in_workload(150, 0)
    assert workload.prompts is not None
    assert len(set(workload.prompts)) == len(workload.prompts) >= 190
    assert 0.2 < statistics.fmean("\n" in prompt for prompt in workload.prompts) < 0.5
    assert all(prompt == prompt.strip() and prompt for prompt in workload.prompts)
    assert (workload.name, workload.token_basis) == ("built-in", "counted by the SmolLM2 tokenizer")


def test_the_built_in_lengths_are_what_the_tokenizer_counts(smollm2_folder: Path) -> None:
    from transformers import AutoTokenizer

    workload = built_in_workload(150, 0)
    counted = AutoTokenizer.from_pretrained(smollm2_folder)(list(workload.prompts or ()))["input_ids"]
    assert tuple(len(ids) for ids in counted) == workload.prompt_tokens


def test_the_estimate_fits_english_instructions_as_its_docstring_says(smollm2_folder: Path) -> None:
    data = os.environ.get("CARBONSWEEP_DATA")
    if data is None:
        pytest.skip("CARBONSWEEP_DATA names no folder with prompts/alpaca_en_demo.json")
    from transformers import AutoTokenizer

    prompts = prompt_file_workload(Path(data) / "prompts" / "alpaca_en_demo.json", 150, 0).prompts or ()
    assert len(prompts) == 999
    counted = [len(ids) for ids in AutoTokenizer.from_pretrained(smollm2_folder)(list(prompts))["input_ids"]]
    assert sum(len(prompt.encode()) for prompt in prompts) / sum(counted) == pytest.approx(BYTES_PER_TOKEN, abs=0.001)
    errors = [abs(estimated_tokens(prompt) - real) for prompt, real in zip(prompts, counted, strict=True)]
    assert statistics.fmean(errors) == pytest.approx(3.0, abs=0.1)


def test_a_template_makes_the_built_in_prompts_longer_by_what_the_tokenizer_counts(smollm2_folder: Path) -> None:
    from transformers import AutoTokenizer

    workload = built_in_workload(150, 0, "alpaca")
    counted = AutoTokenizer.from_pretrained(smollm2_folder)(list(workload.prompts or ()))["input_ids"]
    assert tuple(len(ids) for ids in counted) == workload.prompt_tokens
    assert (workload.template, workload.token_basis) == ("alpaca", "counted by the SmolLM2 tokenizer")


def test_the_built_in_inputs_stand_in_the_templates_own_place() -> None:
    bare, dressed = built_in_workload(150, 0), built_in_workload(150, 0, "alpaca")
    assert bare.template == "none"
    for short, long in zip(bare.prompts or (), dressed.prompts or (), strict=True):
        instruction, _, context = short.partition("\n")
        assert f"### Instruction:\n{instruction}\n\n###" in long
        assert (f"### Input:\n{context}\n\n### Response:" in long) == bool(context)
        assert long.endswith("\n\n### Response:")
    assert bare.summary().digest != dressed.summary().digest


def test_a_file_gives_bare_prompts_and_estimated_lengths(tmp_path: Path) -> None:
    rows = [
        {"instruction": " Add these. ", "input": "1, 2", "output": "3", "id": 7},
        {"instruction": "Say hello.", "input": ""},
        {"instruction": "Say it twice.", "input": None},
        {"instruction": "   ", "input": "passed over"},
        {"instruction": "Schreibe größer."},
    ]
    file = tmp_path / "set.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    workload = prompt_file_workload(file, 20, 3)
    assert workload.prompts == ("Add these.\n1, 2", "Say hello.", "Say it twice.", "Schreibe größer.")
    # 15, 10, 13 and 18 bytes (ö and ß have two) / 4.519.
    assert workload.prompt_tokens == (3, 2, 3, 4)
    assert workload.token_basis == "estimated at 4.519 bytes per token"
    assert (workload.name, workload.output_tokens, workload.seed) == ("set.json", 20, 3)
    with_template = prompt_file_workload(file, 20, 3, template="alpaca")
    assert with_template.prompt_tokens == (3 + 43, 2 + 29, 3 + 29, 4 + 29)
    assert with_template.template == with_template.summary().template == "alpaca"
    assert with_template.token_basis == (
        "estimated at 4.519 bytes per token, the template counted by the SmolLM2 tokenizer"
    )


def test_a_path_that_exists_is_read_even_if_it_looks_like_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "name").write_text("x", encoding="utf-8")
    with pytest.raises(BadInput, match="prompt file 'org/name' ends in none of"):
        prompt_workload("org/name", 150, 0)


@pytest.mark.parametrize(
    "source", ["absent.json", "folder/absent.json", "./org/name", "../name", "/org/name", "alpaca"]
)
def test_what_is_no_path_and_has_not_the_form_of_a_hub_id_is_not_there(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"is not there; valid: .* on the hub, such as tatsu-lab/alpaca"):
        prompt_workload(source, 150, 0)


def test_what_comes_from_the_hub_and_large_files_take_a_while(tmp_path: Path) -> None:
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    small.write_text("[]", encoding="utf-8")
    with large.open("wb") as file:
        file.truncate(SLOW_FILE_BYTES + 1)
    assert not takes_a_while(str(small))
    assert takes_a_while(str(large))
    assert takes_a_while("org/name:test")
    assert not takes_a_while("absent.json")
    assert not takes_a_while("nul\0.json")


def test_a_prompt_longer_than_the_models_context_is_unsupported_and_says_its_tokens(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("Describe the sea.\n" + "word " * 2000 + "\n", encoding="utf-8")
    workload = prompt_file_workload(file, 150, 0)
    # 2,000 words and 1,999 blanks have 9,999 bytes; / 4.519 = 2,213 tokens; TinyLlama has a context of 2,048.
    with pytest.raises(Unsupported, match=r"prompt of 2213 tokens and 150 output tokens exceed .* 2048 tokens"):
        RooflineBench().measure(configuration(batch_size=1), workload)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8, 16, 32, 64])
def test_real_and_padded_prompt_tokens_are_apart_at_every_batch_size(batch_size: int) -> None:
    workload = built_in_workload(150, 0, "alpaca")
    prefill = RooflineBench().measure(configuration(batch_size=batch_size), workload).prefill
    assert prefill.tokens == pytest.approx(batch_size * workload.mean_prompt_tokens)
    assert prefill.padded_tokens == pytest.approx(batch_size * workload.expected_longest(batch_size))
    assert (prefill.padded_tokens > prefill.tokens * 1.01) == (batch_size > 1)


def test_an_output_length_without_a_decode_step_is_refused() -> None:
    with pytest.raises(BadInput, match="output_tokens is 1"):
        built_in_workload(1, 0)


def lengths_only(prompts: int, seed: int = 0) -> Workload:
    return Workload(
        name="n", prompts=None, prompt_tokens=(1,) * prompts, token_basis="given", output_tokens=2, seed=seed
    )


def test_batches_deal_every_prompt_once_before_any_comes_again() -> None:
    dealt = batches(lengths_only(10), 4, 5)
    assert [len(batch) for batch in dealt] == [4, 4, 4, 4, 4]
    flat = [index for batch in dealt for index in batch]
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]


def test_a_batch_may_be_larger_than_the_prompt_set() -> None:
    (batch,) = batches(lengths_only(3), 8, 1)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_batches_depend_on_the_seed_and_small_ones_lie_within_large_ones() -> None:
    assert batches(lengths_only(50, seed=1), 8, 2) != batches(lengths_only(50, seed=2), 8, 2)
    assert batches(lengths_only(50), 16, 1)[0][:8] == batches(lengths_only(50), 8, 1)[0]


def test_batches_are_the_same_in_another_process() -> None:
    program = (
        "from carbonsweep.bench.prompts import batches, built_in_workload;"
        "print(batches(built_in_workload(150, 7), 4, 3)); import sys;"
        "sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == repr(batches(built_in_workload(150, 7), 4, 3))
