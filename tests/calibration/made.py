"""Observations made up for tests: of real GPUs and shapes, with whatever figures a test wants."""

from __future__ import annotations

from dataclasses import replace

from carbonsweep.calibration.cases import cases, predicted
from carbonsweep.calibration.fit import Parameters, as_engine
from carbonsweep.calibration.observations import Observation, Origin
from carbonsweep.facts.reference import reference_model

LLAMA = "meta-llama/Llama-2-7b-hf"
LLAMA_3 = "meta-llama/Meta-Llama-3-8B"


def observation(
    checkpoint: str = LLAMA,
    gpu: str = "A100-40",
    engine: str = "vllm",
    batch_size: int = 1,
    tokens: int = 256,
    attention: str = "sdpa",
    line: int = 2,
    **measured: float,
) -> Observation:
    origin = Origin(
        source="made.csv",
        line=line,
        gpu=gpu,
        engine=engine,
        checkpoint=checkpoint,
        attention=attention,
        batch_size=batch_size,
        prompt_tokens=tokens,
        output_tokens=tokens,
    )
    return Observation(origin=origin, model=reference_model(checkpoint), **measured)  # type: ignore[arg-type]


def whole_runs(made: list[Observation], parameters: Parameters) -> list[Observation]:
    """The same runs with the seconds and watts that the device model has for `parameters`."""
    found = []
    marked = [replace(each, whole_s=1.0, power_w=1.0) for each in made]
    said = predicted(cases(marked), lambda gpu: as_engine(parameters))
    for each, tpot_s, power_w in zip(marked, said["tpot_s"], said["power_w"], strict=True):
        found.append(replace(each, whole_s=float(tpot_s) * each.origin.output_tokens, power_w=float(power_w)))
    return found


def phases(made: list[Observation], parameters: Parameters) -> list[Observation]:
    """The same runs with prefill, decode step and decode power apart."""
    marked = [replace(each, prefill_s=1.0, step_s=1.0, power_w=1.0, power_span="decode") for each in made]
    said = predicted(cases(marked), lambda gpu: as_engine(parameters))
    return [
        replace(
            each,
            prefill_s=float(said["prefill_s"][i]),
            step_s=float(said["tpot_s"][i]),
            power_w=float(said["power_w"][i]),
        )
        for i, each in enumerate(marked)
    ]
