"""How long `--help` takes, as a ratio to `import numpy` taken in turn in the same run.

The mark is 3: a command line that answers in the time of one heavy import or two feels immediate.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 7
COMMANDS = ("tune", "measure", "plan", "price", "explain", "report")


def wall_s(*arguments: str) -> float:
    """Wall time of one Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the median ratio of each command over interleaved runs."""
    times: dict[str, list[float]] = {name: [] for name in ("numpy", *COMMANDS)}
    for _ in range(RUNS):
        times["numpy"].append(wall_s("-c", "import numpy"))
        for name in COMMANDS:
            times[name].append(wall_s("-m", f"carbonsweep.{name}", "--help"))
    print(f"median of {RUNS} interleaved runs; import numpy {statistics.median(times['numpy']) * 1e3:.0f} ms")
    for name in COMMANDS:
        pairs = [ours / numpy for ours, numpy in zip(times[name], times["numpy"], strict=True)]
        print(f"  {name:7} --help / import numpy: {statistics.median(pairs):.2f} (mark: 3)")


if __name__ == "__main__":
    main()
