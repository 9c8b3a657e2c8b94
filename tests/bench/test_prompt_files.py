"""Files of each kind are read as they are, and what cannot be read is refused in one line."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.bench.prompt_files import LARGEST_FILE_BYTES
from carbonsweep.bench.prompts import batches, prompt_file_workload
from carbonsweep.errors import BadInput

ALPACA = [{"instruction": f"Describe wave {n}.", "input": "in winter" if n % 2 else ""} for n in range(3)]
BARE = ("Describe wave 0.", "Describe wave 1.\nin winter", "Describe wave 2.")


def written(path: Path, content: Any) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path, **asked: str) -> tuple[str, ...]:
    prompts = prompt_file_workload(path, 150, 0, **asked).prompts
    assert prompts is not None
    return prompts


def refusal(path: Path | str, **asked: str) -> str:
    with pytest.raises(BadInput) as caught:
        prompt_file_workload(path, 150, 0, **asked)
    message = str(caught.value)
    assert message.isprintable()  # one line, no terminal escapes
    assert message.startswith(f"prompt file {str(path)!r} ")
    assert "; valid: " in message
    return message


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_the_same_rows_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    table = "instruction,input\n" + "".join(f'"{row["instruction"]}",{row["input"]}\n' for row in ALPACA)
    assert read(written(tmp_path / "a.json", ALPACA)) == BARE
    assert read(written(tmp_path / "a.jsonl", "".join(f"{json.dumps(row)}\n" for row in ALPACA))) == BARE
    assert read(written(tmp_path / "a.csv", table)) == BARE
    assert read(parquet(tmp_path / "a.parquet", ALPACA)) == BARE
    assert read(written(tmp_path / "a.TXT", "Describe wave 0.\r\n\n Describe wave 2.")) == (BARE[0], BARE[2])


def test_conversations_are_read_from_json_and_parquet(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}]
    assert read(written(tmp_path / "a.json", [{"id": "1", "conversations": turns}])) == ("Hi.",)
    assert read(parquet(tmp_path / "a.parquet", [{"conversations": turns}])) == ("Hi.",)


def test_one_line_is_a_workload(tmp_path: Path) -> None:
    workload = prompt_file_workload(written(tmp_path / "one.txt", "Describe the sea."), 150, 0)
    assert workload.prompts == ("Describe the sea.",)
    assert batches(workload, 64, 1) == ((0,) * 64,)


def test_json_lines_may_have_blank_lines_a_byte_order_mark_and_line_separators_in_text(tmp_path: Path) -> None:
    lines = '\ufeff{"instruction": "One"}\r\n\n{"instruction": "Two\u2028halves"}\n'
    assert read(written(tmp_path / "set.jsonl", lines)) == ("One", "Two\u2028halves")


def test_a_csv_may_have_a_byte_order_mark_quotes_line_ends_and_one_huge_field(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    huge = "word " * 100_000  # 500,000 characters: beyond the module's limit of 131,072
    text = f'\ufeffinstruction, input\r\n"Say ""hi"", twice","a\r\nb"\r\n\r\n"{huge}",\r\n'
    assert read(written(tmp_path / "a.csv", text)) == ('Say "hi", twice\na\r\nb', huge.strip())
    assert csv.field_size_limit() == before


def test_a_huge_prompt_is_one_prompt(tmp_path: Path) -> None:
    workload = prompt_file_workload(written(tmp_path / "a.txt", "word " * 1_000_000), 150, 0)
    assert workload.prompt_tokens == (1_106_439,)  # 4,999,999 bytes without the last blank / 4.519


@pytest.mark.parametrize(
    ("name", "content", "flaw"),
    [
        ("a.json", "", "is empty"),
        ("a.parquet", "", "is empty"),
        ("a.json", " \n ", "is empty"),
        ("a.txt", "\ufeff\n\n", "is empty"),
        ("a.csv", "\n", "is empty"),
        ("a.json", [], "has no usable prompt"),
        ("a.json", [{"instruction": "  "}], "has no usable prompt"),
        ("a.jsonl", '{"prompt": ""}\n{"prompt": " "}\n', "has no usable prompt"),
        ("a.csv", "instruction,input\n", "has no usable prompt"),
        ("a.csv", "instruction,input\n ,x\n", "has no usable prompt"),
        ("a.csv", "query,answer\nx,y\n", "has the columns 'query', 'answer'"),
        ("a.csv", "instruction;input\nx;y\n", "has the columns 'instruction;input'"),
        ("a.csv", "prompt,prompt\nx,y\n", "has the column 'prompt' twice"),
        ("a.csv", "prompt,id\nx,1\ny\n", "has 1 fields at line 3, and 2 in the header"),
        ("a.csv", "prompt\nx, y\n", "has 2 fields at line 2, and 1 in the header"),
        ("a.csv", 'prompt\n"x"y\n', "is not CSV at line 2"),
        ("a.csv", 'prompt\n"x\ny\n', "is not CSV at line 3 (unexpected end of data)"),
        ("a.csv", "prompt\rx\ry\r", "is not CSV at line 1"),
        ("a.csv", "prompt\nx\0y\n", "holds a NUL character at 8"),
        ("a.txt", "x\0", "holds a NUL character at 1"),
        ("a.txt", "x\n".encode("utf-16"), "is not UTF-8 (byte 0)"),
        ("a.txt", "x\n".encode("utf-16-le"), "holds a NUL character at 1, as binary files and UTF-16 do"),
        ("a.json", bytes(range(255, -1, -1)), "is not UTF-8 (byte 0)"),
        ("a.json", '[{"instruction": "caf\u00e9"}]'.encode("latin-1"), "is not UTF-8 (byte 21)"),
        ("a.json", "PK\x03\x04 junk", "is not JSON at line 1"),
        ("a.json", '[{"instruction": "x"},\n {"instruction": ]', "is not JSON at line 2"),
        ("a.jsonl", '{"instruction": "x"}\n\n{"instruction"\n', "is not JSON at line 3"),
        ("a.json", '{"prompt": "x"}\n{"prompt": "y"}\n', "is not JSON at line 2 (Extra data)"),
        ("a.json", {"instruction": "x"}, "holds a JSON dict where a list belongs"),
        ("a.json", "5", "holds a JSON int where a list belongs"),
        ("a.json", [{"instruction": 5}], "is no text at row 1"),
        ("a.json", [5, 6], "holds a JSON int at row 1"),
        ("a.json", [{"instruction": "x"}, {"prompt": "y"}], 'has no "instruction" at row 2'),
        ("a.jsonl", '{"instruction": "x"}\n\n"text"\n', 'has no "instruction" at line 3'),
        ("a.json", '[{"prompt": "\\ud83d alone"}]', "has half a surrogate pair at row 1"),
        ("a.json", "[" * 200_000, "holds JSON that cannot be read"),
        ("a.json", "[" + "9" * 5000 + "]", "holds JSON that cannot be read"),
        ("a.json.gz", b"\x1f\x8b\x08", "ends in none of .json, .jsonl, .csv, .txt, .parquet"),
        ("prompts", "x", "ends in none of"),
        ("a.parquet", b"PAR1 junk that is no Parquet file PAR1", "is no Parquet file that can be read"),
        ("a.parquet", '{"prompt": "x"}', "is no Parquet file that can be read"),
    ],
)
def test_a_prompt_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: Any, flaw: str
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    assert flaw in refusal(written(tmp_path / name, content))


def test_rows_of_json_lines_in_a_json_file_are_told_the_other_ending(tmp_path: Path) -> None:
    assert ".jsonl is for" in refusal(written(tmp_path / "a.json", '{"prompt": "x"}\n{"prompt": "y"}\n'))


def test_a_parquet_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "whole.parquet", [{"prompt": f"Describe wave {n}."} for n in range(5000)])
    assert len(read(whole)) == 5000
    content = whole.read_bytes()
    cut = written(tmp_path / "cut.parquet", content[: len(content) // 2])
    assert "is no Parquet file that can be read" in refusal(cut)
    # The footer is whole, the pages are not: seen only when rows are read.
    torn = written(tmp_path / "torn.parquet", content[:4] + b"\xff" * 2000 + content[2004:])
    assert "is no Parquet file that can be read" in refusal(torn)
    assert "has the columns 'query'" in refusal(parquet(tmp_path / "b.parquet", [{"query": "x"}]))
    assert "is no text at row 1 (int)" in refusal(parquet(tmp_path / "c.parquet", [{"prompt": 5}]))
    assert "is no text at row 2 (NoneType)" in refusal(
        parquet(tmp_path / "d.parquet", [{"prompt": "x"}, {"prompt": None}])
    )


def test_a_parquet_file_is_refused_for_what_it_unpacks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = parquet(tmp_path / "a.parquet", [{"prompt": f"{n} " + "x" * 2000} for n in range(1000)])
    monkeypatch.setattr("carbonsweep.bench.prompt_files.LARGEST_FILE_BYTES", 1_000_000)
    assert packed.stat().st_size < 1_000_000  # 1,000 prompts of 2,000 equal characters pack well
    assert "unpacks to 2," in refusal(packed)


def test_parquet_without_its_library_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parquet(tmp_path / "a.parquet", [{"prompt": "x"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'carbonsweep[measure]'" in refusal(file)


def test_a_prompt_file_that_cannot_be_opened_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "absent.json")
    assert "is not there" in refusal(written(tmp_path / "a.txt", "x") / "under.json")
    assert "is not there" in refusal("nul\0.json")
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be read (File name too long)" in refusal("x" * 5000 + ".json")
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    assert "is not a file" in refusal(pipe)  # opening it would wait for ever


def test_hostile_file_names_are_spelled_out_in_messages_and_in_the_workloads_name(tmp_path: Path) -> None:
    hostile = "a'b\"\x1b[2J\n\udcff.txt"  # quotes, clear the screen, a line end, and a byte that is no UTF-8
    assert "is not there" in refusal(tmp_path / hostile)
    workload = prompt_file_workload(written(tmp_path / hostile, "x"), 150, 0)
    assert workload.name == r"""a'b"\x1b[2J\n\udcff.txt"""
    assert len(workload.summary().digest) == 16  # it can be written as UTF-8


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_prompt_file_without_read_permission_is_refused(tmp_path: Path) -> None:
    locked = written(tmp_path / "locked.json", [{"instruction": "x"}])
    locked.chmod(0)
    assert "cannot be read (Permission denied)" in refusal(locked)


