"""A picture and its numbers as files of one name, each whole or not at all, and the same bytes for the same records."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from carbonsweep.figures.page import image, small_png
from carbonsweep.records import write_atomically


def save(out: Path, name: str, figure: Figure, numbers: str) -> None:
    """Write NAME.png, NAME.pdf and NAME.csv into `out` and say so. Raises StorageFailed."""
    write_atomically(out / f"{name}.png", small_png(figure))
    write_atomically(out / f"{name}.pdf", image(figure, "pdf"))
    write_atomically(out / f"{name}.csv", numbers)
    print(f"Written: {out / name}.png, .pdf, .csv")


def save_table(out: Path, name: str, markdown: str, numbers: str) -> None:
    """Write NAME.md and NAME.csv into `out` and say so. Raises StorageFailed."""
    write_atomically(out / f"{name}.md", markdown)
    write_atomically(out / f"{name}.csv", numbers)
    print(f"Written: {out / name}.md, .csv")
