"""Files of workloads are read as written, or refused with file, line and what would be valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonsweep.errors import BadInput
from carbonsweep.workload_file import workloads_of_file

CSV = "name,prompt_tokens,output_tokens\nchat,120 480 64,150\n\n,1500,100\n"


def made(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_gives_its_workloads_in_order(tmp_path: Path) -> None:
    chat, unnamed = workloads_of_file(made(tmp_path, "w.csv", CSV))
    assert (chat.name, chat.prompt_tokens, chat.output_tokens) == ("chat", (120, 480, 64), 150)
    (blank,) = workloads_of_file(made(tmp_path, "w.jsonl", '{"name": " ", "prompt_tokens": 5, "output_tokens": 20}'))
    assert blank.name == "line 1"
    assert (unnamed.name, unnamed.prompt_tokens, unnamed.output_tokens) == ("line 4", (1500,), 100)
    assert chat.token_basis == "given in w.csv"
    assert chat.prompts is None


def test_columns_may_come_in_any_order_and_after_a_byte_order_mark(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfoutput_tokens, prompt_tokens\r\n20,7\r\n"
    (found,) = workloads_of_file(made(tmp_path, "w.CSV", text))
    assert (found.prompt_tokens, found.output_tokens) == ((7,), 20)


def test_json_lines_hold_one_length_or_several(tmp_path: Path) -> None:
    text = '{"prompt_tokens": 12, "output_tokens": 20}\n\n{"name": "b", "prompt_tokens": [1, 2], "output_tokens": 2}\n'
    first, second = workloads_of_file(made(tmp_path, "w.jsonl", text))
    assert (first.name, first.prompt_tokens, first.output_tokens) == ("line 1", (12,), 20)
    assert (second.name, second.prompt_tokens, second.output_tokens) == ("b", (1, 2), 2)


HEADER = "prompt_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.txt", "12", "ends in neither .csv nor .jsonl"),
        ("w.csv", "", "line 1 has the columns none"),
        ("w.csv", HEADER, "holds no workload"),
        ("w.csv", "prompt,output\n1,2\n", "line 1 has the columns 'prompt', 'output'"),
        ("w.csv", "prompt_tokens\n1\n", "line 1 has the columns"),
        ("w.csv", "prompt_tokens,prompt_tokens,output_tokens\n1,1,2\n", "line 1 has the columns"),
        ("w.csv", HEADER + "1,2,3\n", "line 2 has 3 cells"),
        ("w.csv", HEADER + "5,20\n0,20\n", "line 3: prompt_tokens is '0'"),
        ("w.csv", HEADER + ",20\n", "line 2: prompt_tokens is empty"),
        ("w.csv", HEADER + "5,1\n", "line 2: output_tokens is '1'"),
        ("w.csv", HEADER + "5,131073\n", "from 2 to 131072"),
        ("w.csv", HEADER + "5.5,20\n", "'5.5'"),
        ("w.csv", HEADER + "nan,20\n", "'nan'"),
        ("w.csv", HEADER + "-5,20\n", "'-5'"),
        ("w.csv", HEADER + '"5,20\n', "is not CSV"),
        ("w.csv", b"\xff\xfe1\x00", "is not UTF-8"),
        ("w.jsonl", "{", "line 1 is not JSON"),
        ("w.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("w.jsonl", "[1, 2]", "line 1 is '[1, 2]'"),
        ("w.jsonl", '{"prompt_tokens": 5}', "line 1 is"),
        ("w.jsonl", '{"prompt_tokens": 5, "output_tokens": 20, "slo": 1}', "line 1 is"),
        ("w.jsonl", '{"prompt_tokens": true, "output_tokens": 20}', "prompt_tokens is 'True'"),
        ("w.jsonl", '{"prompt_tokens": 5, "output_tokens": 20.0}', "output_tokens is '20.0'"),
        ("w.jsonl", '{"prompt_tokens": [], "output_tokens": 20}', "prompt_tokens is empty"),
        ("w.jsonl", '{"prompt_tokens": [[5]], "output_tokens": 20}', "prompt_tokens is '[5]'"),
        ("w.jsonl", '{"name": 5, "prompt_tokens": 5, "output_tokens": 20}', "name is '5'"),
        ("w.jsonl", '{"name": [], "prompt_tokens": 5, "output_tokens": 20}', "name is '[]'"),
        ("w.jsonl", '{"name": "a\\u001b[31m", "prompt_tokens": 5, "output_tokens": 20}', r"name is 'a\x1b[31m'"),
        ("w.jsonl", '{"name": "\\ud800", "prompt_tokens": 5, "output_tokens": 20}', r"name is '\ud800'"),
        ("w.jsonl", '{"prompt_tokens": 5, "prompt_tokens": 6, "output_tokens": 20}', "a name is there twice"),
        ("w.jsonl", f'{{"prompt_tokens": {"9" * 5000}, "output_tokens": 20}}', "prompt_tokens is 'inf'"),
        ("w.csv", HEADER + "9" * 5000 + ",20\n", "prompt_tokens is '999"),
        ("w.csv", HEADER + "1_0,20\n", "prompt_tokens is '1_0'"),
        ("w.csv", HEADER + "\u0663,20\n", "prompt_tokens is '\u0663'"),
    ],
)
def test_a_malformed_file_is_one_line_that_names_the_place(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    with pytest.raises(BadInput) as raised:
        workloads_of_file(made(tmp_path, name, text))
    message = str(raised.value)
    assert said in message
    assert f"{name}'" in message
    assert "valid is" in message


def test_what_is_not_there_or_no_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name, said in (("nowhere.csv", "No such file"), ("folder.csv", "is not a file"), ("\0.csv", "is not")):
        with pytest.raises(BadInput, match=said):
            workloads_of_file(tmp_path / name)
