"""`python -m carbonsweep.tune`: the main job. Trials through Ray Tune and Optuna, records, the answer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from carbonsweep import options
from carbonsweep.errors import BadInput
from carbonsweep.measuring import measuring_bench, measuring_options

if TYPE_CHECKING:
    from carbonsweep.bench import Bench
    from carbonsweep.domain import Configuration, TrialRecord, Workload
    from carbonsweep.records import OutputFolder
    from carbonsweep.search.objectives import Question
    from carbonsweep.search.space import Space
    from carbonsweep.search.study import Search

DEFAULT_TRIALS: Final = 256
"""Spaces up to this size are exhausted unless --trials says otherwise; larger ones are sampled this many times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What is asked of one sweep, and which records of a folder answer it."""

    bench: Bench
    space: Space
    question: Question
    workload: Workload
    name: str

    def known(self, folder: OutputFolder) -> dict[Configuration, TrialRecord]:
        """The reusable record of each configuration; a failure, of trial or meter, is none: it is tried again.

        Those of other batch sizes are among them: one that does not fit tells of the larger ones.
        """
        from carbonsweep.records import is_failure

        return {
            record.configuration: record
            for record in self._matching(folder)
            if not is_failure(record) and self.question.lacks(record) is None
        }

    def records(self, folder: OutputFolder) -> list[TrialRecord]:
        """Every record of this sweep in the folder, failures included, in the order of configurations."""
        mine = (record for record in self._matching(folder) if record.configuration in self.space)
        return sorted(mine, key=lambda record: record.configuration)

    @property
    def loads_weights(self) -> bool:
        """Whether another model costs time: a model of a device has no weights."""
        return self.bench.identity(next(self.space.configurations())).basis == "measured"

    def _matching(self, folder: OutputFolder) -> Iterator[TrialRecord]:
        from carbonsweep.search.reuse import matching_records

        return matching_records(folder.records.values(), self.space, self.bench, self.workload)


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.tune --objective carbon --region QC
  python -m carbonsweep.tune --objective carbon,latency --region CISO --slo-tpot 0.1
  python -m carbonsweep.tune --region DE --gpus T4,L4,A100-80,H100 --engine healthy --trials 100
  python -m carbonsweep.tune --bench transformers --models smollm2-135m --objective latency --batch-sizes 1,2,4,8
  python -m carbonsweep.tune --experiment experiments/which_gpu_in_quebec.toml

\b
Exit codes: 0 answer; 2 bad input, or --out in use; 3 nothing feasible;
4 nothing could be measured, or storage failed; 130 interrupted.
"""
)
@options.experiment_option
@options.question_options
@options.space_options
@options.workload_options
@options.scenario_options
@click.option(
    "--bench",
    type=click.Choice(["auto", "roofline", "transformers", "server"]),
    default="auto",
    show_default=True,
    help="roofline models; transformers measures, server from outside; auto: transformers where a GPU is.",
)
@click.option("--weights", default="auto", show_default=True, help="auto, random, a folder, a GGUF file or a hub id.")
@measuring_options
@click.option("--trials", type=click.IntRange(1), help=f"Configurations to try. [default: all up to {DEFAULT_TRIALS}]")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: results/<study>]")
@click.option("--address", help="Running Ray cluster (auto, host:port). [default: start one on this machine]")
def command(
    objective: tuple[str, ...],
    slo_ttft: float | None,
    slo_tpot: float | None,
    slo_latency: float | None,
    models: tuple[str, ...] | None,
    gpus: tuple[str, ...] | None,
    gpu_counts: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    dtypes: tuple[str, ...] | None,
    engine: tuple[str, ...] | None,
    seed: int,
    bench: str,
    weights: str,
    trials: int | None,
    out: Path | None,
    address: str | None,
    **given: Any,
) -> int:
    """Find the configuration that serves tokens with the least carbon (or another objective) under latency limits."""
    from carbonsweep import benches, inputs, terminal
    from carbonsweep.search.objectives import objectives, study_name
    from carbonsweep.search.space import space

    require_cluster(address, bench)
    objectives(objective)  # a typo is reported before anything is probed or loaded
    chosen = measuring_bench(
        given, bench=bench, weights=weights, models=models, gpus=gpus, dtypes=dtypes, engines=engine
    )
    searched = space(
        models=models or inputs.DEFAULT_MODELS,
        gpus=chosen.gpus,
        gpu_counts=gpu_counts,
        batch_sizes=batch_sizes,
        dtypes=chosen.dtypes,
        engines=chosen.engines,
    )
    question = inputs.question(
        objective=objective,
        slo_ttft=slo_ttft,
        slo_tpot=slo_tpot,
        slo_latency=slo_latency,
        scenario=inputs.scenario(given, searched.gpus),
    )
    benches.require_energy(chosen.bench, searched, question)
    workload = inputs.asked_workload(given, seed)
    name = study_name(
        searched, question, workload.summary().digest, map(chosen.bench.identity, searched.configurations())
    )
    terminal.say(chosen.statement)
    for weights_label in benches.weights(chosen.bench, searched):
        terminal.say(f"Weights of {weights_label}.")
    return _run(
        Sweep(bench=chosen.bench, space=searched, question=question, workload=workload, name=name),
        out=out or Path("results") / name,
        trials=trials or min(searched.size, DEFAULT_TRIALS),
        seed=seed,
        address=address,
    )


