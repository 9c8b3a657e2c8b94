"""Both phases on the same GPUs in turn, each in batches of its own size: what of a saving needs no second GPU kind.

A split differs from a colocated configuration in two things: the GPUs, and that its phases may have different batch
sizes. The second alone is had without a link: a GPU prefills b_d / b_p batches one after the other, keeps their KV
cache, and decodes them as one (or the other way round). Nobody waits with an idle GPU, memory is that of both phases at
the larger batch, and the unluckiest prompt waits for the other batches as in `split`. A server that prefills in smaller
batches than it decodes does about this; no engine of the table is modelled so, hence it is a comparison, no answer.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from carbonsweep.domain import Measurement
from carbonsweep.placement.best import Pick, best_of_groups
from carbonsweep.placement.quantities import Terms
from carbonsweep.placement.sides import Sides
from carbonsweep.search.objectives import Question
from carbonsweep.split import FREE, Side, compose


def in_turn(prefill: Side, decode: Side) -> Measurement:
    """One measurement of the prefill and the decode of the same GPUs, without a hand-over. Raises as `compose`."""
    made = compose(prefill, decode, FREE, None)
    if made.transfer is None:
        raise ValueError("a composed measurement holds its hand-over")
    return dataclasses.replace(
        made,
        idle_w=prefill.measurement.idle_w,
        transfer=dataclasses.replace(made.transfer, same_devices=True, idle_w=None),
    )


def best_in_turn(prefill: Sides, decode: Sides, terms: Terms, question: Question) -> list[Pick]:
    """The best of each model, dtype and engine, on one kind and number of GPUs; of points that fit with both phases."""
    numbers = 1 + int(max(prefill.count.max(initial=0), decode.count.max(initial=0)))
    kinds = len(terms.kg) * numbers

    def placed(of: Sides) -> Sides:
        """A kind and a number of GPUs count as one kind, which nothing joins to another."""
        return dataclasses.replace(of, gpu=of.gpu * numbers + of.count.astype(np.intp))

    same = Terms(
        output_tokens=terms.output_tokens,
        links=(FREE,),
        kg=np.repeat(terms.kg, numbers),
        reached=np.where(np.eye(kinds, dtype=bool), np.inf, 0.0)[None],
        same_devices=True,
    )
    return list(best_of_groups(placed(prefill), placed(decode), same, question, [None]).values())
