"""Columns and keys become prompts, and templates are put around them."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.bench import prompt_formats
from carbonsweep.bench.prompt_formats import Prompt, Rows, printable, prompts
from carbonsweep.errors import BadInput

HUMAN, GPT = {"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}


def rows(*items: Any, columns: tuple[str, ...] | None = None) -> Rows:
    return Rows(origin="the set", unit="row", columns=columns, numbered=enumerate(items, 1))


def texts(*items: Any, prompt_format: str = "auto", template: str = "none") -> list[str]:
    return [prompt.text(template) for prompt in prompts(rows(*items), prompt_format, template)]


def refusal(given: Rows, prompt_format: str = "auto", template: str = "none") -> str:
    with pytest.raises(BadInput) as caught:
        prompts(given, prompt_format, template)
    message = str(caught.value)
    assert message.startswith("the set ")
    assert "; valid: " in message
    assert message.isprintable()
    return message


def test_the_keys_of_the_first_row_tell_the_format() -> None:
    assert texts({"instruction": " Add. ", "input": "1, 2", "output": "3"}) == ["Add.\n1, 2"]
    assert texts({"conversations": [HUMAN, GPT]}) == ["Hi."]
    for column in ("prompt", "text", "question"):
        assert texts({column: "Why?", "id": 7}) == ["Why?"]
    assert texts("Why?", " ", "How?") == ["Why?", "How?"]


def test_a_text_column_beside_an_instruction_is_the_whole_example_and_no_rival() -> None:
    # As in tatsu-lab/alpaca: instruction, input, output, text.
    row = {"instruction": "Add.", "input": "", "output": "3", "text": "Below is ..."}
    assert texts(row) == ["Add."]
    assert texts(row, prompt_format="plain") == ["Below is ..."]


def test_the_first_human_turn_of_a_conversation_is_its_prompt() -> None:
    system, user = {"from": "system", "value": "Be kind."}, {"from": "user", "value": "Or me?"}
    later = {"from": "human", "value": "And now?"}
    assert texts({"conversations": [system, GPT, user, later]}, {"conversations": [HUMAN]}) == ["Or me?", "Hi."]


def test_rows_without_a_prompt_are_passed_over() -> None:
    assert texts({"instruction": "  ", "input": "x"}, {"instruction": "Add.", "input": None}) == ["Add."]
    assert texts({"conversations": []}, {"conversations": [GPT]}, {"conversations": [HUMAN]}) == ["Hi."]


@pytest.mark.parametrize(
    ("first", "prompt_format", "found"),
    [
        ({"query": "x", "answer": "y"}, "auto", "has the columns 'query', 'answer'"),
        ({}, "auto", "has the columns (none)"),
        ({"instruction": "x", "conversations": []}, "auto", "has the columns 'instruction', 'conversations'"),
        ({"prompt": "x", "text": "y"}, "auto", "has the columns 'prompt', 'text'"),
        ({"prompt": "x"}, "alpaca", "has the columns 'prompt'"),
        ({"instruction": "x"}, "sharegpt", "has the columns 'instruction'"),
        ({"instruction": "x"}, "plain", "has the columns 'instruction'"),
        ("bare", "alpaca", "holds bare strings"),
        ("bare", "sharegpt", "holds bare strings"),
        (5, "auto", "holds a JSON int at row 1"),
        ([HUMAN], "auto", "holds a JSON list at row 1"),
        (None, "auto", "holds a JSON NoneType at row 1"),
    ],
)
def test_columns_that_do_not_tell_the_prompt_are_named_in_the_refusal(
    first: Any, prompt_format: str, found: str
) -> None:
    assert found in refusal(rows(first), prompt_format)


def test_the_refusal_names_the_columns_that_would_be_valid() -> None:
    message = refusal(rows({"query": "x"}))
    assert all(name in message for name in ("instruction", "conversations", "prompt", "text", "question"))
    assert refusal(rows({"instruction": "x", "conversations": []})).endswith(
        "--prompt-format alpaca or sharegpt, to say which is meant"
    )


def test_a_table_is_judged_by_its_columns_before_a_row_is_read() -> None:
    def read(number: int) -> tuple[int, Any]:
        raise AssertionError(f"row {number} was read")

    table = Rows(origin="the set", unit="row", columns=("query",), numbered=map(read, [1]))
    assert "has the columns 'query'" in refusal(table)


@pytest.mark.parametrize(
    ("first", "second", "flaw"),
    [
        ({"instruction": "x"}, {"prompt": "y"}, 'has no "instruction" at row 2'),
        ({"instruction": "x"}, "y", 'has no "instruction" at row 2'),
        ({"instruction": "x"}, {"instruction": 5}, 'has a "instruction" that is no text at row 2 (int)'),
        ({"instruction": "x"}, {"instruction": None}, 'has a "instruction" that is no text at row 2 (NoneType)'),
        ({"instruction": "x"}, {"instruction": "x", "input": 0}, 'has a "input" that is no text at row 2 (int)'),
        ({"instruction": "x"}, {"instruction": "x", "input": []}, 'has a "input" that is no text at row 2 (list)'),
        ({"prompt": "x"}, {"text": "y"}, 'has no "prompt" at row 2'),
        ({"prompt": "x"}, {"prompt": True}, 'has a "prompt" that is no text at row 2 (bool)'),
        ("x", {"prompt": "y"}, "has no bare string at row 2"),
        ("x", 5, "has no bare string at row 2"),
        ({"conversations": [HUMAN]}, {"conversations": "Hi."}, 'has no list "conversations" at row 2'),
        ({"conversations": [HUMAN]}, {"conversation": []}, 'has no list "conversations" at row 2'),
        ({"conversations": [HUMAN]}, {"conversations": ["Hi."]}, 'has a turn without "from" or "value" at row 2'),
        ({"conversations": [HUMAN]}, {"conversations": [{"from": "human"}]}, 'without "from" or "value" at row 2'),
        ({"conversations": [HUMAN]}, {"conversations": [{**HUMAN, "value": 1}]}, '"value" that is no text at row 2'),
        ({"prompt": "x"}, {"prompt": "\ud83d alone"}, "has half a surrogate pair at row 2"),
    ],
)
def test_a_row_unlike_the_first_is_refused_with_its_place(first: Any, second: Any, flaw: str) -> None:
    assert flaw in refusal(rows(first, second))


def test_a_set_without_a_usable_prompt_is_refused() -> None:
    for empty in (rows(), rows(" "), rows({"instruction": ""}), rows({"conversations": []}), rows(columns=("prompt",))):
        assert "has no usable prompt" in refusal(empty)


def test_more_rows_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_formats, "MOST_PROMPTS", 3)
    assert len(prompts(rows("a", "b", "c"), "auto", "none")) == 3
    assert "has more than 3 rows" in refusal(rows("a", "b", "c", "d"))


def test_hostile_names_are_spelled_out_and_cut() -> None:
    message = refusal(rows({"\x1b[2J\n\u202e": "x", "y" * 500: "z", **{str(n): n for n in range(20)}}))
    assert r"'\x1b[2J\n\u202e'" in message
    assert "y" * 41 not in message
    assert "and 12 more" in message  # 22 keys, of which 10 are shown
    assert printable("a\r\n\t\udc80é") == r"a\r\n\t\udc80é"


def test_the_template_is_alpacas_in_both_its_forms() -> None:
    # The wording of PROMPT_DICT in stanford_alpaca's train.py, written out line by line.
    task = "Below is an instruction that describes a task"
    answer = "Write a response that appropriately completes the request."
    assert Prompt("Add {these}.", "1, 2").text("alpaca").split("\n") == [
        f"{task}, paired with an input that provides further context. {answer}",
        "",
        "### Instruction:",
        "Add {these}.",
        "",
        "### Input:",
        "1, 2",
        "",
        "### Response:",
    ]
    assert Prompt("Say hello.").text("alpaca").split("\n") == [
        f"{task}. {answer}",
        "",
        "### Instruction:",
        "Say hello.",
        "",
        "### Response:",
    ]


def test_plain_prompts_take_the_template_without_an_input_and_conversations_take_none() -> None:
    assert texts("Why?", template="alpaca") == [Prompt("Why?").text("alpaca")]
    assert texts({"question": "Why?", "input": "x"}, template="alpaca") == [Prompt("Why?").text("alpaca")]
    message = refusal(rows({"conversations": [HUMAN]}), template="alpaca")
    assert "is in ShareGPT format, which the alpaca template does not fit; valid: --template none" in message


def test_the_template_adds_the_same_tokens_to_every_alpaca_prompt(smollm2_folder: Path) -> None:
    data = os.environ.get("CARBONSWEEP_DATA")
    if data is None:
        pytest.skip("CARBONSWEEP_DATA names no folder with prompts/alpaca_en_demo.json")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)

    def counted(sent: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(sent)["input_ids"]]

    file = Path(data) / "prompts" / "alpaca_en_demo.json"
    found = prompts(rows(*json.loads(file.read_text(encoding="utf-8"))), "auto", "alpaca")
    with_template = counted([prompt.text("alpaca") for prompt in found])
    added = [a - b for a, b in zip(with_template, counted([prompt.bare for prompt in found]), strict=True)]
    assert len(found) == 999
    assert added == [prompt.template_tokens("alpaca") for prompt in found]
    # 587 prompts without an input and 412 with one: (587 * 29 + 412 * 43) / 999 = 34.8 over the bare mean of 19.0.
    assert statistics.fmean(with_template) == pytest.approx(53.8, abs=0.1)
