"""What every picture has: the frame laid out in inches, small print, legend, colours and markers, readable units."""

from __future__ import annotations

import io
import itertools
import math
import re
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from carbonsweep.answer import Answer, Candidate
from carbonsweep.bench.basis import basis_words
from carbonsweep.carbon.write_off import second_life_words
from carbonsweep.domain import Basis

PALETTE: Final = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito, "Color Universal Design" (2008), without yellow, which white paper hides; neighbours in this order
also differ in lightness, so two or three kinds stay apart in grey."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
SMALL_PRINT: Final = "#444444"
LONGEST_REASON: Final = 260
"""Characters of an error source that a footer quotes."""
ALIKE: Final = 60
"""Error sources whose first so many characters agree say the same of several GPUs."""
DPI: Final = 150
SMALL_DPI: Final = 130
SMALL_COLOURS: Final = 128
"""Of pictures kept in a repository: readable on a page, and small; their PDF has no such limits."""

_MASS_UNITS: Final = (("g", 1.0), ("mg", 1e3), ("µg", 1e6))


@dataclass(frozen=True, slots=True)
class Page:
    """A figure laid out in inches: panels in rows, a footer under each column, one legend to their right."""

    figure: Figure
    panels: int
    panel_in: tuple[float, float]
    rows: int = 1

    LEFT = 0.85
    GAP = 0.95
    TOP = 0.75
    BOTTOM = 1.25
    LEGEND = 2.2

    ROW_GAP = 1.2

    @classmethod
    def of(cls, panels: int, *, height_in: float = 4.3, rows: int = 1) -> Page:
        panel_in = (6.3 if panels == 1 else 5.0, height_in)
        width = cls.LEFT + panels * panel_in[0] + (panels - 1) * cls.GAP + cls.LEGEND
        height = cls.TOP + rows * height_in + (rows - 1) * cls.ROW_GAP + cls.BOTTOM
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        return cls(figure, panels, panel_in, rows)

    def axes(self, panel: int, row: int = 0) -> Axes:
        width, height = self.figure.get_size_inches()
        panel_width, panel_height = self.panel_in
        left = self.LEFT + panel * (panel_width + self.GAP)
        bottom = self.BOTTOM + (self.rows - 1 - row) * (panel_height + self.ROW_GAP)
        axes = self.figure.add_axes((left / width, bottom / height, panel_width / width, panel_height / height))
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
        lines = wrapped(text, right - left, size_pt=7.5, most=6)
        self.figure.text(left / width, 0.1 / height, lines, fontsize=7.5, color=SMALL_PRINT, va="bottom")

    def legend(self, handles: list[Artist]) -> None:
        width, height = self.figure.get_size_inches()
        small = len(handles) > 18
        self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=((width - self.LEGEND + 0.15) / width, (height - self.TOP + 0.1) / height),
            frameon=False,
            fontsize=6.5 if small else 8.5,
            borderaxespad=0,
            handletextpad=0.5,
            labelspacing=0.35 if small else 0.6,
        )


@dataclass(frozen=True, slots=True)
class Style:
    """Colour by GPU kind and marker by model; both repeat where there are more kinds than signs."""

    colours: dict[str, Any]
    markers: dict[str, str]

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Style:
        configurations = [c.record.configuration for answer in answers for c in drawn(answer)]
        gpus = sorted({c.gpu for c in configurations})
        models = sorted({c.model for c in configurations})
        palette: Sequence[Any] = PALETTE
        if len(gpus) > len(PALETTE):  # a ramp told apart by lightness, for every kind of colour vision
            palette = [matplotlib.colormaps["cividis"](i / len(gpus)) for i in range(len(gpus))]
        return cls(
            {gpu: palette[i] for i, gpu in enumerate(gpus)},
            {model: MARKERS[i % len(MARKERS)] for i, model in enumerate(models)},
        )


def image(figure: Figure, kind: Literal["png", "pdf", "svg"]) -> bytes:
    """The figure as a file; the same answer gives the same bytes."""
    content = io.BytesIO()
    stamp: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    # An SVG names its parts by a hash, salted by chance unless a salt is given.
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "carbonsweep"}):
        # A name in a script the font lacks prints boxes; that is no reason to warn whoever sweeps.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format=kind, dpi=DPI, metadata=stamp)
    return content.getvalue()


