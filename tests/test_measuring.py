"""The options of measuring: the protocol's defaults, what is typed arrives there, and which bench measures."""

from __future__ import annotations

import dataclasses
from typing import Any

import click
import pytest

from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.devices import UNMETERED, Instruments
from carbonsweep.bench.power.nvml import NvmlProbe
from carbonsweep.bench.server import ServerBench
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.benches import Chosen
from carbonsweep.errors import BadInput
from carbonsweep.measuring import effort, measuring_bench, measuring_options, placement_options


def given(*arguments: str) -> dict[str, Any]:
    """What the options of a command hold after these words."""

    @click.command()
    @placement_options
    @measuring_options
    def command(**options: Any) -> dict[str, Any]:
        return options

    options: dict[str, Any] = command.main(list(arguments), standalone_mode=False)
    return options


def parsed(*arguments: str) -> Effort:
    return effort(given(*arguments))


def test_the_defaults_are_the_protocols() -> None:
    assert parsed() == Effort()


def test_each_option_arrives_in_its_field() -> None:
    typed = ("--interval", "0.1", "--budget", "7", "--repeats", "4", "--batches", "5", "--window-bound", "0.05")
    assert parsed(*typed, "--power-sampling", "0.1", "--cool-to", "40") == Effort(
        interval=0.1,
        budget_s=7.0,
        repeats=4,
        batches=5,
        window_bound=0.05,
        power_sampling_s=0.1,
        cool_to_c=40.0,
    )


@pytest.mark.parametrize(
    "typed",
    [
        ("--interval", "0"),
        ("--interval", "nan"),
        ("--budget", "-1"),
        ("--budget", "inf"),
        ("--repeats", "1"),
        ("--batches", "0"),
        ("--window-bound", "2"),
        ("--power-sampling", "0"),
        ("--cool-to", "-300"),
    ],
)
def test_what_no_protocol_can_use_is_refused_where_it_is_typed(typed: tuple[str, str]) -> None:
    with pytest.raises(click.BadParameter):
        parsed(*typed)


ENDPOINT = "http://127.0.0.1:8000/v1"
FOUND = Served(
    endpoint=ENDPOINT,
    host="127.0.0.1",
    local=True,
    model="org/tiny",
    engine_version="vLLM 0.32",
    version="0.32",
    path="completions",
    dialect="vllm",
    context_tokens=2048,
)


def chosen(*typed: str, **changes: Any) -> Chosen:
    start: dict[str, Any] = {
        "bench": "server",
        "weights": "auto",
        "models": ("TinyLlama-1.1B",),
        "gpus": ("L4",),
        "dtypes": ("fp16",),
    }
    return measuring_bench(given(*typed), **{**start, **changes})


AT_ENDPOINT = ("--endpoint", ENDPOINT)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with one L4, and a server on it; what the server is asked about is the test's to change."""
    state: dict[str, Any] = {"served": FOUND, "gpus": 1}

    def instruments(device: str, power_sampling_s: float | None) -> Instruments:
        return Instruments(probes=tuple(NvmlProbe(uuid=f"GPU-{index}") for index in range(state["gpus"])))

    monkeypatch.setattr("carbonsweep.bench.endpoint.probe.served", lambda endpoint, model: state["served"])
    monkeypatch.setattr("carbonsweep.bench.power.devices.instruments", instruments)
    return state


def test_the_transformers_bench_measures_with_the_effort_that_was_asked_for() -> None:
    pytest.importorskip("torch", reason="measuring needs the extra 'measure'")
    made = chosen("--repeats", "7", bench="transformers", gpus=("CPU",), dtypes=None, weights="random")
    assert isinstance(made.bench, TransformersBench)
    assert (made.bench.effort, made.bench.weights) == (Effort(repeats=7), "random")
    assert (made.gpus, made.dtypes, made.engines) == (("CPU",), ("fp32",), ("transformers",))


def test_a_server_on_this_machine_is_metered_here(serving: dict[str, Any]) -> None:
    made = chosen(*AT_ENDPOINT, "--repeats", "7", "--power-sampling", "0.1")
    assert isinstance(made.bench, ServerBench)
    assert (made.bench.effort, made.bench.served) == (Effort(repeats=7, power_sampling_s=0.1), FOUND)
    assert [probe.name for probe in made.bench.instruments.probes] == ["GPU-0"]
    assert made.bench.power_protocol == "nvml-power every 0.1 s"
    assert (made.gpus, made.dtypes, made.engines) == (("L4",), ("fp16",), ("server",))
    assert made.statement == "Measured from outside: org/tiny served by vLLM 0.32 on this machine."


