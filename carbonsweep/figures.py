"""The pictures commands and analysis share: the Pareto front, and operational beside embodied carbon.

The only matplotlib in the package, and no pyplot: a figure is a value, nothing is global. Every picture carries a
footer that says measured or modelled, by what, and how far off it may be.
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from carbonsweep.answer import Answer, Candidate
from carbonsweep.domain import Footprint, FunctionalUnit
from carbonsweep.search.objectives import Objective

PALETTE: Final = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito, "Color Universal Design" (2008), without yellow, which white paper hides; neighbours in this order
also differ in lightness, so two or three kinds stay apart in grey."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
OPERATIONAL_COLOUR: Final = "#0072B2"
EMBODIED_COLOUR: Final = "#E69F00"
GREY: Final = "#8a8a8a"
FRONT_COLOUR: Final = "#444444"

DECADE: Final = 10.0
"""An axis whose values span more than this is logarithmic."""
MOST_LABELLED: Final = 60
"""More points than this carry no batch labels."""
MOST_AT_FULL_SIZE: Final = 300
"""More points than this are drawn smaller."""
LONGEST_REASON: Final = 260
"""Characters of an error source that a footer quotes."""
DPI: Final = 150

PER_UNIT: Final[Mapping[FunctionalUnit, str]] = {
    "1k-output-tokens": "1,000 output tokens",
    "output-token": "output token",
    "prompt": "prompt",
    "prompt-token": "prompt token",
}
"""Functional units as a reader says them."""

_MASS_UNITS: Final = (("g", 1.0), ("mg", 1e3), ("µg", 1e6))
_LIMITED: Final = {"ttft": "ttft_s", "tpot": "tpot_s", "latency": "prompt_latency_s"}
LIMIT_LABELS: Final = {"ttft_s": "TTFT", "tpot_s": "TPOT", "prompt_latency_s": "prompt latency"}


def pareto_png(answer: Answer) -> bytes:
    """The Pareto picture as a PNG file."""
    return image(pareto_figure(answer), "png")


def pareto_figure(answer: Answer) -> Figure:
    """Every measured configuration over the answer's two first front objectives, the front, the recommended point."""
    return pareto_panels({"": answer})


def pareto_panels(answers: Mapping[str, Answer]) -> Figure:
    """One Pareto picture per answer, side by side under their names; a GPU or model looks the same in all of them."""
    with matplotlib.rc_context({"text.parse_math": False}):  # a model may be called anything, "$" included
        page = _Page.of(len(answers))
        style = _Style.of(answers.values())
        for i, (name, answer) in enumerate(answers.items()):
            axes = page.axes(i)
            _draw_front(axes, answer, style, name)
            page.footer(footer(answer), i)
        page.legend(style.entries(answers.values()))
        return page.figure


def embodied_figure(answer: Answer) -> Figure | None:
    """Operational and embodied grams of the best configuration of each model and of each GPU kind, as stacked bars.

    The error bars span the embodied presets (each with its own range). None where no candidate has a footprint.
    """
    priced = [(c, c.footprint) for c in answer.feasible if c.footprint is not None]
    if not priced:
        return None
    best_of_model: dict[str, _Priced] = {}
    best_of_gpu: dict[str, _Priced] = {}
    for candidate, footprint in priced:
        best_of_model.setdefault(candidate.record.configuration.model, (candidate, footprint))
        best_of_gpu.setdefault(candidate.record.configuration.gpu, (candidate, footprint))
    unit, factor = mass_unit(footprint.total_g for _, footprint in (*best_of_model.values(), *best_of_gpu.values()))
    with matplotlib.rc_context({"text.parse_math": False}):
        best_by = f"by {answer.question.objectives[0].label}"
        bars = max(len(best_of_model), len(best_of_gpu))
        page = _Page.of(2, height_in=max(1.6, 0.55 * bars + 0.4))
        per = PER_UNIT[answer.question.scenario.functional_unit]
        for i, (kind, best) in enumerate((("model", best_of_model), ("GPU kind", best_of_gpu))):
            axes = page.axes(i)
            _draw_bars(axes, answer, best, factor, rows=bars)
            axes.set_title(f"Best configuration of each {kind} ({best_by})", loc="left", fontsize=11, fontweight="bold")
            axes.set_xlabel(f"{unit} CO2e per {per}", fontsize=9.5)
        page.footer(footer(answer))
        page.legend(_bar_entries())
        return page.figure


