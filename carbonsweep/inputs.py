"""Options -> values: what a user typed becomes a scenario, a question, a workload, or one clear error."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from carbonsweep.carbon.embodied import choose_preset
from carbonsweep.carbon.intensity import carbon_intensity, given_intensity
from carbonsweep.domain import CarbonIntensity, Scenario, Slo, Workload
from carbonsweep.errors import BadInput
from carbonsweep.option_types import NO_RATE
from carbonsweep.search.objectives import Objective, Question, objectives
from carbonsweep.second_life import SecondLife
from carbonsweep.second_life_option import unused
from carbonsweep.units import S_PER_YEAR

DEFAULT_LIFETIME_YEARS: Final = 5.0
"""HotCarbon'24, section 3.1."""
SENT_BYTES: Final = 2**20
"""A workload up to this size is sent to the workers; a larger one they read where they are."""
DEFAULT_MODELS: Final = ("TinyLlama-1.1B", "OpenLLaMA-3B", "LLaMA-7B")
DEFAULT_GPUS: Final = ("T4", "RTX6000Ada")


def modelled_engines(engine: tuple[str, ...] | None) -> tuple[str, ...]:
    """Engines of the device model, the paper's unless asked otherwise. Raises UnknownFact."""
    from carbonsweep.facts.engines import engine_key

    return tuple(engine_key(name) for name in engine or ("paper",))


def workload(
    *, prompts: str | None, output_tokens: int, seed: int, prompt_format: str = "auto", template: str = "none"
) -> Workload:
    """The built-in prompts, those of a file that exists, or those of a data set on the hub.

    Raises BadInput for a file or a set that cannot be used, and for a format without one.
    """
    from carbonsweep import terminal
    from carbonsweep.bench.prompts import built_in_workload, prompt_workload, takes_a_while

    if prompts is None:
        if prompt_format != "auto":
            raise BadInput(
                f"--prompt-format {prompt_format} is about prompts of yours: name a file or hub id (--prompts)"
            )
        return built_in_workload(output_tokens, seed, template)
    if takes_a_while(prompts):
        terminal.warn(f"Reading the prompts {prompts!r}.")
    return prompt_workload(prompts, output_tokens, seed, prompt_format=prompt_format, template=template)


def asked_workload(options: dict[str, Any], seed: int) -> Workload:
    """The workload of `options` (those of `options.workload_options`, among others). Raises BadInput as `workload`."""
    names = ("prompts", "prompt_format", "template", "output_tokens")
    return workload(seed=seed, **{name: options[name] for name in names})


def workload_elsewhere(workload: Workload, options: dict[str, Any], seed: int) -> Callable[[], Workload]:
    """What makes the same workload in a worker, wherever that runs: a small one travels, a large one is read there.

    So a prompt file has the same absolute path on every machine; whoever calls this compares digests.
    """
    if len(pickle.dumps(workload)) <= SENT_BYTES:
        return functools.partial(_given, workload)
    names = ("prompt_format", "template", "output_tokens")
    prompts = Path(options["prompts"])
    there = str(prompts.absolute()) if prompts.exists() else options["prompts"]
    return functools.partial(asked_workload, {"prompts": there, **{name: options[name] for name in names}}, seed)


def _given(workload: Workload) -> Workload:
    return workload


def question(
    *,
    objective: tuple[str, ...],
    slo_ttft: float | None,
    slo_tpot: float | None,
    slo_latency: float | None,
    scenario: Scenario,
) -> Question:
    """Raises UnknownFact for an objective, BadInput where carbon is asked and no intensity is known."""
    asked = objectives(objective)
    _require_intensity(asked, scenario)
    slo = Slo(ttft_s=slo_ttft, tpot_s=slo_tpot, prompt_latency_s=slo_latency)
    return Question(objectives=asked, slo=slo, scenario=scenario)


def question_again(options: dict[str, Any], devices: Iterable[str], before: Question) -> Question:
    """`before` with what `options` holds of it (`options.question_again_options`) in its place.

    Raises as `question` and `scenario`.
    """
    slo = Slo() if options["no_slo"] else before.slo
    return question(
        objective=options["objective"] or tuple(asked.name for asked in before.objectives),
        slo_ttft=options["slo_ttft"] or slo.ttft_s,
        slo_tpot=options["slo_tpot"] or slo.tpot_s,
        slo_latency=options["slo_latency"] or slo.prompt_latency_s,
        scenario=scenario(options, devices, before.scenario),
    )


def scenario(options: dict[str, Any], devices: Iterable[str], before: Scenario | None = None) -> Scenario:
    """The scenario of `options` (those of `options.scenario_options`, None = not given), over `before` if there is one.

    The embodied preset is the asked one if it knows every device, else BadInput; unasked, the first that does.
    """
    devices = tuple(devices)
    _require_used(options.get("second_life") or (), devices)
    preset = choose_preset(devices, options.get("embodied") or (before.embodied if before else None))
    start = before or Scenario(intensity=None, lifetime_s=DEFAULT_LIFETIME_YEARS * S_PER_YEAR, embodied=preset)
    lifetime_years = options.get("lifetime_years")
    replaced: dict[str, Any] = {
        "lifetime_s": None if lifetime_years is None else lifetime_years * S_PER_YEAR,
        "assumed_power_w": options.get("assume_power_w"),
        "intensity": _intensity(options, before),
        **{
            name: options.get(name)
            for name in ("pue", "utilisation", "host_power_w", "host_embodied_kg", "functional_unit", "second_life")
        },
    }
    changes = {name: value for name, value in replaced.items() if value is not None}
    rate = options.get("request_rate")
    if rate is not None:
        changes["request_rate_per_s"] = None if rate == NO_RATE else rate
    return dataclasses.replace(start, embodied=preset, **changes)


def _require_used(second_lives: tuple[SecondLife, ...], devices: tuple[str, ...]) -> None:
    elsewhere = unused(second_lives, devices)
    if elsewhere:
        raise BadInput(
            f"--second-life names {' and '.join(elsewhere)}, which this question is not about: "
            f"its devices are {', '.join(sorted(set(devices)))}"
        )


def _intensity(options: dict[str, Any], before: Scenario | None) -> CarbonIntensity | None:
    region, g_per_kwh = options.get("region"), options.get("carbon_intensity_g_per_kwh")
    basis = options.get("intensity_basis")
    if g_per_kwh is not None:
        if region is not None or basis is not None:
            raise BadInput(
                "--carbon-intensity-g-per-kwh replaces --region and --intensity-basis: give the number or the region"
            )
        return given_intensity(g_per_kwh)
    if region is None:
        if basis is None:
            return None
        if before is None or before.intensity is None or before.intensity.basis == "given":
            raise BadInput("--intensity-basis chooses between a region's two figures: name the --region")
        region = before.intensity.region
    return carbon_intensity(region, basis or "lifecycle")


def _require_intensity(asked: tuple[Objective, ...], scenario: Scenario) -> None:
    if scenario.intensity is None and any(objective.needs_intensity for objective in asked):
        raise BadInput(
            "--objective carbon needs a grid: --region QC (or CISO, PACE, DE, FR, ... any Electricity Maps zone of the "
            "table), or --carbon-intensity-g-per-kwh G"
        )
