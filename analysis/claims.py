"""The paper's claims, judged: a table on the screen, and the whole account in experiments/results/claims.md.

python -m analysis.claims                          the device model's engine "paper", fitted to these claims
python -m analysis.claims results/STUDY --out claims_of_my_sweep.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from carbonsweep import options
from carbonsweep.shares import percent, signed_percent

if TYPE_CHECKING:
    from carbonsweep.claims.cells import Cells
    from carbonsweep.claims.judging import Verdict
    from carbonsweep.domain import Basis, TrialRecord

RESULTS: Final = Path(__file__).parents[1] / "experiments" / "results"
EPILOG: Final = (
    "Examples: python -m analysis.claims; python -m analysis.claims results/STUDY --out claims_of_my_sweep.md"
)


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .md file. [default: claims.md in DIR, without DIR experiments/results/claims.md]",
)
def command(folder: Path | None, out: Path | None) -> None:
    """Judge the records of DIR; without it, modelled ones of the paper's 42 configurations."""
    from carbonsweep import drawing
    from carbonsweep.claims.cells import basis_of_records, cells_of_records
    from carbonsweep.claims.judging import judge_cells, judge_takeaways
    from carbonsweep.errors import BadInput
    from carbonsweep.records import write_atomically

    records = modelled_records() if folder is None else drawing.records_of(folder)
    out = out or (folder or RESULTS) / "claims.md"
    if out.suffix.casefold() != ".md" or not out.resolve().parent.is_dir():
        raise BadInput(f"--out {out}: name a .md file in a folder that exists")
    cells, basis = cells_of_records(records), basis_of_records(records)
    verdicts, taken = judge_cells(cells, basis), judge_takeaways(cells, basis)
    write_atomically(out, account(records, cells, verdicts, taken))
    show(verdicts, taken, basis)
    if is_fitted(records):
        print(FITTED.replace("*", ""))
    print(f"Written: {out}")


def modelled_records() -> tuple[TrialRecord, ...]:
    """The 42 configurations by the device model, engine `paper`."""
    from carbonsweep.bench.roofline import RooflineBench
    from carbonsweep.claims.cells import paper_points, paper_workload
    from carbonsweep.trial import trial

    points, workload = paper_points(), paper_workload()
    return tuple(trial(RooflineBench(), points.configuration(i), workload) for i in range(len(points)))


def show(verdicts: Sequence[Verdict], taken: Sequence[Verdict], basis: Basis | None) -> None:
    """The verdicts as tables on stdout."""
    import sys

    from rich.console import Console
    from rich.markup import escape

    from carbonsweep.terminal import PLAIN_WIDTH, plain_table

    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    table = plain_table(f"The paper's claims, {basis or 'measured and modelled'}", *CLAIM_COLUMNS)
    for row in claim_rows(verdicts):
        table.add_row(*map(escape, row))
    console.print(table)
    table = plain_table("Its takeaways", "takeaway", "verdict", "why")
    for each in taken:
        table.add_row(each.id, each.outcome, escape(each.reason))
    console.print(table)
    print(summary(verdicts, taken))


FITTED: Final = (
    "They are the device model's, engine `paper`, whose parameters were fitted to these claims: it shows that one "
    "physical account can hold them all, not that it foretold them. What it foretells is under *Claims left out*, what "
    "it owes to values chosen by hand, idle power above all, under *Fixed by hand*."
)
TOLERANCES: Final = (
    "A ratio is met within 10 %, one between 0.8 and 1.25 within 0.03, a share within 1.5 percentage points; peaks, "
    "orders and inputs exactly. Sentences and values: `carbonsweep/facts/claims.toml`."
)
CLAIM_COLUMNS: Final = ("claim", "what", "paper", "ours", "error", "verdict", "why")


def claim_rows(verdicts: Iterable[Verdict]) -> Iterable[tuple[str, ...]]:
    """One row per value, or one for a claim without values; verdict and reason beside the first."""
    for each in verdicts:
        decided, no_more = (each.outcome, each.reason), ("", "")
        if not each.values:
            yield (each.id, "order", "holds", _held(each), "", *decided)
        for i, value in enumerate(each.values):
            ours = "unknown" if value.ours is None else f"{value.ours:.3g}"
            error = "" if value.relative_error is None else signed_percent(value.relative_error)
            name, why = (each.id, decided) if i == 0 else ("", no_more)
            yield (name, value.label, f"{value.paper:g}", ours, error, *why)


def _held(verdict: Verdict) -> str:
    held = sum(order.met is True for order in verdict.orders)
    return f"{held} of {len(verdict.orders)}"


def summary(verdicts: Sequence[Verdict], taken: Sequence[Verdict]) -> str:
    """How many of the 13 fitted ratios are how near, and what is not met."""
    ratios = [v for each in verdicts if each.kind == "ratio" and each.outcome != "reported only" for v in each.values]
    known = [abs(v.relative_error) for v in ratios if v.relative_error is not None]
    largest = percent(max(known, default=float("nan")), 1)
    not_met = [each.id for each in (*verdicts, *taken) if each.outcome in ("missed", "not judged")]
    return (
        f"Ratios: {sum(error <= 0.1 for error in known)} of {len(ratios)} within 10 %, "
        f"{sum(v.met is True for v in ratios)} within tolerance, largest error {largest}. "
        f"Not met: {', '.join(not_met) or 'none'}."
    )


def is_fitted(records: Iterable[TrialRecord]) -> bool:
    """Whether some come from the engine whose parameters were fitted to these claims."""
    return any(r.identity.basis == "modelled" and r.configuration.engine == "paper" for r in records)


def account(records: Sequence[TrialRecord], cells: Cells, verdicts: Sequence[Verdict], taken: Sequence[Verdict]) -> str:
    """The whole of claims.md; records of the engine that was fitted to the claims say so, and how."""
    from carbonsweep.calibration.paper_account import fit_account
    from carbonsweep.claims.findings import findings
    from carbonsweep.tables import markdown_table

    fitted = is_fitted(records)
    parts = [
        "# The paper, claim by claim",
        _basis_statement(records, fitted),
        summary(verdicts, taken),
        "## Claims",
        markdown_table(CLAIM_COLUMNS, claim_rows(verdicts)),
        TOLERANCES,
        *(f"- {each.id} ({each.section}, {each.kind}): {each.text}" for each in verdicts),
        "## Takeaways",
        markdown_table(("takeaway", "says", "verdict", "why"), [(t.id, t.text, t.outcome, t.reason) for t in taken]),
        "## Findings: where the paper contradicts itself or physics",
        markdown_table(
            ("finding", "what", "the paper's own numbers", "here"),
            [(each.id, each.text, each.arithmetic, each.ours) for each in findings(cells)],
        ),
        *(fit_account(verdicts, RESULTS) if fitted else ()),
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def _basis_statement(records: Sequence[TrialRecord], fitted: bool) -> str:
    from carbonsweep.claims.cells import basis_of_records

    basis = basis_of_records(records) or "of several bases, or of none of the 42 configurations"
    statement = [f"**All values are {basis}.**"]
    if fitted:
        statement.append(FITTED)
    if records:
        workload = records[0].workload
        statement.append(
            f"Workload {workload.name}: {workload.prompts} prompts, mean {workload.mean_prompt_tokens:.1f} tokens, "
            f"template {workload.template}, {workload.output_tokens} output tokens."
        )
    return " ".join(statement)


if __name__ == "__main__":
    options.run(command, name="python -m analysis.claims")
