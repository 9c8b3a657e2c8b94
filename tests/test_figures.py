"""What the pictures say: measured or modelled, region, limits, units; and that they can be drawn for any answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from carbonsweep.answer import answer
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.carbon.intensity import carbon_intensity
from carbonsweep.domain import Measurement, Scenario, Slo, TrialRecord
from carbonsweep.figures import embodied_figure, image, pareto_figure, pareto_panels, pareto_png
from carbonsweep.figures.page import digits, mass_unit
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.search.space import Space
from carbonsweep.trial import trial
from carbonsweep.units import S_PER_YEAR
from tests.conftest import SHORT, TOO_BIG, configuration, measurement, record

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SPACE = Space(
    models=("TinyLlama-1.1B", "LLaMA-7B"),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 8),
    dtypes=("fp16",),
    engines=("paper",),
)


@pytest.fixture(scope="module")
def records() -> list[TrialRecord]:
    return [trial(RooflineBench(), point, SHORT) for point in SPACE.configurations()]


def question(*names: str, region: str | None = "QC", **limits: float) -> Question:
    intensity = None if region is None else carbon_intensity(region, "lifecycle")
    scenario = Scenario(intensity=intensity, lifetime_s=5 * S_PER_YEAR, embodied="paper")
    return Question(objectives=objectives(names or ("carbon",)), slo=Slo(**limits), scenario=scenario)


def words(figure: Figure) -> str:
    """All text of a figure, its lines joined."""
    return " ".join(" ".join(artist.get_text().split()) for artist in figure.findobj(Text) if isinstance(artist, Text))


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def shaded(figure: Figure) -> list[Patch]:
    """Hatched areas of the panels, not the legend's sample of one."""
    return [p for axes in figure.axes for p in axes.findobj(Patch) if isinstance(p, Patch) and p.get_hatch()]


def front_line(figure: Figure) -> list[tuple[float, float]]:
    """The front as given to the step line."""
    (line,) = (line for line in figure.axes[0].get_lines() if line.get_label() == "front")
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def test_the_footer_says_modelled_by_what_with_which_error_and_how_it_is_priced(records: list[TrialRecord]) -> None:
    said = words(pareto_figure(answer(records, question())))
    # A long reason is cut off; two GPUs may have two, the first by name comes first.
    reason = min(r.measurement.error_source for r in records if r.measurement is not None)[:60]
    assert f"Modelled, not measured: roofline bench, engine paper. Error: {reason}" in said
    assert "region QC, 31 g/kWh lifecycle; embodied preset paper" in said


def test_a_measured_answer_says_measured() -> None:
    measured = record(configuration(), measurement(basis="measured", bench="transformers"))
    said = words(pareto_figure(answer([measured], question())))
    assert "Measured: transformers bench" in said
    assert "modelled" not in said.lower()


def test_mixed_bases_say_so() -> None:
    both = [
        record(configuration(), measurement(basis="measured")),
        record(configuration(batch_size=8), measurement(basis="modelled")),
    ]
    assert "Partly measured, partly modelled" in words(pareto_figure(answer(both, question())))


def test_a_rehearsal_says_so_in_title_and_footer_and_names_the_gpu_that_was_not_used() -> None:
    rehearsed = record(configuration(), measurement(basis="rehearsed", bench="transformers"))
    figure = pareto_figure(answer([rehearsed], question()))
    said = words(figure)
    assert "Rehearsed on the CPU, not measured on T4: transformers bench, engine paper." in said
    assert "against prompt latency, rehearsed on the CPU" in said
    assert legend(figure)[0] == "T4"


@pytest.mark.parametrize(
    ("first", "second", "title", "footer"),
    [
        ("measured", "modelled", "part measured, part modelled", "Partly measured, partly modelled: "),
        (
            "measured",
            "rehearsed",
            "part measured, part rehearsed",
            "Partly measured, partly rehearsed on the CPU, not measured on L4: ",
        ),
        (
            "modelled",
            "rehearsed",
            "part modelled, part rehearsed",
            "Partly modelled, partly rehearsed on the CPU, not measured on L4: ",
        ),
    ],
)
def test_where_bases_are_mixed_the_picture_says_which_gpu_is_which(
    first: str, second: str, title: str, footer: str
) -> None:
    figure = pareto_figure(
        answer(
            [
                record(configuration(), measurement(basis=first)),
                record(configuration(gpu="L4"), measurement(basis=second, gpu="L4", ttft_s=0.1)),
            ],
            question("latency", region=None),
        )
    )
    said = words(figure)
    assert title in said
    assert footer in said
    assert sorted(legend(figure)[:2]) == sorted([f"L4 ({second})", f"T4 ({first})"])


