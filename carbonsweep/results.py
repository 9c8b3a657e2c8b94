"""An answer in its folder: written whole beside the records it rests on, and read back to be priced again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from carbonsweep.answer import Answer, Candidate
from carbonsweep.document import SCHEMA
from carbonsweep.domain import CarbonIntensity, Configuration, Scenario, Slo, TrialRecord
from carbonsweep.errors import BadInput
from carbonsweep.records import RECORDS, Damaged, latest, read, remove, write_atomically
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.tables import csv_text

ANSWER: Final = "answer.json"
FRONT: Final = "pareto.csv"
PICTURE: Final = "pareto.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A finished sweep: the question it answered, the records it rests on, and lines that could not be read."""

    question: Question
    records: tuple[TrialRecord, ...]
    damaged: tuple[Damaged, ...]
    document: Mapping[str, Any]


def write(folder: Path, answer: Answer, document: Mapping[str, Any]) -> None:
    """Write answer.json, pareto.csv and pareto.png, each whole or not at all. Raises StorageFailed.

    Without a feasible configuration there is no front: its two files are removed rather than left from before.
    """
    from carbonsweep.figures import pareto_png

    write_atomically(folder / ANSWER, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if answer.front:
        write_atomically(folder / FRONT, front_csv(answer))
        write_atomically(folder / PICTURE, pareto_png(answer))
    else:
        remove(folder / FRONT)
        remove(folder / PICTURE)


def written(answer: Answer) -> list[str]:
    """Names of the files `write` leaves, the records they rest on first."""
    return [RECORDS, ANSWER, *([FRONT, PICTURE] if answer.front else [])]


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as JSON holds it: values of the domain become objects."""
    return {key: msgspec.to_builtins(value) for key, value in document.items()}


def front_csv(answer: Answer) -> str:
    """One line per configuration of the front; grams per functional unit, empty where unknown."""
    rows = [_front_row(candidate, answer) for candidate in answer.front]
    return csv_text(rows)


def load(folder: Path) -> Saved:
    """Read a sweep back. Raises BadInput where there is no answer in the folder or its records are gone."""
    path = folder / ANSWER
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BadInput(f"{folder} holds no {ANSWER}: name the --out folder of a sweep that has ended") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    records, damaged = read(folder)
    try:
        if document["schema"] != SCHEMA:
            raise BadInput(f"{path} is an answer of another schema; this version reads schema {SCHEMA}")
        wanted = set(document["records"])
        question = _question(document)
    except (KeyError, TypeError, AttributeError, ValueError, msgspec.ValidationError) as error:
        raise BadInput(f"{path} is not an answer this version can read: {error!r}") from error
    kept = tuple(record for key, record in latest(records).items() if key in wanted)
    for record in kept:
        if not str(record.configuration).isprintable():  # a terminal would obey it
            raise BadInput(f"{folder}: a record names what is not printable: {str(record.configuration)!r}")
    missing = len(wanted) - len(kept)
    if missing:
        raise BadInput(f"{folder}: {missing} of the {len(wanted)} records the answer rests on are not in records.jsonl")
    return Saved(question=question, records=kept, damaged=tuple(damaged), document=document)


def _question(document: Mapping[str, Any]) -> Question:
    intensity = document["carbon_intensity"]
    scenario = msgspec.convert(
        {
            **document["scenario"],
            "functional_unit": document["functional_unit"],
            "intensity": None if intensity is None else msgspec.convert(intensity, CarbonIntensity),
        },
        Scenario,
    )
    slo = msgspec.convert(document["slo"], Slo)
    return Question(objectives=objectives(tuple(document["objective"])), slo=slo, scenario=scenario)


def _front_row(candidate: Candidate, answer: Answer) -> dict[str, Any]:
    measurement, footprint = candidate.measurement, candidate.footprint
    configuration = candidate.record.configuration
    asked = zip(answer.question.objectives, candidate.values, strict=True)
    return {
        **{field.name: getattr(configuration, field.name) for field in dataclasses.fields(Configuration)},
        **{objective.name: value for objective, value in asked},
        "functional_unit": answer.question.scenario.functional_unit,
        "total_g": None if footprint is None else footprint.total_g,
        "operational_g": None if footprint is None else footprint.operational_g,
        "embodied_g": None if footprint is None else footprint.embodied_g,
        "ttft_s": measurement.ttft_s,
        "tpot_s": measurement.tpot_s,
        "prompt_latency_s": measurement.prompt_latency_s,
        "output_tokens_per_s": measurement.throughput,
        "basis": measurement.basis,
        "bench": measurement.bench,
        "record": candidate.record.key,
    }