def test_a_server_elsewhere_has_joules_nobody_reads(serving: dict[str, Any]) -> None:
    serving["served"] = dataclasses.replace(FOUND, local=False, host="gpu.example")
    made = chosen(*AT_ENDPOINT)
    assert isinstance(made.bench, ServerBench)
    assert made.bench.instruments.probes == ()
    assert made.bench.power_protocol == UNMETERED
    assert made.statement.endswith(
        "on gpu.example, its joules unknown: no meter here reads them; name that machine's with --meter."
    )


def test_several_gpus_of_the_kind_are_refused_where_one_of_them_serves(serving: dict[str, Any]) -> None:
    serving["gpus"] = 2
    with pytest.raises(BadInput, match="this machine has 2 L4, and which one serves is unknown"):
        chosen(*AT_ENDPOINT)


def test_a_server_without_a_gpu_here_is_unmetered(serving: dict[str, Any]) -> None:
    serving["gpus"] = 0
    made = chosen(*AT_ENDPOINT)
    assert isinstance(made.bench, ServerBench)
    assert made.bench.power_protocol == UNMETERED
    assert made.statement.endswith("on this machine, its joules unknown: no L4 to be seen here.")


def test_the_meter_of_another_machine_reads_the_joules_of_its_server(
    serving: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving["served"] = dataclasses.replace(FOUND, local=False, host="gpu.example")
    asked: list[tuple[str, dict[str, Any]]] = []

    def dcgm_probes(url: str, **which: Any) -> tuple[NvmlProbe, ...]:
        asked.append((url, which))
        return (NvmlProbe(uuid="GPU-there"),) * (1 if "uuids" in which else 2)

    monkeypatch.setattr("carbonsweep.bench.power.dcgm.dcgm_probes", dcgm_probes)
    made = chosen(*AT_ENDPOINT, "--meter", "http://gpu.example:9400#GPU-there")
    assert isinstance(made.bench, ServerBench)
    assert [probe.name for probe in made.bench.instruments.probes] == ["GPU-there"]
    assert made.bench.power_protocol == "dcgm-exporter"
    assert asked == [("http://gpu.example:9400", {"uuids": ("GPU-there",)})]
    with pytest.raises(BadInput, match="shows several L4: say which one serves with #UUID"):
        chosen(*AT_ENDPOINT, "--meter", "http://gpu.example:9400")


@pytest.mark.parametrize(
    ("typed", "changes", "said"),
    [
        ((), {}, "--bench server needs --endpoint"),
        (AT_ENDPOINT, {"models": None}, "name one model, one GPU kind and one dtype"),
        (AT_ENDPOINT, {"gpus": ("L4", "T4")}, "name one model, one GPU kind and one dtype"),
        (AT_ENDPOINT, {"weights": "random"}, "a server has loaded its own"),
        (AT_ENDPOINT, {"bench": "transformers"}, "--endpoint .* is for --bench server"),
        (("--meter", "http://h:1"), {"bench": "auto"}, "--meter .* is for --bench server"),
        (("--served-model", "tiny"), {"bench": "auto"}, "--served-model tiny is for --bench server"),
        ((*AT_ENDPOINT, "--rehearse"), {}, "--rehearse does not go with --bench server"),
        ((*AT_ENDPOINT, "--model-missing"), {}, "--model-missing does not go with --bench server"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    typed: tuple[str, ...], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        chosen(*typed, **changes)


def test_what_a_sweep_may_do_without_its_gpus_arrives_at_the_bench_with_the_kinds_of_the_cluster() -> None:
    made = chosen(
        "--rehearse",
        "--model-missing",
        bench="auto",
        gpus=("T4", "H100"),
        dtypes=None,
        weights="random",
        present=("T4",),
        where="the cluster",
    )
    assert made.statement.startswith(
        "Rehearsed on the CPU, not measured on T4: transformers bench on the cluster. Modelled, not measured: "
    )


def test_a_command_without_those_options_neither_rehearses_nor_mixes() -> None:
    options = {name: value for name, value in given().items() if name not in ("rehearse", "model_missing")}
    named: dict[str, Any] = {"bench": "auto", "weights": "random", "models": None, "dtypes": None, "present": ("T4",)}
    made = measuring_bench(options, **named, gpus=("T4",))
    assert isinstance(made.bench, TransformersBench)
    assert not made.bench.rehearse
    with pytest.raises(BadInput, match="cannot measure H100"):
        measuring_bench(options, **named, gpus=("H100",))
