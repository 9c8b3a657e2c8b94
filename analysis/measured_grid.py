"""What was measured, as one table: seconds and joules per token with their errors, and how far the meters agree.

python analysis/measured_grid.py experiments/results/GPU --out experiments/results/GPU/table.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from carbonsweep import options
from carbonsweep.shares import percent, signed_percent

if TYPE_CHECKING:
    from carbonsweep.domain import Energy, Measurement, PhaseMeasurement, TrialRecord
    from carbonsweep.evidence import EnergyWindow

HEADINGS = (
    "model",
    "device",
    "dtype",
    "batch",
    "TTFT",
    "TPOT",
    "J/prompt token",
    "J/output token",
    "power vs counter, prefill",
    "decode",
    "closure, J",
    "idle, W",
    "repeats",
    "failed checks",
)


@click.command(epilog="Example: python analysis/measured_grid.py results/h100 --out table.md")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A .md file.")
def command(folder: Path, out: Path) -> None:
    """Write the measured records of DIR as a Markdown table, with what measuring them took."""
    from carbonsweep.errors import BadInput
    from carbonsweep.records import latest, read, write_atomically

    if out.suffix.casefold() != ".md" or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a .md file in a folder that exists")
    records = sorted(latest(read(folder)[0]).values(), key=lambda record: record.configuration)
    measured = [
        record for record in records if record.measurement is not None and record.measurement.basis == "measured"
    ]
    if not measured:
        raise BadInput(f"{folder} holds no measured record: carbonsweep measure --out {folder} makes some")
    write_atomically(out, "\n".join(page(records, measured)) + "\n")
    print(f"Written: {out}, {len(measured)} measured configurations")


def page(records: Sequence[TrialRecord], measured: Sequence[TrialRecord]) -> Iterator[str]:
    """The lines of the file: where from, the table, refusals, and what the windows cost."""
    devices = {r.measurement.device for r in measured if r.measurement is not None and r.measurement.device is not None}
    yield "# Measured: " + "; ".join(sorted(f"{each.name}, driver {each.driver or 'unknown'}" for each in devices))
    yield ""
    yield "Intervals are of 95 %: repeats and, for joules, the meter's own bound. The closure is prefill + decode"
    yield "against one whole run. Every window and check is in records.jsonl beside this file."
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|" + "---|" * len(HEADINGS)
    for record in measured:
        if record.measurement is not None:
            yield f"| {' | '.join(_cells(record, record.measurement))} |"
    refused = [record for record in records if record.refusal is not None]
    if refused:
        yield ""
        yield from (f"- {record.configuration}: {record.refusal.reason}" for record in refused if record.refusal)
    yield ""
    yield _cost([record.measurement for record in measured if record.measurement is not None])


def _cells(record: TrialRecord, measurement: Measurement) -> Iterator[str]:
    where, evidence = record.configuration, measurement.evidence
    steps = measurement.output_tokens - 1
    yield from (where.model, where.gpu, where.dtype, str(where.batch_size))
    yield _seconds(measurement.prefill, 1)
    yield _seconds(measurement.decode, steps)
    yield _joules(measurement.prefill)
    yield _joules(measurement.decode)
    yield _agreement(measurement.prefill.energy)
    yield _agreement(measurement.decode.energy)
    closure = None if evidence is None or evidence.closure is None else evidence.closure.energy_difference
    yield "unknown" if closure is None else signed_percent(closure)
    yield "unknown" if measurement.idle_w is None else f"{measurement.idle_w:.1f}"
    yield str(measurement.decode.repeats)
    yield ", ".join(sorted({check.partition(":")[0] for check in measurement.failed_checks})) or "none"


def _seconds(phase: PhaseMeasurement, steps: int) -> str:
    half = (phase.duration_high_s - phase.duration_low_s) / 2 / phase.duration_s
    return f"{phase.duration_s / steps * 1e3:.4g} ms ± {percent(half, 1)}"


def _joules(phase: PhaseMeasurement) -> str:
    if phase.energy is None or phase.energy_per_token_j is None:
        return "unknown"
    half = (phase.energy.high_j - phase.energy.low_j) / 2 / phase.energy.joules
    return f"{phase.energy_per_token_j:.4g} ± {percent(half, 1)}"


def _agreement(energy: Energy | None) -> str:
    """The second meter's joules relative to the figure's."""
    if energy is None or len(energy.estimates) < 2:
        return "unknown"
    first, second = energy.estimates[:2]
    return signed_percent(second.joules / first.joules - 1)


def _is_of(window: EnergyWindow, measurement: Measurement) -> bool:
    """Whether it is the measured device's, not the host's."""
    uuid = None if measurement.device is None else measurement.device.uuid
    return uuid in (None, window.device)


def _cost(measurements: Sequence[Measurement]) -> str:
    # Idle windows are shared by the batch sizes of a model, and a host's are beside the device's.
    windows = {
        w for each in measurements if each.evidence is not None for w in each.evidence.windows if _is_of(w, each)
    }
    if not windows:
        return "No meter watched: joules are unknown."
    seconds = sum(window.duration_s for window in windows)
    known = [window.readings[0].joules for window in windows if window.flaw is None]
    joules = f"{sum(known) / 1e3:.3g} kJ" if len(known) == len(windows) else "an unknown number of joules"
    return (
        f"All windows together (without loading and warm-up): {len(windows)}, {seconds:.0f} device seconds, {joules}."
    )


if __name__ == "__main__":
    options.run(command, name="python analysis/measured_grid.py")
