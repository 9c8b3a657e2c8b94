"""A quality table of the user's own is read whole, or refused in one line that says what would be valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonsweep.errors import BadInput
from carbonsweep.quality_file import quality_of_file

GOOD = "model,benchmark,score,source\nLLaMA-7B,own,35.1,my run\ntinyllama-1.1b, own ,25,\nLLaMA-7B,other,7,\n"


def read(tmp_path: Path, text: str | bytes, name: str = "q.csv", benchmark: str = "own") -> dict[str, float]:
    """Scores by model of a file with that text."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found = quality_of_file(path, benchmark)
    assert found.table == str(path)
    return {model: score.score for model, score in found.scores.items()}


def test_a_csv_table_in_any_case_and_with_its_sources(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD, benchmark="OWN") == {"LLaMA-7B": 35.1, "TinyLlama-1.1B": 25.0}
    assert read(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n")) == {"LLaMA-7B": 35.1, "TinyLlama-1.1B": 25.0}
    found = quality_of_file(tmp_path / "q.csv", "own")
    assert (found.scores["LLaMA-7B"].source, found.scores["TinyLlama-1.1B"].source) == ("my run", None)


def test_a_toml_table(tmp_path: Path) -> None:
    row = '[[score]]\nmodel = "{}"\nbenchmark = "own"\nscore = {}\n'
    text = row.format("LLaMA-7B", 35) + row.format("T5", 1)
    with pytest.raises(BadInput, match=r"\[\[score\]\] number 2: unknown model 'T5'"):
        read(tmp_path, text, "q.toml")
    assert read(tmp_path, text.replace("T5", "OpenLLaMA-3B"), "q.toml") == {"LLaMA-7B": 35.0, "OpenLLaMA-3B": 1.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 has the columns none"),
        ("model,score\nLLaMA-7B,1\n", "line 1 has the columns"),
        ("model,benchmark,score,score\n", "line 1 has the columns"),
        ("model,benchmark,score\n", "holds no score"),
        ("model,benchmark,score\n\n\n", "holds no score"),
        ("model,benchmark,score\nLLaMA-7B,own\n", "line 2 has 2 cells"),
        ("model,benchmark,score\nLLaMA-7B,own,nan\n", "line 2 has score 'nan': valid is a finite number"),
        ("model,benchmark,score\nLLaMA-7B,own,1e999\n", "line 2 has score"),
        ("model,benchmark,score\nLLaMA-7B,own,high\n", "line 2 has score 'high'"),
        ("model,benchmark,score\nLLaMA-7B,own,\n", "line 2 has score ''"),
        ("model,benchmark,score\nLLaMA-7B,,3\n", "line 2 names no benchmark"),
        ("model,benchmark,score\nLLaMA-7B,own,1\n\nllama-7b,OWN,2\n", "line 4 scores LLaMA-7B on OWN again"),
        ("model,benchmark,score\nllama-7,own,1\n", "line 2: unknown model 'llama-7': did you mean LLaMA-7B"),
        ("model,benchmark,score\nLLaMA-7B,\x1b[2J,1\n", "line 2 has benchmark"),
        (f"model,benchmark,score,source\nLLaMA-7B,own,1,{'x' * 400}\n", "line 2 has source"),
        ('model,benchmark,score\n"LLaMA-7B,own,1\n', "is not CSV"),
        ("model,benchmark,score\nLLaMA-7B,other,1\n", "unknown quality benchmark"),
        (b"model,benchmark,score\n\xff\xfe,own,1\n", "is not UTF-8 text"),
    ],
)
def test_a_malformed_csv_names_the_line_and_what_would_be_valid(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "valid" in str(caught.value) or "did you mean" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("score = ", "is not valid TOML"),
        ("", "has the keys none"),
        ("score = 3\n", "has the keys 'score'"),
        ("score = [3]\n", "number 1 has 3"),
        ('[[score]]\nmodel = "LLaMA-7B"\n', "number 1 has 'model'"),
        ('[[score]]\nmodel = "LLaMA-7B"\nbenchmark = "own"\nscore = true\n', "number 1 has score True"),
        ('[[score]]\nmodel = "LLaMA-7B"\nbenchmark = "own"\nscore = nan\n', "number 1 has score nan"),
        ('[[score]]\nmodel = 7\nbenchmark = "own"\nscore = 1\n', "number 1 has model 7"),
        ('[[score]]\nmodel = "LLaMA-7B"\nbenchmark = "own"\nscore = 1\nshots = 5\n', "'shots'"),
        ("score = []\n", "holds no score"),
    ],
)
def test_a_malformed_toml_names_the_table_and_what_would_be_valid(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text, "q.toml")
    assert words in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "q.xlsx", "neither .csv nor .toml"),
        (tmp_path / "gone.csv", "cannot be read"),
        (tmp_path / "folder.csv", "is not a file"),
        (tmp_path / "nul\0.csv", "is not"),
    ):
        if path.name == "folder.csv":
            path.mkdir()
        with pytest.raises(BadInput, match=words):
            quality_of_file(path, "own")
