"""The pictures commands and analysis share: the Pareto front, and operational beside embodied carbon.

The only matplotlib in the package, and no pyplot: a figure is a value, nothing is global. Every picture carries a
footer that says measured, modelled or rehearsed, by what, and how far off it may be.
"""

from __future__ import annotations

from carbonsweep.figures.bars import embodied_figure
from carbonsweep.figures.front import pareto_figure, pareto_panels, pareto_png
from carbonsweep.figures.page import basis, image, small_png

__all__ = ["basis", "embodied_figure", "image", "pareto_figure", "pareto_panels", "pareto_png", "small_png"]