def image(figure: Figure, kind: Literal["png", "pdf", "svg"]) -> bytes:
    """The figure as a file; the same answer gives the same bytes."""
    content = io.BytesIO()
    stamp: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with warnings.catch_warnings():
        # A name in a script the font lacks prints boxes; that is no reason to warn whoever sweeps.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format=kind, dpi=DPI, metadata=stamp)
    return content.getvalue()


def footer(answer: Answer) -> str:
    """What an answer rests on, in a sentence or three: basis, bench, engine, error, region, embodied preset."""
    scenario = answer.question.scenario
    region = "no region, so no grams"
    if scenario.intensity is not None:
        region = (
            f"region {scenario.intensity.region}, {scenario.intensity.g_per_kwh:g} g/kWh {scenario.intensity.basis}"
        )
    assumed = ""
    if any(c.footprint is not None and c.footprint.assumed for c in (*answer.feasible, *answer.infeasible)):
        assumed = f" Energy assumed: {scenario.assumed_power_w:g} W per device, no meter."
    return f"{basis(answer)}{_errors(answer)}{assumed} Priced: {region}; embodied preset {scenario.embodied}."


def basis(answer: Answer) -> str:
    """Measured or modelled, by which bench and engine."""
    candidates = (*answer.feasible, *answer.infeasible)
    if not candidates:
        return "Neither measured nor modelled: no configuration gave a result."
    said: dict[tuple[str, ...], str] = {("measured",): "Measured", ("modelled",): "Modelled, not measured"}
    by = sorted({f"{c.measurement.bench} bench, engine {c.record.configuration.engine}" for c in candidates})
    return f"{said.get(answer.bases, 'Partly measured, partly modelled')}: {'; '.join(by)}."


def mass_unit(grams: Iterable[float]) -> tuple[str, float]:
    """The largest of g, mg and µg in which no value is below 0.1, and its factor from grams."""
    smallest = min((value for value in grams if value > 0), default=1.0)
    for name, factor in _MASS_UNITS:
        if smallest * factor >= 0.1:
            return name, factor
    return _MASS_UNITS[-1]