def test_assumed_energy_is_named_in_the_footer() -> None:
    dark = record(configuration(), measurement(prefill_j=None, decode_j=None))
    asked = question()
    asked = dataclasses.replace(asked, scenario=dataclasses.replace(asked.scenario, assumed_power_w=42.0))
    assert "Energy assumed: 42 W per device" in words(pareto_figure(answer([dark], asked)))


def test_without_a_region_the_footer_says_there_are_no_grams(records: list[TrialRecord]) -> None:
    assert "no region, so no grams" in words(pareto_figure(answer(records, question("latency", region=None))))


def test_the_axes_carry_units_and_directions(records: list[TrialRecord]) -> None:
    axes = pareto_figure(answer(records, question("carbon", "throughput"))).axes[0]
    assert axes.get_ylabel() == "total carbon, mg CO2e per 1,000 output tokens (less is better)"
    assert axes.get_xlabel() == "output throughput, tokens/s (more is better)"


def test_an_area_is_shaded_only_where_a_limit_is_on_an_axis(records: list[TrialRecord]) -> None:
    limited = pareto_figure(answer(records, question(prompt_latency_s=6.0)))
    elsewhere = pareto_figure(answer(records, question(ttft_s=0.1)))
    free = pareto_figure(answer(records, question()))
    assert len(shaded(limited)) == 1
    assert "beyond the SLO" in legend(limited)
    assert not shaded(elsewhere)
    assert not shaded(free)
    assert "beyond the SLO" not in legend(free)


def test_the_shade_begins_at_the_limit(records: list[TrialRecord]) -> None:
    (area,) = shaded(pareto_figure(answer(records, question(prompt_latency_s=6.0))))
    assert area.get_extents().x0 == pytest.approx(area.axes.transData.transform((6.0, 1.0))[0])  # type: ignore[union-attr]


def test_the_recommended_configuration_is_named(records: list[TrialRecord]) -> None:
    found = answer(records, question())
    assert found.best is not None
    best = found.best.record.configuration
    figure = pareto_figure(found)
    assert f"{best.model} on {best.gpu}, batch {best.batch_size}" in words(figure)
    assert "recommended" in legend(figure)


def test_colours_stand_for_gpus_and_markers_for_models_and_the_legend_has_both(records: list[TrialRecord]) -> None:
    assert {"T4", "RTX6000Ada", "TinyLlama-1.1B", "LLaMA-7B"} <= set(legend(pareto_figure(answer(records, question()))))


def test_the_front_is_drawn_through_its_points_and_no_others(records: list[TrialRecord]) -> None:
    found = answer(records, question("latency", "throughput"))
    expected = sorted((c.measurement.throughput, c.measurement.prompt_latency_s) for c in found.front)
    assert front_line(pareto_figure(found)) == expected


def test_the_step_of_the_front_never_claims_a_point_better_than_measured(records: list[TrialRecord]) -> None:
    # Less of both: between two points one only has the left one's y ("post"); more x: only the right one's ("pre").
    for names, style in ((("carbon", "latency"), "steps-post"), (("latency", "throughput"), "steps-pre")):
        figure = pareto_figure(answer(records, question(*names)))
        (line,) = (line for line in figure.axes[0].get_lines() if line.get_label() == "front")
        assert line.get_drawstyle() == style


def test_three_objectives_have_dots_instead_of_a_line(records: list[TrialRecord]) -> None:
    figure = pareto_figure(answer(records, question("carbon", "latency", "ttft")))
    (line,) = (line for line in figure.axes[0].get_lines() if line.get_label() == "front")
    assert line.get_linestyle() == "None"
    assert "front over 3 objectives" in words(figure)
    assert "Pareto front" not in legend(figure)


def test_an_axis_is_logarithmic_beyond_a_decade() -> None:
    # 110 J against 11 kJ for the same tokens: more than 10 times; latency: less.
    apart = [
        record(configuration(batch_size=b), measurement(prefill_j=20.0 * s, decode_j=90.0 * s, decode_s=3.0 + b))
        for b, s in ((1, 1), (2, 100))
    ]
    axes = pareto_figure(answer(apart, question())).axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_xscale() == "linear"


