"""The device model as a user gets it, against what others measured: the validated path, inside the errors it states.

The files are not part of this repository: CARBONSWEEP_DATA names the folder that holds `calibration/`. How the errors
were found is tested in tests/calibration/; here the committed rows are used as they are.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carbonsweep.bench.roofline import predict
from carbonsweep.calibration.cases import Cases, cases, predicted
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.rows import read
from carbonsweep.domain import Configuration, Workload
from carbonsweep.facts.engines import Engine, engine

MODELS = {"Llama-2-7b-hf": "Llama-2-7B", "Llama-2-13b-hf": "Llama-2-13B", "Meta-Llama-3-8B": "Llama-3.1-8B"}
ENGINES = ("transformers", "transformers-gptq", "transformers-gptq-v2", "vllm", "tensorrt-llm", "deepspeed-mii")
SERVING = ("vllm", "tensorrt-llm", "deepspeed-mii")
GENERAL = "A40"  # no row is fitted to it: what holds for it is the general row


@pytest.fixture(scope="module")
def observations() -> tuple[Observation, ...]:
    named = os.environ.get("CARBONSWEEP_DATA")
    if not named:
        pytest.skip("CARBONSWEEP_DATA is not set: it names the folder with calibration/ in it")
    if not (Path(named) / "calibration").is_dir():
        pytest.skip(f"CARBONSWEEP_DATA has no folder calibration: {named}")
    return read(Path(named)).observations


def inside(rows: Cases, quantity: str, error: Callable[[Engine], float], row_on: Callable[[str], Engine]) -> list[bool]:
    """Whether each measured value lies within the stated half-width about the modelled one."""
    said, measured = predicted(rows, row_on)[quantity], rows.measured[quantity]
    known = np.isfinite(measured)
    widths = np.array([error(row_on(each.origin.gpu)) for each in rows.observations])
    return list((np.abs(measured - said) <= widths * said)[known])


def of_engine(observations: tuple[Observation, ...], name: str) -> Cases:
    mine = SERVING if name == "healthy" else (name,)
    return cases([each for each in observations if each.origin.engine in mine])


ERRORS: dict[str, Callable[[Engine], float]] = {
    "prefill_s": lambda row: row.prefill_time_error,
    "tpot_s": lambda row: row.decode_time_error,
    "energy_per_token_j": lambda row: row.decode_energy_error,
}


def test_rows_lie_inside_the_errors_that_their_own_row_states(observations: tuple[Observation, ...]) -> None:
    # The half-widths hold 95 % of held-out rows; the rows are those the committed fit has seen.
    everything: list[bool] = []
    for name in (*ENGINES, "healthy"):
        rows, row_on = of_engine(observations, name), functools.partial(engine, name)
        found = [hit for each, error in ERRORS.items() for hit in inside(rows, each, error, row_on)]
        assert np.mean(found) >= 0.9, name
        everything += found
    assert len(everything) > 700
    assert np.mean(everything) >= 0.95


@pytest.mark.parametrize("name", ["transformers", "vllm", "tensorrt-llm", "healthy"])
def test_rows_of_calibrated_gpus_lie_inside_what_is_stated_for_any_other(
    observations: tuple[Observation, ...], name: str
) -> None:
    # The general row knows these GPUs by its fit, so this is a floor of what its wider errors must hold.
    rows = of_engine(observations, name)
    assert np.mean(inside(rows, "tpot_s", ERRORS["tpot_s"], lambda gpu: engine(name, GENERAL))) >= 0.95


@pytest.mark.parametrize("name", ["vllm", "tensorrt-llm", "deepspeed-mii", "healthy", "transformers"])
def test_a_gpu_nobody_measured_states_no_smaller_errors_than_the_best_known(name: str) -> None:
    general = engine(name, GENERAL)
    known = [engine(name, gpu) for gpu in ("T4", "A10G", "A100-40", "A100-80", "H100", "GH200")]
    for error in ("prefill_time_error", "prefill_energy_error", "decode_time_error", "decode_energy_error"):
        assert getattr(general, error) >= min(getattr(row, error) for row in known)
    assert general.error_source != engine(name, "A100-80" if name == "transformers" else "A100-40").error_source


@pytest.mark.parametrize("name", [*SERVING, "healthy"])
def test_where_only_whole_runs_were_measured_no_phase_is_known_better(name: str) -> None:
    for gpu in ("A100-40", "H100", GENERAL):
        row = engine(name, gpu)
        assert row.prefill_energy_error >= row.decode_energy_error  # the latter is that of the whole run
        assert "whole runs only" in row.error_source


def test_what_was_validated_is_what_a_user_gets(observations: tuple[Observation, ...]) -> None:
    # One path over observations, one over configurations: the same equations must give the same seconds and watts.
    chosen = [
        each
        for each in observations
        if each.model.key in MODELS
        and each.origin.attention != "eager"
        and each.origin.engine in ("transformers", "vllm", "tensorrt-llm")
    ]
    kept = 0
    said = predicted(cases(chosen), lambda gpu: engine("transformers", gpu))
    for place, each in enumerate(chosen):
        if each.origin.engine != "transformers":
            continue
        origin = each.origin
        where = Configuration(
            model=MODELS[each.model.key],
            gpu=origin.gpu,
            gpu_count=1,
            batch_size=origin.batch_size,
            dtype="fp16",
            engine="transformers",
        )
        workload = Workload(
            name="fixed",
            prompts=None,
            prompt_tokens=(origin.prompt_tokens,),
            token_basis="given",
            output_tokens=origin.output_tokens,
        )
        found = predict([where], workload)
        # Heads of grouped Llamas launch as many operators as those of others under sdpa.
        assert found.prefill_s[0] == pytest.approx(said["prefill_s"][place], rel=1e-3)
        assert found.decode_s[0] / (origin.output_tokens - 1) == pytest.approx(said["tpot_s"][place], rel=1e-3)
        kept += 1
    assert kept == 29  # 7B and 13B on the A100, fused attention of two kinds, and three Llama-3 on the A10G


def test_prefill_of_a_healthy_stack_is_near_that_of_transformers_where_the_gpu_is_busy(
    observations: tuple[Observation, ...],
) -> None:
    # No fit of a serving stack saw these rows, nor these GPUs; what it states for any GPU must hold them.
    large = cases(
        [each for each in observations if each.origin.engine == "transformers" and each.model.parameters >= 4e9]
    )
    assert len(large) > 80
    assert np.mean(inside(large, "prefill_s", ERRORS["prefill_s"], lambda gpu: engine("healthy", GENERAL))) >= 0.95