def digits(value: float, significant: int = 3) -> str:
    """A number as people write it: `significant` digits, thousands apart, an exponent only where it is far out."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{significant - 1}e}"
    rounded = float(f"{value:.{significant - 1}e}")
    return f"{rounded:,.{max(0, significant - 1 - math.floor(math.log10(abs(rounded))))}f}"


_Priced = tuple[Candidate, Footprint]
_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Page:
    """A figure laid out in inches: panels in a row, a footer under each, one legend to their right."""

    figure: Figure
    panels: int
    panel_in: _Point

    LEFT = 0.85
    GAP = 0.95
    TOP = 0.75
    BOTTOM = 1.25
    LEGEND = 2.2

    @classmethod
    def of(cls, panels: int, *, height_in: float = 4.3) -> _Page:
        panel_in = (6.3 if panels == 1 else 5.0, height_in)
        width = cls.LEFT + panels * panel_in[0] + (panels - 1) * cls.GAP + cls.LEGEND
        figure = Figure(figsize=(width, cls.TOP + height_in + cls.BOTTOM), facecolor="white")
        FigureCanvasAgg(figure)
        return cls(figure, panels, panel_in)

    def axes(self, panel: int) -> Axes:
        width, height = self.figure.get_size_inches()
        panel_width, panel_height = self.panel_in
        left = self.LEFT + panel * (panel_width + self.GAP)
        axes = self.figure.add_axes((left / width, self.BOTTOM / height, panel_width / width, panel_height / height))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        return axes

    def footer(self, text: str, panel: int | None = None) -> None:
        """Small print at the foot of one panel, or of the whole page."""
        width, height = self.figure.get_size_inches()
        left, right = 0.15, width - 0.15
        if panel is not None and self.panels > 1:
            left = self.LEFT + panel * (self.panel_in[0] + self.GAP) - 0.4
            right = left + self.panel_in[0] + 0.5
        lines = _wrapped(text, right - left, size_pt=7.5, most=5)
        self.figure.text(left / width, 0.1 / height, lines, fontsize=7.5, color="#444444", va="bottom")

    def legend(self, handles: list[Artist]) -> None:
        width, height = self.figure.get_size_inches()
        x = (width - self.LEGEND + 0.15) / width
        small = len(handles) > 18
        self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(x, (height - self.TOP + 0.1) / height),
            frameon=False,
            fontsize=6.5 if small else 8.5,
            borderaxespad=0,
            handletextpad=0.5,
            labelspacing=0.35 if small else 0.6,
        )


def _wrapped(text: str, width_in: float, *, size_pt: float, most: int) -> str:
    """At most `most` lines of `width_in`; a character of DejaVu Sans is 0.62 of its size wide, no text is wider."""
    return textwrap.fill(text, int(width_in * 72 / (0.62 * size_pt)), max_lines=most, placeholder=" ...")


@dataclass(frozen=True, slots=True)
class _Style:
    """Colour by GPU kind and marker by model; both repeat where there are more kinds than signs."""

    colours: dict[str, Any]
    markers: dict[str, str]

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> _Style:
        configurations = [c.record.configuration for a in answers for c in (*a.feasible, *a.infeasible)]
        gpus = sorted({c.gpu for c in configurations})
        models = sorted({c.model for c in configurations})
        palette: Sequence[Any] = PALETTE
        if len(gpus) > len(PALETTE):  # a ramp told apart by lightness, for every kind of colour vision
            palette = [matplotlib.colormaps["cividis"](i / len(gpus)) for i in range(len(gpus))]
        return cls(
            {gpu: palette[i] for i, gpu in enumerate(gpus)},
            {model: MARKERS[i % len(MARKERS)] for i, model in enumerate(models)},
        )

    def entries(self, answers: Iterable[Answer]) -> list[Artist]:
        """Only what the pictures of `answers` show."""
        answers = list(answers)
        fronts = {len(a.front_objectives) for a in answers if a.front}
        entries: list[Artist] = [Patch(facecolor=colour, label=gpu) for gpu, colour in self.colours.items()]
        entries += [_sign(marker, model, color="#666666") for model, marker in self.markers.items()]
        if any(a.infeasible for a in answers):
            entries.append(_sign("o", "misses a limit", color=GREY, markerfacecolor="none"))
        if any(_shown_limits(a) for a in answers):
            entries.append(Patch(facecolor="#ececec", edgecolor="#bdbdbd", hatch="////", label="beyond the SLO"))
        if 2 in fronts:
            entries.append(Line2D([], [], color=FRONT_COLOUR, linewidth=1.3, label="Pareto front"))
        if fronts - {2}:
            entries.append(_sign("o", "on the Pareto front", color=FRONT_COLOUR, markerfacecolor="none", markersize=9))
        if fronts:
            entries.append(_sign("o", "recommended", color="black", markerfacecolor="none", markersize=10, mew=1.6))
        return entries


def _sign(marker: str, label: str, **style: Any) -> Line2D:
    return Line2D([], [], marker=marker, label=label, **{"linestyle": "none", "markersize": 7, **style})


@dataclass(frozen=True, slots=True)
class _Scale:
    """One axis of a Pareto picture: an objective, and the unit its values are shown in."""

    objective: Objective
    label: str
    factor: float

    @classmethod
    def of(cls, objective: Objective, answer: Answer) -> _Scale:
        per = PER_UNIT[answer.question.scenario.functional_unit]
        unit, factor = objective.unit.replace("functional unit", per), 1.0
        if unit.startswith("g/"):
            values = [objective.value(c.measurement, answer.question.scenario) for c in _all(answer)]
            mass, factor = mass_unit(values)
            unit = f"{mass} CO2e per {per}"
        else:
            unit = unit.replace(f"/{per}", f" per {per}")
        better = "more is better" if objective.sign < 0 else "less is better"
        return cls(objective, f"{objective.label}, {unit} ({better})", factor)

    def value(self, candidate: Candidate, answer: Answer) -> float:
        return self.factor * self.objective.value(candidate.measurement, answer.question.scenario)


def _draw_front(axes: Axes, answer: Answer, style: _Style, name: str) -> None:
    y, x = (_Scale.of(objective, answer) for objective in answer.front_objectives[:2])
    points = {c.record.key: (x.value(c, answer), y.value(c, answer)) for c in _all(answer)}
    axes.set_xlabel(x.label, fontsize=9.5)
    axes.set_ylabel(y.label, fontsize=9.5)
    _title(axes, answer, x.objective, y.objective, name)
    if not points:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no configuration gave a result", transform=axes.transAxes, ha="center", color=GREY)
        return
    limits = _shown_limits(answer)
    for which, scale, values in zip("xy", (x, y), zip(*points.values(), strict=True), strict=True):
        _set_scale(axes, which, [*values, *_near(limits.get(scale.objective.name), values)])
    _shade(axes, x.objective, y.objective, limits)
    _draw_points(axes, answer.infeasible, points, style, hollow=True)
    _draw_steps(axes, answer, [points[c.record.key] for c in answer.front])
    _draw_points(axes, answer.feasible, points, style, hollow=False)
    _label(axes, answer, points)


def _title(axes: Axes, answer: Answer, x: Objective, y: Objective, name: str) -> None:
    word = {
        ("measured",): "measured",
        ("modelled",): "modelled",
        ("measured", "modelled"): "part measured, part modelled",
    }
    heading = f"{y.label[0].upper()}{y.label[1:]} against {x.label}, {word.get(answer.bases, 'no result')}"
    limits = ", ".join(f"{LIMIT_LABELS[k]} at most {v:g} s" for k, v in answer.question.slo.limits().items())
    found = f"{len(answer.feasible)} configuration{'s' * (len(answer.feasible) != 1)}, no limits set"
    if limits:
        found = f"{len(answer.feasible)} of {len(_all(answer))} configurations meet {limits}"
    if len(answer.front_objectives) > 2:
        found += f"; front over {len(answer.front_objectives)} objectives"
    width_in = axes.bbox.width / axes.figure.dpi + 0.6
    below = _wrapped(found, width_in, size_pt=8.5, most=2)
    axes.annotate(
        below, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=8.5, color="#444444"
    )
    above = _wrapped(f"{name}: {heading}" if name else heading, width_in, size_pt=11, most=1)
    axes.set_title(above, loc="left", fontsize=11, fontweight="bold", pad=20 + 11 * below.count("\n"))


def _all(answer: Answer) -> tuple[Candidate, ...]:
    return (*answer.feasible, *answer.infeasible)


def _shown_limits(answer: Answer) -> dict[str, float]:
    """Limits in seconds on the two axes shown, by objective."""
    limits = answer.question.slo.limits()
    shown = [objective.name for objective in answer.front_objectives[:2]]
    return {name: limits[_LIMITED[name]] for name in shown if _LIMITED.get(name) in limits}


def _near(limit: float | None, values: Sequence[float]) -> list[float]:
    """The limit belongs in the picture unless it would squeeze the points into a corner."""
    return [] if limit is None or not min(values) / DECADE < limit < max(values) * DECADE else [limit]


def _set_scale(axes: Axes, which: str, values: list[float]) -> None:
    """Log where the values span more than a decade; ticks are plain numbers, at 1, 2 and 5 of each decade."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > DECADE
    if logarithmic:
        margin = (high / low) ** 0.07
        span = (low / margin, high * margin)
    else:
        margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        span = (low - margin, high + margin)
    axes.set(**{f"{which}scale": "log" if logarithmic else "linear", f"{which}lim": span})
    axis = axes.xaxis if which == "x" else axes.yaxis
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}" if abs(value) < 1e7 else f"{value:.0e}"))


