"""Total wall time to a result against optimum-benchmark, and whether both find what bare forward passes take.

Side by side in one run: the same real model, the same number of warm-ups and of timed passes, one thread. Each tool has
its own environment (`make bench-optimum` builds the peer's) and a process per batch size; bare forwards of both
environments run before, between and after them. Imports are reported apart. Writes a JSON file beside this one.
Marks: the ratio of wall times is at most 0.5; the mean prefill and decode of both (their medians over rounds) differ by
no more than the bare passes do among themselves. Fails where one is missed. On a machine with other work the phases
can disagree for that reason alone: give it more rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "against_optimum_benchmark.json"
MODEL = ROOT / "build" / "SmolLM2-135M"
OURS, THEIRS = ROOT / ".venv" / "bin" / "python", ROOT / ".venv-optimum" / "bin" / "python"
WALL_MARK = 0.5
BARE_PASSES = 3
TURNS = (("bare", OURS), ("optimum", THEIRS), ("bare", THEIRS), ("carbonsweep", OURS), ("bare", OURS))

Result = dict[str, Any]


def save_model() -> None:
    """The packaged weights as a plain fp32 folder, once: both tools then load the same bytes."""
    if (MODEL / "config.json").exists():
        return
    from carbonsweep.bench.loading import real_model
    from carbonsweep.bench.weights import weights_source
    from carbonsweep.facts import language_model

    row = language_model(MODEL.name)
    weights, tokenizer = real_model(row, weights_source("auto", row), "fp32", "cpu")
    tokenizer.save_pretrained(MODEL)
    weights.save_pretrained(MODEL)


def one(tool: str, python: Path, settings: Result) -> Result:
    """One process of one tool; the end of what it printed where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder, "settings.json"), Path(folder, "result.json")
        given.write_text(json.dumps(settings), encoding="utf-8")
        process = subprocess.run(
            [python, HERE / "one_tool.py", tool, given, result],
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise SystemExit(f"{tool} failed: {process.stderr[-2000:]}")
        found: Result = json.loads(result.read_text(encoding="utf-8"))
        return found


def batch(settings: Result, rounds: int) -> Result:
    """All turns of one batch size, and what follows from them; wall and import times are of all rounds together."""
    found: dict[str, list[Result]] = {"bare": [], "optimum": [], "carbonsweep": []}
    for tool, python in TURNS * rounds:
        passes = BARE_PASSES if tool == "bare" else settings["passes"]
        found[tool].append({**one(tool, python, {**settings, "passes": passes}), "environment": python.parents[1].name})
    ours, theirs = found["carbonsweep"], found["optimum"]
    sums = {
        name: {"carbonsweep": sum(each[name] for each in ours), "optimum-benchmark": sum(each[name] for each in theirs)}
        for name in ("wall_s", "import_s")
    }
    phases = {phase: phase_figures(phase, found) for phase in ("prefill_s", "decode_s")}
    # How many generations, each as long as the tool itself found one, its wall time would hold: other work on the
    # machine slows both alike, so these compare where plain seconds do not.
    generations = {
        tool: wall_s / rounds / sum(its[tool] for its in phases.values()) for tool, wall_s in sums["wall_s"].items()
    }
    return {
        "settings": {**{name: value for name, value in settings.items() if name != "model"}, "rounds": rounds},
        **sums,
        "wall_ratio": sums["wall_s"]["carbonsweep"] / sums["wall_s"]["optimum-benchmark"],
        "generations": generations,
        "phases": phases,
    }


def phase_figures(phase: str, found: dict[str, list[Result]]) -> Result:
    """Means of both tools, median and extremes of the bare passes, and whether the tools agree within these."""
    bare_s = [seconds for turn in found["bare"] for seconds in turn[phase]]
    ours_s, theirs_s = (median(fmean(turn[phase]) for turn in found[tool]) for tool in ("carbonsweep", "optimum"))
    spread_s = max(bare_s) - min(bare_s)
    return {
        "carbonsweep": ours_s,
        "optimum-benchmark": theirs_s,
        "bare_median": median(bare_s),
        "bare_medians": {
            name: median(seconds for turn in found["bare"] if turn["environment"] == name for seconds in turn[phase])
            for name in sorted({turn["environment"] for turn in found["bare"]})
        },
        "bare_least": min(bare_s),
        "bare_most": max(bare_s),
        "agree": abs(ours_s - theirs_s) <= spread_s,
    }


def lines(found: Result) -> list[str]:
    """One batch size for the reader."""
    wall, imports, size = found["wall_s"], found["import_s"], found["settings"]["batch_size"]
    ratio = f"ratio {found['wall_ratio']:.2f} (mark: {WALL_MARK})"
    walls = f"wall {wall['carbonsweep']:.1f} s, optimum-benchmark {wall['optimum-benchmark']:.1f} s, {ratio}"
    rows = [f"batch {size}: {walls}; imports {imports['carbonsweep']:.1f} and {imports['optimum-benchmark']:.1f} s"]
    held = found["generations"]
    rows.append(
        f"  wall in own generations: {held['carbonsweep']:.1f} and {held['optimum-benchmark']:.1f}, "
        f"ratio {held['carbonsweep'] / held['optimum-benchmark']:.2f}"
    )
    for phase, its in found["phases"].items():
        rows.append(
            f"  {phase.removesuffix('_s'):7} {its['carbonsweep']:.3f} s, optimum-benchmark "
            f"{its['optimum-benchmark']:.3f} s; bare {its['bare_median']:.3f} s "
            f"({its['bare_least']:.3f} to {its['bare_most']:.3f}): {'agree' if its['agree'] else 'DISAGREE'}"
        )
    return rows


def missed(found: list[Result]) -> list[str]:
    """The marks that do not hold: the ratio over all batch sizes together, and every phase of each."""
    totals = [sum(each["wall_s"][tool] for each in found) for tool in ("carbonsweep", "optimum-benchmark")]
    ratio = totals[0] / totals[1]
    print(f"all batch sizes: wall ratio {ratio:.2f} (mark: {WALL_MARK})")
    wall = [f"wall ratio {ratio:.2f} is above {WALL_MARK}"] if ratio > WALL_MARK else []
    return wall + [
        f"batch {each['settings']['batch_size']}: {phase} disagree"
        for each in found
        for phase, its in each["phases"].items()
        if not its["agree"]
    ]


def main() -> None:
    """Run, print, write; exit 1 where a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", default="1,2,4,8", help="with commas between")
    parser.add_argument("--passes", type=int, default=10, help="timed passes; the peer's default")
    parser.add_argument("--warm-ups", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="of all turns, per batch size")
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--output-tokens", type=int, default=32)
    options = parser.parse_args()
    if not THEIRS.exists():
        raise SystemExit("no environment with optimum-benchmark: `make bench-optimum` builds it")
    save_model()
    shape = {name: getattr(options, name) for name in ("prompt_tokens", "output_tokens", "passes", "warm_ups")}
    found = []
    for size in map(int, options.batch_sizes.split(",")):
        found.append(batch({"model": str(MODEL), "batch_size": size, **shape}, options.rounds))
        print(*lines(found[-1]), sep="\n", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if reasons := missed(found):
        sys.exit("; ".join(reasons))


if __name__ == "__main__":
    main()
