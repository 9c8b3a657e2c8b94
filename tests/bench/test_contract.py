"""What every bench owes the rooms above it, whichever it is."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from carbonsweep.bench import Bench
from carbonsweep.bench.endpoint.distinct import PREFIX_TOKENS
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.bench.server import ServerBench
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.domain import BenchIdentity, Configuration, Energy, Measurement, Workload, record_key
from carbonsweep.errors import BenchError, UnknownFact, Unsupported
from carbonsweep.records import decode, encode
from carbonsweep.trial import trial

# 8 short prompts; every batch size below divides 8, so a bench that deals out batches has them all once.
WORKLOAD = Workload(
    name="contract",
    prompts=tuple(" ".join(["word"] * length) for length in (2, 3, 4, 5, 6, 7, 8, 9)),
    prompt_tokens=(2, 3, 4, 5, 6, 7, 8, 9),
    token_basis="given",
    output_tokens=4,
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A bench and a configuration it can measure here."""

    bench: Bench
    configuration: Configuration

    def on(self, **changes: Any) -> Configuration:
        return replace(self.configuration, **changes)


def roofline() -> Contestant:
    return Contestant(
        RooflineBench(),
        Configuration(model="LLaMA-7B", gpu="T4", gpu_count=1, batch_size=2, dtype="fp16", engine="paper"),
    )


def transformers() -> Contestant:
    return Contestant(
        TransformersBench(weights="random", effort=Effort(batches=4, repeats=2, budget_s=0), threads=1),
        Configuration(model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="transformers"),
    )


SERVED = "CARBONSWEEP_TESTS_SERVED"
"""Environment variable: what a probe of the tests' server found, as JSON; a process of its own reads it too."""


def server() -> Contestant:
    found = msgspec.json.decode(os.environ[SERVED], type=Served)
    return Contestant(
        ServerBench(served=found, effort=Effort(batches=4, repeats=2, budget_s=0)),
        Configuration(model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=2, dtype="fp32", engine="server"),
    )


CONTESTANTS = {"roofline": roofline, "transformers": transformers, "server": server}
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None,
    reason="torch or transformers is not installed (extra: measure)",
)


@pytest.fixture(
    scope="module", params=["roofline", *(pytest.param(name, marks=NEEDS_TORCH) for name in ("transformers", "server"))]
)
def contestant(request: pytest.FixtureRequest) -> Iterator[Contestant]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "server":
            patch.setenv(SERVED, msgspec.json.encode(request.getfixturevalue("smollm2_served")).decode())
        yield CONTESTANTS[request.param]()


@pytest.fixture(scope="module")
def measured(contestant: Contestant) -> Measurement:
    return contestant.bench.measure(contestant.configuration, WORKLOAD)


def test_it_is_sent_to_workers_before_and_knows_itself_there(contestant: Contestant) -> None:
    fresh = CONTESTANTS[contestant.bench.name]()
    again = pickle.loads(pickle.dumps(fresh.bench))
    assert again.name == fresh.bench.name
    assert again.identity(fresh.configuration) == fresh.bench.identity(fresh.configuration)


def test_its_identity_is_stable_and_plain(contestant: Contestant) -> None:
    first, second = (contestant.bench.identity(contestant.configuration) for _ in range(2))
    assert first == second
    assert first.bench == contestant.bench.name
    assert BenchIdentity(**json.loads(json.dumps(dataclasses.asdict(first)))) == first
    assert all(str(value).strip() for value in dataclasses.astuple(first))
    assert first == contestant.bench.identity(contestant.on(batch_size=4))  # the batch is the configuration's


IDENTITY_ALONE = """
import sys
from tests.bench import test_contract
contestant = test_contract.{name}()
print(contestant.bench.identity(contestant.configuration))
heavy = {{"torch", "transformers", "ray", "optuna", "datasets"}} & set(sys.modules)
assert not heavy, heavy
"""


