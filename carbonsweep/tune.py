"""`python -m carbonsweep.tune`: the main job. Trials through Ray Tune and Optuna, records, the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from carbonsweep import options
from carbonsweep.errors import BadInput
from carbonsweep.measuring import measuring_bench, measuring_options, placement_options
from carbonsweep.placement_option import split_options
from carbonsweep.search.sampling import AUTO, CHANCE_LEFT, DEFAULT_TRIALS, SAMPLERS, require, sampling
from carbonsweep.units import S_PER_MIN

if TYPE_CHECKING:
    from carbonsweep.bench import Bench
    from carbonsweep.benches import Chosen
    from carbonsweep.cluster.nodes import Node
    from carbonsweep.search.space import Space

NODE_GRACE_MIN: Final = 1.0
"""A kind whose last node went in mid-sweep is given up after so long, unless --wait-for-nodes says otherwise."""
CHANCE: Final = options.Bounds(0, 1, "a chance from 0 to 1")


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.tune --objective carbon --region QC
  python -m carbonsweep.tune --objective carbon,latency --region CISO --slo-tpot 0.1
  python -m carbonsweep.tune --region DE --gpus T4,L4,A100-80,H100 --engine healthy --sampler tpe --trials 20
  python -m carbonsweep.tune --bench transformers --models smollm2-135m --objective latency --batch-sizes 1,2,4,8
  python -m carbonsweep.tune --bench transformers --models smollm2-135m --objective latency --sampler exhaustive
  python -m carbonsweep.tune --experiment experiments/which_gpu_in_quebec.toml
On the head of a cluster (see cluster.yaml):
  python -m carbonsweep.tune --address auto --region QC --gpus T4,RTX6000Ada,H100 --model-missing
  python -m carbonsweep.tune --address auto --region QC --gpus T4,L40S --wait-for-nodes 15 --chance-left 0.01

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
@options.quality_options
@split_options
@click.option(
    "--bench",
    type=click.Choice(["auto", "roofline", "transformers", "server"]),
    default="auto",
    show_default=True,
    help="roofline models; transformers measures, server from outside; auto: transformers where a GPU is.",
)
@click.option("--weights", default="auto", show_default=True, help="auto, random, a folder, a GGUF file or a hub id.")
@measuring_options
@placement_options
@click.option(
    "--sampler",
    type=click.Choice([AUTO, *SAMPLERS]),
    default=AUTO,
    show_default=True,
    help="auto: exhaustive where every trial is modelled and --trials allows all, else guided by the device model. "
    "tpe, nsga2 and gp (needs torch) are Optuna's.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help=f"Configurations to try at most. [default: all up to {DEFAULT_TRIALS}; exhaustive: all]",
)
@click.option(
    "--chance-left",
    type=options.Number(CHANCE),
    default=CHANCE_LEFT,
    show_default=True,
    metavar="SHARE",
    help="guided stops once the chance that anything is over 1 % better is below this, and every GPU kind that may win "
    "was measured; 0: only at --trials.",
)
@click.option(
    "--trial-timeout",
    type=options.Number(options.POSITIVE),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="A trial without a result after this long hangs: its worker is replaced.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Output folder. [default: results/<study>]")
@click.option("--address", help="Running Ray cluster (auto, host:port). [default: start one on this machine]")
@click.option(
    "--wait-for-nodes",
    type=options.Number(options.NOT_NEGATIVE),
    metavar="MINUTES",
    help=f"Wait for a node of each GPU kind. [default: not before the first trial, {NODE_GRACE_MIN:g} after]",
)
def command(
    objective: tuple[str, ...],
    seed: int,
    sampler: str,
    trials: int | None,
    chance_left: float,
    trial_timeout: float,
    out: Path | None,
    address: str | None,
    wait_for_nodes: float | None,
    **given: Any,
) -> int:
    """Find the configuration that serves tokens with the least carbon (or another objective) under latency limits."""
    from carbonsweep import inputs, placement_option, quality_options, sweeping
    from carbonsweep.search.objectives import objectives

    objectives(objective)  # a typo is reported before anything is probed or loaded
    sought = placement_option.sought(given)
    workload = inputs.asked_workload(given, seed)
    with _cluster(address, _awaited(given), wait_for_nodes) as nodes:
        chosen, searched = _searched(given, _site(address, nodes))
        searched, quality = quality_options.searched(given, searched)
        require(sampler, searched, trials)
        _require_a_chance(sampler)
        question = inputs.question(
            objective=objective,
            slo_ttft=given["slo_ttft"],
            slo_tpot=given["slo_tpot"],
            slo_latency=given["slo_latency"],
            scenario=inputs.scenario(given, searched.gpus),
        )
        asked = sweeping.asked(
            chosen=chosen,
            here=_seen_from_here(chosen, searched, nodes),
            space=searched,
            question=question,
            workload=workload,
            elsewhere=inputs.workload_elsewhere(workload, given, seed),
            quality=quality,
            sought=sought,
        )
        place = sweeping.Place(
            connected=nodes is not None,
            trial_timeout_s=trial_timeout,
            node_grace_s=(NODE_GRACE_MIN if wait_for_nodes is None else wait_for_nodes) * S_PER_MIN,
        )
        how = sampling(
            sampler,
            size=searched.size,
            trials=trials,
            free=asked.is_modelled,
            rehearsed=given["rehearse"],
            seed=seed,
            chance_left=chance_left,
        )
        return sweeping.run(asked, place, how, out=out or Path("results") / asked.name)


def _require_a_chance(sampler: str) -> None:
    """Raises BadInput where --chance-left was given for a sampler that knows no chance."""
    given = click.get_current_context().get_parameter_source("chance_left") is not ParameterSource.DEFAULT
    if given and sampler not in ("auto", "guided"):
        raise BadInput(
            f"--chance-left is where --sampler guided stops: {sampler} knows no chance, leave one of them out"
        )


def _searched(given: Mapping[str, Any], site: Mapping[str, Any]) -> tuple[Chosen, Space]:
    """The bench that answers, and the space it is asked about. Raises BadInput as both do."""
    chosen = measuring_bench(
        given,
        bench=given["bench"],
        weights=given["weights"],
        models=given["models"],
        gpus=given["gpus"],
        dtypes=given["dtypes"],
        engines=given["engine"],
        **site,
    )
    searched = chosen.space(models=given["models"], gpu_counts=given["gpu_counts"], batch_sizes=given["batch_sizes"])
    return chosen, searched


@contextlib.contextmanager
def _cluster(
    address: str | None, kinds: tuple[str, ...], wait_for_nodes: float | None
) -> Iterator[Mapping[str, Node] | None]:
    """The live nodes of the cluster at `address`, once `kinds` are among theirs or the time is over; None: none asked.

    One that is started here is started when trials are.
    """
    if address is None:
        if wait_for_nodes is not None:
            raise BadInput("--wait-for-nodes needs --address: a cluster started on this machine has no other nodes")
        yield None
        return
    from carbonsweep import terminal
    from carbonsweep.cluster.connection import connection
    from carbonsweep.cluster.waiting import await_kinds

    with connection(address):
        yield await_kinds(kinds, (wait_for_nodes or 0) * S_PER_MIN, terminal.warn)


def _awaited(given: Mapping[str, Any]) -> tuple[str, ...]:
    """GPU kinds that must have a node: those asked for by name, unless they are modelled, or a server has them."""
    if given["gpus"] is None or given["bench"] in ("roofline", "server") or given["model_missing"]:
        return ()
    from carbonsweep import facts

    return tuple(kind for kind in map(facts.device_key, given["gpus"]) if kind != facts.CPU)


def _site(address: str | None, nodes: Mapping[str, Node] | None) -> dict[str, Any]:
    """Which GPU kinds there are, and the words for the place; nothing where it is this machine."""
    if nodes is None:
        return {}
    from carbonsweep.cluster.nodes import kinds

    at = "" if address == "auto" else f" at {address}"
    return {"present": kinds(nodes.values()), "where": f"the cluster{at} ({len(nodes)} nodes)"}


def _seen_from_here(chosen: Chosen, searched: Space, nodes: Mapping[str, Node] | None) -> Bench:
    """The bench as it is where it runs. Raises BadInput where nodes of a kind differ."""
    if nodes is None:
        return chosen.bench
    from carbonsweep.cluster.agreement import elsewhere

    return elsewhere(chosen.bench, searched, nodes.values())


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.tune")


if __name__ == "__main__":
    main()
