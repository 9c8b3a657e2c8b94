"""Own records as observations: what the transformers bench measured on a GPU joins the rows of engine transformers."""

from __future__ import annotations

from pathlib import Path

from carbonsweep import facts
from carbonsweep.calibration.observations import Exclusion, Observation, Origin, Rows
from carbonsweep.domain import Measurement, TrialRecord
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.facts.reference import ReferenceModel
from carbonsweep.records import RECORDS, decode

ENGINE = "transformers"


def read_records(folder: Path) -> Rows:
    """Every measured record in `folder`. Raises BadInput: no such file, or a line that is no record."""
    path = folder / RECORDS if folder.is_dir() else folder
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"--records {folder}: {path.name} cannot be read: {error.strerror}") from error
    rows = Rows(observations=(), exclusions=())
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = decode(line)
        except ValueError as error:
            raise BadInput(f"{path} line {number} is no record: {error}") from error
        rows += _row(path.name, number, record)
    return rows


def _row(file: str, number: int, record: TrialRecord) -> Rows:
    measured, where = record.measurement, record.configuration
    origin = Origin(
        source=file,
        line=number,
        gpu=where.gpu,
        engine=where.engine,
        checkpoint=where.model,
        attention="sdpa",
        batch_size=where.batch_size,
        prompt_tokens=max(1, round(measured.prefill.padded_tokens / where.batch_size)) if measured else 1,
        output_tokens=measured.output_tokens if measured else 2,
    )
    if reason := _unfit(record):
        return Rows(observations=(), exclusions=(Exclusion(origin=origin, reason=reason),))
    assert measured is not None
    return Rows(observations=(_observation(origin, measured),), exclusions=())


def _unfit(record: TrialRecord) -> str:
    measured, where = record.measurement, record.configuration
    if measured is None:
        return "no measurement: the trial was refused"
    if measured.basis != "measured":
        return f"{measured.basis}, not measured"
    if where.engine.casefold() != ENGINE or where.gpu_count != 1 or where.dtype != "fp16":
        return "not one GPU under transformers in fp16"
    try:
        facts.gpu(where.gpu)
        facts.language_model(where.model)
    except UnknownFact as error:
        return str(error)
    return ""


def _observation(origin: Origin, measured: Measurement) -> Observation:
    joules = [phase.energy.joules if phase.energy else None for phase in (measured.prefill, measured.decode)]
    known = [each for each in joules if each is not None]
    seconds = measured.prefill.duration_s + measured.decode.duration_s
    return Observation(
        origin=origin,
        model=_shape(origin.checkpoint),
        prefill_s=measured.prefill.duration_s,
        step_s=measured.decode.duration_s / (measured.output_tokens - 1),
        power_w=sum(known) / seconds if len(known) == len(joules) else None,
    )


def _shape(name: str) -> ReferenceModel:
    """A model of our own table as the calibration sees shapes: all of them are Llama-like."""
    row = facts.language_model(name)
    return ReferenceModel(
        key=row.key,
        architecture="llama",
        layers=row.layers,
        hidden=row.hidden,
        heads=row.heads,
        kv_heads=float(row.kv_heads),
        head_dim=row.head_dim,
        mlp=row.mlp,
        gated=True,
        vocabulary=row.vocabulary,
        tied=row.tied,
        context_tokens=row.context_tokens,
        parameters_billions=row.parameters / 1e9,
        checkpoints=(row.hub_id,),
        source="models.toml",
    )
