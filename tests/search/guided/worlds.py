"""Made-up worlds for a guide: what a trial of each configuration finds, and what the guide says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carbonsweep.domain import Configuration, PhaseMeasurement, Refusal, Scenario, Slo, TrialRecord
from carbonsweep.search.guided.guidance import Guidance
from carbonsweep.search.guided.guide import Guide
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.units import S_PER_YEAR
from tests.conftest import SHORT, energy, measurement, phase, record

GPUS = ("T4", "A10G", "A100-40", "H100")
MODELS = ("TinyLlama-1.1B", "LLaMA-7B")
BATCHES = (1, 4, 16)
SCENARIO = Scenario(intensity=None, lifetime_s=5 * S_PER_YEAR, embodied="paper")

Factor = Callable[[Configuration], float]


def configurations(
    models: Iterable[str] = MODELS, gpus: Iterable[str] = GPUS, batches: Iterable[int] = BATCHES, dtype: Any = "fp16"
) -> list[Configuration]:
    gpus, batches = tuple(gpus), tuple(batches)
    return [
        Configuration(model=model, gpu=gpu, gpu_count=1, batch_size=batch, dtype=dtype, engine="paper")
        for model in models
        for gpu in gpus
        for batch in batches
    ]


def asking(*names: str, **limits: float) -> Question:
    return Question(objectives=objectives(names or ("latency",)), slo=Slo(**limits), scenario=SCENARIO)


def one(_: Configuration) -> float:
    return 1.0


def roomy(_: Configuration) -> float:
    return 0.2


@dataclass(frozen=True, kw_only=True)
class World:
    """`seconds` of each configuration's decode (prefill takes a tenth); `memory` is bytes needed of 10 GB."""

    configurations: Sequence[Configuration]
    seconds: Factor
    guided: Factor = one  # what the guide says of the seconds, over the truth
    memory: Factor = roomy  # needed over available, as it is
    noise: float = 0.0  # stated, relative standard deviation
    has_energy: bool = True

    def guidance(self, error: float = 0.3, memory_off: float = 1.0) -> Guidance:
        """`error` is stated of everything; of memory it says `memory_off` times the truth."""
        seconds = np.array([self.seconds(c) * self.guided(c) for c in self.configurations])
        ones = np.ones(len(seconds))
        return Guidance(
            prefill_s=seconds / 10,
            decode_s=seconds,
            prefill_w=100 * ones,
            decode_w=100 * ones,
            idle_w=20 * ones,
            needed_bytes=np.array([self.memory(c) for c in self.configurations]) * memory_off * 1e10,
            available_bytes=1e10 * ones,
            prompt_tokens=100 * ones,
            supported=ones > 0,
            prefill_s_error=error * ones,
            decode_s_error=error * ones,
            prefill_w_error=error * ones,
            decode_w_error=error * ones,
            idle_w_error=error * ones,
            bytes_error=0.25 * ones,
            source="a made-up world",
        )

    def guide(self, question: Question | None = None, seed: int = 0, **guidance: float) -> Guide:
        return Guide(
            configurations=self.configurations,
            workload=SHORT,
            question=question or asking(),
            seed=seed,
            guidance=self.guidance(**guidance),
        )

    def record(self, c: Configuration, factor: float = 1.0) -> TrialRecord:
        """What a trial reports: `factor` times the truth, or that it does not fit."""
        if self.memory(c) > 1:
            return record(c, Refusal(kind="does-not-fit", reason="made up"))
        seconds = self.seconds(c) * factor
        return record(
            c,
            measurement(
                prefill=self._phase(c, seconds / 10),
                decode=self._phase(c, seconds),
                batch_size=c.batch_size,
                peak_memory_bytes=None,
                basis="measured",
            ),
        )

    def _phase(self, c: Configuration, seconds: float) -> PhaseMeasurement:
        half = 1.96 * self.noise * seconds
        joules = energy(100 * seconds) if self.has_energy else None
        return phase(
            seconds, None, gpu=c.gpu, duration_low_s=seconds - half, duration_high_s=seconds + half, energy=joules
        )

    def searched(self, guide: Guide, trials: int | None = None) -> dict[Configuration, TrialRecord]:
        """Records of the first `trials` suggestions, in their order; of all, where None."""
        records: dict[Configuration, TrialRecord] = {}
        while (trials is None or len(records) < trials) and (chosen := guide.suggestion(records)) is not None:
            assert chosen not in records
            records[chosen] = self.record(chosen)
        return records

    def trials_to_find(self, guide: Guide, best: Configuration) -> int:
        """How many trials it takes until `best` is tried."""
        return next(n for n in range(1, len(self.configurations) + 1) if best in self.searched(guide, n))


def by_size(c: Configuration) -> float:
    """Seconds that fall with the GPU's rank and grow with model and batch; no two alike."""
    rank = {"T4": 8.0, "A10G": 5.0, "A100-40": 2.0, "H100": 1.0}[c.gpu]
    return rank * {"TinyLlama-1.1B": 1.0, "LLaMA-7B": 3.0}.get(c.model, 2.0) * (1 + math.log2(c.batch_size) / 5)


def scaled(factors: Mapping[str, float]) -> Factor:
    """A factor by GPU kind."""
    return lambda c: factors.get(c.gpu, 1.0)
