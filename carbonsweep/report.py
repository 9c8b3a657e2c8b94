"""`python -m carbonsweep.report DIR`: the answer of a sweep as one HTML page that needs nothing else.

The page holds no number the records do not give: what is unknown says so. Everything a record says is text to it,
never markup: models, hosts and reasons were written by others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options

if TYPE_CHECKING:
    from carbonsweep.answer import Answer, Candidate
    from carbonsweep.domain import Footprint, TrialRecord
    from carbonsweep.results import Saved
    from carbonsweep.search.objectives import Question

PAGE: Final = "report.html"
MOST_ROWS: Final = 200
"""Rows of the long tables; records.jsonl has all."""
UNKNOWN: Final = "unknown"


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.report results/STUDY
  python -m carbonsweep.report results/STUDY --out answer.html
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help=f"The page. [default: DIR/{PAGE}]")
def command(folder: Path, out: Path | None) -> None:
    """Write the answer of the sweep in DIR as one self-contained HTML page."""
    from carbonsweep import results, terminal
    from carbonsweep.errors import BadInput
    from carbonsweep.records import write_atomically

    saved = results.load(folder)
    out = out or folder / PAGE
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a file in a folder that exists")
    for damaged in saved.damaged:
        terminal.warn(f"{folder}/records.jsonl line {damaged.number} is damaged and was left out: {damaged.reason}")
    write_atomically(out, page(saved))
    terminal.say(f"Written: {out}")


def page(saved: Saved) -> str:
    """The whole page. Raises as `answer`: NothingMeasured, EnergyUnknown."""
    import jinja2

    from carbonsweep.answer import answer

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("carbonsweep", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE).render(_content(answer(saved.records, saved.question), saved))


def _content(found: Answer, saved: Saved) -> dict[str, Any]:
    """Everything the template prints, as text and rows of text."""
    from carbonsweep import figures
    from carbonsweep.answer import counts
    from carbonsweep.terminal import UNITS

    return {
        "sentence": _sentence(found),
        "basis": figures.basis(found),
        "badge": " and ".join(found.bases) or "no result",
        "unit": UNITS[found.question.scenario.functional_unit],
        "best": None if found.best is None else _best(found.best, found.question),
        "closest": [_miss(candidate, found.question) for candidate in found.closest],
        "headings": _headings(found.question),
        "runners_up": _rows(found.runners_up, found),
        "per_model": _rows(tuple(found.best_per_model.values()), found) if len(found.best_per_model) > 1 else [],
        "by_carbon": found.question.objectives[0].name in ("carbon", "energy"),
        "axes": " and ".join(objective.label for objective in found.front_objectives),
        "front": _rows(found.front[:MOST_ROWS], found) if len(found.question.objectives) > 1 else [],
        "presets": _presets(found),
        "devices": _devices(found),
        "pictures": _pictures(found),
        "scenario": _scenario(found.question),
        "workload": _workload(saved.records),
        "counts": counts(found),
        "regret": _regret(saved.document),
        "complete": saved.document.get("complete") is not False,
        "refusals": _refusals(found.refused),
        "everything": _rows((*found.feasible, *found.infeasible)[:MOST_ROWS], found),
        "left_out": max(0, len(found.feasible) + len(found.infeasible) - MOST_ROWS),
        "provenance": _provenance(saved.records),
        "remarks": _remarks(found),
        "damaged": [(damaged.number, damaged.reason) for damaged in saved.damaged],
    }


def _sentence(found: Answer) -> str:
    """The answer, or that there is none, in one sentence."""
    asked = _limits(found.question)
    if found.best is None and not found.closest:
        return f"No configuration could run: all {len(found.refused)} were refused."
    if found.best is None:
        return (
            f"No configuration meets {asked}; the closest, {found.closest[0].record.configuration}, "
            f"misses by {max(found.closest[0].excess.values()):.1%}."
        )
    objective = found.question.objectives[0]
    word = "highest" if objective.sign < 0 else "lowest"
    within = f" at {asked}" if asked else ""
    tried = len(found.feasible) + len(found.infeasible) + len(found.refused)
    return (
        f"{found.best.record.configuration}: {_value(found.best, found.question, 0)}, "
        f"the {word} {objective.label} of {tried} configurations{within}."
    )


def _value(candidate: Candidate, question: Question, i: int) -> str:
    """The i-th objective of a candidate with its unit, as on the terminal."""
    from carbonsweep.terminal import UNITS, grams, seconds

    objective, value, unit = question.objectives[i], candidate.values[i], UNITS[question.scenario.functional_unit]
    if objective.unit == "s":
        return seconds(value)
    if objective.name == "carbon":
        return f"{grams(value)} CO2e per {unit}"
    return f"{value:.4g} {objective.unit.replace('/functional unit', f' per {unit}')}"


def _best(best: Candidate, question: Question) -> dict[str, Any]:
    from carbonsweep.carbon.footprint import functional_units

    measurement, footprint = best.measurement, best.footprint
    prompts_per_unit = functional_units(measurement, question.scenario.functional_unit) / measurement.batch_size
    steps = measurement.output_tokens - 1
    prefill, decode = measurement.prefill, measurement.decode
    return {
        "configuration": str(best.record.configuration),
        "total": _grams(None if footprint is None else footprint.total_g),
        "per_prompt": _grams(None if footprint is None else footprint.total_g * prompts_per_unit),
        "operational": _range(footprint, "operational"),
        "embodied": _range(footprint, "embodied"),
        "shares": _shares(footprint),
        "why_unknown": "" if footprint is not None else _why_unknown(question),
        "assumed_w": question.scenario.assumed_power_w if footprint is not None and footprint.assumed else None,
        "latencies": [
            _latency(best, question, "ttft_s", (prefill.duration_low_s, prefill.duration_high_s)),
            _latency(best, question, "tpot_s", (decode.duration_low_s / steps, decode.duration_high_s / steps)),
            _latency(best, question, "prompt_latency_s", None),
        ],
        "throughput": f"{measurement.throughput:.4g} output tokens/s",
        "energies": [
            ("Prefill energy", _per_token(prefill.energy_per_token_j, "prompt token")),
            ("Decode energy", _per_token(decode.energy_per_token_j, "output token")),
        ],
        "error": measurement.error_source,
    }


def _grams(value_g: float | None) -> str:
    from carbonsweep.terminal import grams

    return UNKNOWN if value_g is None else grams(value_g)


def _per_token(joules: float | None, token: str) -> str:
    return UNKNOWN if joules is None else f"{joules:.3g} J per {token}"


def _range(footprint: Footprint | None, part: str) -> tuple[str, str]:
    """Value and interval; without a footprint, twice unknown."""
    if footprint is None:
        return UNKNOWN, UNKNOWN
    value, low, high = (getattr(footprint, f"{part}{end}_g") for end in ("", "_low", "_high"))
    return _grams(value), f"{_grams(low)} to {_grams(high)}"


def _shares(footprint: Footprint | None) -> tuple[float, float] | None:
    """Operational and embodied percent of the total."""
    if footprint is None or not footprint.total_g > 0:
        return None
    embodied = 100 * footprint.embodied_g / footprint.total_g
    return 100 - embodied, embodied


def _why_unknown(question: Question) -> str:
    if question.scenario.intensity is None:
        return "no region was given"
    return "no meter read the energy; an assumed power (--assume-power-w) would price it"


def _latency(
    candidate: Candidate, question: Question, name: str, interval: tuple[float, float] | None
) -> dict[str, Any]:
    """One latency with its interval and how far it is from its limit; `used` is percent of the limit, at most 100."""
    from carbonsweep.terminal import seconds

    excess = candidate.excess.get(name)
    return {
        "name": _limit_name(name),
        "value": seconds(getattr(candidate.measurement, name)),
        "interval": "" if interval is None else f"{seconds(interval[0])} to {seconds(interval[1])}",
        "distance": _distance(excess, question.slo.limits().get(name)),
        "used": None if excess is None else min(100.0, 100 * (1 + excess)),
    }


def _distance(excess: float | None, limit_s: float | None) -> str:
    if excess is None or limit_s is None:
        return "no limit set"
    return f"{abs(excess):.1%} {'above' if excess > 0 else 'below'} the limit of {limit_s:g} s"


def _limits(question: Question) -> str:
    return ", ".join(f"{_limit_name(name)} at most {limit:g} s" for name, limit in question.slo.limits().items())


def _limit_name(name: str) -> str:
    from carbonsweep.terminal import LIMIT_NAMES

    return LIMIT_NAMES[name]


def _miss(candidate: Candidate, question: Question) -> dict[str, Any]:
    """A configuration that meets not every limit, and which it misses by how much."""
    missed = [name for name, excess in candidate.excess.items() if excess > 0]
    return {
        "configuration": str(candidate.record.configuration),
        "misses": [_latency(candidate, question, name, None) for name in missed],
    }


def _headings(question: Question) -> list[str]:
    from carbonsweep.terminal import UNITS

    unit = UNITS[question.scenario.functional_unit]
    beyond = [o for o in question.objectives if o.name in ("energy", "throughput")]
    more = [f"{o.label}, {o.unit.replace('functional unit', unit)}" for o in beyond]
    return ["configuration", f"CO2e per {unit}", "operational", "embodied", "TTFT", "TPOT", "prompt latency", *more, ""]


def _rows(candidates: Sequence[Candidate], found: Answer) -> list[list[str]]:
    """A table row per candidate, under `_headings`; the last cell tells what sets it apart."""
    from carbonsweep.terminal import seconds

    beyond = [i for i, o in enumerate(found.question.objectives) if o.name in ("energy", "throughput")]
    on_front = {candidate.record.key for candidate in found.front}
    rows = []
    for candidate in candidates:
        footprint, measurement = candidate.footprint, candidate.measurement
        tags = ["on the front"] if candidate.record.key in on_front else []
        tags += [] if candidate.is_feasible else ["misses a limit"]
        rows.append(
            [
                str(candidate.record.configuration),
                _grams(None if footprint is None else footprint.total_g),
                _range(footprint, "operational")[0],
                _range(footprint, "embodied")[0],
                seconds(measurement.ttft_s),
                seconds(measurement.tpot_s),
                seconds(measurement.prompt_latency_s),
                *(f"{candidate.values[i]:.4g}" for i in beyond),
                ", ".join(tags),
            ]
        )
    return rows


def _presets(found: Answer) -> list[list[str]]:
    """Preset, grams, its best configuration, and whether that is the answer's."""
    rows = []
    for view in found.presets:
        used = "this answer" if view.preset == found.question.scenario.embodied else ""
        changed = "same best" if view.best is found.best else "another best"
        rows.append([view.preset, _grams(view.total_g), str(view.best.record.configuration), used or changed])
    return rows


