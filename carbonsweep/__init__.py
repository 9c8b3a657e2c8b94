"""Which GPU, model and batch size serves tokens with the least total carbon under a latency SLO, and how sure that is.

The public names, sorted; a function that shares its name with its file (`answer.answer`) is imported from there. Each
is loaded when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carbonsweep.answer import Answer
    from carbonsweep.bench import Bench
    from carbonsweep.bench.prompts import built_in_workload, prompt_file_workload
    from carbonsweep.bench.roofline import RooflineBench
    from carbonsweep.bench.transformers import TransformersBench
    from carbonsweep.carbon.footprint import footprint
    from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
    from carbonsweep.domain import Configuration, Footprint, Measurement, Scenario, Slo, TrialRecord, Workload
    from carbonsweep.search.objectives import Question, objectives
    from carbonsweep.search.space import Space, space

_HOMES = {
    "Answer": "answer",
    "Bench": "bench",
    "Configuration": "domain",
    "Footprint": "domain",
    "Measurement": "domain",
    "Question": "search.objectives",
    "RooflineBench": "bench.roofline",
    "Scenario": "domain",
    "Slo": "domain",
    "Space": "search.space",
    "TransformersBench": "bench.transformers",
    "TrialRecord": "domain",
    "Workload": "domain",
    "built_in_workload": "bench.prompts",
    "carbon_intensity": "carbon.intensity",
    "footprint": "carbon.footprint",
    "given_intensity": "carbon.intensity",
    "objectives": "search.objectives",
    "prompt_file_workload": "bench.prompts",
    "space": "search.space",
}

__all__ = [
    "Answer",
    "Bench",
    "Configuration",
    "Footprint",
    "Measurement",
    "Question",
    "RooflineBench",
    "Scenario",
    "Slo",
    "Space",
    "TransformersBench",
    "TrialRecord",
    "Workload",
    "built_in_workload",
    "carbon_intensity",
    "footprint",
    "given_intensity",
    "objectives",
    "prompt_file_workload",
    "space",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