def _shade(axes: Axes, x: Objective, y: Objective, limits: Mapping[str, float]) -> None:
    """Hatch what lies beyond a limit on either axis, and write the limit on its edge."""
    style: dict[str, Any] = {
        "facecolor": "#ececec",
        "edgecolor": "#d2d2d2",
        "hatch": "////",
        "linewidth": 0,
        "zorder": 0,
    }
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if x.name in limits and limits[x.name] < right:
        axes.axvspan(max(limits[x.name], left), right, **style)
        axes.axvline(limits[x.name], color=GREY, linewidth=1, linestyle="--")
    if y.name in limits and limits[y.name] < top:
        axes.axhspan(max(limits[y.name], bottom), top, **style)
        axes.axhline(limits[y.name], color=GREY, linewidth=1, linestyle="--")
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _draw_points(
    axes: Axes, candidates: Sequence[Candidate], points: Mapping[str, _Point], style: _Style, *, hollow: bool
) -> None:
    """One call per GPU and model: thousands of single points would take seconds."""
    groups: dict[tuple[str, str], list[_Point]] = {}
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


def _draw_steps(axes: Axes, answer: Answer, front: list[_Point]) -> None:
    """The edge of what is dominated: a step line for two objectives; more leave no line in a plane, so only dots."""
    if not front:
        return
    xs, ys = zip(*sorted(front), strict=True)
    if len(answer.front_objectives) > 2:
        axes.plot(xs, ys, "o", markersize=11, markerfacecolor="none", color=FRONT_COLOUR, zorder=3, label="front")
        return
    # At x one can have the best y of any point at least as good in x: to its left if less is better, else to its right.
    axes.step(xs, ys, where=_corner(answer), color=FRONT_COLOUR, linewidth=1.3, zorder=3, label="front")