def _devices(found: Answer) -> list[list[str]]:
    """What one device of each kind embodies, under the preset used, over all presets, and by which source."""
    from carbonsweep.carbon.embodied import embodied_carbon, embodied_range, presets_of

    candidates = (*found.feasible, *found.infeasible)
    kinds = {phase.gpu for c in candidates for phase in (c.measurement.prefill, c.measurement.decode)}
    rows = []
    for kind in sorted(kinds):
        if found.question.scenario.embodied not in presets_of(kind):
            continue
        one, (low_kg, high_kg) = embodied_carbon(kind, found.question.scenario.embodied), embodied_range(kind)
        estimated = " (estimate)" if one.estimated else ""
        rows.append([kind, f"{one.kg:.3g} kg{estimated}", f"{low_kg:.3g} to {high_kg:.3g} kg", one.source])
    return rows


def _pictures(found: Answer) -> list[tuple[str, str]]:
    """Alternative text and data URI of each picture."""
    import base64

    from carbonsweep.figures import embodied_figure, image, pareto_figure

    axes = " and ".join(objective.label for objective in found.front_objectives[:2])
    drawn = [
        (f"Every configuration by {axes}, with the Pareto front", pareto_figure(found)),
        ("Operational and embodied carbon of the best configurations", embodied_figure(found)),
    ]
    return [
        (text, f"data:image/png;base64,{base64.b64encode(image(figure, 'png')).decode()}")
        for text, figure in drawn
        if figure is not None
    ]


