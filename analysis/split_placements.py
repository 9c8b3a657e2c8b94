"""Prefill and decode on different GPUs: the best split beside the best colocated configuration, by region and link.

python analysis/split_placements.py --out experiments/results

Modelled: the paper's stack and GPUs, and a healthy stack on every GPU kind of the table with longer prompts, without
and with latency limits. Also which GPU and batch size each phase prefers by itself (the paper's Takeaway 2). Writes a
Markdown file, its numbers as CSV, and a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import drawing, options
from carbonsweep.shares import percent, signed_percent

if TYPE_CHECKING:
    from carbonsweep.answer import Candidate
    from carbonsweep.domain import Workload
    from carbonsweep.figures.placement_dots import Saving
    from carbonsweep.placement.answers import Placement, SplitCandidate
    from carbonsweep.placement.preferences import Preference
    from carbonsweep.search.space import Space

NAME: Final = "split_placements"
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
REGIONS: Final = "QC,FR,CISO,DE,PACE,PL"
LINKS: Final = "10GbE,100GbE,PCIe4"
LONG_PROMPT: Final = 2000
LONG_ANSWER: Final = 200
MODERN_MODELS: Final = ("Qwen2.5-1.5B", "Llama-3.1-8B", "Llama-2-13B")
HEAD: Final = """\
# Split placements

Prefill on one GPU kind, decode on another, the KV cache handed over a link: the best of every ordered pair of GPU and
batch size, with pools of 1 to 4 replicas of each, beside the best configuration that runs both phases on the same GPU.
Grams of CO2e per 1,000 output tokens, GPU alone, lifetime 5 years, embodied preset as named. **Everything here is
modelled**, by the device model (`roofline`); the hand-over is computed from `carbonsweep/facts/links.toml`, most of
whose efficiencies and energies are estimates and say so.

*Saves* is the share of the best colocated one's grams; negative: the best split costs more. *Error* is the 95 % error
of that difference over the phases that differ (a model's error on one GPU kind is shared by its batch sizes, those of
two kinds are independent): a saving below it is not told from none. It holds no error of the idle power, of the link or
of the making. Both pools are charged for the time they wait, at idle power and with their making; *bound* is the best
split if GPUs that wait did other work, which nobody is charged for.

A split differs from a colocated configuration in its GPUs and in that its phases may have batches of two sizes.
*In turn* is what the second saves by itself: the best GPU that takes both phases in turn, with no link and no second
kind, as a server does that prefills in smaller batches than it decodes (no engine here is modelled so). Where a split
saves little more than that, it is the batch sizes that save, not the split; where it saves less, it is worse than that.
"""
TAKEAWAY: Final = """\
## Takeaway 2: what each phase prefers

The paper's stack, each phase by itself: the batch size at which a GPU is best, with the value there; **bold** where
that GPU beats the other. Per real prompt token of prefill, per output token of decode. The paper states, for its 1B
model: prefill throughput peaks at batch 8 on the T4 and 32 on the RTX 6000 Ada, least J/token at 8 and 16; decode at
batch 1 takes 27.1 % fewer joules on the T4 at 9.5 % less throughput, and is better on the Ada at larger batches. Engine
`paper` was fitted to those sentences, so agreement here is no prediction.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One table: a stack, its GPUs and models, a workload and limits (seconds)."""

    name: str
    engine: str
    gpus: tuple[str, ...]
    models: tuple[str, ...]
    workload: Workload
    slo_ttft: float | None = None
    slo_tpot: float | None = None

    @property
    def space(self) -> Space:
        from carbonsweep.search.space import space

        return space(
            models=self.models,
            gpus=self.gpus,
            gpu_counts=(1,),
            batch_sizes=BATCHES,
            dtypes=("fp16",),
            engines=(self.engine,),
        )


@click.command(epilog=f"Example: python analysis/{NAME}.py --out experiments/results")
@click.option("--regions", type=options.Words(), default=REGIONS, show_default=True, help="Grids.")
@click.option("--link", "links", type=options.Words(), default=LINKS, show_default=True, help="Links.")
@drawing.out_option
def command(regions: tuple[str, ...], links: tuple[str, ...], out: Path) -> None:
    """Find the best split of each question, region and model, and what each phase prefers; write tables and picture."""
    from carbonsweep.figures.files import save
    from carbonsweep.records import write_atomically
    from carbonsweep.tables import csv_text

    drawing.require_folder(out)
    rows, savings, tables = [], [], []
    for question in questions():
        placed = {region: placement(question, region, links) for region in regions}
        found = [row for region, one in placed.items() for row in numbers(question, region, one)]
        rows += found
        savings += list(_savings(found))
        tables.append(section(question, placed, links))
    write_atomically(out / f"{NAME}.md", "\n".join([HEAD, *tables, takeaway(regions)]))
    print(f"Written: {out / NAME}.md")
    save(out, NAME, _picture(savings), csv_text(rows))


def questions() -> tuple[Question, ...]:
    """The paper's stack, and a healthy one on every GPU kind: long prompts, without and with limits."""
    from carbonsweep import facts, inputs
    from carbonsweep.claims.cells import GPUS, paper_workload
    from carbonsweep.domain import Workload

    prompts = Workload(
        name=f"prompts of {LONG_PROMPT} tokens",
        prompts=None,
        prompt_tokens=(LONG_PROMPT,),
        token_basis="given",
        output_tokens=LONG_ANSWER,
    )
    modern: dict[str, Any] = {"engine": "healthy", "gpus": tuple(facts.gpus()), "models": MODERN_MODELS}
    return (
        Question(
            name="the paper's stack",
            engine="paper",
            gpus=tuple(GPUS),
            models=inputs.DEFAULT_MODELS,
            workload=paper_workload(),
        ),
        Question(name="healthy stack, long prompts", workload=prompts, **modern),
        Question(name="the same, TTFT 1 s, TPOT 50 ms", workload=prompts, slo_ttft=1.0, slo_tpot=0.05, **modern),
    )


