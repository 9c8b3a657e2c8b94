"""Own records: what was measured on one GPU joins the rows, everything else is left out with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.calibration.cases import cases
from carbonsweep.calibration.recorded import read_records
from carbonsweep.calibration.stacks import by_model
from carbonsweep.domain import Configuration, TrialRecord, Workload
from carbonsweep.errors import BadInput
from carbonsweep.records import encode
from carbonsweep.trial import trial
from tests.calibration.made import LLAMA, observation

WHERE = Configuration(model="TinyLlama-1.1B", gpu="T4", gpu_count=1, batch_size=2, dtype="fp16", engine="paper")
WORKLOAD = Workload(name="fixed", prompts=None, prompt_tokens=(100,), token_basis="given", output_tokens=65)


def modelled() -> TrialRecord:
    return trial(RooflineBench(), WHERE, WORKLOAD)


def measured(**changes: object) -> TrialRecord:
    """The same figures as if a bench had measured them under transformers."""
    record = modelled()
    assert record.measurement is not None
    where = replace(WHERE, engine="transformers", **changes)  # type: ignore[arg-type]
    return replace(record, configuration=where, measurement=replace(record.measurement, basis="measured"))


def written(folder: Path, *records: TrialRecord) -> Path:
    (folder / "records.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return folder


def test_a_measured_record_is_an_observation(tmp_path: Path) -> None:
    record = measured()
    found = read_records(written(tmp_path, record))
    (row,), taken = found.observations, record.measurement
    assert taken is not None
    assert row.prefill_s == taken.ttft_s
    assert row.step_s == pytest.approx(taken.tpot_s)
    assert taken.energy_j is not None
    assert row.power_w == pytest.approx(taken.energy_j / taken.prompt_latency_s)
    assert (row.power_span, row.origin.prompt_tokens, row.origin.line) == ("whole", 100, 1)
    # 22 layers of a Llama; its shape is that of models.toml.
    assert row.model.layers == 22
    assert cases([row]).facts["kv_heads"][0] == 4


def test_own_rows_of_a_model_leave_with_what_others_measured_of_it(tmp_path: Path) -> None:
    # models.toml calls it Llama-2-7B, the public rows NousResearch/Llama-2-7b-hf.
    (row,) = read_records(written(tmp_path, measured(model="Llama-2-7B"))).observations
    assert by_model(row) == by_model(observation(LLAMA))


def test_what_was_not_measured_on_one_gpu_is_left_out_with_its_reason(tmp_path: Path) -> None:
    rows = read_records(written(tmp_path, modelled(), measured(gpu_count=2), measured(dtype="fp32")))
    assert rows.observations == ()
    assert [each.reason for each in rows.exclusions] == [
        "modelled, not measured",
        "not one GPU under transformers in fp16",
        "not one GPU under transformers in fp16",
    ]


def test_a_folder_without_records_or_with_damaged_ones_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"records\.jsonl cannot be read"):
        read_records(tmp_path)
    (tmp_path / "records.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(BadInput, match="line 1 is no record"):
        read_records(tmp_path)
