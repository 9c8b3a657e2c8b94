"""What the records of a picture rest on, in the sentences of its small print: basis, engine, workload, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from carbonsweep import facts
from carbonsweep.bench.basis import basis_words
from carbonsweep.carbon.load import load_words, waits
from carbonsweep.domain import Basis, Measurement, Scenario, TrialRecord
from carbonsweep.figures.cells import by_size
from carbonsweep.figures.estimates import Estimate, duration_s, phase_energy_per_token_j
from carbonsweep.figures.page import quoted_sources
from carbonsweep.shares import change_percent
from carbonsweep.units import S_PER_YEAR

LONGEST_REASON: Final = 330
"""Characters of error sources that are quoted."""

_PARTS: Final[dict[str, Callable[[Measurement], Estimate | None]]] = {
    "prefill time": lambda m: duration_s(m.prefill),
    "decode time": lambda m: duration_s(m.decode),
    "prefill energy": lambda m: phase_energy_per_token_j(m.prefill),
    "decode energy": lambda m: phase_energy_per_token_j(m.decode),
}


def bases(records: Iterable[TrialRecord]) -> str:
    """ "modelled", "measured", "part measured, part modelled", as a title says it."""
    found = sorted({record.identity.basis for record in records})
    if found == ["rehearsed"]:
        return "rehearsed on the CPU"
    return found[0] if len(found) == 1 else ", ".join(f"part {each}" for each in found)


def foundation(records: Sequence[TrialRecord]) -> str:
    """Basis, bench, engine with its version, dtype, workload; then how wide the intervals are, and the error source."""
    return " ".join(filter(None, (_made_by(records), _served(records), _intervals(records), _error_sources(records))))


def stand_ins(records: Iterable[TrialRecord]) -> str:
    """Which of the paper's model sizes these models stand in for, as the table of models assumes; "" for none."""
    known = facts.language_models()
    models = by_size(record.configuration.model for record in records)
    sizes = {model: known[model].paper_size for model in models if model in known}
    said = [f"{model} for {size}" for model, size in sizes.items() if size]
    return f"In place of the paper's models, which it does not name: {', '.join(said)}." if said else ""


def pricing(scenarios: Sequence[Scenario], lifetimes_years: Sequence[float] = ()) -> str:
    """How grams came out of joules and seconds; scenarios differ in region, and in lifetime where several are given."""
    scenario = scenarios[0]
    grids = "; ".join(grid_name(each) for each in scenarios)
    extra = "" if scenario.pue == 1 else f", PUE {scenario.pue:g}"
    extra += f", {load_words(scenario)}" if waits(scenario) else ""
    years = f"{', '.join(f'{each:g}' for each in lifetimes_years or (scenario.lifetime_s / S_PER_YEAR,))} years"
    return f"Priced: {grids}; embodied preset {scenario.embodied} over {years}{extra}."


def grid_name(scenario: Scenario) -> str:
    """Region, grams per kWh and their basis."""
    grid = scenario.intensity
    return "no region, so no grams" if grid is None else f"{grid.region}, {grid.g_per_kwh:g} g/kWh {grid.basis}"


def _made_by(records: Sequence[TrialRecord]) -> str:
    by_basis: dict[Basis, list[TrialRecord]] = {}
    for record in sorted(records, key=lambda r: (r.identity.basis, r.configuration.gpu)):
        by_basis.setdefault(record.identity.basis, []).append(record)
    sentences = []
    for basis, members in by_basis.items():
        gpus = dict.fromkeys(r.configuration.gpu for r in members)
        words = basis_words(basis, gpus)
        on = f" ({', '.join(gpus)})" if len(by_basis) > 1 else ""
        sentences.append(f"{words[0].upper()}{words[1:]}{on}: {'; '.join(sorted({_maker(r) for r in members}))}.")
    return " ".join(sentences)


def _maker(record: TrialRecord) -> str:
    """Bench, engine, version of engine and calibration; the digest of the facts is the CSV's."""
    identity, engine = record.identity, record.configuration.engine
    version = "" if identity.engine_version == engine else f" {identity.engine_version}"
    calibration = identity.calibration.partition(", facts")[0]
    calibrated = f", calibration {calibration}" if identity.basis == "modelled" else ""
    return f"{identity.bench} bench, engine {engine}{version}{calibrated}, {record.configuration.dtype}"


def _served(records: Sequence[TrialRecord]) -> str:
    kinds = dict.fromkeys(
        f"{w.name} prompts (mean {w.mean_prompt_tokens:.3g} tokens, template {w.template}), {w.output_tokens} output "
        "tokens"
        for w in (record.workload for record in records)
    )
    return f"Workload: {'; '.join(kinds)}."


def _intervals(records: Sequence[TrialRecord]) -> str:
    """The widest relative half-width of each part over all records."""
    measurements = [record.measurement for record in records if record.measurement is not None]
    said = []
    for name, part in _PARTS.items():
        known = [each for each in map(part, measurements) if each is not None]
        if not known:
            said.append(f"{name} unknown")
            continue
        widest = max((each.high - each.low) / 2 / each.value for each in known)
        said.append(f"{name} ±{change_percent(widest, signed=False)}")
    return f"95 % intervals, at most: {', '.join(said)}." if measurements else ""


def _error_sources(records: Sequence[TrialRecord]) -> str:
    sources = {record.measurement.error_source for record in records if record.measurement is not None}
    quoted = quoted_sources(sources, LONGEST_REASON)
    return f"Error: {quoted}" if quoted else ""