def _scenario(question: Question) -> list[tuple[str, str]]:
    from carbonsweep.terminal import UNITS
    from carbonsweep.units import S_PER_YEAR

    scenario, grid = question.scenario, question.scenario.intensity
    rows = [("Region", "none given, so grams are unknown")]
    if grid is not None:
        rows = [
            ("Region", f"{grid.region}, {grid.g_per_kwh:g} g CO2e/kWh ({grid.basis})"),
            ("Source of the intensity", grid.source),
        ]
    assumed = scenario.assumed_power_w
    return [
        *rows,
        ("Lifetime", f"{scenario.lifetime_s / S_PER_YEAR:g} years"),
        ("PUE", f"{scenario.pue:g}"),
        ("Utilisation", f"{scenario.utilisation:g}"),
        ("Host", f"{scenario.host_power_w:g} W and {scenario.host_embodied_kg:g} kg CO2e per device"),
        ("Embodied preset", scenario.embodied),
        ("Functional unit", UNITS[scenario.functional_unit]),
        ("Assumed power", "none" if assumed is None else f"{assumed:g} W per device where no meter read it"),
        ("Objectives", ", ".join(objective.label for objective in question.objectives)),
        ("Limits", _limits(question) or "none"),
    ]


def _workload(records: Iterable[TrialRecord]) -> list[list[str]]:
    """Each workload of the records; a sweep has one."""
    summaries = dict.fromkeys(record.workload for record in records)
    return [
        [
            one.name,
            f"{one.prompts} prompts, {one.mean_prompt_tokens:.3g} tokens in the mean ({one.token_basis})",
            f"{one.output_tokens} output tokens",
            f"seed {one.seed}, digest {one.digest}",
        ]
        for one in summaries
    ]