def placement(question: Question, region: str, links: Sequence[str]) -> Placement:
    """The best of everything in one region, by carbon."""
    from carbonsweep import exact, facts, inputs
    from carbonsweep.placement.answers import Sought, of_plan
    from carbonsweep.placement_option import MOST_PER_POOL

    of = question.space
    asked = inputs.question(
        objective=("carbon",),
        slo_ttft=question.slo_ttft,
        slo_tpot=question.slo_tpot,
        slo_latency=None,
        scenario=inputs.scenario({"region": region}, of.gpus),
    )
    sought = Sought(choice="any", links=tuple(map(facts.link, links)), most_per_pool=MOST_PER_POOL)
    return of_plan(exact.plan(of, question.workload, asked), question.workload, asked, sought)


def of_one(placed: Placement, model: str, link: str) -> Placement:
    """The placement of one model over one link alone."""
    return dataclasses.replace(
        placed,
        colocated=placed.colocated_per_model.get(model),
        split=placed.splits.get((model, link)),
        bound=placed.bounds.get(model),
    )


def numbers(question: Question, region: str, placed: Placement) -> Iterator[dict[str, Any]]:
    """One row for each model and link."""
    from carbonsweep.placement.answers import saving
    from carbonsweep.placement.why import difference_error, why

    for model in question.models:
        for link in placed.sought.links:
            one = of_one(placed, model, link.key)
            reasons = why(one)
            yield {
                "question": question.name,
                "region": region,
                "g_per_kwh": placed.question.scenario.intensity and placed.question.scenario.intensity.g_per_kwh,
                "embodied_preset": placed.question.scenario.embodied,
                "model": model,
                "link": link.key,
                **_cells("colocated", one.colocated),
                **_split_cells(one.split),
                "saves": one.saves,
                "error": difference_error(one),
                "bound_saves": saving(one.colocated, one.bound, placed.question),
                "in_turn_saves": saving(one.colocated, one.in_turn.get(model), placed.question),
                "why": None if reasons is None else reasons.sentence,
                "basis": "modelled",
            }


def _cells(name: str, best: Candidate | None) -> dict[str, Any]:
    served = None if best is None else best.record.configuration
    return {
        f"{name}_gpu": served and served.gpu,
        f"{name}_batch": served and served.batch_size,
        f"{name}_g": None if best is None else best.values[0],
    }


def _split_cells(split: SplitCandidate | None) -> dict[str, Any]:
    pools = None if split is None else split.pools
    return {
        "prefill_gpu": split and split.prefill.gpu,
        "prefill_batch": split and split.prefill.batch_size,
        "prefill_replicas": pools and pools.prefill,
        "decode_gpu": split and split.decode.gpu,
        "decode_batch": split and split.decode.batch_size,
        "decode_replicas": pools and pools.decode,
        "split_g": split and split.values[0],
        "ttft_s": split and split.measurement.ttft_s,
        "tpot_s": split and split.measurement.tpot_s,
        "kv_bytes_per_prefill_batch": split and split.handover.kv_bytes,
        "transfer_s": split and split.handover.transfer_s,
        "wait_s": split and split.handover.wait_s,
    }


def _savings(rows: Iterable[dict[str, Any]]) -> Iterator[Saving]:
    from carbonsweep.figures.placement_dots import Saving

    for row in rows:
        names = ("question", "model", "region", "link", "saves", "error")
        yield Saving(**{name: row[name] for name in names})


