"""Arrays over pairs against the same pairs one by one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest

from carbonsweep import facts, inputs
from carbonsweep.bench.points import Points, product
from carbonsweep.bench.roofline import RooflineBench, predict_points
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import Measurement, Scenario, Slo, TrialRecord, Workload
from carbonsweep.facts import Link
from carbonsweep.placement import sides
from carbonsweep.placement.quantities import SplitQuantities, Terms, quantities, reached
from carbonsweep.placement.sides import Phase, Sides
from carbonsweep.search.objectives import OBJECTIVES, worst_excess
from carbonsweep.split import FREE, Pools, Side, compose
from tests.conftest import configuration, measurement, phase, record

PROMPTS = Workload(name="w", prompts=None, prompt_tokens=(200, 900, 1500), token_basis="given", output_tokens=150)
LINKS: tuple[Link, ...] = (*(facts.link(key) for key in ("PCIe4", "10GbE", "100GbE")), FREE)
POINTS = product(
    models=("LLaMA-7B", "TinyLlama-1.1B"),
    gpus=("A100-80", "H100", "L4", "RTX6000Ada", "T4"),
    gpu_counts=(1, 2),
    batch_sizes=(1, 3, 8, 64),
    dtypes=("fp16",),
    engines=("healthy",),
)
SCENARIO = inputs.scenario({"region": "QC"}, POINTS.gpu.values)
SCENARIOS = (
    SCENARIO,
    dataclasses.replace(SCENARIO, utilisation=0.4, host_power_w=30.0, host_embodied_kg=50.0, pue=1.3),
    dataclasses.replace(SCENARIO, request_rate_per_s=3.0, functional_unit="prompt-token"),
)
LIMITS = Slo(ttft_s=0.1, tpot_s=0.02, prompt_latency_s=3.0)


def of_points(phase: Phase) -> Sides:
    return sides.of_points(POINTS, predict_points(POINTS, PROMPTS, phase), phase)


def terms(gpus: Sequence[str], scenario: Scenario) -> Terms:
    kg = np.array([charged_kg(gpu, scenario) for gpu in gpus])
    return Terms(output_tokens=150, links=LINKS, kg=kg, reached=reached(LINKS, gpus))


def side(points: Points, place: int, phase: Phase) -> Side:
    served = points.configuration(place)
    return Side(configuration=served, workload="w", measurement=RooflineBench(phases=phase).measure(served, PROMPTS))


def assert_same(found: SplitQuantities, link: int, composed: Measurement, scenario: Scenario) -> None:
    """Every objective, and the worst excess, to 1e-12."""
    for name, objective in OBJECTIVES.items():
        of_arrays = np.broadcast_to(found.value(name, scenario), (len(LINKS), 1, 1))[link, 0, 0]
        assert of_arrays == pytest.approx(objective.value(composed, scenario), rel=1e-12), name
    worst = np.broadcast_to(found.excess(LIMITS), (len(LINKS), 1, 1))[link, 0, 0]
    assert worst == pytest.approx(worst_excess(LIMITS.excess(composed)), rel=1e-12)


def test_arrays_agree_with_composed_measurements_over_random_pairs() -> None:
    prefill, decode = of_points("prefill"), of_points("decode")
    drawn, pairs = random.Random(6), 0
    while pairs < 150:
        i, j = drawn.randrange(len(prefill)), drawn.randrange(len(decode))
        if prefill.group[i] != decode.group[j]:
            continue
        pairs += 1
        pools = drawn.choice([None, Pools(prefill=drawn.randint(1, 4), decode=drawn.randint(1, 4))])
        link, scenario = drawn.randrange(len(LINKS)), drawn.choice(SCENARIOS)
        found = quantities(
            prefill.part(np.array([i])).along(1),
            decode.part(np.array([j])).along(2),
            terms(POINTS.gpu.values, scenario),
            pools,
            None,
        )
        one, other = side(POINTS, int(prefill.place[i]), "prefill"), side(POINTS, int(decode.place[j]), "decode")
        assert_same(found, link, compose(one, other, LINKS[link], pools), scenario)


def records() -> list[TrialRecord]:
    """Measured ones whose devices idle at their own power, one without energy and one without idle power."""
    made = [
        (configuration(), measurement()),
        (configuration(gpu="RTX6000Ada"), measurement(gpu="RTX6000Ada", idle_w=44.0, ttft_s=0.1, decode_s=1.0)),
        (configuration(batch_size=16), measurement(batch_size=16, decode_s=9.0, decode=phase(9.0, None))),
        (configuration(batch_size=2), measurement(batch_size=2, idle_w=None)),
    ]
    return [record(served, found) for served, found in made]


@pytest.mark.parametrize("pools", [None, Pools(prefill=1, decode=3), Pools(prefill=4, decode=1)])
@pytest.mark.parametrize("assumed_w", [None, 60.0])
def test_arrays_of_records_agree_with_them_and_know_what_is_unknown(
    pools: Pools | None, assumed_w: float | None
) -> None:
    known = records()
    gpus = ("RTX6000Ada", "T4")
    scenario = dataclasses.replace(SCENARIO, embodied="paper", assumed_power_w=assumed_w, utilisation=0.7)
    prefill, decode = sides.of_records(known, gpus, "prefill"), sides.of_records(known, gpus, "decode")
    unknown = 0
    for i, j in np.ndindex(len(known), len(known)):
        composed = compose(Side.of(known[i]), Side.of(known[j]), LINKS[1], pools)
        found = quantities(
            prefill.part(np.array([i])).along(1),
            decode.part(np.array([j])).along(2),
            terms(gpus, scenario),
            pools,
            assumed_w,
        )
        idle_known = all(one.measurement is not None and one.measurement.idle_w for one in (known[i], known[j]))
        if not idle_known or (composed.energy_j is None and assumed_w is None):
            unknown += 1
            assert np.isnan(np.broadcast_to(found.value("carbon", scenario), (4, 1, 1))[1, 0, 0])
            assert np.isfinite(found.value("latency", scenario)).all()
        else:
            assert_same(found, 1, composed, scenario)
    # The one without idle power waits at u < 1: 7 of 16 pairs. The one without decode joules decodes for 3 others.
    assert unknown == (7 if assumed_w is not None else 10)


def test_throughput_is_compared_by_the_gpu() -> None:
    prefill, decode = of_points("prefill").part(slice(0, 1)), of_points("decode").part(slice(0, 1))
    found = quantities(
        prefill.along(1), decode.along(2), terms(POINTS.gpu.values, SCENARIO), Pools(prefill=2, decode=3), None
    )
    whole = found.value("throughput", SCENARIO)
    assert found.loss(OBJECTIVES["throughput"], SCENARIO) == pytest.approx(-whole / 5)  # one GPU a replica


def test_a_link_that_does_not_join_two_kinds_gives_them_no_pair() -> None:
    nvlink = dataclasses.replace(terms(("H100", "T4"), SCENARIO), links=(facts.link("NVLink4"),))
    nvlink = dataclasses.replace(nvlink, reached=reached(nvlink.links, ("H100", "T4")))
    assert nvlink.reached.tolist() == [[[450e9 * 0.95, 0], [0, 0]]]
