"""What the phases in turn on the same GPUs, in batches of two sizes, would save beside a split: for a person."""

from __future__ import annotations

from collections.abc import Iterator

from carbonsweep.amounts import objective_value
from carbonsweep.placement.answers import Placement, saving
from carbonsweep.shares import percent


def gain(placement: Placement) -> float | None:
    """Share of the best colocated one's first objective; None where two sizes are no better than one."""
    share = saving(placement.colocated, placement.best_in_turn, placement.question)
    return share if share is not None and share > 0 else None


def remark(placement: Placement) -> str:
    """The end of a verdict: how much of what a split saves is due to batch sizes alone; empty where nothing is."""
    share = gain(placement)
    if share is None:
        return ""
    of_throughput = placement.question.objectives[0].name == "throughput"
    said = f"give {percent(share)} more" if of_throughput else f"save {percent(share)}"
    return f"; without a second kind of GPU, batches of two sizes alone would {said}"


def lines(placement: Placement) -> Iterator[str]:
    """What that would be; nothing where it is no better."""
    turns = placement.best_in_turn
    if turns is None or gain(placement) is None:
        return
    served, decode = turns.prefill, turns.decode
    value = objective_value(placement.question, turns.values[0])
    yield (
        f"same GPUs       {served.model} on {served.gpu_count}x {served.gpu}, the phases in turn, prefill in batches "
        f"of {served.batch_size}, decode of {decode.batch_size}: {value}; a comparison, no engine here is modelled so"
    )
