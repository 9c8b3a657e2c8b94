"""Options become values, or one clear error."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from carbonsweep import inputs
from carbonsweep.errors import BadInput, UnknownFact

BOTH = ("T4", "RTX6000Ada")


def test_the_defaults_are_the_papers() -> None:
    scenario = inputs.scenario({}, BOTH)
    assert scenario.lifetime_s == 5 * 8760 * 3600  # section 3.1, and its year of 8760 h
    assert (scenario.pue, scenario.utilisation, scenario.host_power_w) == (1.0, 1.0, 0.0)
    assert (scenario.embodied, scenario.intensity) == ("paper", None)


def test_the_preset_falls_to_the_first_that_knows_every_device() -> None:
    assert inputs.scenario({}, ("T4", "H100")).embodied == "act"
    assert inputs.scenario({}, ("CPU",)).embodied == "sc23"
    with pytest.raises(BadInput, match="act"):
        inputs.scenario({"embodied": "paper"}, ("T4", "H100"))


def test_what_is_given_replaces_what_was_before() -> None:
    before = inputs.scenario({"region": "QC", "pue": 1.4, "assume_power_w": 65.0}, BOTH)
    after = inputs.scenario({"region": "DE", "lifetime_years": 7.0}, BOTH, before)
    assert after.intensity is not None
    assert after.intensity.g_per_kwh == 366.8
    assert dataclasses.replace(after, intensity=before.intensity, lifetime_s=before.lifetime_s) == before


def test_carbon_needs_an_intensity_and_latency_does_not() -> None:
    scenario = inputs.scenario({}, BOTH)
    limits: dict[str, None] = {"slo_ttft": None, "slo_tpot": None, "slo_latency": None}
    assert inputs.question(objective=("latency",), scenario=scenario, **limits).scenario is scenario
    with pytest.raises(BadInput, match="--region"):
        inputs.question(objective=("latency", "carbon"), scenario=scenario, **limits)


@pytest.mark.parametrize(
    "options",
    [
        {"carbon_intensity_g_per_kwh": 3.0, "region": "QC"},
        {"carbon_intensity_g_per_kwh": 3.0, "intensity_basis": "direct"},
        {"intensity_basis": "direct"},
        {"region": "QC", "intensity_basis": "direct"},
    ],
)
def test_contradicting_grid_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        inputs.scenario(options, BOTH)


def test_zero_grams_per_kwh_is_a_number_somebody_may_state() -> None:
    intensity = inputs.scenario({"carbon_intensity_g_per_kwh": 0.0}, BOTH).intensity
    assert intensity is not None
    assert (intensity.g_per_kwh, intensity.basis) == (0.0, "given")


def test_engines_are_looked_up_and_the_papers_is_the_default() -> None:
    assert inputs.modelled_engines(None) == ("paper",)
    assert inputs.modelled_engines(("Healthy", "PAPER")) == ("healthy", "paper")
    with pytest.raises(UnknownFact, match="healthy"):
        inputs.modelled_engines(("helthy",))


def test_prompts_are_built_in_unless_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built_in = inputs.workload(prompts=None, output_tokens=150, seed=0)
    assert (built_in.name, built_in.template, built_in.output_tokens) == ("built-in", "none", 150)
    file = tmp_path / "prompts.txt"
    file.write_text("Describe the sea.\n", encoding="utf-8")
    given = inputs.workload(prompts=str(file), output_tokens=150, seed=0, prompt_format="plain", template="alpaca")
    assert given.prompts is not None
    assert "### Instruction:\nDescribe the sea.\n\n### Response:" in given.prompts[0]
    assert (given.name, given.template) == ("prompts.txt", "alpaca")
    assert capsys.readouterr().err == ""


def test_the_template_fits_the_built_in_prompts_and_a_format_needs_prompts_to_describe() -> None:
    assert inputs.workload(prompts=None, output_tokens=150, seed=0, template="alpaca").template == "alpaca"
    with pytest.raises(BadInput, match="--prompt-format plain is about prompts of yours"):
        inputs.workload(prompts=None, output_tokens=150, seed=0, prompt_format="plain")


def test_a_large_file_is_announced_before_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = tmp_path / "large.parquet"
    with large.open("wb") as file:
        file.truncate(100_000_000)  # nothing but zeros: no Parquet file
    with pytest.raises(BadInput, match="is no Parquet file"):
        inputs.workload(prompts=str(large), output_tokens=150, seed=0)
    assert capsys.readouterr().err == f"Reading the prompts {str(large)!r}.\n"


def test_the_workload_is_taken_from_all_options_of_a_command() -> None:
    options = {"prompts": None, "prompt_format": "auto", "template": "alpaca", "output_tokens": 20, "region": "QC"}
    same = inputs.workload(prompts=None, output_tokens=20, seed=7, template="alpaca")
    assert inputs.asked_workload(options, 7) == same


# ---- the same workload where a worker runs ----

LONG = "Describe the sea as seen from the shore in winter, in no more than a hundred words, number {}.\n"


def given(prompts: Path | None) -> dict[str, Any]:
    path = None if prompts is None else str(prompts)
    return {"prompts": path, "prompt_format": "auto", "template": "none", "output_tokens": 20, "region": "QC"}


def test_a_small_workload_travels_and_needs_no_file_there(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("Describe the sea.\n", encoding="utf-8")
    workload = inputs.asked_workload(given(file), 3)
    sent = pickle.dumps(inputs.workload_elsewhere(workload, given(file), 3))
    file.unlink()
    assert pickle.loads(sent)() == workload


def test_the_built_in_prompts_travel_for_every_template(tmp_path: Path) -> None:
    for template in ("none", "alpaca"):
        options = {**given(None), "template": template}
        workload = inputs.asked_workload(options, 0)
        sent = pickle.dumps(inputs.workload_elsewhere(workload, options, 0))
        assert len(sent) <= inputs.SENT_BYTES + 1000
        assert pickle.loads(sent)() == workload


def large_file(folder: Path) -> Path:
    """About 1.9 MB, above the 1 MiB that are sent."""
    file = folder / "prompts.txt"
    file.write_text("".join(LONG.format(number) for number in range(20_000)), encoding="utf-8")
    return file


def test_a_large_workload_is_read_there_by_its_absolute_path_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = given(Path("prompts.txt"))
    workload = inputs.asked_workload(options, 3)
    assert len(pickle.dumps(workload)) > inputs.SENT_BYTES
    sent = pickle.dumps(inputs.workload_elsewhere(workload, options, 3))
    assert len(sent) < 1000
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # a worker has a folder of its own
    there = pickle.loads(sent)()
    assert there.summary() == workload.summary()
    assert there == workload


def test_a_large_prompt_file_behind_a_link_is_the_same_workload_there(tmp_path: Path) -> None:
    # A workload is named after its file as it was given: a link to v3.txt is no v3.txt.
    large_file(tmp_path).rename(tmp_path / "v3.txt")
    link = tmp_path / "prompts.txt"
    link.symlink_to(tmp_path / "v3.txt")
    workload = inputs.asked_workload(given(link), 0)
    assert inputs.workload_elsewhere(workload, given(link), 0)() == workload


def test_another_file_at_the_same_path_shows_in_the_digest(tmp_path: Path) -> None:
    file = large_file(tmp_path)
    workload = inputs.asked_workload(given(file), 3)
    elsewhere = inputs.workload_elsewhere(workload, given(file), 3)
    with file.open("a", encoding="utf-8") as longer:
        longer.write("One prompt more.\n")
    assert elsewhere().summary().digest != workload.summary().digest


def test_a_large_file_that_is_not_there_is_bad_input_there(tmp_path: Path) -> None:
    file = large_file(tmp_path)
    elsewhere = inputs.workload_elsewhere(inputs.asked_workload(given(file), 3), given(file), 3)
    file.rename(tmp_path / "moved.txt")
    with pytest.raises(BadInput, match=r"prompts\.txt"):
        elsewhere()
