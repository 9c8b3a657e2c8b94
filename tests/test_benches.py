"""Which bench is chosen, and what is refused before anything runs."""

from __future__ import annotations

import importlib.util
import pickle
from typing import Any

import pytest

from carbonsweep import benches, inputs
from carbonsweep.bench.per_kind import PerKind
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.nvml import PresentGpu
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.search.space import Space, space


def choose(
    asked: str,
    *,
    gpus: tuple[str, ...] | None = None,
    dtypes: tuple[str, ...] | None = None,
    engines: tuple[str, ...] | None = None,
    **placement: Any,
) -> benches.Chosen:
    return benches.choose(asked, **{"weights": "auto", **placement}, gpus=gpus, dtypes=dtypes, engines=engines)


CLUSTER: dict[str, Any] = {"present": ("T4", "RTX6000Ada"), "where": "the cluster at 10.0.0.1:6379 (5 nodes)"}


def searched(chosen: benches.Chosen, **changes: Any) -> Space:
    """The space of one model and batch size over what was chosen."""
    start: dict[str, Any] = {"models": ("SmolLM2-135M",), "gpu_counts": (1,), "batch_sizes": (1,)}
    axes = {name: getattr(chosen, name) for name in ("gpus", "dtypes", "engines", "of_kind")}
    return space(**{**start, **axes, **changes})


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
    with pytest.raises(UnknownFact, match="unknown engine 'sglang'"):
        choose("roofline", engines=("sglang",))


def test_the_engine_that_can_be_measured_can_be_modelled_too() -> None:
    assert choose("roofline", engines=("Transformers",)).engines == ("transformers",)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("objective", "refused"), [("energy", True), ("carbon", True), ("tpot", False)])