@pytest.mark.parametrize("name", ["huge.json", "huge.csv", "huge.parquet"])
def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    huge = tmp_path / name
    with huge.open("wb") as file:
        file.truncate(int(LARGEST_FILE_BYTES) + 1)
    begun_s = time.perf_counter()
    assert "has 1,073,741,825 bytes" in refusal(huge)
    assert time.perf_counter() - begun_s < 0.2  # reading 1 GiB takes longer from any disk, and from memory


@pytest.mark.parametrize("name", ["many.json", "many.jsonl", "many.csv", "many.txt", "many.parquet"])
def test_a_hundred_thousand_prompts_take_time_in_proportion(tmp_path: Path, name: str) -> None:
    rows = [{"instruction": f"Describe wave {n}.", "input": "in winter", "output": "x" * 100} for n in range(100_000)]
    content = {
        ".json": lambda: json.dumps(rows),
        ".jsonl": lambda: "".join(f"{json.dumps(row)}\n" for row in rows),
        ".csv": lambda: "instruction,input,output\n" + "".join(f"{','.join(row.values())}\n" for row in rows),
        ".txt": lambda: "".join(f"{row['instruction']}\n" for row in rows),
    }
    path = tmp_path / name
    if path.suffix == ".parquet":
        parquet(path, rows)
    else:
        written(path, content[path.suffix]())
    begun_s = time.process_time()
    workload = prompt_file_workload(path, 150, 0, template="alpaca")
    took_s = time.process_time() - begun_s
    assert len(workload.prompt_tokens) == 100_000
    assert len(batches(workload, 64, 2)[1]) == 64
    # About 0.4 to 1.3 s of one core; anything quadratic would take hours.
    assert took_s < 10
