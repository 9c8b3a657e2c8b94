"""Records made up so that every saving and every step can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from carbonsweep.domain import Refusal, Slo, TrialRecord
from tests.conftest import configuration, measurement, record

LIMITS = Slo(ttft_s=1.0, tpot_s=0.050)


def near(value: float) -> Any:
    """The number up to rounding, of any type, so that it may stand among others."""
    return pytest.approx(value)


def made(batch_size: int, joules: float, *, ttft_s: float = 0.5, tpot_s: float = 0.045, **where: Any) -> TrialRecord:
    """So many joules for 600 output tokens, whatever the batch size: the objective energy goes as the joules."""
    found = measurement(
        ttft_s=ttft_s,
        decode_s=149 * tpot_s,
        prefill_j=0.2 * joules,
        decode_j=0.8 * joules,
        gpu=where.get("gpu", "T4"),
    )
    return record(configuration(batch_size=batch_size, **where), found)


def too_big(batch_size: int, lacking: float, **where: Any) -> TrialRecord:
    """It lacks so many bytes of 16e9."""
    refusal = Refusal(kind="does-not-fit", reason="too big", needed_bytes=16e9 + lacking, available_bytes=16e9)
    return record(configuration(batch_size=batch_size, **where), refusal)


# Under LIMITS batch 8 is the best of what is feasible. Over a limit, by which share, and joules against its 100:
STEPS = [
    made(8, 100, tpot_s=0.048),
    made(1, 130),
    made(2, 95, ttft_s=1.1),  # TTFT +10 %: 5 % less
    made(32, 110, tpot_s=0.056),  # TPOT +12 %: more, so no step
    made(16, 79, tpot_s=0.0625),  # TPOT +25 %: 21 % less
    made(64, 50, ttft_s=1.2, tpot_s=0.070),  # both, +20 % and +40 %: 50 % less
    made(4, 60, tpot_s=0.090),  # TPOT +80 %: 40 % less
]
