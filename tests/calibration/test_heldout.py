"""Held-out errors: rows that are left out touch nothing that predicts them; what is stated of them holds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonsweep.calibration.bootstrap import drawn, model_weights, remaining_factors
from carbonsweep.calibration.heldout import HeldOut, Split, foreign_prefill, half_width, held_out, mape, spread
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.other_centres import CENTRES, PARAMETER, under_other_centres
from carbonsweep.calibration.priors import family
from carbonsweep.calibration.stacks import by_gpu, by_model, fit_of, stack
from carbonsweep.calibration.stated import Stated, stated, table
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


def test_models_of_one_shape_leave_together_whatever_they_are_called() -> None:
    # Blocks of 32 layers, 4096 wide, 8 key-value heads of 128 and an MLP of 14336: other weights, another vocabulary.
    mistral = [observation(name) for name in ("mistralai/Mistral-7B-v0.1", "HuggingFaceH4/zephyr-7b-beta", LLAMA_3)]
    # GPT-2's blocks are those of others too, which other classes of transformers run.
    gpt2 = [
        observation(name) for name in ("openai-community/gpt2", "EleutherAI/gpt-neo-125m", "EleutherAI/pythia-160m")
    ]
    for sisters in (mistral, gpt2):
        assert len({by_model(each) for each in sisters}) == 1
    groups = [*mistral, *gpt2, observation(LLAMA), observation("EleutherAI/pythia-410m"), observation("01-ai/Yi-6B")]
    assert len({by_model(each) for each in groups}) == 5


def test_eager_and_sdpa_rows_of_a_model_leave_together_and_so_do_its_quantised_ones() -> None:
    made = [
        observation("NousResearch/Llama-2-7b-hf", attention="eager"),
        observation("NousResearch/Llama-2-7b-hf", "T4", "transformers"),
        observation("TheBloke/LLaMa-7B-GPTQ", "A100-80", "transformers-gptq"),
    ]
    assert len({by_model(each) for each in made}) == 1


def test_a_quantised_model_is_not_seen_through_the_unquantised_rows_of_its_base() -> None:
    thirteen = "NousResearch/Llama-2-13b-hf"
    eager = family("eager")
    middle = {**eager.fixed, **{name: prior.mean for name, prior in eager.priors.items()}}
    made = [
        observation(model, "A100-80", engine, batch_size)
        for model in (LLAMA, thirteen)
        for engine in ("transformers", "transformers-gptq")
        for batch_size in (1, 8)
    ]
    rows = phases(made, middle)
    wrong = [
        replace(each, step_s=3 * (each.step_s or 0))
        if (each.origin.checkpoint, each.origin.engine) == (LLAMA, "transformers")
        else each
        for each in rows
    ]
    what = stack("transformers-gptq")
    first, second = held_out(what, rows, "model"), held_out(what, wrong, "model")
    assert first is not None
    assert second is not None
    seven = np.array([each.origin.checkpoint == LLAMA for each in first.rows.observations])
    assert list(seven).count(True) == 2
    same = first.modelled["tpot_s"] == second.modelled["tpot_s"]
    assert np.array_equal(same, seven)  # the other model is predicted from the rows that were changed


def test_boards_of_one_die_leave_together() -> None:
    # H100 and GH200 carry a GH100; an A10G is of Ampere as an A100 is, and another die.
    h100, gh200, small, large, a10g = (
        by_gpu(observation(gpu=gpu)) for gpu in ("H100", "GH200", "A100-40", "A100-80", "A10G")
    )
    assert h100 == gh200 != small == large != a10g != h100
    rows = [*runs(), *(replace(each, origin=replace(each.origin, gpu="GH200")) for each in runs()[:6])]
    first = held_out(VLLM, rows, "gpu")
    wrong = [replace(each, whole_s=3 * (each.whole_s or 0)) if each.origin.gpu == "GH200" else each for each in rows]
    second = held_out(VLLM, wrong, "gpu")
    assert first is not None
    assert second is not None
    # What GH200 measured teaches nothing of an H100 that was left out, and much of an A100.
    assert np.array_equal(first.on("H100").modelled["tpot_s"], second.on("H100").modelled["tpot_s"])
    assert not np.allclose(first.on("A100-40").modelled["tpot_s"], second.on("A100-40").modelled["tpot_s"])


def test_another_centre_of_a_prior_is_tried_on_the_same_rows() -> None:
    found = under_other_centres((VLLM,), runs())
    assert tuple(found) == CENTRES
    (low,), *_, (committed,) = found.values()
    as_it_is = held_out(VLLM, runs(), "gpu")
    assert as_it_is is not None
    assert VLLM.family.priors[PARAMETER].mean == CENTRES[-1]
    assert np.array_equal(committed.modelled["power_w"], as_it_is.modelled["power_w"])
    assert not np.allclose(low.modelled["power_w"], committed.modelled["power_w"], rtol=1e-3)


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


def off(found: HeldOut, **shares: float) -> HeldOut:
    """The same rows, modelled at a share of what was measured."""
    measured = found.rows.measured
    return replace(found, modelled={name: shares.get(name, 1.0) * values for name, values in measured.items()})


def test_a_phase_that_was_not_measured_is_as_far_off_as_the_worst_that_was() -> None:
    found, prefill = held_out(VLLM, runs(), "model"), _prefill()
    assert found is not None
    # Times modelled at half are 100 % off (half-widths are relative to the model), energies at a quarter 300 %.
    slow = off(found, tpot_s=0.5, power_w=0.8, energy_per_token_j=0.25)
    says = stated(slow, slow, off(prefill, prefill_s=0.8))
    assert (says.prefill_time_error, says.decode_time_error) == pytest.approx((1.0, 1.0))
    assert (says.prefill_energy_error, says.decode_energy_error) == pytest.approx((3.0, 3.0))
    # Prefills that are further off than the run count themselves: 150 %, and with the power's 25 % their joules.
    says = stated(off(found, tpot_s=0.5, power_w=0.8), off(found, power_w=0.1), off(prefill, prefill_s=0.4))
    assert says.prefill_time_error == pytest.approx(1.5)
    assert says.prefill_energy_error == pytest.approx(np.hypot(1.5, 0.25))
    # Power that was never measured is taken from elsewhere: a half there is 100 % here.
    silent = [replace(each, power_w=None) for each in runs()]
    dark = held_out(VLLM, silent, "model")
    assert dark is not None
    says = stated(off(dark, tpot_s=0.5), off(found, power_w=0.5), off(prefill, prefill_s=0.8))
    assert says.decode_energy_error == pytest.approx(np.hypot(1.0, 1.0))
    assert "power was not measured here" in says.sentence


def test_a_general_row_is_no_better_than_gpus_nor_models_left_out_were() -> None:
    found, prefill = held_out(VLLM, runs(), "model"), _prefill()
    assert found is not None
    gpus, models = off(found, tpot_s=0.8), off(found, tpot_s=0.5, energy_per_token_j=0.8)
    held = {
        ("vllm", "model"): models,
        ("vllm", "gpu"): gpus,
        ("vllm", "prefill"): prefill,
        ("transformers", "gpu"): gpus,
    }
    # Modelled at 0.8 is 25 % off, at half 100 %.
    assert table(held, VLLM, ())[""].decode_time_error == pytest.approx(1.0)
    held |= {("vllm", "model"): gpus, ("vllm", "gpu"): models}
    assert table(held, VLLM, ())[""].decode_time_error == pytest.approx(1.0)
    # A stack that ran on one GPU: those of another stack's GPUs, and its own models on top; its own GPU has its own.
    mii = stack("deepspeed-mii")
    healthy = replace(models, stack=stack("healthy"))
    held |= {("deepspeed-mii", "model"): gpus, ("deepspeed-mii", "prefill"): prefill, ("healthy", "gpu"): healthy}
    rows = table(held, mii, ("H100",))
    assert rows[""].decode_time_error == pytest.approx(np.hypot(1.0, 0.25))
    assert "deepspeed-mii itself ran on one GPU only" in rows[""].sentence
    assert rows["H100"].decode_time_error == pytest.approx(0.25)


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


def test_a_factor_carries_only_what_the_drawn_parameters_leave_of_the_error() -> None:
    found = held_out(VLLM, runs(), "model")
    assert found is not None
    # Parameters that never vary leave all of it, those that spread times by a factor of two leave nothing.
    still, wide = ([{**MIDDLE, "bandwidth_efficiency": each} for each in two * 32] for two in ((0.8, 0.8), (0.45, 0.9)))
    logs = np.log(remaining_factors("vllm/", still, found, found)["time_factor"])
    # 64 normals: their standard deviation is known to 9 %.
    assert np.std(logs) == pytest.approx(spread(found.errors("tpot_s")), rel=0.3)
    assert remaining_factors("vllm/", wide, found, found)["time_factor"] == [1.0] * 64


def test_models_are_weighed_not_rows_and_alike_for_every_engine() -> None:
    rows = runs()
    weights = model_weights(rows, 3)
    assert set(weights) == {"Llama-2-7b-hf", "Meta-Llama-3-8B"}
    assert sum(weights.values()) == pytest.approx(2.0)
    assert weights == model_weights(rows[::-1], 3) != model_weights(rows, 4)