def test_an_answer_without_a_feasible_configuration_can_be_drawn(records: list[TrialRecord]) -> None:
    found = answer(records, question(prompt_latency_s=0.5))
    figure = pareto_figure(found)
    assert f"0 of {len(found.infeasible)} configurations meet prompt latency at most 0.5 s" in words(figure)
    assert "misses a limit" in legend(figure)
    assert "recommended" not in legend(figure)
    assert pareto_png(found).startswith(PNG_SIGNATURE)


def test_an_answer_without_any_result_can_be_drawn() -> None:
    found = answer([record(configuration(), TOO_BIG)], question())
    assert "no configuration gave a result" in words(pareto_figure(found))
    assert embodied_figure(found) is None


def test_a_single_point_can_be_drawn(records: list[TrialRecord]) -> None:
    assert pareto_png(answer(records[:1], question())).startswith(PNG_SIGNATURE)


def test_batch_labels_go_where_there_are_many_points() -> None:
    few = [_timed(batch_size) for batch_size in range(1, 4)]
    many = [_timed(batch_size) for batch_size in range(1, 80)]
    assert "b2" in words(pareto_figure(answer(few, question()))).split()
    assert "b2" not in words(pareto_figure(answer(many, question()))).split()


def _timed(batch_size: int) -> TrialRecord:
    timed: Measurement = measurement(ttft_s=0.1 * batch_size, decode_s=30 / batch_size, batch_size=batch_size)
    return record(configuration(batch_size=batch_size), timed)


def test_a_name_is_text_whatever_it_holds() -> None:
    # "$" would start a formula, and the last is in no font of matplotlib's.
    strange = [record(configuration(model=name), measurement()) for name in (r"a$\frac{b$", "模型", "_x^2$")]
    assert pareto_png(answer(strange, question())).startswith(PNG_SIGNATURE)


def test_the_same_answer_gives_the_same_bytes(records: list[TrialRecord]) -> None:
    found = answer(records, question())
    assert pareto_png(found) == pareto_png(found)
    assert image(pareto_figure(found), "pdf") == image(pareto_figure(found), "pdf")


def test_panels_have_a_title_each_and_share_their_colours(records: list[TrialRecord]) -> None:
    some = [r for r in records if r.configuration.gpu == "RTX6000Ada"]
    figure = pareto_panels({"clean": answer(records, question()), "dirty": answer(some, question(region="PACE"))})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split(":")[0] for title in titles] == ["clean", "dirty"]
    assert "region QC" in words(figure)
    assert "region PACE" in words(figure)


def test_the_bars_split_operational_from_embodied_with_the_range_over_presets(records: list[TrialRecord]) -> None:
    found = answer(records, question())
    figure = embodied_figure(found)
    assert figure is not None
    best = next(iter(found.best_per_model.values())).footprint
    assert best is not None
    operational, embodied = figure.axes[0].patches[:2]
    # Milligrams, because the best has less than 0.1 g.
    assert operational.get_width() == pytest.approx(1e3 * best.operational_g)  # type: ignore[attr-defined]
    assert embodied.get_width() == pytest.approx(1e3 * best.embodied_g)  # type: ignore[attr-defined]
    low, high = np.asarray(figure.axes[0].get_lines()[0].get_xydata())[:, 0]
    assert low == pytest.approx(1e3 * (best.operational_g + best.embodied_low_g))
    assert high == pytest.approx(1e3 * (best.operational_g + best.embodied_high_g))
    assert "Modelled, not measured" in words(figure)


def test_there_are_no_bars_without_grams(records: list[TrialRecord]) -> None:
    assert embodied_figure(answer(records, question("latency", region=None))) is None


def test_every_answer_has_bars_that_can_be_saved(records: list[TrialRecord]) -> None:
    figure: Figure | None = embodied_figure(answer(records, question("latency", "carbon")))
    assert figure is not None
    assert image(figure, "png").startswith(PNG_SIGNATURE)


@pytest.mark.parametrize(
    ("grams", "unit"),
    [([2.0, 500.0], "g"), ([0.1], "g"), ([0.05, 3.0], "mg"), ([5e-5], "µg"), ([1e-9], "µg"), ([0.0], "g"), ([], "g")],
)
def test_the_mass_unit_keeps_the_smallest_value_readable(grams: list[float], unit: str) -> None:
    assert mass_unit(grams)[0] == unit


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.00"), (0.012345, "0.0123"), (9.996, "10.0"), (12345.6, "12,300"), (1e-7, "1.00e-07")],
)
def test_digits_are_three_and_plain(value: float, text: str) -> None:
    assert digits(value) == text