def test_joules_nobody_reads_are_refused_unless_a_power_is_assumed(objective: str, refused: bool) -> None:
    chosen = choose("transformers")

    def require(**options: object) -> None:
        scenario = inputs.scenario({"region": "QC", **options}, chosen.gpus)
        limits = {"slo_ttft": None, "slo_tpot": None, "slo_latency": None}
        benches.require_energy(
            chosen.bench, searched(chosen), inputs.question(objective=(objective,), scenario=scenario, **limits)
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


# ---- kinds that are not there ----


@pytest.mark.usefixtures("with_t4")
def test_auto_asks_for_permission_to_model_what_is_not_here_and_says_what_is() -> None:
    said = r"cannot measure RTX6000Ada, H100: this machine has T4, CPU; model it with --model-missing"
    with pytest.raises(BadInput, match=said):
        choose("auto", gpus=("T4", "RTX6000Ada", "H100"))


@pytest.mark.usefixtures("with_t4")
def test_with_that_permission_what_is_here_is_measured_and_the_rest_modelled_each_record_saying_which() -> None:
    chosen = choose("auto", gpus=("H100", "T4", "RTX6000Ada"), model_missing=True)
    assert chosen.bench.name == "transformers+roofline"
    assert chosen.gpus == ("T4", "H100", "RTX6000Ada")
    assert chosen.statement.startswith("Measured on this machine: transformers bench on T4. Modelled, not measured: ")
    assert "device model (roofline) of H100, RTX6000Ada, engine transformers (fit " in chosen.statement
    whole = searched(chosen)
    assert {(c.gpu, c.engine, chosen.bench.identity(c).basis) for c in whole.configurations()} == {
        ("T4", "transformers", "measured"),
        ("H100", "transformers", "modelled"),
        ("RTX6000Ada", "transformers", "modelled"),
    }
    assert whole.size == 3


@pytest.mark.usefixtures("with_t4")
def test_the_weights_of_a_mixed_sweep_are_those_of_what_is_measured() -> None:
    chosen = choose("auto", gpus=("T4", "H100"), model_missing=True, weights="random")
    # The modelled kind comes first in this space.
    whole = searched(chosen, gpus=("H100", "T4"))
    assert benches.weights(chosen.bench, whole) == ["SmolLM2-135M: random, at true shape"]
    assert benches.weights(choose("roofline").bench, searched(choose("roofline"))) == []


@pytest.mark.usefixtures("with_t4")
def test_engines_that_are_asked_for_in_a_mixed_sweep_are_those_of_the_model() -> None:
    for asked in (("healthy",), ("Transformers", "healthy")):
        chosen = choose("auto", gpus=("T4", "H100"), engines=asked, model_missing=True)
        whole = searched(chosen)
        modelled = {("H100", name.casefold()) for name in asked}
        assert {(c.gpu, c.engine) for c in whole.configurations()} == {("T4", "transformers")} | modelled
    with pytest.raises(UnknownFact, match="unknown engine 'sglang'"):
        choose("auto", gpus=("T4", "H100"), engines=("sglang",), model_missing=True)


@pytest.mark.usefixtures("with_t4")
def test_each_kind_has_its_usual_dtype_and_an_asked_one_holds_for_all() -> None:
    chosen = choose("auto", gpus=("T4", "CPU", "H100"), model_missing=True)
    assert {(c.gpu, c.dtype) for c in searched(chosen).configurations()} == {
        ("T4", "fp16"),
        ("CPU", "fp32"),
        ("H100", "fp16"),
    }
    both = choose("auto", gpus=("T4", "CPU"))
    assert {(c.gpu, c.dtype) for c in searched(both).configurations()} == {("T4", "fp16"), ("CPU", "fp32")}
    asked = choose("auto", gpus=("T4", "CPU", "H100"), dtypes=("fp32",), model_missing=True)
    assert {c.dtype for c in searched(asked).configurations()} == {"fp32"}


@pytest.mark.usefixtures("with_t4")
def test_where_nothing_asked_for_is_here_all_of_it_is_modelled() -> None:
    chosen = choose("auto", gpus=("H100",), model_missing=True)
    assert (chosen.bench.name, chosen.gpus, chosen.of_kind) == ("roofline", ("H100",), ())
    assert chosen.statement.endswith("This machine has no such GPU to measure.")


@pytest.mark.usefixtures("with_t4")
def test_where_everything_is_here_the_permission_changes_nothing() -> None:
    assert choose("auto", model_missing=True) == choose("auto")


@pytest.mark.parametrize("asked", ["roofline", "transformers"])
def test_the_permission_belongs_to_auto(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches, "present_gpus", lambda: pytest.fail("probed"))
    with pytest.raises(BadInput, match=f"--model-missing is for --bench auto, not for {asked}"):
        choose(asked, model_missing=True)


# ---- a cluster ----


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's machine that is never looked at, and has no torch."""
    monkeypatch.setattr(benches, "present_gpus", lambda: pytest.fail("probed this machine"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("asked", ["auto", "transformers"])
def test_a_cluster_measures_every_kind_its_nodes_have(asked: str) -> None:
    chosen = choose(asked, **CLUSTER)
    assert isinstance(chosen.bench, TransformersBench)
    assert chosen.bench.elsewhere
    assert chosen.gpus == ("T4", "RTX6000Ada")
    assert chosen.statement == (
        "Measured on the cluster at 10.0.0.1:6379 (5 nodes): transformers bench on T4, RTX6000Ada."
    )


@pytest.mark.usefixtures("elsewhere")
def test_a_cluster_models_what_its_nodes_lack_where_that_is_allowed() -> None:
    gpus = ("T4", "rtx6000ada", "H100")
    said = r"cannot measure H100: the cluster at 10\.0\.0\.1:6379 \(5 nodes\) has T4, RTX6000Ada, CPU; model it with "
    with pytest.raises(BadInput, match=said + "--model-missing"):
        choose("auto", gpus=gpus, **CLUSTER)
    with pytest.raises(BadInput, match=said + "--bench auto --model-missing"):
        choose("transformers", gpus=gpus, **CLUSTER)
    chosen = choose("auto", gpus=gpus, model_missing=True, **CLUSTER)
    assert isinstance(chosen.bench, PerKind)
    assert chosen.statement.startswith(
        "Measured on the cluster at 10.0.0.1:6379 (5 nodes): transformers bench on T4, RTX6000Ada. "
        "Modelled, not measured: device model (roofline) of H100, engine transformers"
    )
    assert [chosen.bench.of_kind(kind).name for kind in chosen.gpus] == ["transformers", "transformers", "roofline"]
    assert chosen.bench.of_kind("T4") is chosen.bench.of_kind("RTX6000Ada")


@pytest.mark.usefixtures("elsewhere")
def test_a_cluster_without_a_gpu_is_modelled_by_auto_and_says_so() -> None:
    chosen = choose("auto", present=(), where="the cluster (1 node)")
    assert chosen.bench.name == "roofline"
    assert chosen.statement.endswith("The cluster (1 node) has no GPU to measure.")


def test_several_kinds_in_one_machine_are_still_refused_where_that_machine_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boards = [
        PresentGpu(index=i, product_name=kind, uuid=f"GPU-{i}", kind=kind, driver="570", power_cap_w=70.0)
        for i, kind in enumerate(("T4", "L4"))
    ]
    monkeypatch.setattr(benches, "present_gpus", lambda: tuple(boards))
    with pytest.raises(BadInput, match="this machine has T4 and L4: show one kind at a time"):
        choose("auto", gpus=("T4", "H100"), model_missing=True)


# ---- a rehearsal ----


@pytest.mark.usefixtures("elsewhere")
def test_a_rehearsal_says_so_before_anything_else_and_is_another_quantity() -> None:
    chosen = choose("transformers", weights="random", rehearse=True, **CLUSTER)
    assert chosen.statement == (
        "Rehearsed on the CPU, not measured on T4, RTX6000Ada: transformers bench on the cluster at 10.0.0.1:6379 "
        "(5 nodes)."
    )
    real = choose("transformers", weights="random", **CLUSTER)
    for configuration in searched(chosen).configurations():
        rehearsed = chosen.bench.identity(configuration)
        assert rehearsed.basis == "rehearsed"
        assert rehearsed != real.bench.identity(configuration)
    assert benches.weights(chosen.bench, searched(chosen)) == ["SmolLM2-135M: random, at true shape"]


@pytest.mark.usefixtures("elsewhere")
def test_a_rehearsal_may_be_of_a_mixed_sweep() -> None:
    chosen = choose("auto", gpus=("T4", "H100"), model_missing=True, rehearse=True, **CLUSTER)
    assert chosen.statement.startswith("Rehearsed on the CPU, not measured on T4: ")
    assert {(c.gpu, chosen.bench.identity(c).basis) for c in searched(chosen).configurations()} == {
        ("T4", "rehearsed"),
        ("H100", "modelled"),
    }


@pytest.mark.usefixtures("with_t4")
@pytest.mark.parametrize(
    ("asked", "changes", "said"),
    [
        ("roofline", {}, "nothing would be measured"),
        ("auto", {"present": ()}, "nothing would be measured"),
        ("auto", {"gpus": ("H100",), "model_missing": True}, "nothing would be measured"),
        ("transformers", {"gpus": ("T4", "cpu")}, r"not CPU \(GPUs of this machine: T4\)"),
        (
            "transformers",
            {"present": (), "where": "the cluster"},
            r"name one with --gpus, not CPU \(GPUs of the cluster: none\)",
        ),
        ("transformers", {"gpus": ("L4",)}, "cannot measure L4: this machine has T4"),
    ],
)
def test_a_rehearsal_without_a_gpu_to_ask_for_is_refused(asked: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        choose(asked, rehearse=True, **changes)


@pytest.mark.usefixtures("elsewhere")
def test_what_was_chosen_for_a_cluster_can_be_sent_there() -> None:
    chosen = choose("auto", gpus=("T4", "H100"), model_missing=True, rehearse=True, weights="random", **CLUSTER)
    there = pickle.loads(pickle.dumps(chosen.bench))
    for configuration in searched(chosen).configurations():
        assert there.identity(configuration) == chosen.bench.identity(configuration)
