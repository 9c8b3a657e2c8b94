"""The fit: parameters that made the rows are found again, priors hold the rest, one bad row bends little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import Cases, cases, predicted
from carbonsweep.calibration.fit import WIDEST, Fitted, Parameters, as_engine, fitted
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.priors import Family, family
from carbonsweep.calibration.stacks import TRANSFORMERS, changed, fit_of, stack
from carbonsweep.errors import BadInput
from tests.calibration.made import LLAMA, LLAMA_3, observation, phases, whole_runs

SERVING = family("serving")
EAGER = family("eager")
GPUS = ("A100-40", "H100", "GH200", "T4", "A10G")


def loose(one: Family, share: float = 20.0) -> Family:
    """The same family, believing next to nothing beforehand: what is found is what the rows say."""
    return replace(one, priors={name: prior.around(prior.mean, share) for name, prior in one.priors.items()})


def truth(one: Family, **values: float) -> dict[str, float]:
    return {**one.fixed, **{name: prior.mean for name, prior in one.priors.items()}, **values}


def serving_rows(**values: float) -> list[Observation]:
    made = [
        observation(checkpoint, gpu, batch_size=batch, tokens=tokens, line=line)
        for line, (checkpoint, gpu, batch, tokens) in enumerate(
            (c, g, b, t) for c in (LLAMA, LLAMA_3) for g in GPUS for b in (1, 4, 16) for t in (128, 1024)
        )
    ]
    return whole_runs(made, truth(SERVING, **values))


def test_known_parameters_of_a_serving_stack_are_found_again() -> None:
    # Two parameters of each kind away from the priors' means; the rows are exact, so the fit must be.
    known = {"bandwidth_efficiency": 0.72, "decode_power_floor": 0.45, "kernel_s_per_layer": 1.1e-4, "kv_power": 0.45}
    rows = cases(serving_rows(**known))
    found = fitted(rows, loose(SERVING)).general
    for name, value in known.items():
        assert found[name] == pytest.approx(value, rel=0.03), name
    said = predicted(rows, lambda gpu: as_engine(found))
    assert np.allclose(said["tpot_s"], rows.measured["tpot_s"], rtol=5e-3)
    assert np.allclose(said["power_w"], rows.measured["power_w"], rtol=5e-3)


def test_known_parameters_of_an_eager_stack_are_found_again() -> None:
    known = {"host_s_per_layer": 9e-4, "host_s_per_pass": 4e-3, "bandwidth_efficiency": 0.7, "kv_traffic_factor": 6.0}
    models = ("openai-community/gpt2", "EleutherAI/pythia-410m", "microsoft/phi-1_5", "EleutherAI/gpt-j-6b", LLAMA)
    made = [
        observation(model, gpu, "transformers", batch, attention=attention)
        for model in models
        for gpu in ("T4", "A10G", "A100-80")
        for batch in (1, 8, 32)
        for attention in ("eager", "sdpa")
    ]
    found = fitted(cases(phases(made, truth(EAGER, **known))), loose(EAGER)).general
    for name, value in known.items():
        assert found[name] == pytest.approx(value, rel=0.03), name


def test_a_gpu_that_differs_gets_its_own_row_and_the_others_keep_theirs() -> None:
    rows = serving_rows()
    slow = truth(SERVING, bandwidth_efficiency=0.7)
    mixed = [each for each in rows if each.origin.gpu != "H100"]
    mixed += whole_runs([each for each in rows if each.origin.gpu == "H100"], slow)
    found = fitted(cases(mixed), SERVING)
    h100 = cases([each for each in mixed if each.origin.gpu == "H100"])
    own, general = (_mean_error(h100, row) for row in (found.on("H100"), found.general))
    assert own < general / 2
    assert found.on("L4") == found.general


def _said(rows: Cases, parameters: Parameters) -> Array:
    return predicted(rows, lambda gpu: as_engine(parameters))["tpot_s"]


def _mean_error(rows: Cases, parameters: Parameters) -> float:
    return float(np.mean(np.abs(_said(rows, parameters) / rows.measured["tpot_s"] - 1)))


def test_without_rows_that_tell_the_prior_stays() -> None:
    # One prompt under one model of one size says nothing of grouped heads.
    rows = whole_runs([observation(batch_size=1)], truth(SERVING))
    found = fitted(cases(rows), SERVING)
    assert found.general["kv_group_exponent"] == pytest.approx(SERVING.priors["kv_group_exponent"].mean, abs=1e-3)


def test_one_row_of_nonsense_bends_the_fit_little() -> None:
    rows = serving_rows()
    whole_s = rows[7].whole_s
    assert whole_s is not None
    bent = [*rows[:7], replace(rows[7], whole_s=10 * whole_s), *rows[8:]]
    straight, crooked = (_said(cases(rows), fitted(cases(each), SERVING).general) for each in (rows, bent))
    # Least squares would have the median row 2.6 % off.
    assert np.median(np.abs(crooked / straight - 1)) < 0.01


def test_the_fit_is_the_same_every_time_and_near_its_start() -> None:
    rows = cases(serving_rows(bandwidth_efficiency=0.8))
    first = fitted(rows, SERVING)
    assert fitted(rows, SERVING) == first
    again = fitted(rows, SERVING, start=first)
    for name, value in first.general.items():
        assert again.general[name] == pytest.approx(value, rel=1e-2), name


def test_a_weight_of_two_is_the_row_twice() -> None:
    rows = serving_rows(bandwidth_efficiency=0.7)
    half = [each for each in rows if each.model.key == rows[0].model.key]
    twice = fitted(cases([*rows, *half]), SERVING).general
    weights = np.array([2.0 if each in half else 1.0 for each in rows])
    weighted = fitted(cases(rows), SERVING, weights=weights).general
    for name, value in twice.items():
        assert weighted[name] == pytest.approx(value, rel=1e-3), name


def test_a_batch_beyond_memory_runs_in_waves() -> None:
    # 64 sequences of Llama-2-7B at 2048 tokens need 64 x 1.07 GB; an A100 with 40 GB holds some 20 of them.
    runs = [observation(batch_size=n, tokens=1024, whole_s=1.0, power_w=1.0) for n in (16, 32, 64)]
    one, two, four = predicted(cases(runs), lambda gpu: as_engine(truth(SERVING)))["tpot_s"]
    assert 1.5 * one < two < 2.5 * one  # a full wave, and one of what is left
    assert 3 * one < four < 4.5 * one  # three full ones and a last of one or two sequences
    static = replace(runs[2], origin=replace(runs[2].origin, engine="transformers"))
    at_once = predicted(cases([static]), lambda gpu: as_engine(truth(SERVING)))["tpot_s"][0]
    assert four > at_once  # weights are read once for each wave


def test_quantised_weights_change_the_base_and_leave_it_alone() -> None:
    base = truth(EAGER)
    found = changed(base, {"weight_bytes_factor": 0.26, "host_s_per_layer": 1.2, "unpacking_half_rows": 9.0})
    assert found["host_s_per_layer"] == pytest.approx(1.2 * base["host_s_per_layer"])
    assert found["weight_bytes_factor"] == 0.26
    assert "weight_bytes_factor" not in base


def test_priors_say_where_their_middle_lies() -> None:
    for name in ("eager", "serving", "quantised"):
        for prior in family(name).priors.values():
            assert prior.low < prior.mean < prior.high
            assert prior.score(prior.value(1.3)) == pytest.approx(1.3)
            assert prior.unit
            assert prior.meaning
            assert prior.source
    # Shares and exponents between two limits stay between them as far as a fit may go.
    for name in ("power_area_share", "kv_group_exponent"):
        prior = SERVING.priors[name]
        assert prior.value(-WIDEST) >= 0
        assert prior.value(WIDEST) <= 1


def test_a_stack_without_rows_says_so() -> None:
    with pytest.raises(BadInput, match="no rows of transformers"):
        fit_of(TRANSFORMERS, serving_rows())
    with pytest.raises(BadInput, match="valid: transformers"):
        stack("sglang")


def test_a_fit_knows_which_row_holds_where() -> None:
    fit = Fitted(general={"x": 1.0}, own={"T4": {"x": 2.0}}, scores={})
    assert (fit.on("T4"), fit.on("H100")) == ({"x": 2.0}, {"x": 1.0})
