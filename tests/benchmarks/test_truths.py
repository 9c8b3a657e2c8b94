from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from benchmarks.truths import mixed_space, paper_space, power_table, running_llamas
from benchmarks.truths.limits import binding_quartile, limits_at
from benchmarks.truths.modelled import outcomes
from benchmarks.truths.noise import HALF_WIDTH
from benchmarks.truths.truth import Truth
from carbonsweep.domain import Measurement

NEEDS_DATA = pytest.mark.skipif(
    not os.environ.get("CARBONSWEEP_DATA"), reason="CARBONSWEEP_DATA is not set: it names the folder with calibration/"
)


def at(truth: Truth, **fields: object) -> Measurement:
    """The measurement of the one configuration with these fields."""
    (found,) = [c for c in truth.configurations if all(getattr(c, name) == value for name, value in fields.items())]
    record = truth.records[found]
    assert record.measurement is not None
    return record.measurement


@NEEDS_DATA
def test_the_llama_rows_are_65_in_two_models_and_five_variants() -> None:
    truth = running_llamas.truth()
    # 5 variants x 7 batches of 7B, 5 x 6 of 13B: its batch of 64 is in no row.
    assert len(truth.configurations) == len(set(truth.configurations)) == 35 + 30
    assert len({c.engine for c in truth.configurations}) == 5
    assert not any(c.model == "Llama-2-13B" and c.batch_size == 64 for c in truth.configurations)


@NEEDS_DATA
def test_a_llama_row_is_replayed_with_its_own_numbers() -> None:
    # Line 2 of Llama-7b_full_report_f75d9f93.csv: forward.latency 0.0336 s, decode.latency 13.2 s (511 steps),
    # generate.max_memory_allocated 14356 MB, batch 1, 512 new tokens; no energy.
    m = at(running_llamas.truth(), model="Llama-2-7B", engine="transformers+eager", batch_size=1)
    assert m.ttft_s == pytest.approx(0.0336)
    assert m.decode.duration_s == pytest.approx(13.2)
    assert m.throughput == pytest.approx(512 / 13.2336)
    assert m.peak_memory_bytes == pytest.approx(14356e6)
    assert m.energy_j is None
    assert m.basis == "measured"
    assert "replayed: this was not run now" in m.notes


@NEEDS_DATA
def test_a_llama_row_above_the_memory_limit_does_not_fit_it() -> None:
    truth = running_llamas.truth()
    # 7B, eager, batch 64 allocated 65112 MB (line 5), nearly twice the third quartile.
    (largest,) = [
        c
        for c in truth.configurations
        if c.model == "Llama-2-7B" and c.engine == "transformers+eager" and c.batch_size == 64
    ]
    refusal = truth.records[largest].refusal
    assert refusal is not None
    assert refusal.kind == "does-not-fit"
    assert refusal.needed_bytes == pytest.approx(65112e6)
    assert refusal.available_bytes is not None
    assert refusal.available_bytes < 65112e6


@NEEDS_DATA
def test_the_power_rows_are_48_and_keep_their_sums_whatever_the_split() -> None:
    truth = power_table.truth()
    assert len(truth.configurations) == len(set(truth.configurations)) == 48
    # Line 9 of the table: A100-40, vLLM, Llama 3 8B, batch 16, 1024 output tokens: 19.914405 s at 264.290848 W mean.
    m = at(truth, gpu="A100-40", engine="vllm", model="Llama-3.1-8B", batch_size=16)
    assert m.prompt_latency_s == pytest.approx(19.914405192248523)
    assert m.energy_j == pytest.approx(19.914405192248523 * 264.29084810126585)
    assert truth.question.values(m)[0] == pytest.approx(19.914405192248523 * 264.29084810126585 / (16 * 1024))


@NEEDS_DATA
def test_no_guiding_model_of_real_rows_was_fitted_to_what_it_is_asked_to_find() -> None:
    llamas, table = running_llamas.truth(), power_table.truth()
    sought = {"Llama-7b_full_report_f75d9f93.csv", "Llama-13b_full_report_f75d9f93.csv"}
    fitted = {row.origin.source for row in llamas.guiding.fitted_to}
    assert fitted == {"llm_perf_t4_a10g_figures.csv"}
    assert not fitted & sought
    assert not {row.origin.gpu for row in llamas.guiding.fitted_to} & {c.gpu for c in llamas.configurations}
    assert "argonne_a100_h100_power.csv" not in {row.origin.source for row in table.guiding.fitted_to}
    assert not {row.origin.engine for row in table.guiding.fitted_to} & {c.engine for c in table.configurations}


