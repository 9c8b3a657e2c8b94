"""The small print: what records rest on, how far off they may be, how grams came about."""

from __future__ import annotations

import dataclasses

from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Scenario, TrialRecord
from carbonsweep.figures.foundation import bases, foundation, pricing, stand_ins
from carbonsweep.figures.page import quoted_sources
from carbonsweep.units import S_PER_YEAR
from tests.conftest import TOO_BIG, configuration, identity, measurement, phase, record

QUEBEC = Scenario(intensity=carbon_intensity("QC"), lifetime_s=5 * S_PER_YEAR, embodied="paper")


def made_by(one: TrialRecord, **changes: str) -> TrialRecord:
    return dataclasses.replace(one, identity=dataclasses.replace(one.identity, **changes))  # type: ignore[arg-type]


def test_a_modelled_record_says_so_with_engine_calibration_workload_and_errors() -> None:
    wide = measurement(
        prefill=phase(0.5, 20.0, duration_low_s=0.25, duration_high_s=0.75), error_source="held out: 12 %"
    )
    modelled = made_by(record(configuration(), wide), calibration="fit 7, facts 0123abcd", engine_version="paper")
    said = foundation([modelled])
    assert said.startswith("Modelled, not measured: test bench, engine paper, calibration fit 7, fp16.")
    assert "Workload: test prompts (mean 20 tokens, template none), 150 output tokens." in said
    # Prefill lasts 0.5 s give or take 0.25 s; decode has no spread; the joules are known to 10 %.
    assert "at most: prefill time ±50 %, decode time ±0 %, prefill energy ±10 %, decode energy ±10 %." in said
    assert said.endswith("Error: held out: 12 %.")


def test_the_widest_interval_of_all_records_is_the_one_that_is_said() -> None:
    narrow, wide = (
        record(
            configuration(batch_size=b),
            measurement(prefill=phase(1.0, 20.0, duration_low_s=1 - w, duration_high_s=1 + w)),
        )
        for b, w in ((1, 0.1), (2, 0.4))
    )
    assert "at most: prefill time ±40 %," in foundation([narrow, wide])


def test_a_measured_record_names_its_engines_version_and_unknown_joules() -> None:
    dark = measurement(basis="measured", prefill_j=None, decode_j=None)
    measured = made_by(record(configuration(), dark), basis="measured", engine_version="5.1", calibration="none")
    said = foundation([measured])
    assert said.startswith("Measured: test bench, engine paper 5.1, fp16.")
    assert "prefill energy unknown, decode energy unknown" in said


def test_mixed_bases_say_which_gpu_is_which() -> None:
    both = [
        made_by(record(configuration(), measurement(basis="measured")), basis="measured"),
        record(configuration(gpu="L4"), measurement(gpu="L4")),
    ]
    assert bases(both) == "part measured, part modelled"
    assert "Measured (T4): " in foundation(both)
    assert "Modelled, not measured (L4): " in foundation(both)


def test_a_rehearsal_is_called_one() -> None:
    rehearsed = made_by(record(configuration(), measurement(basis="rehearsed")), basis="rehearsed")
    assert bases([rehearsed]) == "rehearsed on the CPU"
    assert foundation([rehearsed]).startswith("Rehearsed on the CPU, not measured on T4: ")


def test_refusals_alone_have_no_intervals() -> None:
    assert "95 %" not in foundation([record(configuration(), TOO_BIG)])
    assert identity().basis == "modelled"


def test_pricing_names_grids_preset_lifetimes_and_what_is_not_the_papers() -> None:
    pace = dataclasses.replace(QUEBEC, intensity=carbon_intensity("PACE"))
    expected = "Priced: QC, 31 g/kWh lifecycle; PACE, 647 g/kWh lifecycle; embodied preset paper over 5 years."
    assert pricing([QUEBEC, pace]) == expected
    assert pricing([QUEBEC], [4, 8]).endswith("over 4, 8 years.")
    assert pricing([dataclasses.replace(QUEBEC, pue=1.2, utilisation=0.5)]).endswith("PUE 1.2, utilisation 0.5.")
    assert "no region, so no grams" in pricing([dataclasses.replace(QUEBEC, intensity=None)])


def test_error_sources_that_begin_alike_are_said_once_and_others_each() -> None:
    long = "claims left out and predicted, and sixty-four refits to resampled claims, together; worst cell of "
    # Up to the last clause they share: "worst cell of ..." would say nothing.
    shared = "claims left out and predicted, and sixty-four refits to resampled claims, together"
    assert quoted_sources([f"{long}T4", f"{long}T400"], 300) == f"{shared} ... (by GPU)."
    words = "held out on sixty-four rows of seven models served by several stacks of "
    assert quoted_sources([f"{words}A100s", f"{words}A10s"], 300) == f"{words.rstrip()} ... (by GPU)."
    assert quoted_sources(["guess", "held out", "guess"], 300) == "guess; held out."
    assert quoted_sources(["word " * 99], 20) == "word word word ..."
    assert quoted_sources([], 20) == ""


def test_models_that_stand_in_for_the_papers_say_for_which_from_small_to_large() -> None:
    models = ("LLaMA-7B", "TinyLlama-1.1B", "SmolLM2-135M")
    expected = "In place of the paper's models, which it does not name: TinyLlama-1.1B for 1B, LLaMA-7B for 7B."
    assert stand_ins([record(configuration(model=model), TOO_BIG) for model in models]) == expected
    assert stand_ins([record(configuration(model="SmolLM2-135M"), TOO_BIG)]) == ""
