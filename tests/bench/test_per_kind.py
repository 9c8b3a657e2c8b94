"""Each GPU kind is answered by its own bench, and the record says by which."""

from __future__ import annotations

import pickle

import pytest

from carbonsweep.bench import Bench
from carbonsweep.bench.per_kind import PerKind
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.domain import record_key
from carbonsweep.errors import UnknownFact
from carbonsweep.trial import trial
from tests.conftest import SHORT, configuration

MEASURING = TransformersBench(weights="random", threads=1)
MODELLING = RooflineBench()


@pytest.fixture
def bench() -> PerKind:
    return PerKind(benches=(("CPU", MEASURING), ("T4", MODELLING), ("H100", MODELLING)))


def test_it_is_named_for_its_benches_each_once(bench: PerKind) -> None:
    seam: Bench = bench
    assert seam.name == "transformers+roofline"


def test_identity_and_measurement_are_those_of_the_bench_of_the_kind(bench: PerKind) -> None:
    for kind in ("T4", "H100"):
        point = configuration(gpu=kind)
        assert bench.identity(point) == MODELLING.identity(point)
        assert bench.measure(point, SHORT) == MODELLING.measure(point, SHORT)
    on_cpu = configuration(model="SmolLM2-135M", gpu="CPU", dtype="fp32", engine="transformers")
    assert bench.identity(on_cpu) == MEASURING.identity(on_cpu)
    assert bench.identity(on_cpu).basis == "measured"


def test_a_record_has_the_key_it_would_have_without_the_other_kinds(bench: PerKind) -> None:
    made = trial(bench, configuration(), SHORT)
    assert made.key == record_key(configuration(), SHORT.summary(), MODELLING.identity(configuration()))
    assert made.identity.bench == "roofline"
    assert made.measurement is not None
    assert (made.measurement.basis, made.measurement.bench) == ("modelled", "roofline")


def test_kinds_that_share_a_bench_share_it_in_a_worker_too(bench: PerKind) -> None:
    there = pickle.loads(pickle.dumps(bench))
    assert there == bench
    assert there.of_kind("T4") is there.of_kind("H100")


def test_a_kind_without_a_bench_is_refused_by_name(bench: PerKind) -> None:
    with pytest.raises(UnknownFact, match="unknown GPU kind of the transformers\\+roofline bench 'L4'"):
        bench.identity(configuration(gpu="L4"))
    with pytest.raises(UnknownFact, match="'L4'"):
        bench.measure(configuration(gpu="L4"), SHORT)
