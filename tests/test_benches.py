"""Which bench is chosen, and what is refused before anything runs."""

from __future__ import annotations

import importlib.util

import pytest

from carbonsweep import benches, inputs
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.nvml import PresentGpu
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.search.space import space


def choose(
    asked: str,
    *,
    gpus: tuple[str, ...] | None = None,
    dtypes: tuple[str, ...] | None = None,
    engines: tuple[str, ...] | None = None,
) -> benches.Chosen:
    return benches.choose(asked, weights="auto", gpus=gpus, dtypes=dtypes, engines=engines)


@pytest.fixture
def with_t4(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver reports one T4."""
    t4 = PresentGpu(index=0, product_name="Tesla T4", uuid="GPU-1", kind="T4", driver="570", power_cap_w=70.0)
    monkeypatch.setattr(benches, "present_gpus", lambda: (t4,))


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches, "present_gpus", lambda: ())


@pytest.mark.usefixtures("without_gpu")
def test_auto_models_where_there_is_no_gpu_and_says_so() -> None:
    chosen = choose("auto")
    assert chosen.bench.name == "roofline"
    assert chosen.gpus == ("T4", "RTX6000Ada")
    assert chosen.statement.startswith("Modelled, not measured")
    assert "no GPU" in chosen.statement


@pytest.mark.usefixtures("with_t4")
def test_auto_measures_the_kinds_that_are_there() -> None:
    chosen = choose("auto")
    assert (chosen.bench.name, chosen.gpus, chosen.dtypes) == ("transformers", ("T4",), ("fp16",))
    assert chosen.statement.startswith("Measured")


@pytest.mark.usefixtures("with_t4")
def test_a_gpu_without_torch_is_an_error_naming_the_extra_never_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"carbonsweep\[measure\]"):
        choose("auto")


@pytest.mark.usefixtures("with_t4")
def test_a_kind_that_is_not_here_cannot_be_measured() -> None:
    with pytest.raises(BadInput, match="cannot measure RTX6000Ada: this machine has T4, CPU"):
        choose("auto", gpus=("T4", "rtx6000ada"))


@pytest.mark.usefixtures("with_t4")
def test_roofline_never_asks_which_gpus_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches, "present_gpus", lambda: pytest.fail("probed"))
    assert choose("roofline", gpus=("h100",), engines=("Healthy",)).engines == ("healthy",)


def test_two_kinds_in_one_machine_must_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    boards = [
        PresentGpu(index=i, product_name=name, uuid=f"GPU-{i}", kind=kind, driver="570", power_cap_w=70.0)
        for i, (name, kind) in enumerate([("Tesla T4", "T4"), ("NVIDIA L4", "L4")])
    ]
    monkeypatch.setattr(benches, "present_gpus", lambda: tuple(boards))
    with pytest.raises(BadInput, match="CUDA_VISIBLE_DEVICES"):
        choose("auto")


def test_a_gpu_no_fact_row_knows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = PresentGpu(index=0, product_name="GeForce X", uuid="GPU-2", kind=None, driver="570", power_cap_w=None)
    monkeypatch.setattr(benches, "present_gpus", lambda: (odd,))
    with pytest.raises(BadInput, match="GeForce X is in no fact table"):
        choose("auto")


@pytest.mark.usefixtures("without_gpu")
def test_measuring_without_a_gpu_measures_the_cpu_as_itself() -> None:
    chosen = choose("transformers")
    assert (chosen.gpus, chosen.dtypes, chosen.engines) == (("CPU",), ("fp32",), ("transformers",))


@pytest.mark.usefixtures("without_gpu")
def test_each_bench_refuses_the_engines_of_the_other() -> None:
    with pytest.raises(UnknownFact, match="transformers bench 'paper'"):
        choose("transformers", engines=("paper",))
    with pytest.raises(UnknownFact, match="unknown engine 'transformers'"):
        choose("roofline", engines=("transformers",))


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("objective", "refused"), [("energy", True), ("carbon", True), ("tpot", False)])
def test_joules_nobody_reads_are_refused_unless_a_power_is_assumed(objective: str, refused: bool) -> None:
    chosen = choose("transformers")
    searched = space(
        models=("SmolLM2-135M",),
        gpus=chosen.gpus,
        gpu_counts=(1,),
        batch_sizes=(1,),
        dtypes=chosen.dtypes,
        engines=chosen.engines,
    )

    def require(**options: object) -> None:
        scenario = inputs.scenario({"region": "QC", **options}, searched.gpus)
        limits = {"slo_ttft": None, "slo_tpot": None, "slo_latency": None}
        benches.require_energy(
            chosen.bench, searched, inputs.question(objective=(objective,), scenario=scenario, **limits)
        )

    require(assume_power_w=65.0)
    if refused:
        with pytest.raises(EnergyUnknown, match="--assume-power-w"):
            require()
    else:
        require()


def test_a_gpu_cut_into_slices_is_refused_with_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    sliced = PresentGpu(
        index=0, product_name="NVIDIA H100", uuid="GPU-1", kind="H100", driver="1", power_cap_w=700.0, mig=True
    )
    monkeypatch.setattr(benches, "present_gpus", lambda: (sliced,))
    with pytest.raises(BadInput, match="MIG slices, and a slice has no energy counter of its own: turn MIG off"):
        choose("auto")


def test_the_effort_that_is_asked_for_reaches_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches, "present_gpus", lambda: ())
    asked = Effort(repeats=7)
    chosen = benches.choose("transformers", weights="random", gpus=("CPU",), dtypes=None, engines=None, effort=asked)
    assert isinstance(chosen.bench, TransformersBench)
    assert chosen.bench.effort == asked
