"""Looking facts up."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from carbonsweep import facts
from carbonsweep.errors import UnknownFact


def test_names_match_whatever_their_case_and_the_row_has_the_canonical_key() -> None:
    assert facts.gpu("rtx6000ada").key == "RTX6000Ada"
    assert facts.language_model("smollm2-135m").key == "SmolLM2-135M"
    assert facts.grid("ca-qc").key == "CA-QC"
    assert facts.process("12NM").key == "12nm"
    assert facts.memory("DDR4_10nm").key == "ddr4_10nm"


@pytest.mark.parametrize(
    ("look_up", "name", "closest"),
    [
        (facts.gpu, "RTX6000", "RTX6000Ada"),
        (facts.language_model, "tinyllama", "TinyLlama-1.1B"),
        (facts.grid, "CAISO", "CISO"),
        (facts.process, "13nm", "12nm"),
        (facts.memory, "ddr4", "ddr4_10nm"),
    ],
)
def test_an_unknown_name_suggests_the_closest(look_up: Callable[[str], object], name: str, closest: str) -> None:
    with pytest.raises(UnknownFact, match=closest) as caught:
        look_up(name)
    assert closest in str(caught.value).split("valid:")[0]


def test_the_cpu_cannot_be_looked_up_as_a_gpu() -> None:
    with pytest.raises(UnknownFact, match="unknown GPU 'CPU'"):
        facts.gpu(facts.CPU)


@pytest.mark.parametrize(
    ("product", "key"),
    [
        ("Tesla T4", "T4"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000Ada"),
        ("NVIDIA A100-SXM4-40GB", "A100-40"),
        ("NVIDIA A100-PCIE-40GB", "A100-40-PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
    ],
)
def test_a_gpu_is_found_by_its_nvml_product_name(product: str, key: str) -> None:
    row = facts.gpu_of_product(product)
    assert row is not None
    assert row.key == key


@pytest.mark.parametrize("product", ["NVIDIA H100 PCIe", "Quadro RTX 6000", "tesla t4", ""])
def test_another_board_is_not_taken_for_a_known_one(product: str) -> None:
    assert facts.gpu_of_product(product) is None


def test_a_table_loads_once() -> None:
    assert facts.gpus() is facts.gpus()


def test_a_row_cannot_be_changed() -> None:
    row: Any = facts.gpu("T4")
    with pytest.raises(FrozenInstanceError):
        row.tdp_w = 1.0
    with pytest.raises(TypeError):
        row.peak_flop_per_s["bf16"] = 1.0
    with pytest.raises(AttributeError, match="frozen"):
        row.peak_flop_per_s._entries = {}
    with pytest.raises(AttributeError, match="frozen"):
        del row.source._entries
    table: Any = facts.gpus()
    with pytest.raises(TypeError):
        table["mine"] = row


@pytest.mark.parametrize("row", [facts.gpu("T4"), facts.language_model("Llama-3.2-1B"), facts.grid("QC")])
def test_a_row_survives_pickling_and_copying_and_can_be_hashed(row: object) -> None:
    assert pickle.loads(pickle.dumps(row)) == row
    assert copy.deepcopy(row) == row
    assert hash(pickle.loads(pickle.dumps(row))) == hash(row)


def test_a_frozen_mapping_is_a_copy_and_equals_the_mapping_it_came_from() -> None:
    origin = {"a": 1}
    frozen = facts.FrozenMapping(origin)
    origin["a"] = 2
    assert frozen == {"a": 1}
    assert repr(frozen) == "{'a': 1}"


def test_looking_a_gpu_up_imports_nothing_heavy() -> None:
    program = (
        "import sys; from carbonsweep import facts, carbon; from carbonsweep.carbon import footprint;"
        "facts.gpu('T4'); print(sorted({'numpy', 'pandas', 'pydantic', 'ray', 'torch', 'optuna'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