def require_cluster(address: str | None, bench: str) -> None:
    """Refuse an address nobody listens on: Ray itself would wait for minutes. Raises BadInput."""
    if address is not None and bench == "auto":
        raise BadInput("--address needs --bench roofline or transformers: a cluster's GPUs are not looked for yet")
    if address is None or address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise BadInput(f"--address {address!r} is neither auto nor HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"--address {address}: no Ray cluster answers there ({error})") from error


def _run(asked: Sweep, *, out: Path, trials: int, seed: int, address: str | None) -> int:
    """Sweep, answer, write; an interrupted sweep answers from what it has and says so."""
    from carbonsweep import terminal
    from carbonsweep.errors import EXIT_ANSWER, EXIT_INTERRUPTED, EXIT_NOTHING_FEASIBLE, CarbonsweepError
    from carbonsweep.records import OutputFolder
    from carbonsweep.search.study import Search, journal

    with OutputFolder(out) as folder:
        for damaged in folder.damaged:
            terminal.warn(f"{out}/records.jsonl line {damaged.number} is damaged and was set aside: {damaged.reason}")
        search = Search(
            space=asked.space,
            question=asked.question,
            name=asked.name,
            trials=trials,
            seed=seed,
            known=asked.known(folder),
            storage=journal(folder.folder),
            loads_weights=asked.loads_weights,
        )
        terminal.say(
            f"Space: {asked.space.size} configurations; {search.told} known from before, {search.remaining} to run; "
            f"records in {out}"
        )
        try:
            lost = _sweep(asked, search, folder, address)
        except KeyboardInterrupt:
            with contextlib.suppress(CarbonsweepError):  # with nothing to rank there is nothing to answer yet
                _answer(asked, folder, complete=False)
            terminal.warn(f"interrupted: {len(asked.records(folder))} finished trials are kept; run it again to go on")
            return EXIT_INTERRUPTED
        if lost:
            why = ", ".join(sorted(set(lost)))
            terminal.warn(f"{len(lost)} trials ended without a result ({why}); run it again to retry them")
        return EXIT_ANSWER if _answer(asked, folder, complete=not lost) else EXIT_NOTHING_FEASIBLE


def _sweep(asked: Sweep, search: Search, folder: OutputFolder, address: str | None) -> list[str]:
    """Run what is left; Ray is not even imported when nothing is."""
    from carbonsweep import terminal

    if not search.remaining:
        return []
    with terminal.TrialProgress(search.remaining, asked.question) as progress:
        from carbonsweep.search.sweep import sweep

        return sweep(
            search=search,
            bench=asked.bench,
            workload=asked.workload,
            out=folder,
            observe=progress.advance,
            address=address,
        )


def _answer(asked: Sweep, folder: OutputFolder, *, complete: bool) -> bool:
    """Answer from the records of this sweep, write it and print it; whether anything is feasible."""
    from carbonsweep import exact, results, terminal
    from carbonsweep.answer import answer
    from carbonsweep.document import document

    records = asked.records(folder)
    found = answer(records, asked.question)
    modelled = asked.bench.name == "roofline"
    regret = exact.regret(found, exact.plan(asked.space, asked.workload, asked.question)) if modelled else None
    notes = {
        "complete": complete,
        "study": asked.name,
        "space": {axis: list(choices) for axis, choices in asked.space.axes().items()},
        "workload": records[0].workload,
        "records": [record.key for record in records],
    }
    written = results.plain(document(found, regret=regret, notes=notes))
    results.write(folder.folder, found, written)
    terminal.show_answer(found, written)
    terminal.say(
        f"Written to {folder.folder}: {', '.join(results.written(found))}; study.journal for optuna-dashboard."
    )
    return found.best is not None


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.tune")


if __name__ == "__main__":
    main()