@NEEDS_DATA
def test_other_rows_for_the_fit_are_another_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were the shipped engine row used instead of the refit, its rows would not matter.
    alone = running_llamas.truth().guiding.predicted.decode_s
    monkeypatch.setattr(running_llamas, "GUIDED_BY", (*running_llamas.GUIDED_BY, *running_llamas.FILES))
    seen = running_llamas.truth().guiding.predicted.decode_s
    assert np.abs(seen / alone - 1).max() > 0.01


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(running_llamas.truth, marks=NEEDS_DATA),
        pytest.param(power_table.truth, marks=NEEDS_DATA),
        paper_space.truth,
        mixed_space.truth,
    ],
)
def test_the_optimum_of_a_truth_is_the_best_within_its_limits_and_its_limits_bind(make: object) -> None:
    truth = make(0, None)  # type: ignore[operator]
    free = dataclasses.replace(truth, question=dataclasses.replace(truth.question, slo=type(truth.question.slo)()))
    exact = truth.exact[truth.optimum]
    assert isinstance(exact, Measurement)
    assert truth.question.slo.is_met(exact)
    assert truth.optimum in truth.found
    assert truth.regret_of(truth.optimum) == 0
    assert 0 < truth.feasible.sum() < len(truth.configurations)
    assert free.optimum != truth.optimum, "without its limits the optimum would be the same"


def test_the_paper_space_is_42_configurations_and_the_mixed_one_has_eight_gpu_kinds() -> None:
    # 3 models x 2 GPUs x 7 batches; 4 x 8 x 7.
    assert len(paper_space.truth().configurations) == 42
    mixed = mixed_space.truth()
    assert len(mixed.configurations) == 224
    assert len({c.gpu for c in mixed.configurations}) == 8


def test_noise_is_three_percent_of_each_phase_and_another_for_every_seed() -> None:
    def scores(seed: int) -> list[float]:
        truth = paper_space.truth(seed)
        found = []
        for c, record in truth.records.items():
            exact, seen = truth.exact[c], record.measurement
            if isinstance(exact, Measurement) and seen is not None:
                for one, other in ((seen.prefill, exact.prefill), (seen.decode, exact.decode)):
                    found.append(one.duration_s / other.duration_s - 1)
                    assert one.duration_high_s == pytest.approx(one.duration_s * (1 + 1.96 * 0.03))
                    assert one.energy is not None
                    assert one.energy.high_j == pytest.approx(one.energy.joules * (1 + 2**0.5 * HALF_WIDTH))
        return found

    first, second = scores(1), scores(2)
    # The standard error of a standard deviation from n normal draws is about s / sqrt(2 n): 0.2 % of 0.03 here.
    assert np.std(first + second) == pytest.approx(0.03, rel=0.25)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.4
    assert scores(1) == first


def test_errors_of_the_mixed_space_are_shared_by_a_kind_and_differ_between_kinds() -> None:
    truth = mixed_space.truth(0)
    by_kind: dict[str, set[float]] = {}
    without = outcomes(truth.configurations, truth.workload)
    for c in truth.configurations:
        one, other = truth.exact[c], without[c]
        if isinstance(one, Measurement) and isinstance(other, Measurement):
            by_kind.setdefault(f"{c.gpu} {c.model}", set()).add(round(one.tpot_s / other.tpot_s, 9))
    # One factor for all batches of a model on a kind, another for every other pair.
    assert all(len(factors) == 1 for factors in by_kind.values())
    assert len(set.union(*by_kind.values())) == len(by_kind)


def test_limits_bind_at_the_loosest_quartile_that_decides() -> None:
    # Values 1..8, losses fall with them: without a limit the 8th is best. The third quartile is 6.25: the 6th, another.
    values = np.arange(1.0, 9.0)
    assert limits_at({"x": values}, 0.75) == {"x": 6.25}
    assert binding_quartile(-values, {"x": values}) == 0.75
    # Best at 2: only the first quartile, 2.75, keeps it; so does every other: nothing binds.
    with pytest.raises(ValueError, match="no quartile of x binds"):
        binding_quartile(np.abs(values - 2), {"x": values})
    # Best at 5: the third quartile keeps it, the median (4.5) does not.
    assert binding_quartile(np.abs(values - 5), {"x": values}) == 0.5
