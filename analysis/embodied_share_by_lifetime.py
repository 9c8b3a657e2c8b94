"""Embodied share of total carbon by GPU lifetime, region and model: Figure 7 of the HotCarbon'24 paper.

python analysis/embodied_share_by_lifetime.py results/STUDY --gpu T4 --out experiments/results/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import drawing, options

if TYPE_CHECKING:
    from carbonsweep.domain import Scenario, TrialRecord
    from carbonsweep.figures.share_lines import Share

NAME: Final = "embodied_share_by_lifetime"
NOTE: Final = (
    "As in the paper's Figure 7: share of embodied in total carbon, per token as per batch (it is the same). Vertical "
    "bars: 95 % interval of the energy; the line's point is the record's own value."
)


@click.command(epilog=f"Example: python analysis/{NAME}.py results/STUDY --gpu T4 --out experiments/results/figures")
@drawing.picture_options
@drawing.regions_option
@click.option("--gpu", metavar="KIND", help="GPU kind that is kept longer. [default: the oldest there is]")
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Prompts per batch.")
@click.option("--lifetimes", type=options.Counts(), default="4,5,6,7,8", show_default=True, help="Years.")
@click.option("--embodied", metavar="PRESET", help="[default: the first that knows the GPU]")
def command(
    folder: Path,
    engine: str | None,
    dtype: str | None,
    regions: tuple[str, ...],
    gpu: str | None,
    batch_size: int,
    lifetimes: tuple[int, ...],
    embodied: str | None,
    out: Path,
) -> None:
    """Draw which share of a GPU's carbon is embodied, over its lifetime, in several regions, for each model of DIR."""
    from carbonsweep.figures.cells import by_size, table_csv
    from carbonsweep.figures.files import save
    from carbonsweep.figures.foundation import bases, foundation, pricing, stand_ins
    from carbonsweep.figures.share_lines import share_lines_figure

    drawing.require_folder(out)
    records = _records_of(drawing.records_for_cells(folder, engine, dtype), gpu, batch_size)
    scenarios = {
        (region, years): drawing.scenario_in(region, records, embodied=embodied, lifetime_years=years)
        for region in regions
        for years in sorted(lifetimes)
    }
    found = shares(records, scenarios)
    figure = share_lines_figure(
        found,
        by_size(record.configuration.model for record in records),
        title=f"Embodied share of the carbon of {records[0].configuration.gpu} by lifetime, batch size {batch_size}, "
        f"{bases(records)}",
        note=f"{NOTE} {stand_ins(records)}",
        foot=f"{foundation(records)} {pricing([scenarios[region, min(lifetimes)] for region in regions], lifetimes)}",
    )
    save(out, NAME, figure, table_csv([_row(share) for share in found]))


def shares(records: Sequence[TrialRecord], scenarios: dict[tuple[str, int], Scenario]) -> list[Share]:
    """One for each record, region and lifetime; a record without a measurement says why instead."""
    from carbonsweep.answer import priced_or_reason
    from carbonsweep.domain import Footprint
    from carbonsweep.figures.cells import OUTCOMES, UNKNOWN
    from carbonsweep.figures.estimates import embodied_share
    from carbonsweep.figures.share_lines import Share

    found = []
    for record in records:
        for (_, years), scenario in scenarios.items():
            assert scenario.intensity is not None, "a region was named"
            at: dict[str, Any] = {"record": record, "region": scenario.intensity.region, "years": years}
            if record.measurement is None:
                kind = "" if record.refusal is None else record.refusal.kind
                found.append(Share(**at, estimate=None, absent=OUTCOMES.get(kind, "failed")))
                continue
            priced = priced_or_reason(record.measurement, scenario)
            known = isinstance(priced, Footprint)
            estimate = embodied_share(priced) if isinstance(priced, Footprint) else None
            found.append(Share(**at, estimate=estimate, absent="" if known else UNKNOWN))
    return found


def _records_of(records: Sequence[TrialRecord], gpu: str | None, batch_size: int) -> list[TrialRecord]:
    """One for each model, on that GPU kind and batch size. Raises UnknownFact, or BadInput where there is none."""
    from carbonsweep import facts
    from carbonsweep.errors import BadInput

    known = {r.configuration.gpu for r in records} & set(facts.gpus())
    if gpu is None and not known:
        raise BadInput("there is no record of a GPU: a processor has no lifetime of its own here; name one with --gpu")
    kind = min(known, key=lambda each: (facts.gpu(each).year, each)) if gpu is None else facts.device_key(gpu)
    kept = [r for r in records if (r.configuration.gpu, r.configuration.batch_size) == (kind, batch_size)]
    if not kept:
        there = sorted({(r.configuration.gpu, r.configuration.batch_size) for r in records})
        names = ", ".join(f"{name} b{batch}" for name, batch in there)
        raise BadInput(f"there is no record of {kind} with batch size {batch_size}: there is {names}")
    return kept


def _row(share: Share) -> dict[str, Any]:
    where, estimate = share.record.configuration, share.estimate
    return {
        "model": where.model,
        "gpu": where.gpu,
        "batch_size": where.batch_size,
        "region": share.region,
        "lifetime_years": share.years,
        "embodied_share": None if estimate is None else estimate.value,
        "low": None if estimate is None else estimate.low,
        "high": None if estimate is None else estimate.high,
        "outcome": share.absent or share.record.identity.basis,
        "engine": where.engine,
        "calibration": share.record.identity.calibration,
        "record": share.record.key,
    }


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