def small_png(figure: Figure) -> bytes:
    """The figure as a PNG file of SMALL_COLOURS colours, a third as large; the same figure gives the same bytes."""
    from PIL import Image

    before, figure.dpi = figure.dpi, SMALL_DPI
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            pixels, size = FigureCanvasAgg(figure).print_to_buffer()  # type: ignore[no-untyped-call]
    finally:
        figure.dpi = before
    content = io.BytesIO()
    picture = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
    picture.quantize(SMALL_COLOURS, method=Image.Quantize.FASTOCTREE).save(content, "png", optimize=True)
    return content.getvalue()


def footer(answer: Answer) -> str:
    """What an answer rests on, in a sentence or three: basis, bench, engine, error, region, embodied preset."""
    scenario = answer.question.scenario
    region = "no region, so no grams"
    if scenario.intensity is not None:
        grid = scenario.intensity
        region = f"region {grid.region}, {grid.g_per_kwh:g} g/kWh {grid.basis}"
    second_life = f"; second life: {second_life_words(scenario)}" if scenario.second_life else ""
    assumed = ""
    if any(c.footprint is not None and c.footprint.assumed for c in drawn(answer)):
        assumed = f" Energy assumed: {scenario.assumed_power_w:g} W per device, no meter."
    priced = f"{region}; embodied preset {scenario.embodied}{second_life}"
    return f"{basis(answer)}{_errors(answer)}{assumed} Priced: {priced}."


def basis(answer: Answer) -> str:
    """Measured, modelled or rehearsed, by which bench and engine."""
    if not drawn(answer):
        return "Neither measured nor modelled: no configuration gave a result."
    by = sorted({f"{c.measurement.bench} bench, engine {c.record.configuration.engine}" for c in drawn(answer)})
    on: dict[Basis, list[str]] = {}
    for candidate in drawn(answer):
        on.setdefault(candidate.measurement.basis, []).append(candidate.record.configuration.gpu)
    said = {each: basis_words(each, sorted(gpus)) for each, gpus in sorted(on.items())}
    if len(said) == 1:
        words = next(iter(said.values()))
    else:
        words = ", ".join(f"partly {said[each] if each == 'rehearsed' else each}" for each in said)
    return f"{words[0].upper()}{words[1:]}: {'; '.join(by)}."


def _errors(answer: Answer) -> str:
    quoted = quoted_sources((c.measurement.error_source for c in drawn(answer)), LONGEST_REASON)
    return f" Error: {quoted}" if quoted else ""


def quoted_sources(sources: Iterable[str], longest: int) -> str:
    """Error sources as a sentence of about `longest` characters, each once; of several alike, their common start."""
    alike: dict[str, list[str]] = {}
    for source in sorted(set(sources)):
        alike.setdefault(source[:ALIKE], []).append(source.rstrip("."))
    shared = [
        members[0] if len(members) == 1 else f"{_shared_start(members)} ... (by GPU)" for members in alike.values()
    ]
    said = "; ".join(textwrap.shorten(each, longest // len(shared), placeholder=" ...") for each in shared)
    return said if not said or said.endswith("...") else f"{said}."


def _shared_start(texts: Sequence[str]) -> str:
    """What all texts begin with: whole clauses where there is one, else whole words, without a mark at its end."""
    letters = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    shared = "".join(column[0] for column in letters)
    clauses = re.match(r".*[;,.:](?= )", shared)
    return (clauses.group() if clauses else shared.rpartition(" ")[0]).rstrip(" ;,.:")


def drawn(answer: Answer) -> tuple[Candidate, ...]:
    """Every configuration with a result, the feasible first."""
    return (*answer.feasible, *answer.infeasible)


def short(candidate: Candidate, answer: Answer) -> str:
    """Model, GPU and batch; dtype, engine and basis only where the answer has several."""
    configuration = candidate.record.configuration
    count = "" if configuration.gpu_count == 1 else f"{configuration.gpu_count}x "
    parts = [f"{configuration.model} on {count}{configuration.gpu}", f"batch {configuration.batch_size}"]
    others = [other.record.configuration for other in drawn(answer)]
    parts += [configuration.dtype] if len({other.dtype for other in others}) > 1 else []
    parts += [configuration.engine] if len({other.engine for other in others}) > 1 else []
    parts += [candidate.measurement.basis] if len(answer.bases) > 1 else []
    return ", ".join(parts)


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


def widest_in(text: str, size_pt: float) -> float:
    """Inches no text of this length exceeds: a character of DejaVu Sans is at most 0.62 of its size wide on average."""
    return len(text) * 0.62 * size_pt / 72


def wrapped(text: str, width_in: float, *, size_pt: float, most: int) -> str:
    """At most `most` lines of `width_in`."""
    return textwrap.fill(text, int(width_in / widest_in("m", size_pt)), max_lines=most, placeholder=" ...")