def section(question: Question, placed: dict[str, Placement], links: Sequence[str]) -> str:
    """One table: a row for each region and model, a column of savings for each link."""
    from carbonsweep.tables import markdown_table

    headings = ["region", "g/kWh", "model", "best colocated", "best split", *(f"saves over {link}" for link in links)]
    lines = [_row(question, region, one, model) for region, one in placed.items() for model in question.models]
    first = next(iter(placed.values()))
    error = next(
        (s.measurement.error_source for s in (first.split, first.closest) if s is not None),
        "none: no split is feasible",
    )
    limits = "no limits" if question.slo_ttft is None else f"TTFT {question.slo_ttft:g} s, TPOT {question.slo_tpot:g} s"
    served = question.workload
    return (
        f"## {question.name[0].upper()}{question.name[1:]}\n\n"
        f"Engine `{question.engine}`, fp16, {', '.join(question.gpus)}; {served.name}, mean "
        f"{served.mean_prompt_tokens:.4g} tokens, {served.output_tokens} output tokens; {limits}; embodied preset "
        f"`{first.question.scenario.embodied}`. {first.combinations:,} combinations a region.\n\n"
        f"{markdown_table([*headings, 'error', 'bound', 'in turn', 'why'], lines)}\n\nHow far off: {error}.\n"
    )


def _row(question: Question, region: str, placed: Placement, model: str) -> list[str]:
    from carbonsweep.amounts import grams
    from carbonsweep.placement.answers import saving
    from carbonsweep.placement.why import difference_error, why

    best = placed.per_model.get(model)
    ones = [of_one(placed, model, link.key) for link in placed.sought.links]
    shown = dataclasses.replace(ones[0], split=best)
    colocated, reasons, error = shown.colocated, why(shown), difference_error(shown)
    intensity = placed.question.scenario.intensity
    return [
        region,
        "" if intensity is None else f"{intensity.g_per_kwh:g}",
        model,
        "none"
        if colocated is None
        else f"{colocated.record.configuration.gpu} b{colocated.record.configuration.batch_size}, "
        f"{grams(colocated.values[0])}",
        "none" if best is None else f"{_sides(best)}, {grams(best.values[0])}",
        *(_percent(one.saves) for one in ones),
        "" if error is None else percent(error, 1),
        _percent(saving(colocated, shown.bound, placed.question)),
        _percent(saving(colocated, placed.in_turn.get(model), placed.question)),
        "" if reasons is None else reasons.sentence,
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else signed_percent(share)


def _sides(split: SplitCandidate) -> str:
    p, d = (1, 1) if split.pools is None else (split.pools.prefill, split.pools.decode)
    sides = (p, split.prefill), (d, split.decode)
    return " → ".join(f"{replicas}x {served.gpu} b{served.batch_size}" for replicas, served in sides)


def takeaway(regions: Sequence[str]) -> str:
    """Which batch size of each GPU, and which GPU, each phase prefers by throughput, joules and grams."""
    from carbonsweep import inputs
    from carbonsweep.bench.roofline import RooflineBench
    from carbonsweep.placement.preferences import preferences
    from carbonsweep.tables import markdown_table
    from carbonsweep.trial import trial

    question = questions()[0]
    records = [trial(RooflineBench(), served, question.workload) for served in question.space.configurations()]
    scenarios = {region: inputs.scenario({"region": region}, question.gpus) for region in regions}
    lines: dict[tuple[str, str, str], list[str]] = {}
    columns = []
    for each in preferences(records, scenarios):
        columns.append(each.by)
        lines.setdefault((each.model, each.phase, each.gpu), []).append(_preferred(each))
    rows = [[*key, *cells] for key, cells in lines.items()]
    headings = ["model", "phase", "GPU", *(f"best by {by}" for by in dict.fromkeys(columns))]
    return f"{TAKEAWAY}\n{markdown_table(headings, rows)}\n"


def _preferred(one: Preference) -> str:
    from carbonsweep.amounts import grams, joules

    amount = {"tokens/s": f"{one.value:.4g}/s", "J/token": joules(one.value)}.get(one.by) or grams(one.value)
    cell = f"b{one.configuration.batch_size}: {amount}"
    return f"**{cell}**" if one.wins else cell


def _picture(savings: Sequence[Saving]) -> Any:
    from carbonsweep.figures.placement_dots import placement_dots_figure

    return placement_dots_figure(
        savings,
        title="What the best split of prefill and decode saves against the best colocated configuration, modelled",
        note="Carbon per 1,000 output tokens. Right of zero the split is better. Every ordered pair of GPU and batch "
        "size, pools of up to 4 replicas, which are charged for waiting.",
        foot="Modelled, not measured: device model (roofline), engines paper and healthy; the hand-over from the facts "
        "of the links, mostly estimates. A saving below the error of its table row is not told from none: see "
        f"{NAME}.md and .csv.",
    )


if __name__ == "__main__":
    options.run(command, name=f"python analysis/{NAME}.py")
