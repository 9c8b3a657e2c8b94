from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.bench.prompts import (
    BYTES_PER_TOKEN,
    LARGEST_FILE_BYTES,
    batches,
    built_in_workload,
    estimated_tokens,
    prompt_file_workload,
)
from carbonsweep.domain import Workload
from carbonsweep.errors import BadInput


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refusal(path: Path | str, output_tokens: int = 150) -> str:
    with pytest.raises(BadInput) as caught:
        prompt_file_workload(path, output_tokens, 0)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(str(path)) in message
    assert "; valid: " in message
    return message


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


def test_a_json_list_gives_bare_prompts_and_estimated_lengths(tmp_path: Path) -> None:
    rows = [
        {"instruction": " Add these. ", "input": "1, 2", "output": "3", "id": 7},
        {"instruction": "Say hello.", "input": ""},
        {"instruction": "Say it twice.", "input": None},
        {"instruction": "   ", "input": "passed over"},
        {"instruction": "Schreibe größer."},
    ]
    workload = prompt_file_workload(written(tmp_path / "set.json", rows), 20, 3)
    assert workload.prompts == ("Add these.\n1, 2", "Say hello.", "Say it twice.", "Schreibe größer.")
    # 15, 10, 13 and 18 bytes (ö and ß have two) / 4.519.
    assert workload.prompt_tokens == (3, 2, 3, 4)
    assert workload.token_basis == "estimated at 4.519 bytes per token"
    assert (workload.name, workload.output_tokens, workload.seed) == ("set.json", 20, 3)


def test_json_lines_may_have_blank_lines_a_byte_order_mark_and_line_separators_in_text(tmp_path: Path) -> None:
    lines = '\ufeff{"instruction": "One"}\r\n\n{"instruction": "Two\u2028halves"}\n'
    assert prompt_file_workload(written(tmp_path / "set.jsonl", lines), 20, 0).prompts == ("One", "Two\u2028halves")


def test_a_hundred_thousand_prompts_load(tmp_path: Path) -> None:
    line = json.dumps({"instruction": "Describe the sea.", "input": "in winter", "output": "x" * 100}) + "\n"
    workload = prompt_file_workload(written(tmp_path / "many.jsonl", line * 100_000), 150, 0)
    assert len(workload.prompt_tokens) == 100_000
    assert len(batches(workload, 64, 2)[1]) == 64


@pytest.mark.parametrize(
    ("name", "content", "flaw"),
    [
        ("a.json", "", "is empty"),
        ("a.json", " \n ", "is empty"),
        ("a.csv", "instruction,input\n", "ends neither in .json nor in .jsonl"),
        ("a.json", '[{"instruction": "x"},\n {"instruction": ]', "is not JSON at line 2"),
        ("a.jsonl", '{"instruction": "x"}\n\n{"instruction"\n', "is not JSON at line 3"),
        ("a.json", {"instruction": "x"}, "holds a JSON dict where a list belongs"),
        ("a.json", [{"instruction": "x"}, {"prompt": "y"}], 'has no "instruction" at row 2'),
        ("a.jsonl", '{"instruction": "x"}\n"text"\n', 'has no "instruction" at line 2'),
        ("a.json", [{"instruction": 5}], "is no text at row 1"),
        ("a.json", [{"instruction": "x", "input": ["y"]}], "is no text at row 1"),
        ("a.json", [{"instruction": "  "}], "has no usable prompt"),
        ("a.json", [], "has no usable prompt"),
        ("a.json", [{"instruction": "\ud83d alone"}], "has half a surrogate pair at row 1"),
        ("a.json", "[" * 200_000, "holds JSON that cannot be read"),
        ("a.json", "[" + "9" * 5000 + "]", "holds JSON that cannot be read"),
    ],
)
def test_a_prompt_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: Any, flaw: str
) -> None:
    assert flaw in refusal(written(tmp_path / name, content))


def test_a_prompt_file_that_cannot_be_opened_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "absent.json")
    folder = tmp_path / "folder.json"
    folder.mkdir()
    assert "is not a file" in refusal(folder)
    assert "cannot be read (File name too long)" in refusal("x" * 5000 + ".json")
    binary = tmp_path / "latin.json"
    binary.write_bytes('[{"instruction": "caf\u00e9"}]'.encode("latin-1"))
    assert "is not UTF-8 (byte 21)" in refusal(binary)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_prompt_file_without_read_permission_is_refused(tmp_path: Path) -> None:
    locked = written(tmp_path / "locked.json", [{"instruction": "x"}])
    locked.chmod(0)
    assert "cannot be read (Permission denied)" in refusal(locked)


def test_a_huge_prompt_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(int(LARGEST_FILE_BYTES) + 1)
    assert "has 1,073,741,825 bytes" in refusal(huge)


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
