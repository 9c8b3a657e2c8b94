"""Cells of a picture: one per configuration, with a value or the word for why there is none."""

from __future__ import annotations

import csv
import io

import pytest

from carbonsweep.domain import Refusal
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.figures.cells import Quantity, by_size, cells, cells_csv, one_per_cell, only_model, table_csv
from carbonsweep.figures.estimates import batch_energy_j, prompt_latency_s
from tests.conftest import FAILED, TOO_BIG, configuration, measurement, record

LATENCY = Quantity(label="prompt latency", unit="s", of=prompt_latency_s)
ENERGY = Quantity(label="energy", unit="J", of=batch_energy_j)


def test_a_record_without_a_measurement_says_why() -> None:
    unsupported = Refusal(kind="unsupported", reason="no bf16")
    records = [record(configuration(batch_size=b), r) for b, r in ((8, TOO_BIG), (2, FAILED), (4, unsupported))]
    found = cells(records, LATENCY, "x")
    assert [(cell.batch_size, cell.absent) for cell in found] == [(2, "failed"), (4, "not supported"), (8, "OOM")]
    assert all(cell.estimate is None for cell in found)


def test_unknown_joules_are_unknown_and_not_nothing() -> None:
    dark = record(configuration(), measurement(decode_j=None))

    def refuses(_: object) -> None:
        raise EnergyUnknown("no meter")

    for quantity in (ENERGY, Quantity(label="carbon", unit="g", of=refuses)):
        (cell,) = cells([dark], quantity, "x")
        assert (cell.estimate, cell.absent) == (None, "unknown")
    (cell,) = cells([dark], LATENCY, "x")
    assert cell.estimate is not None
    assert cell.absent == ""


def test_a_place_with_two_records_is_refused_and_named() -> None:
    both = [record(configuration(engine=engine), measurement()) for engine in ("paper", "healthy")]
    with pytest.raises(BadInput, match=r"TinyLlama-1.1B on T4, batch 4, differ in engine \(paper and healthy\)"):
        one_per_cell(both)
    assert one_per_cell(both, engine="Healthy") == (both[1],)
    with pytest.raises(BadInput, match="no record has engine vllm: there is engine: healthy, paper"):
        one_per_cell(both, engine="vllm")


def test_models_go_from_small_to_large_and_strangers_last() -> None:
    assert by_size(["LLaMA-7B", "mine", "TinyLlama-1.1B", "mine"]) == ("TinyLlama-1.1B", "LLaMA-7B", "mine")


def test_one_model_is_the_smallest_unless_another_is_named() -> None:
    small, large = (record(configuration(model=m), measurement()) for m in ("TinyLlama-1.1B", "LLaMA-7B"))
    assert only_model([large, small], None) == (small,)
    assert only_model([large, small], "llama-7b") == (large,)
    with pytest.raises(BadInput, match=r"no record of OpenLLaMA-3B: there is TinyLlama-1\.1B, LLaMA-7B"):
        only_model([large, small], "OpenLLaMA-3B")
    with pytest.raises(UnknownFact):
        only_model([small], "LLaMA-8B")


def test_the_numbers_beside_a_picture_have_value_interval_outcome_and_record() -> None:
    known, refused = record(configuration(batch_size=1), measurement()), record(configuration(batch_size=2), TOO_BIG)
    first, second = csv.DictReader(io.StringIO(cells_csv(cells([refused, known], ENERGY, "1B"))))
    # 20 + 90 J, known to 10 %.
    assert (first["low"], first["value"], first["high"]) == ("99", "110", "121")
    assert (first["group"], first["unit"], first["outcome"], first["record"]) == ("1B", "J", "modelled", known.key)
    assert (second["batch_size"], second["value"], second["outcome"]) == ("2", "", "OOM")


def test_numbers_are_rounded_to_what_two_machines_agree_in() -> None:
    assert table_csv([{"a": 1 / 3, "b": None, "c": 7, "d": "x,y"}]) == 'a,b,c,d\n0.333333,,7,"x,y"\n'
