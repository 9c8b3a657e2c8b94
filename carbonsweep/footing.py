"""What an answer rests on, as rows a reader sees: scenario, devices, workload, refusals, provenance, remarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from carbonsweep.answer import Answer, embodied_sources
from carbonsweep.bench.basis import basis_words
from carbonsweep.carbon.embodied import embodied_range
from carbonsweep.carbon.load import load_words
from carbonsweep.carbon.write_off import second_life_words
from carbonsweep.domain import Device, TrialRecord
from carbonsweep.search.objectives import LIMIT_NAMES, UNITS, Question
from carbonsweep.units import S_PER_YEAR

MOST_ROWS: Final = 200
"""Rows of the long tables; records.jsonl has all."""


def limits(question: Question) -> str:
    """The latency limits in words; empty where there are none."""
    return ", ".join(f"{LIMIT_NAMES[name]} at most {limit:g} s" for name, limit in question.slo.limits().items())


def scenario(question: Question) -> list[tuple[str, str]]:
    """What was asked, and what prices it."""
    priced_by, grid = question.scenario, question.scenario.intensity
    region = [("Region", "none given, so grams are unknown")]
    if grid is not None:
        named = f"{grid.region}, {grid.g_per_kwh:g} g CO2e/kWh ({grid.basis})"
        region = [("Region", named), ("Source of the intensity", grid.source)]
    assumed = priced_by.assumed_power_w
    return [
        *region,
        ("Lifetime", f"{priced_by.lifetime_s / S_PER_YEAR:g} years"),
        ("PUE", f"{priced_by.pue:g}"),
        ("Load", load_words(priced_by)),
        ("Host", f"{priced_by.host_power_w:g} W and {priced_by.host_embodied_kg:g} kg CO2e per device"),
        ("Embodied preset", priced_by.embodied),
        ("Second life", second_life_words(priced_by)),
        ("Functional unit", UNITS[priced_by.functional_unit]),
        ("Assumed power", "none" if assumed is None else f"{assumed:g} W per device where no meter read it"),
        ("Objectives", ", ".join(objective.label for objective in question.objectives)),
        ("Limits", limits(question) or "none"),
    ]


def devices(found: Answer) -> list[list[str]]:
    """What one device of each kind embodies, under the preset used, over all presets, and by which source."""
    rows = []
    for kind, one in embodied_sources(found).items():
        low_kg, high_kg = embodied_range(kind)
        estimated = " (estimate)" if one.estimated else ""
        rows.append([kind, f"{one.kg:.3g} kg{estimated}", f"{low_kg:.3g} to {high_kg:.3g} kg", one.source])
    return rows


def workload(records: Iterable[TrialRecord]) -> list[list[str]]:
    """Each workload of the records; a sweep has one."""
    return [
        [
            one.name,
            f"{one.prompts} prompts, {one.mean_prompt_tokens:.3g} tokens in the mean ({one.token_basis})",
            f"{one.output_tokens} output tokens",
            f"seed {one.seed}, digest {one.digest}",
        ]
        for one in dict.fromkeys(record.workload for record in records)
    ]


def refusals(refused: Sequence[TrialRecord]) -> list[list[str]]:
    """Configuration, kind and reason of what gave no measurement."""
    listed = [(record.configuration, record.refusal) for record in refused if record.refusal is not None]
    rows = [[str(configuration), refusal.kind, refusal.reason] for configuration, refusal in listed[:MOST_ROWS]]
    left_out = Counter(refusal.kind for _, refusal in listed[MOST_ROWS:])
    return [*rows, *([f"and {count} more", kind, "see records.jsonl"] for kind, count in left_out.items())]


def provenance(records: Sequence[TrialRecord]) -> list[tuple[str, str]]:
    """When, where, on what and with which versions the records came to be."""
    stamps = sorted(record.provenance.utc for record in records)
    measured_on = [r.measurement.device for r in records if r.measurement is not None]
    identities = [record.identity for record in records]
    benches = [(r.identity, basis_words(r.identity.basis, [r.configuration.gpu])) for r in records]
    rows = {
        "Recorded (UTC)": [stamps[0] if stamps[0] == stamps[-1] else f"{stamps[0]} to {stamps[-1]}"] if stamps else [],
        "Hosts": [record.provenance.host for record in records],
        "Python": [record.provenance.python for record in records],
        "Packages": [version for record in records for version in record.provenance.versions],
        "Devices": [_device(device) for device in measured_on if device is not None] or ["none: nothing was measured"],
        "Bench": [f"{one.bench}, {basis}, engine version {one.engine_version}" for one, basis in benches],
        "Weights": [one.weights for one in identities],
        "Calibration": [one.calibration for one in identities],
        "Power protocol": [one.power_protocol for one in identities],
    }
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in rows.items()]


def _device(device: Device) -> str:
    cap = None if device.power_cap_w is None else f"{device.power_cap_w:g} W"
    known = {"": device.uuid, "driver ": device.driver, "cap ": cap}
    return ", ".join([device.name, *(f"{word}{value}" for word, value in known.items() if value is not None)])


def remarks(found: Answer) -> list[str]:
    """What benches noted and which validity checks failed, each once."""
    said: dict[str, None] = dict.fromkeys(f"left out: {record.configuration}: {why}" for record, why in found.unpriced)
    for candidate in (*found.feasible, *found.infeasible):
        said.update(dict.fromkeys(candidate.measurement.notes))
        said.update(dict.fromkeys(f"check failed: {check}" for check in candidate.measurement.failed_checks))
    return list(said)[:MOST_ROWS]