def test_asking_for_the_identity_loads_nothing_heavy(contestant: Contestant) -> None:
    # It decides about reuse, on a driver that may have none of these.
    done = subprocess.run(
        [sys.executable, "-c", IDENTITY_ALONE.format(name=contestant.bench.name)],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "", SERVED: os.environ.get(SERVED, "")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(contestant.bench.identity(contestant.configuration))


def test_it_gives_a_measurement_of_its_own(contestant: Contestant, measured: Measurement) -> None:
    identity = contestant.bench.identity(contestant.configuration)
    assert measured.bench == contestant.bench.name
    assert measured.basis == identity.basis
    assert measured.batch_size == contestant.configuration.batch_size
    assert measured.output_tokens == WORKLOAD.output_tokens
    assert measured.error_source.strip()
    for phase in (measured.prefill, measured.decode):
        assert (phase.gpu, phase.gpu_count) == (contestant.configuration.gpu, 1)
        assert (phase.repeats == 0) == (measured.basis == "modelled")


def test_its_tokens_add_up(contestant: Contestant, measured: Measurement) -> None:
    batch_size = contestant.configuration.batch_size
    # Mean of 2..9 is 5.5; token 1 belongs to prefill, so 3 of 4 are decoded. To a server each prompt has a prefix.
    prefix = PREFIX_TOKENS if contestant.bench.name == "server" else 0
    assert measured.prefill.tokens == pytest.approx(batch_size * (5.5 + prefix))
    assert measured.decode.tokens == measured.decode.padded_tokens == batch_size * 3
    assert measured.prefill.tokens <= measured.prefill.padded_tokens <= batch_size * (9 + prefix)


def test_its_seconds_are_positive_and_inside_their_interval(measured: Measurement) -> None:
    for phase in (measured.prefill, measured.decode):
        assert 0 < phase.duration_s < math.inf
        assert phase.duration_low_s <= phase.duration_s <= phase.duration_high_s
        assert phase.occupied_s >= phase.duration_s
    assert measured.prompt_latency_s == pytest.approx(measured.ttft_s + 3 * measured.tpot_s)


def test_its_energy_is_unknown_or_above_zero_and_says_where_it_is_from(measured: Measurement) -> None:
    energies: list[Energy] = [energy for energy in measured.energies if energy is not None]
    assert len(energies) in (0, 2)  # one meter reads both phases, or none
    for energy in energies:
        assert energy.joules > 0
        assert energy.source.strip()
        assert energy.semantics.strip()
    assert (measured.energy_j is None) == (not energies)
    if measured.basis == "measured" and measured.prefill.gpu == "CPU":
        assert measured.energy_j is None  # no meter was given


def test_its_outcome_is_a_record_that_can_be_kept(contestant: Contestant, measured: Measurement) -> None:
    class Replay:
        """Gives what was measured already."""

        name = contestant.bench.name
        identity = contestant.bench.identity

        def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
            return measured

    made = trial(Replay(), contestant.configuration, WORKLOAD)
    assert decode(encode(made)) == made
    identity = contestant.bench.identity(contestant.configuration)
    assert made.key == record_key(contestant.configuration, WORKLOAD.summary(), identity)


def test_it_refuses_a_gpu_nobody_knows(contestant: Contestant) -> None:
    with pytest.raises((BenchError, UnknownFact), match="RTX9999"):
        contestant.bench.measure(contestant.on(gpu="RTX9999", dtype="fp16"), WORKLOAD)


def test_it_refuses_a_context_that_the_model_does_not_have(contestant: Contestant) -> None:
    # The longest prompt has 9 tokens; no model here has a context of 100,009.
    model = contestant.configuration.model
    said = rf"a prompt of \d+ tokens and 100000 output tokens exceed the context of {model}, \d+ tokens"
    with pytest.raises(Unsupported, match=said):
        contestant.bench.measure(contestant.configuration, replace(WORKLOAD, output_tokens=100_000))


def test_it_refuses_bf16_on_a_t4(contestant: Contestant) -> None:
    with pytest.raises(Unsupported, match="bf16"):
        contestant.bench.measure(contestant.on(gpu="T4", dtype="bf16"), WORKLOAD)
