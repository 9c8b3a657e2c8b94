"""Carbon against quality: each model's best configuration over its benchmark score, and the models nobody beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from carbonsweep.answer import Answer
from carbonsweep.figures.front_axes import Scale, set_scale
from carbonsweep.figures.page import Page, Style, footer
from carbonsweep.quality import Quality, Score
from carbonsweep.quality_front import QualityPoint, points

FRONT_COLOUR: Final = "#444444"
DOMINATED: Final = "#8a8a8a"


def one_harness(answer: Answer, quality: Quality) -> tuple[Quality, tuple[str, ...]]:
    """The scores of the harness that scored most of the answer's models (the first of several), and who is left out.

    Scores that name none are taken to be of one harness: that of the user's own table.
    """
    known = [quality.scores[model] for model in answer.best_per_model if model in quality.scores]
    harnesses = [score.harness for score in known]
    most = max(dict.fromkeys(harnesses), key=harnesses.count, default=None)
    kept: dict[str, Score] = {model: s for model, s in quality.scores.items() if s.harness == most}
    left_out = tuple(model for model in answer.best_per_model if model not in kept)
    return Quality(benchmark=quality.benchmark, table=quality.table, scores=kept), left_out


def quality_figure(answer: Answer, quality: Quality) -> Figure:
    """Every scored model by its score and the best value of the first objective, with its 95 % interval.

    The front is stepped: at a required score one can have the best of any model at least as good.
    """
    found = [point for point in points(answer, quality) if point.score is not None]
    scale = Scale.of(answer.question.objectives[0], answer)
    with matplotlib.rc_context({"text.parse_math": False}):
        page = Page.of(1)
        axes = page.axes(0)
        style = Style.of([answer])
        _draw(axes, answer, found, scale, style)
        axes.set_xlabel(f"{quality.benchmark} score (more is better)", fontsize=9.5)
        axes.set_ylabel(scale.label, fontsize=9.5)
        label = answer.question.objectives[0].label
        heading = f"{label[0].upper()}{label[1:]} against quality: the best configuration of each model"
        axes.set_title(heading, loc="left", fontsize=11, fontweight="bold")
        page.footer(f"Quality: {quality.benchmark}, {_source(found, quality)}. {footer(answer)}")
        shown = {point.best.record.configuration.gpu for point in found}
        page.legend(
            [
                *(Patch(facecolor=colour, label=f"on {gpu}") for gpu, colour in style.colours.items() if gpu in shown),
                Line2D([], [], color=FRONT_COLOUR, linewidth=1.3, label="front"),
                *([_dominated_sign()] if any(not point.is_on_front for point in found) else []),
                Line2D([], [], color="black", marker="|", linewidth=1.1, label="95 % interval"),
            ]
        )
        return page.figure


def _draw(axes: Axes, answer: Answer, found: Sequence[QualityPoint], scale: Scale, style: Style) -> None:
    placed: list[tuple[float, float, QualityPoint]] = []
    ends: list[float] = []
    for point in found:
        assert point.score is not None, "only scored models are drawn"
        value = scale.value(point.best, answer)
        interval = scale.interval(point.best, answer)
        placed.append((point.score.score, value, point))
        ends += [interval.low, interval.high, value]
        axes.plot([point.score.score] * 2, [interval.low, interval.high], color="black", linewidth=1.1, marker="_")
    set_scale(axes, "y", ends)
    scores = [score for score, _, _ in placed]
    margin = 0.12 * (max(scores) - min(scores)) or 1.0
    axes.set_xlim(min(scores) - margin, max(scores) + 3 * margin)  # names stand to the right of their points
    front = sorted((score, value) for score, value, point in placed if point.is_on_front)
    axes.step(*zip(*front, strict=True), where="pre", color=FRONT_COLOUR, linewidth=1.3, zorder=2)
    for score, value, point in placed:
        colour = style.colours[point.best.record.configuration.gpu]
        fill = {"mfc": colour, "mec": colour} if point.is_on_front else {"mfc": "white", "mec": DOMINATED}
        axes.plot(score, value, marker="o", markersize=8, linestyle="none", zorder=5, **fill)
        name = f"{point.best.record.configuration.model}, batch {point.best.record.configuration.batch_size}"
        axes.annotate(name, (score, value), (7, 6), textcoords="offset points", fontsize=8)


def _dominated_sign() -> Line2D:
    return Line2D([], [], color=DOMINATED, marker="o", mfc="none", linestyle="none", label="dominated")


def _source(found: Sequence[QualityPoint], quality: Quality) -> str:
    """How and by whom the scores were made, as far as they say."""
    scores = [point.score for point in found if point.score is not None]
    said = [dict.fromkeys(filter(None, (getattr(s, name) for s in scores))) for name in ("protocol", "harness")]
    words = [", ".join(each) for each in said if each]
    return "; ".join([*words, quality.table])
