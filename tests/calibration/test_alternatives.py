"""What others would say, by hand; and which of two GPUs anybody picks."""

from __future__ import annotations

import numpy as np
import pytest

from carbonsweep.calibration.alternatives import LAWS, alternative, phases
from carbonsweep.calibration.cases import cases
from carbonsweep.calibration.ranking import Picks, picks
from tests.calibration.made import observation

# Llama-2-7B on an A100 with 40 GB: 312e12 FLOP/s, 1555e9 bytes/s, 400 W, 55 W idle; 256 + 256 tokens, batch 2.
BLOCKS = 32 * 4096 * (4 * 4096 + 3 * 11008)
HEAD = 4096 * 32000
KV_BYTES = 2 * 32 * 32 * 128 * 2
RUN = observation(batch_size=2, tokens=256, whole_s=5.0, power_w=250.0)


def test_roofline_time_is_work_over_peak_or_bytes_over_bandwidth() -> None:
    prefill, step = phases(cases([RUN]))
    # 512 rows of prompt: two operations per block weight and row, the head once per sequence, half of the square.
    flop = 2 * BLOCKS * 512 + 2 * HEAD * 2 + 2 * 32 * 4096 * 512 * 256
    assert prefill.seconds[0] == pytest.approx(flop / 312e12)
    assert prefill.compute[0] == 1
    # A step reads every weight once, and the cache of two sequences at 256 + 128 tokens.
    moved = (BLOCKS + HEAD) * 2 + KV_BYTES * 2 * 384
    assert step.seconds[0] == pytest.approx(moved / 1555e9)
    assert step.memory[0] == 1
    work = (2 * (BLOCKS + HEAD) + 4 * 32 * 4096 * 384) * 2 / 312e12
    assert step.compute[0] == pytest.approx(work / step.seconds[0])


def test_the_laws_of_power_are_those_that_were_published() -> None:
    rows = cases([RUN])
    prefill, step = phases(rows)
    share = float(prefill.seconds[0] / (prefill.seconds[0] + 255 * step.seconds[0]))
    mfu = float(step.compute[0])
    expected = {
        "roofline, TDP": 400.0,
        # Prefill computes all the time: beyond 0.45, so TDP.
        "roofline, MFU power law": share * 400 + (1 - share) * (55 + 345 * (mfu / 0.45) ** 0.7),
        "roofline, 30/40/20/10": share * 400 * (0.3 + 0.4 + 0.2 * float(prefill.memory[0]))
        + (1 - share) * 400 * (0.3 + 0.4 * mfu + 0.2),
    }
    for name, law in LAWS.items():
        said = alternative(rows, law)
        assert said["power_w"][0] == pytest.approx(expected[name]), name
        # Joules of the run over its 512 output tokens.
        seconds = float(prefill.seconds[0] + 255 * step.seconds[0])
        assert said["energy_per_token_j"][0] == pytest.approx(expected[name] * seconds / 512)
        assert said["tpot_s"][0] == pytest.approx(seconds / 256)


def test_a_pick_is_right_where_the_order_is_that_of_the_meter() -> None:
    # J/token of one batch of one: 200 W x 10 s, 300 W x 4 s, and 300 W x 4.1 s over 256 tokens: 7.8, 4.7, 4.8.
    runs = [
        observation(gpu="A100-40", whole_s=10.0, power_w=200.0),
        observation(gpu="H100", whole_s=4.0, power_w=300.0),
        observation(gpu="GH200", whole_s=4.1, power_w=300.0),
        observation(gpu="GH200", batch_size=2, whole_s=4.1, power_w=300.0),
    ]
    rows = cases(runs)
    # H100 and GH200 differ by 2.5 %: no pick. Another batch: no pair.
    assert picks(rows, np.array([3.0, 2.0, 4.0, 1.0])) == Picks(right=1, pairs=2)
    assert picks(rows, np.array([3.0, 2.0, 1.0, 9.0])) == Picks(right=2, pairs=2)


def test_without_energy_there_is_no_pick() -> None:
    runs = [observation(gpu=gpu, whole_s=1.0) for gpu in ("A100-40", "H100")]
    assert picks(cases(runs), np.array([1.0, 2.0])) == Picks(0, 0)
