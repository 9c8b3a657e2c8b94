"""The Pareto picture: every configuration over two objectives, the front, the limits, the recommended point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from carbonsweep.answer import Answer, Candidate
from carbonsweep.figures.front_axes import Scale, near, set_scale
from carbonsweep.figures.front_detail import detail_entries, detail_footer, draw_intervals, draw_knee, knee_of
from carbonsweep.figures.labels import Point, label
from carbonsweep.figures.page import SMALL_PRINT, Page, Style, drawn, footer, image, widest_in, wrapped
from carbonsweep.search.objectives import LIMIT_NAMES, Objective

GREY: Final = "#8a8a8a"
FRONT_COLOUR: Final = "#444444"
MOST_AT_FULL_SIZE: Final = 300
"""More points than this are drawn smaller."""

_LIMIT_OF: Final = {"ttft": "ttft_s", "tpot": "tpot_s", "latency": "prompt_latency_s"}


def pareto_png(answer: Answer) -> bytes:
    """The Pareto picture as a PNG file."""
    return image(pareto_figure(answer), "png")


def pareto_figure(answer: Answer) -> Figure:
    """Every measured configuration over the answer's two first front objectives, the front, the recommended point."""
    return pareto_panels({"": answer})


def pareto_panels(answers: Mapping[str, Answer], *, in_detail: bool = False) -> Figure:
    """One Pareto picture per answer, side by side under their names; a GPU or model looks the same in all of them.

    In detail: the front's knee and 95 % intervals are drawn, and each objective beyond the second has a row of its own,
    against the first. The answers ask for the same objectives.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # a model may be called anything, "$" included
        objectives = max(len(answer.front_objectives) for answer in answers.values())
        page = Page.of(len(answers), rows=objectives - 1 if in_detail else 1)
        style = Style.of(answers.values())
        for i, (name, answer) in enumerate(answers.items()):
            for row in range(page.rows):
                _draw(page.axes(i, row), _View.of(answer, row, in_detail), style, name)
            if not in_detail:
                page.footer(footer(answer), i)
        if in_detail:
            page.footer(detail_footer(answers.values()))
        page.legend(_entries(style, answers.values(), in_detail))
        return page.figure


def _entries(style: Style, answers: Iterable[Answer], in_detail: bool) -> list[Artist]:
    """Only what the pictures of `answers` show."""
    answers = list(answers)
    fronts = {len(answer.front_objectives) for answer in answers if answer.front}
    entries: list[Artist] = [
        Patch(facecolor=colour, label=f"{gpu}{_bases_of(gpu, answers)}") for gpu, colour in style.colours.items()
    ]
    entries += [_sign(model, color="#666666", marker=marker) for model, marker in style.markers.items()]
    if any(answer.infeasible for answer in answers):
        entries.append(_sign("misses a limit", color=GREY, markerfacecolor="none"))
    shown = None if in_detail else 2
    if any(_shown_limits(answer, answer.front_objectives[:shown]) for answer in answers):
        entries.append(Patch(facecolor="#ececec", edgecolor="#bdbdbd", hatch="////", label="beyond the SLO"))
    if 2 in fronts:
        entries.append(Line2D([], [], color=FRONT_COLOUR, linewidth=1.3, label="Pareto front"))
    if fronts - {2}:
        entries.append(_sign("on the Pareto front", color=FRONT_COLOUR, markerfacecolor="none", markersize=9))
    if fronts:
        entries.append(_sign("recommended", color="black", markerfacecolor="none", markersize=10, mew=1.6))
    if in_detail:
        entries += detail_entries(answers)
    return entries


def _bases_of(gpu: str, answers: Iterable[Answer]) -> str:
    """ " (modelled)", where what is shown does not all rest on the same."""
    shown = [(c.record.configuration.gpu, c.measurement.basis) for answer in answers for c in drawn(answer)]
    mine = sorted({basis for kind, basis in shown if kind == gpu})
    return f" ({', '.join(mine)})" if len({basis for _, basis in shown}) > 1 else ""


def _sign(text: str, **style: Any) -> Line2D:
    return Line2D([], [], label=text, **{"marker": "o", "linestyle": "none", "markersize": 7, **style})


@dataclass(frozen=True, slots=True)
class _View:
    """What one panel shows of an answer: the first objective upwards, another one to the right."""

    answer: Answer
    y: Objective
    x: Objective
    in_detail: bool

    @classmethod
    def of(cls, answer: Answer, row: int, in_detail: bool) -> _View:
        return cls(answer, answer.front_objectives[0], answer.front_objectives[row + 1], in_detail)

    @property
    def limits(self) -> dict[str, float]:
        return _shown_limits(self.answer, (self.y, self.x))

    @property
    def corner(self) -> Literal["post", "pre"] | None:
        """How the front steps; None over more than two objectives, which leave no line in a plane.

        At x one can have the best y of any point at least as good in x: to its left if less is better, else to its
        right.
        """
        if len(self.answer.front_objectives) > 2:
            return None
        return "pre" if self.x.sign < 0 else "post"


def _draw(axes: Axes, view: _View, style: Style, name: str) -> None:
    answer = view.answer
    y, x = Scale.of(view.y, answer), Scale.of(view.x, answer)
    points = {c.record.key: (x.value(c, answer), y.value(c, answer)) for c in drawn(answer)}
    axes.set_xlabel(x.label, fontsize=9.5)
    axes.set_ylabel(y.label, fontsize=9.5)
    _title(axes, answer, x.objective, y.objective, name)
    if not points:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no configuration gave a result", transform=axes.transAxes, ha="center", color=GREY)
        return
    for which, scale, values in zip("xy", (x, y), zip(*points.values(), strict=True), strict=True):
        set_scale(axes, which, [*values, *near(view.limits.get(scale.objective.name), values)])
    _shade(axes, x.objective, y.objective, view.limits)
    _draw_points(axes, answer.infeasible, points, style, hollow=True)
    _draw_front(axes, [points[c.record.key] for c in answer.front], view.corner)
    _draw_points(axes, answer.feasible, points, style, hollow=False)
    knee = knee_of(answer) if view.in_detail else None
    if view.in_detail:
        draw_intervals(axes, answer, x, y)
        draw_knee(axes, None if knee is None else points[knee.record.key])
    label(axes, answer, points, view.corner, knee)


def _title(axes: Axes, answer: Answer, x: Objective, y: Objective, name: str) -> None:
    rests_on = ", " + _rests_on(answer.bases)
    heading = f"{y.label[0].upper()}{y.label[1:]} against {x.label}"
    limits = ", ".join(f"{LIMIT_NAMES[k]} at most {v:g} s" for k, v in answer.question.slo.limits().items())
    found = f"{len(answer.feasible)} configuration{'s' * (len(answer.feasible) != 1)}, no limits set"
    if limits:
        found = f"{len(answer.feasible)} of {len(drawn(answer))} configurations meet {limits}"
    if len(answer.front_objectives) > 2:
        found += f"; front over {len(answer.front_objectives)} objectives"
    width_in = axes.bbox.width / axes.figure.dpi + 0.6
    below = wrapped(found, width_in, size_pt=8.5, most=2)
    axes.annotate(
        below, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=8.5, color=SMALL_PRINT
    )
    # What the picture rests on is never cut off.
    left_in = width_in - widest_in(rests_on, 11)
    above = wrapped(f"{name}: {heading}" if name else heading, left_in, size_pt=11, most=1) + rests_on
    axes.set_title(above, loc="left", fontsize=11, fontweight="bold", pad=20 + 11 * below.count("\n"))


def _rests_on(bases: Sequence[str]) -> str:
    """In few words; the footer has more."""
    if len(bases) == 1:
        return "rehearsed on the CPU" if bases[0] == "rehearsed" else bases[0]
    return ", ".join(f"part {each}" for each in bases) or "no result"


def _shown_limits(answer: Answer, on_axes: Sequence[Objective]) -> dict[str, float]:
    """Limits in seconds on the axes shown, by objective."""
    limits = answer.question.slo.limits()
    shown = [objective.name for objective in on_axes]
    return {name: limits[_LIMIT_OF[name]] for name in shown if _LIMIT_OF.get(name) in limits}


def _shade(axes: Axes, x: Objective, y: Objective, limits: Mapping[str, float]) -> None:
    """Hatch what lies beyond a limit on either axis, and draw the limit as its edge."""
    area: dict[str, Any] = {"fc": "#ececec", "ec": "#d2d2d2", "hatch": "////", "linewidth": 0, "zorder": 0}
    edge: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": "--"}
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if x.name in limits and limits[x.name] < right:
        axes.axvspan(max(limits[x.name], left), right, **area)
        axes.axvline(limits[x.name], **edge)
    if y.name in limits and limits[y.name] < top:
        axes.axhspan(max(limits[y.name], bottom), top, **area)
        axes.axhline(limits[y.name], **edge)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _draw_points(
    axes: Axes, candidates: Sequence[Candidate], points: Mapping[str, Point], style: Style, *, hollow: bool
) -> None:
    """One call per GPU and model: thousands of single points would take seconds."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for candidate in candidates:
        configuration = candidate.record.configuration
        groups.setdefault((configuration.gpu, configuration.model), []).append(points[candidate.record.key])
    for (gpu, model), members in groups.items():
        axes.plot(
            *zip(*members, strict=True),
            marker=style.markers[model],
            markersize=6 if len(points) <= MOST_AT_FULL_SIZE else 4,
            markerfacecolor="none" if hollow else style.colours[gpu],
            markeredgecolor=style.colours[gpu] if hollow else "white",
            markeredgewidth=0.9 if hollow else 0.5,
            alpha=0.8 if hollow else 1.0,
            linestyle="none",
            zorder=2 if hollow else 4,
        )


def _draw_front(axes: Axes, front: list[Point], corner: Literal["post", "pre"] | None) -> None:
    """The edge of what is dominated: a step line for two objectives, rings for more."""
    if not front:
        return
    xs, ys = zip(*sorted(front), strict=True)
    if corner is None:
        axes.plot(xs, ys, "o", markersize=11, markerfacecolor="none", color=FRONT_COLOUR, zorder=3, label="front")
    else:
        axes.step(xs, ys, where=corner, color=FRONT_COLOUR, linewidth=1.3, zorder=3, label="front")
