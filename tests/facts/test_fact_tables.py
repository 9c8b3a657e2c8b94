"""What the shipped tables hold."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from carbonsweep import facts
from carbonsweep.domain import DTYPE_BYTES
from carbonsweep.facts.rows import Gpu, Grid, LanguageModel, Link, Memory, Process, PublishedFootprint

Row = Gpu | LanguageModel | Process | Memory | Grid | Link | PublishedFootprint

DEMANDED_GPUS = {
    *("T4", "RTX6000Ada", "P100", "V100", "A10", "A10G", "A30", "A40"),
    *("A100-40", "A100-80", "L4", "L40S", "H100", "H200"),
}
DEMANDED_MODELS = {
    *("TinyLlama-1.1B", "OpenLLaMA-3B", "LLaMA-7B", "Llama-3.2-1B", "Llama-3.2-3B", "Llama-2-7B", "Llama-2-13B"),
    *("Llama-3.1-8B", "Mistral-7B", "Qwen2.5-0.5B", "Qwen2.5-1.5B", "Qwen2.5-3B", "Qwen2.5-7B", "Qwen2.5-14B"),
    "SmolLM2-135M",
}


def every_row() -> list[tuple[str, Row]]:
    tables: dict[str, Mapping[str, Row]] = {
        "gpus": facts.gpus(),
        "models": facts.language_models(),
        "processes": facts.processes(),
        "memories": facts.memories(),
        "grids": facts.grids(),
        "footprints": facts.published_footprints(),
        "links": facts.links(),
    }
    return [(f"{table}/{key}", row) for table, rows in tables.items() for key, row in rows.items()]


EVERY_ROW = [pytest.param(row, id=name) for name, row in every_row()]
EVERY_GPU = [pytest.param(row, id=key) for key, row in facts.gpus().items()]
EVERY_MODEL = [pytest.param(row, id=key) for key, row in facts.language_models().items()]


def test_the_demanded_gpus_and_models_are_there() -> None:
    assert set(facts.gpus()) >= DEMANDED_GPUS
    assert set(facts.language_models()) >= DEMANDED_MODELS


@pytest.mark.parametrize("row", EVERY_ROW)
def test_every_row_says_where_it_comes_from(row: Row) -> None:
    assert len(row.source["default"]) > 5


@pytest.mark.parametrize("row", EVERY_ROW)
def test_every_guess_says_in_its_own_source_what_it_rests_on(row: Row) -> None:
    # India and Japan are the publisher's estimates as a whole, and their default source says so.
    assert all(field in row.source or "estimates" in row.source["default"] for field in row.estimated)


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_the_parameter_count_follows_from_the_shape_to_the_last_weight(model: LanguageModel) -> None:
    assert model.parameters == model.published_parameters


def test_a_parameter_count_by_hand() -> None:
    # SmolLM2-135M, d = 576, 9 query and 3 key-value heads of 64, MLP 1536, 30 layers, vocabulary 49152, tied:
    # attention 2 x 576 x 576 + 2 x 576 x 192 = 884,736; MLP 3 x 576 x 1536 = 2,654,208; two norms 1,152
    # 30 x 3,540,096 + final norm 576 + 49,152 x 576 = 106,202,880 + 576 + 28,311,552
    assert facts.language_model("SmolLM2-135M").parameters == 134_515_008


@pytest.mark.parametrize("key", ["T4", "V100", "P100"])
def test_gpus_older_than_ampere_have_no_bf16(key: str) -> None:
    assert set(facts.gpu(key).peak_flop_per_s) == {"fp16", "fp32"}


@pytest.mark.parametrize("gpu", EVERY_GPU)
def test_a_gpu_row_is_consistent(gpu: Gpu) -> None:
    assert set(gpu.peak_flop_per_s) <= set(DTYPE_BYTES)
    assert gpu.peak_flop_per_s["fp16"] >= gpu.peak_flop_per_s["fp32"]
    assert gpu.idle_w < 0.5 * gpu.tdp_w
    # A "GB" of GPU memory is between 1e9 and 2^30 bytes, and ECC takes a share of GDDR6.
    assert 0.9 < gpu.memory_bytes / gpu.memory_gb / 1e9 < 1.074
    assert gpu.product_names
    facts.process(gpu.process)
    facts.memory(gpu.memory)


def test_dense_rates_are_not_the_sparse_numbers_of_the_data_sheets() -> None:
    # RTX 6000 Ada: 1457 TFLOPS is fp8 with sparsity: / 2 (dense) / 2 (16 bit). L4: 242 with sparsity. H100: 1979.
    assert facts.gpu("RTX6000Ada").peak_flop_per_s["fp16"] == 1457e12 / 4
    assert facts.gpu("L4").peak_flop_per_s["fp16"] == 242e12 / 2
    assert facts.gpu("H100").peak_flop_per_s["fp16"] == pytest.approx(1979e12 / 2, rel=1e-3)


def test_no_product_name_belongs_to_two_gpus() -> None:
    names = [name for gpu in facts.gpus().values() for name in gpu.product_names]
    assert len(names) == len(set(names))


def test_the_papers_sizes_are_an_assumption_that_says_so() -> None:
    stands_for = {model.key: model.paper_size for model in facts.language_models().values() if model.paper_size}
    assert stands_for == {"TinyLlama-1.1B": "1B", "OpenLLaMA-3B": "3B", "LLaMA-7B": "7B"}
    for key in stands_for:
        model = facts.language_model(key)
        assert "paper_size" in model.estimated
        assert model.note is not None
        assert "assumption" in model.note


def test_llama_3_rope_carries_its_scaling() -> None:
    for key, factor in (("Llama-3.2-1B", 32.0), ("Llama-3.2-3B", 32.0), ("Llama-3.1-8B", 8.0)):
        rope = facts.language_model(key).rope
        assert rope == {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192.0,
        }


def test_interpolated_nodes_are_midpoints_and_marked() -> None:
    for key, finer, coarser in (("12nm", "10nm", "14nm"), ("6nm", "5nm", "7nm")):
        row, a, b = (facts.process(name) for name in (key, finer, coarser))
        assert row.energy_kwh_per_cm2 == pytest.approx((a.energy_kwh_per_cm2 + b.energy_kwh_per_cm2) / 2)
        assert row.gas_95_g_per_cm2 == (a.gas_95_g_per_cm2 + b.gas_95_g_per_cm2) / 2
        assert row.gas_99_g_per_cm2 == (a.gas_99_g_per_cm2 + b.gas_99_g_per_cm2) / 2
        assert "energy_kwh_per_cm2" in row.estimated
    # SC'23 interpolates the same two nodes and comes to GPA 220 and 390: one convention serves both presets.
    assert facts.process("12nm").gas_95_g_per_cm2 == 220
    assert facts.process("6nm").gas_95_g_per_cm2 == 390


def test_the_papers_regions_are_table_2_and_life_cycle_only() -> None:
    table_2 = {"QC": (31, "CA-QC"), "CISO": (262, "US-CAL-CISO"), "PACE": (647, "US-NW-PACE")}
    for key, (g_per_kwh, zone) in table_2.items():
        row = facts.grid(key)
        assert (row.lifecycle_g_per_kwh, row.direct_g_per_kwh, row.zone) == (g_per_kwh, None, zone)
        assert zone in facts.grids()


def test_the_zone_no_is_norway() -> None:
    # A YAML table would read the key NO as False.
    assert facts.grid("NO").name == "Norway"
    assert facts.grid("no").key == "NO"


def test_published_footprints_name_a_device_and_lie_in_their_range() -> None:
    for row in facts.published_footprints().values():
        assert row.key == f"{row.preset}-{row.device}"
        assert row.device == facts.CPU or row.device in facts.gpus()
        assert row.low_kg <= row.kg <= row.high_kg


def test_the_cpu_is_no_gpu() -> None:
    assert facts.CPU not in facts.gpus()


def test_the_grids_are_the_yearly_means_of_the_data_folder() -> None:
    folder = os.environ.get("CARBONSWEEP_DATA")
    if folder is None:
        pytest.skip("CARBONSWEEP_DATA does not name the data folder with ci/yearly_means_2023.csv")
    with (Path(folder) / "ci" / "yearly_means_2023.csv").open(encoding="utf-8") as table:
        zones = list(csv.DictReader(table))
    assert len(zones) == 23
    for zone in zones:
        row = facts.grid(zone["zone"])
        assert row.name == zone["name"]
        assert row.lifecycle_g_per_kwh == float(zone["lifecycle_mean_g_per_kwh"])
        assert row.direct_g_per_kwh == float(zone["direct_mean_g_per_kwh"])
        assert bool(row.estimated) == (int(zone["estimated_percent"]) > 50)
