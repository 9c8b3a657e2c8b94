"""The script that lays splits beside colocated configurations: its files, and that its numbers are the package's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from carbonsweep import exact, facts, inputs
from carbonsweep.claims.cells import paper_workload
from carbonsweep.placement.answers import Placement, Sought, of_plan
from carbonsweep.search.space import space

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"


def seven_billion(link: str) -> Placement:
    """The paper's 7B on its two GPUs in Québec, over one link."""
    asked = inputs.question(
        objective=("carbon",),
        slo_ttft=None,
        slo_tpot=None,
        slo_latency=None,
        scenario=inputs.scenario({"region": "QC"}, ("T4", "RTX6000Ada")),
    )
    of = space(
        models=("LLaMA-7B",),
        gpus=("T4", "RTX6000Ada"),
        gpu_counts=(1,),
        batch_sizes=(1, 2, 4, 8, 16, 32, 64),
        dtypes=("fp16",),
        engines=("paper",),
    )
    sought = Sought(choice="any", links=(facts.link(link),), most_per_pool=4)
    return of_plan(exact.plan(of, paper_workload(), asked), paper_workload(), asked, sought)


def test_the_table_holds_what_a_plan_finds(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "analysis/split_placements.py", "--regions", "QC", "--link", "PCIe4", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        f"split_placements.{ending}" for ending in ("md", "csv", "png", "pdf")
    }
    table = pd.read_csv(tmp_path / "split_placements.csv")
    assert set(table["basis"]) == {"modelled"}
    placed = seven_billion("PCIe4")
    row = table[(table["question"] == "the paper's stack") & (table["model"] == "LLaMA-7B")].iloc[0]
    assert placed.split is not None
    assert row["saves"] == pytest.approx(placed.saves)
    assert row["split_g"] == pytest.approx(placed.split.values[0])
    assert (row["prefill_gpu"], row["decode_gpu"]) == (placed.split.prefill.gpu, placed.split.decode.gpu)
    text = (tmp_path / "split_placements.md").read_text(encoding="utf-8")
    assert "**Everything here is\nmodelled**" in text
    assert "How far off:" in text
    # HotCarbon'24, section 2.3: prefill of the 1B is quickest at batch 8 on the T4 and 32 on the RTX 6000 Ada.
    assert "| TinyLlama-1.1B | prefill | T4 | b8: " in text
    assert "| TinyLlama-1.1B | prefill | RTX6000Ada | **b32: " in text


def test_the_kept_results_are_of_the_shipped_tables() -> None:
    # A changed fact or fit changes them: run `python analysis/split_placements.py --out experiments/results` again.
    table = pd.read_csv(RESULTS / "split_placements.csv")
    row = table[(table["model"] == "LLaMA-7B") & (table["region"] == "QC") & (table["link"] == "100GbE")].iloc[0]
    assert row["saves"] == pytest.approx(seven_billion("100GbE").saves, rel=1e-9)
