"""The committed tables: their numbers recomputed where that is quick, their targets met, the facts reproduced."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from carbonsweep.calibration.cases import QUANTITIES
from carbonsweep.calibration.error_tables import TARGETS, cell
from carbonsweep.calibration.heldout import HeldOut, held_out, joined, mape
from carbonsweep.calibration.observations import Rows
from carbonsweep.calibration.ranking import Picks, picks
from carbonsweep.calibration.stacks import fit_of, stack
from carbonsweep.facts.engines import engine

PAGE = Path(__file__).parents[2] / "experiments" / "results" / "model_errors.md"
QUICK = ("vllm", "tensorrt-llm", "deepspeed-mii")
TITLES = {
    "model": "## A model that was left out, on a GPU that was calibrated",
    "gpu": "## A GPU that was left out: predicted from its data sheet",
    "alternatives": "## The usual alternatives on the same rows",
}


def committed(title: str) -> dict[tuple[str, str], list[str]]:
    """Cells of one table by its first two columns."""
    section = PAGE.read_text(encoding="utf-8").split(TITLES[title])[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[each.strip().strip("*") for each in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1]): row[2:] for row in cells}


def share(text: str) -> float:
    found = re.match(r"([\d.]+) %", text)
    assert found is not None, text
    return float(found[1]) / 100


@pytest.fixture(scope="module")
def by_gpu(rows: Rows) -> list[HeldOut]:
    found = [held_out(stack(name), rows.observations, "gpu") for name in ("transformers", "vllm", "tensorrt-llm")]
    return [each for each in found if each is not None]


@pytest.fixture(scope="module")
def by_model(rows: Rows) -> list[HeldOut]:
    found = [held_out(stack(name), rows.observations, "model") for name in QUICK]
    return [each for each in found if each is not None]


def agree(one: str, other: str) -> bool:
    """The same mean errors within 0.3 points, over as many rows."""
    numbers = [[float(number) for number in re.findall(r"[-+]?\d+\.?\d*", text)] for text in (one, other)]
    first, second = numbers
    close = len(first) == len(second) and bool(np.allclose(first, second, rtol=0, atol=0.3))
    return close and (one == "–") == (other == "–")


def test_errors_of_gpus_left_out_are_those_that_are_committed(by_gpu: list[HeldOut]) -> None:
    table = committed("gpu")
    assert len(by_gpu) == 3
    for found in by_gpu:
        for gpu in found.rows.gpus:
            for quantity, written in zip(QUANTITIES, table[found.stack.name, gpu], strict=True):
                assert agree(cell(found.on(gpu).errors(quantity)), written), (found.stack.name, gpu, quantity)


def test_errors_of_models_left_out_are_those_that_are_committed(by_model: list[HeldOut]) -> None:
    table = committed("model")
    assert len(by_model) == 3
    for found in by_model:
        for gpu in found.rows.gpus:
            for quantity, written in zip(QUANTITIES, table[found.stack.name, gpu], strict=True):
                assert agree(cell(found.on(gpu).errors(quantity)), written), (found.stack.name, gpu, quantity)


def test_gpus_never_calibrated_are_inside_the_targets(by_gpu: list[HeldOut]) -> None:
    for quantity, target in TARGETS["gpu"].items():
        assert mape(joined(by_gpu, quantity)) <= target, quantity


def test_new_models_on_calibrated_gpus_are_inside_the_targets_in_the_committed_table() -> None:
    pooled = committed("model")["all but healthy", "all"]
    for target, written in zip(TARGETS["model"].values(), pooled, strict=True):
        assert share(written) <= target


def test_the_better_of_two_gpus_is_picked(by_gpu: list[HeldOut]) -> None:
    found = sum((picks(each.rows, each.modelled["energy_per_token_j"]) for each in by_gpu), Picks(0, 0))
    assert found.pairs > 50
    assert found.right >= 0.9 * found.pairs


def test_no_alternative_is_better_on_any_quantity() -> None:
    table = committed("alternatives")
    ours = [table[f"device model, {each} left out", "all"] for each in ("model", "GPU")]
    others = [cells for (name, gpu), cells in table.items() if name.startswith("roofline") and gpu == "all"]
    assert len(others) == 6
    for place, quantity in enumerate(QUANTITIES):
        best = min(share(cells[place]) for cells in others)
        assert max(share(cells[place]) for cells in ours) < best, quantity


@pytest.mark.parametrize("name", ["vllm", "deepspeed-mii"])
def test_the_committed_engine_is_what_the_fit_gives(rows: Rows, name: str) -> None:
    fit = fit_of(stack(name), rows.observations)
    for gpu, parameters in {"A40": fit.general, **fit.own}.items():
        row = engine(name, gpu)
        for field, value in parameters.items():
            assert getattr(row, field) == pytest.approx(value, rel=0.02), (gpu, field)
