"""Held-out errors: rows that are left out touch nothing that predicts them; what is stated of them holds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonsweep.calibration.bootstrap import drawn, model_weights
from carbonsweep.calibration.heldout import HeldOut, Split, foreign_prefill, half_width, held_out, mape, spread
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.priors import family
from carbonsweep.calibration.stacks import fit_of, stack
from carbonsweep.calibration.stated import Stated, stated
from tests.calibration.made import LLAMA, LLAMA_3, observation, phases, whole_runs

VLLM = stack("vllm")
SPLITS: tuple[Split, ...] = ("model", "gpu", "batch")
SERVING = family("serving")
MIDDLE = {**SERVING.fixed, **{name: prior.mean for name, prior in SERVING.priors.items()}}


def runs() -> list[Observation]:
    made = [
        observation(checkpoint, gpu, batch_size=batch, tokens=512)
        for checkpoint in (LLAMA, LLAMA_3)
        for gpu in ("A100-40", "H100")
        for batch in (1, 8, 32)
    ]
    exact = whole_runs(made, MIDDLE)
    factors = np.random.default_rng(1).normal(1, 0.05, size=(len(exact), 2))
    return [
        replace(each, whole_s=(each.whole_s or 0) * a, power_w=(each.power_w or 0) * b)
        for each, (a, b) in zip(exact, factors, strict=True)
    ]


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_held_out_does_not_touch_what_predicts_it(split: Split) -> None:
    rows = runs()
    first = held_out(VLLM, rows, split)
    assert first is not None
    last = first.rows.observations[-1]

    def group(each: Observation) -> bool:
        if split == "batch":
            return each.origin.batch_size > VLLM.small_batch
        return each.model == last.model if split == "model" else each.origin.gpu == last.origin.gpu

    wrong = [replace(each, whole_s=3 * (each.whole_s or 0), power_w=50.0) if group(each) else each for each in rows]
    second = held_out(VLLM, wrong, split)
    assert second is not None
    for one, other, said, again in zip(
        first.rows.observations,
        second.rows.observations,
        first.modelled["tpot_s"],
        second.modelled["tpot_s"],
        strict=True,
    ):
        assert one.origin == other.origin
        if group(one):
            assert said == again
        else:  # the wrong rows are among those that predict this one
            assert said != again


def test_every_row_is_held_out_once() -> None:
    rows = runs()
    for split in SPLITS[:2]:
        found = held_out(VLLM, rows, split)
        assert found is not None
        assert sorted(map(repr, found.rows.observations)) == sorted(map(repr, rows))
    large = held_out(VLLM, rows, "batch")
    assert large is not None
    assert {each.origin.batch_size for each in large.rows.observations} == {32}


def test_one_gpu_alone_cannot_be_held_out() -> None:
    assert held_out(VLLM, [each for each in runs() if each.origin.gpu == "H100"], "gpu") is None


def test_errors_by_hand() -> None:
    errors = np.array([0.1, -0.3])
    assert mape(errors) == pytest.approx(0.2)
    # Modelled 0.7 of what was measured: measured is 1/0.7 - 1 = 43 % above the model.
    assert half_width(errors) == pytest.approx(1 / 0.7 - 1)
    assert spread(np.array([np.e - 1, 1 / np.e - 1])) == pytest.approx(1.0)


def test_the_stated_interval_holds_the_held_out_rows() -> None:
    found = held_out(VLLM, runs(), "model")
    assert found is not None
    said, measured = found.modelled["tpot_s"], found.rows.measured["tpot_s"]
    error = half_width(found.errors("tpot_s"))
    assert np.mean(np.abs(measured - said) <= error * said * (1 + 1e-12)) >= 0.95


def test_no_phase_is_stated_better_than_the_whole_run_it_was_measured_in() -> None:
    found = held_out(VLLM, runs(), "model")
    assert found is not None
    whole = half_width(found.errors("energy_per_token_j"))
    says = stated(found, found, _prefill())
    assert min(says.prefill_energy_error, says.decode_energy_error) >= whole
    assert "whole runs only" in says.sentence
    assert "prefill was not timed here" in says.sentence
    assert says.prefill_time_error >= half_width(found.errors("tpot_s"))


def test_stated_errors_are_rounded_up() -> None:
    says = Stated(
        prefill_time_error=0.101,
        prefill_energy_error=0.2,
        decode_time_error=0.3001,
        decode_energy_error=0.4,
        sentence="held out",
    )
    assert says.fields() == {
        "prefill_time_error": 0.11,
        "prefill_energy_error": 0.2,
        "decode_time_error": 0.31,
        "decode_energy_error": 0.4,
        "error_source": "held out",
    }


def _prefill() -> HeldOut:
    eager = family("eager")
    middle = {**eager.fixed, **{name: prior.mean for name, prior in eager.priors.items()}}
    small, large = (observation(name, "T4", "transformers") for name in ("openai-community/gpt2", LLAMA))
    found = foreign_prefill(VLLM, fit_of(VLLM, runs()), phases([small, large], middle))
    assert found is not None
    assert [each.model.key for each in found.rows.observations] == ["Llama-2-7b-hf"]  # GPT-2 keeps no GPU busy
    return found


def test_draws_are_joint_repeatable_and_as_wide_as_the_held_out_error() -> None:
    rows = runs()
    fit = fit_of(VLLM, rows)
    gpus, models = held_out(VLLM, rows, "gpu"), held_out(VLLM, rows, "model")
    assert gpus is not None
    assert models is not None
    held = {"": gpus, **{gpu: models.on(gpu) for gpu in fit.own}}
    first = drawn(VLLM, rows, fit, held, draws=4)
    assert first == drawn(VLLM, rows, fit, held, draws=4)
    assert set(first) == {"", "A100-40", "H100"}
    assert all(len(values) == 4 for fields in first.values() for values in fields.values())
    assert "memory_share" not in first[""]  # not fitted: it does not vary
    # The parameters spread already, so the factors carry at most the held-out error: normals of 4 draws are below 3.
    assert float(np.max(np.abs(np.log(first[""]["time_factor"])))) <= 3 * spread(gpus.errors("tpot_s"))
    assert first["H100"]["time_factor"] != first["A100-40"]["time_factor"]


def test_models_are_weighed_not_rows_and_alike_for_every_engine() -> None:
    rows = runs()
    weights = model_weights(rows, 3)
    assert set(weights) == {"Llama-2-7b-hf", "Meta-Llama-3-8B"}
    assert sum(weights.values()) == pytest.approx(2.0)
    assert weights == model_weights(rows[::-1], 3) != model_weights(rows, 4)