def _regret(document: Mapping[str, Any]) -> str:
    """Empty where it is not known."""
    regret = document.get("regret")
    return f"{regret:.3g}" if isinstance(regret, int | float) and not isinstance(regret, bool) else ""


def _refusals(refused: Sequence[TrialRecord]) -> list[list[str]]:
    """Configuration, kind and reason of what gave no measurement."""
    listed = [(record.configuration, record.refusal) for record in refused if record.refusal is not None]
    rows = [[str(configuration), refusal.kind, refusal.reason] for configuration, refusal in listed[:MOST_ROWS]]
    left_out = Counter(refusal.kind for _, refusal in listed[MOST_ROWS:])
    return [*rows, *([f"and {count} more", kind, "see records.jsonl"] for kind, count in left_out.items())]


def _provenance(records: Sequence[TrialRecord]) -> list[tuple[str, str]]:
    stamps = sorted(record.provenance.utc for record in records)
    devices = [r.measurement.device for r in records if r.measurement is not None and r.measurement.device is not None]
    identities = [record.identity for record in records]
    rows = {
        "Recorded (UTC)": [stamps[0] if stamps[0] == stamps[-1] else f"{stamps[0]} to {stamps[-1]}"] if stamps else [],
        "Hosts": [record.provenance.host for record in records],
        "Python": [record.provenance.python for record in records],
        "Packages": [version for record in records for version in record.provenance.versions],
        "Devices": [_device(d.name, d.uuid, d.driver, d.power_cap_w) for d in devices]
        or ["none: nothing was measured"],
        "Bench": [f"{one.bench}, {one.basis}, engine version {one.engine_version}" for one in identities],
        "Weights": [one.weights for one in identities],
        "Calibration": [one.calibration for one in identities],
        "Power protocol": [one.power_protocol for one in identities],
    }
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in rows.items()]


def _device(name: str, uuid: str | None, driver: str | None, power_cap_w: float | None) -> str:
    known = {"": uuid, "driver ": driver, "cap ": None if power_cap_w is None else f"{power_cap_w:g} W"}
    return ", ".join([name, *(f"{word}{value}" for word, value in known.items() if value is not None)])


def _remarks(found: Answer) -> list[str]:
    """What benches noted and which validity gates failed, each once."""
    remarks: dict[str, None] = {}
    for candidate in (*found.feasible, *found.infeasible):
        remarks.update(dict.fromkeys(candidate.measurement.notes))
        for energy in candidate.measurement.energies:
            gates = () if energy is None else energy.gates
            remarks.update(dict.fromkeys(f"validity gate failed: {gate}" for gate in gates))
    return list(remarks)[:MOST_ROWS]


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.report")


if __name__ == "__main__":
    main()
