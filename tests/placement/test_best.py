"""The best of all pairs against a loop over them, and what ties and blocks do to it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from carbonsweep import inputs
from carbonsweep.placement import best as best_pairs
from carbonsweep.placement.best import Pick, best_of_groups, is_better
from carbonsweep.search.objectives import Question
from carbonsweep.split import Pools, compose
from tests.placement.test_quantities import LINKS, POINTS, SCENARIO, of_points, side, terms

POOLS = [Pools(prefill=p, decode=d) for p, d in itertools.product((1, 2, 3), repeat=2)]
POOLS.sort(key=lambda pools: (pools.prefill + pools.decode, pools))


def question(*objectives: str, tpot_s: float | None = 0.02) -> Question:
    return inputs.question(objective=objectives, slo_ttft=None, slo_tpot=tpot_s, slo_latency=None, scenario=SCENARIO)


@pytest.fixture(scope="module")
def looped() -> dict[int, float]:
    """The least grams over each link, of LLaMA-7B on T4, L4 and H100 within the TPOT limit, one pair at a time."""
    asked = question("carbon")
    least: dict[int, float] = {}
    rows = [
        i
        for i in range(len(POINTS))
        if POINTS.model.at(i) == "LLaMA-7B" and POINTS.gpu.at(i) in ("T4", "L4", "H100") and POINTS.gpu_count.at(i) == 1
    ]
    prefill, decode = of_points("prefill"), of_points("decode")
    first = {i: side(POINTS, i, "prefill") for i in rows if i in prefill.place}
    second = {i: side(POINTS, i, "decode") for i in rows if i in decode.place}
    for link, one, other, pools in itertools.product(range(len(LINKS)), first.values(), second.values(), POOLS):
        found = compose(one, other, LINKS[link], pools)
        if asked.slo.is_met(found):
            least[link] = min(least.get(link, math.inf), asked.losses(found)[0])
    return least


@pytest.mark.parametrize("block", [1, 50, 100_000])
def test_the_best_is_that_of_a_loop_whatever_the_blocks(
    looped: dict[int, float], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_pairs, "BLOCK", block)
    prefill, decode = (
        each.part(np.isin(np.array(POINTS.gpu.values)[each.gpu], ("T4", "L4", "H100")) & (each.count == 1))
        for each in (of_points("prefill"), of_points("decode"))
    )
    found = best_of_groups(prefill, decode, terms(POINTS.gpu.values, SCENARIO), question("carbon"), POOLS)
    group = next(int(g) for g, i in zip(prefill.group, prefill.place, strict=True) if POINTS.model.at(i) == "LLaMA-7B")
    assert {link: pick.losses[0] for (g, link), pick in found.items() if g == group} == pytest.approx(looped, rel=1e-12)
    assert all(pick.excess <= 0 for pick in found.values())


def test_with_nothing_feasible_it_is_the_one_that_misses_by_least() -> None:
    found = best_of_groups(
        of_points("prefill"),
        of_points("decode"),
        terms(POINTS.gpu.values, SCENARIO),
        question("carbon", tpot_s=1e-5),
        POOLS,
    )
    fastest = min(
        compose(side(POINTS, i, "prefill"), side(POINTS, i, "decode"), LINKS[-1], None).tpot_s
        for i in range(len(POINTS))
        if i in of_points("prefill").place and i in of_points("decode").place
    )
    assert min(pick.excess for pick in found.values()) == pytest.approx(fastest / 1e-5 - 1)


def test_of_equal_ones_the_smaller_pools_win() -> None:
    # TTFT knows neither link nor pools nor decode: every pool is as good, and the first has the fewest GPUs.
    found = best_of_groups(
        of_points("prefill"), of_points("decode"), terms(POINTS.gpu.values, SCENARIO), question("ttft"), POOLS
    )
    assert {pick.pools for pick in found.values()} == {Pools(prefill=1, decode=1)}


def test_of_equal_ones_the_next_objective_decides() -> None:
    # With the quickest prefill, whatever decodes is as good by TTFT: the fewest grams of all those decide.
    prefill, decode = of_points("prefill"), of_points("decode")
    found = best_of_groups(
        prefill, decode, terms(POINTS.gpu.values, SCENARIO), question("ttft", "carbon", tpot_s=None), POOLS
    )
    (group, link), pick = next(iter(found.items()))
    one = side(POINTS, pick.prefill, "prefill")
    assert one.measurement.ttft_s == prefill.duration_s[prefill.group == group].min()
    others = [side(POINTS, int(place), "decode") for place in decode.place[decode.group == group]]
    splits = [compose(one, other, LINKS[link], pools) for other in others for pools in POOLS]
    assert pick.losses[1] == pytest.approx(min(question("carbon").losses(split)[0] for split in splits), rel=1e-12)


def test_a_difference_of_rounding_is_none() -> None:
    def pick(loss: float, excess: float = -1.0) -> Pick:
        return Pick(prefill=0, decode=0, link=0, pools=None, losses=(loss,), excess=excess)

    assert is_better(pick(1.0), pick(1.0 + 1e-9))
    assert not is_better(pick(1.0), pick(1.0 + 1e-13))
    assert is_better(pick(5.0), pick(1.0, excess=0.1))  # what meets the limits comes first
    assert is_better(pick(5.0, excess=0.1), pick(1.0, excess=0.2))