def _corner(answer: Answer) -> Literal["post", "pre"]:
    return "pre" if answer.front_objectives[1].sign < 0 else "post"


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is already drawn, as boxes (left, bottom, right, top) in pixels, and where a text still fits."""

    axes: Axes
    boxes: list[tuple[float, float, float, float]]

    POINT_PX = 4.5

    def write(self, text: str, at: _Point, offsets: Iterable[_Point], size_pt: float, **style: Any) -> bool:
        """Write at the first offset (in points) from `at` that is free and inside the axes; False if there is none."""
        px = self.axes.figure.dpi / 72
        x, y = self.axes.transData.transform(at)
        width, height = 0.62 * size_pt * len(text) * px, 1.15 * size_pt * px
        for dx, dy in offsets:
            left = x + dx * px - (width if dx < 0 else width / 2 if dx == 0 else 0)
            bottom = y + dy * px - height / 2
            box = (left, bottom, left + width, bottom + height)
            if self._inside(box) and not any(_overlap(box, other) for other in self.boxes):
                self.boxes.append(box)
                align = "right" if dx < 0 else "center" if dx == 0 else "left"
                self.axes.annotate(
                    text, at, (dx, dy), textcoords="offset points", ha=align, va="center", fontsize=size_pt, **style
                )
                return True
        return False

    def _inside(self, box: tuple[float, float, float, float]) -> bool:
        bounds = self.axes.bbox
        return bool(bounds.x0 <= box[0] and box[2] <= bounds.x1 and bounds.y0 <= box[1] and box[3] <= bounds.y1)

    def keep_off_ring(self, at: _Point) -> None:
        (x, y), r = self.axes.transData.transform(at), 2.2 * self.POINT_PX
        self.boxes.append((x - r, y - r, x + r, y + r))

    def keep_off_steps(self, front: Sequence[_Point], where: Literal["post", "pre"]) -> None:
        for (x0, y0), (x1, y1) in itertools.pairwise(self.axes.transData.transform(point) for point in front):
            level, upright = (y0, x1) if where == "post" else (y1, x0)
            self.boxes.append((min(x0, x1), level - 1, max(x0, x1), level + 1))
            self.boxes.append((upright - 1, min(y0, y1), upright + 1, max(y0, y1)))

    @classmethod
    def under(cls, axes: Axes, points: Iterable[_Point]) -> _Ground:
        centres = [axes.transData.transform(point) for point in points]
        r = cls.POINT_PX
        return cls(axes, [(x - r, y - r, x + r, y + r) for x, y in centres])


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _label(axes: Axes, answer: Answer, points: dict[str, _Point]) -> None:
    """Ring and name the recommended configuration, then write batch sizes where there is room."""
    ground = _Ground.under(axes, points.values())
    if len(answer.front_objectives) == 2:
        ground.keep_off_steps(sorted(points[c.record.key] for c in answer.front), _corner(answer))
    if answer.best is not None:
        at = points[answer.best.record.key]
        axes.plot(*at, marker="o", markersize=13, mfc="none", mec="black", mew=1.6, linestyle="none", zorder=5)
        ground.keep_off_ring(at)
        far = [(dx, dy) for d in (16, 28, 42, 60, 84) for dx in (d, -d) for dy in (0.8 * d, -0.8 * d, 0)]
        arrow = {"arrowstyle": "-", "color": "black", "linewidth": 0.8, "shrinkB": 7}
        name = _short(answer.best, answer)
        # No room at all: the legend's ring still tells which point it is, and the page and terminal name it.
        ground.write(name, at, far, 8.5, fontweight="bold", arrowprops=arrow, zorder=6)
    if len(points) > MOST_LABELLED:
        return
    near = [(0.0, 8.0), (6.0, 4.0), (0.0, -8.0), (-6.0, 4.0), (6.0, -4.0), (-6.0, -4.0)]
    waiting = {c.record.key: c for c in (*answer.front, *_all(answer)) if c is not answer.best}
    for key, candidate in waiting.items():
        ground.write(f"b{candidate.record.configuration.batch_size}", points[key], near, 6.5, color="#555555")


def _short(candidate: Candidate, answer: Answer) -> str:
    """Model, GPU and batch; dtype and engine only where the answer has several."""
    configuration = candidate.record.configuration
    count = "" if configuration.gpu_count == 1 else f"{configuration.gpu_count}x "
    parts = [f"{configuration.model} on {count}{configuration.gpu}", f"batch {configuration.batch_size}"]
    all_of_them = [other.record.configuration for other in _all(answer)]
    parts += [configuration.dtype] if len({other.dtype for other in all_of_them}) > 1 else []
    parts += [configuration.engine] if len({other.engine for other in all_of_them}) > 1 else []
    return ", ".join(parts)


def _errors(answer: Answer) -> str:
    sources = sorted({c.measurement.error_source for c in _all(answer)})
    if not sources:
        return ""
    quoted = [textwrap.shorten(source, LONGEST_REASON, placeholder=" ...") for source in sources]
    return f" Error: {'; '.join(quoted)}."


def _draw_bars(axes: Axes, answer: Answer, best: dict[str, _Priced], factor: float, *, rows: int) -> None:
    """A bar per name: operational, then embodied with its range over the presets; hatched, so that grey will do."""
    axes.set(yticks=[], ylim=(rows - 0.45, -0.75))
    widest = 0.0
    for i, (candidate, priced) in enumerate(best.values()):
        operational, embodied = priced.operational_g * factor, priced.embodied_g * factor
        ends = (operational + priced.embodied_low_g * factor, operational + priced.embodied_high_g * factor)
        axes.barh(i, operational, height=0.42, color=OPERATIONAL_COLOUR)
        axes.barh(
            i,
            embodied,
            left=operational,
            height=0.42,
            color=EMBODIED_COLOUR,
            hatch="////",
            edgecolor="white",
            linewidth=0,
        )
        axes.plot(ends, (i, i), color="black", linewidth=1.1, marker="|", markersize=7)
        share = priced.embodied_g / priced.total_g if priced.total_g > 0 else 0.0
        axes.annotate(
            f"{digits(operational + embodied)}, {share:.0%} embodied",
            (max(ends[1], operational + embodied), i),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        axes.annotate(
            _short(candidate, answer), (0, i - 0.36), (1, 0), textcoords="offset points", va="center", fontsize=8.5
        )
        widest = max(widest, ends[1], operational + embodied)
    axes.set_xlim(0, widest * 1.45)


def _bar_entries() -> list[Artist]:
    return [
        Patch(color=OPERATIONAL_COLOUR, label="operational"),
        Patch(facecolor=EMBODIED_COLOUR, hatch="////", edgecolor="white", linewidth=0, label="embodied"),
        Line2D([], [], color="black", marker="|", linewidth=1.1, label="range over the\nembodied presets"),
    ]
