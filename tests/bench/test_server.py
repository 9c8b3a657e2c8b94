"""The server bench: closed batches of a real `transformers serve`, and the arithmetic of phases on a paced one."""

from __future__ import annotations

import asyncio
import json
import pickle
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carbonsweep.bench import Bench
from carbonsweep.bench.endpoint import distinct
from carbonsweep.bench.endpoint.address import address
from carbonsweep.bench.endpoint.client import Client
from carbonsweep.bench.endpoint.dialects import body
from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.reply import Reply
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.devices import Instruments
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.server import ServerBench
from carbonsweep.domain import Configuration, Measurement, Workload
from carbonsweep.errors import BenchFailed, Unsupported, WrongTokenCount
from carbonsweep.records import decode, encode
from carbonsweep.trial import trial
from tests.bench.conftest import METER_W, ClockworkMeter
from tests.bench.openai_server import MODEL, Piece, Script, ScriptedServer, event, finish, head, token, usage, whole

ON_CPU = Configuration(model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=4, dtype="fp32", engine="server")
QUICK = Effort(batches=1, repeats=2, budget_s=0.0)


def asked(found: Served, prompts: Sequence[str], tokens: int) -> tuple[Reply, ...]:
    """What the server replies to these prompts, started together."""

    async def all_of_them() -> tuple[Reply, ...]:
        client = Client(address(found.endpoint), Patience())
        try:
            return await client.batch(found.path, bodies, tokens)
        finally:
            await client.close()

    bodies = [
        body(
            dialect=found.dialect,
            path=found.path,
            model=found.model,
            prompt=prompt,
            tokens=tokens,
            salt=secrets.token_hex(8),
        )
        for prompt in prompts
    ]
    return asyncio.run(all_of_them())


# ---- a real server ----


def test_transformers_serve_is_found_out(smollm2_served: Served, smollm2_folder: Path) -> None:
    assert smollm2_served.local
    assert (smollm2_served.path, smollm2_served.dialect) == ("completions", "generation_config")
    assert smollm2_served.engine_version == "transformers serve, version not told"
    assert smollm2_served.model == str(smollm2_folder)


ENDS_SOON = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"


def test_its_dialect_makes_an_answer_longer_than_the_model_would(smollm2_served: Served) -> None:
    # min_tokens is no field of it; without any dialect SmolLM2 greets in a dozen tokens and stops.
    plain = json.dumps(
        {"model": smollm2_served.model, "prompt": ENDS_SOON, "max_tokens": 40, "stream": True, "temperature": 0}
    )

    async def undirected() -> None:
        client = Client(address(smollm2_served.endpoint), Patience())
        try:
            await client.stream("completions", plain.encode(), 40)
        finally:
            await client.close()

    with pytest.raises(WrongTokenCount, match=r"instead of 40; it ended with 'stop'"):
        asyncio.run(undirected())
    (reply,) = asked(smollm2_served, [ENDS_SOON], 40)
    assert reply.counts[-1] == 40
    assert reply.by_usage


def test_its_counts_are_the_tokenizers(smollm2_served: Served, smollm2_folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    cut = tokenizers.Tokenizer.from_file(str(smollm2_folder / "tokenizer.json"))
    texts = distinct.requests(built_in_workload(2, 0), 4, 2)
    prompts = [text for batch in range(2) for text in texts.texts(batch, 4 * batch)]
    replies = asked(smollm2_served, prompts, 3)
    assert [reply.prompt_tokens for reply in replies] == [len(cut.encode(prompt).ids) for prompt in prompts]
    assert {reply.counts[-1] for reply in replies} == {3}


@pytest.fixture(scope="module")
def real(smollm2_served: Served) -> Measurement:
    """A batch of 4 with 6 output tokens, from the real server."""
    return ServerBench(served=smollm2_served, effort=QUICK).measure(ON_CPU, built_in_workload(6, 0))


def test_a_real_batch_has_its_first_token_before_its_last(real: Measurement) -> None:
    assert 0 < real.ttft_s < real.prompt_latency_s
    assert real.decode.tokens == 4 * 5
    assert real.evidence is not None
    assert (real.evidence.ttft.unit, real.evidence.ttft.count) == ("request", 2 * 4)
    assert real.evidence.closure is not None
    assert real.evidence.ttft.maximum < real.evidence.closure.whole_s * 10


def test_its_prompt_tokens_are_those_of_the_batch(real: Measurement, smollm2_folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    cut = tokenizers.Tokenizer.from_file(str(smollm2_folder / "tokenizer.json"))
    (texts,) = distinct.requests(built_in_workload(6, 0), 4, 1).batches
    # Every prefix adds as many tokens, whichever words it is made of.
    assert real.prefill.tokens == sum(len(cut.encode(f"acid action active\n{text}").ids) for text in texts)
    assert real.prefill.padded_tokens == real.prefill.tokens


def test_what_it_does_not_tell_is_noted(real: Measurement) -> None:
    assert "requests: /completions, output length fixed by generation_config" in real.notes
    assert "the server does not tell prefix cache hits; all prompts are distinct" in real.notes
    assert real.energies == (None, None)
    assert [note for note in real.notes if note.startswith("energy unknown: ")] == [
        "energy unknown: no meter was given"
    ]


# ---- a paced server: what every number must be ----

WORKLOAD = Workload(
    name="paced",
    prompts=("tell me a story", "what is water"),
    prompt_tokens=(4, 3),
    token_basis="given",
    output_tokens=11,
)
PAIR = replace(ON_CPU, batch_size=2)
PREFILL_S = 0.05
STEP_S = 0.02


def paced(body: dict[str, Any]) -> Iterator[Piece]:
    """A prefill of 50 ms, a token every 20 ms."""
    yield head()
    yield PREFILL_S
    for i in range(body["max_tokens"]):
        yield event(token()) + (event(finish()) + event(usage(body)) if i + 1 == body["max_tokens"] else b"")
        yield STEP_S


def behind(url: str, **changes: Any) -> Served:
    return replace(
        Served(
            endpoint=url,
            host=socket.gethostname(),
            local=True,
            model=MODEL,
            engine_version="unknown server",
            version=None,
            path="completions",
            dialect="ignore_eos",
            context_tokens=None,
        ),
        **changes,
    )


def measured(script: Script, **changes: Any) -> Measurement:
    with ScriptedServer(script) as server:
        return ServerBench(served=behind(server.url), effort=QUICK, **changes).measure(PAIR, WORKLOAD)


def test_ttft_and_tpot_are_those_of_the_pace() -> None:
    found = measured(paced)
    # Loopback, threads and a shared machine add some milliseconds; pauses are never shorter than asked.
    assert PREFILL_S <= found.ttft_s < 3 * PREFILL_S
    assert STEP_S <= found.tpot_s < 2 * STEP_S
    assert found.decode.tokens == 2 * 10


def test_joules_are_power_times_the_time_of_each_phase() -> None:
    # A constant power makes the joules of a phase its seconds: those of a decode, though its window is cut at both ends
    # and its work is counted in tokens; those of prefill, and what lies between its runs.
    meter = ClockworkMeter(least_window_s=0.3, refresh_s=0.02)
    found = measured(paced, meter=meter)
    assert found.decode.energy is not None
    assert found.decode.energy.joules == pytest.approx(METER_W * found.decode.duration_s, rel=0.1)
    assert found.prefill.energy is not None
    assert found.prefill.energy.joules >= METER_W * found.ttft_s
    assert found.idle_w == pytest.approx(METER_W)
    assert found.evidence is not None
    assert {window.phase for window in found.evidence.windows} == {"prefill", "decode", "whole", "idle"}
    assert all(w.duration_s >= 0.3 for w in found.evidence.windows if w.phase in ("prefill", "whole"))
    assert meter.entered == 1


def test_a_decode_window_counts_the_tokens_that_came_in_it() -> None:
    meter = ClockworkMeter(least_window_s=0.05, refresh_s=0.02)
    found = measured(paced, meter=meter)
    assert found.evidence is not None
    for window in (each for each in found.evidence.windows if each.phase == "decode"):
        # At most one whole decode a run, and streams that start together lose little of it.
        assert 0.5 < window.runs <= 1.0
        assert window.duration_s / window.runs == pytest.approx(found.decode.duration_s, rel=0.3)


def test_the_requests_of_a_batch_are_on_their_way_together() -> None:
    # Nobody is answered before two are there: requests one after another would never be.
    together = threading.Barrier(2, timeout=5)

    def patient(body: dict[str, Any]) -> Iterator[Piece]:
        together.wait()
        yield from paced(body)

    assert measured(patient).decode.tokens == 20


def test_a_server_that_serves_one_at_a_time_has_no_batch() -> None:
    one = threading.Lock()

    def narrow(body: dict[str, Any]) -> Iterator[Piece]:
        with one:
            yield from paced(body)

    with pytest.raises(BenchFailed, match=r"did not serve 2 requests at a time.*--max-num-seqs"):
        measured(narrow)


def test_streams_that_overlap_little_are_marked() -> None:
    # The second stream of a pair starts when the first has only 2 of its 10 steps left.
    turn: Iterator[int] = iter(range(10**6))

    def staggered(body: dict[str, Any]) -> Iterator[Piece]:
        if body["max_tokens"] > 1 and next(turn) % 2:
            yield 8 * STEP_S
        yield from paced(body)

    found = measured(staggered)
    assert found.evidence is not None
    assert [gate[: gate.index(" for ")] for gate in found.evidence.gates if "batch" in gate] == [
        "not one batch: all 2 streams decoded together"
    ]


def test_every_prompt_sent_is_new() -> None:
    with ScriptedServer(paced) as server:
        ServerBench(served=behind(server.url), effort=QUICK).measure(PAIR, WORKLOAD)
        prompts = [body["prompt"] for body in server.seen]
    # Warm-up, 2 repeats of 2 phases, the whole: 6 batches of 2.
    assert len(prompts) == len({prompt.split("\n")[0] for prompt in prompts}) == 12
    assert {prompt.split("\n")[1] for prompt in prompts} == {"tell me a story", "what is water"}


def test_salts_differ_between_measurements_of_the_same_prompts() -> None:
    with ScriptedServer(paced) as server:
        bench = ServerBench(served=behind(server.url, dialect="ignore_eos and cache_salt"), effort=QUICK)
        first, second = (bench.measure(PAIR, WORKLOAD) for _ in range(2))
        salts = [body["cache_salt"] for body in server.seen]
    assert len(set(salts)) == len(salts) == 24
    assert first.evidence is not None
    assert second.evidence is not None
    assert first.evidence.protocol.batches_digest == second.evidence.protocol.batches_digest


# ---- the prefix cache ----


def cached(share: int) -> Script:
    """Says of every prompt that `share` of its tokens were cached."""

    def script(body: dict[str, Any]) -> Iterator[Piece]:
        for piece in paced(body):
            yield piece.replace(event(usage(body)), event(told(body))) if isinstance(piece, bytes) else piece

    def told(body: dict[str, Any]) -> dict[str, Any]:
        return usage(body, prompt_tokens_details={"cached_tokens": share})

    return script


def test_cached_tokens_mark_the_measurement_and_none_do_not() -> None:
    marked, clean = (measured(cached(share)) for share in (1, 0))
    assert marked.evidence is not None
    assert clean.evidence is not None
    # Prompts of 7 and 6 words: 2 of 13 tokens.
    assert "prefix cache hit: 15.4 % of the prompt tokens, by usage" in marked.evidence.gates
    assert not any("cache" in said for said in (*clean.evidence.gates, *clean.notes))


def counting(queried_per_look: int, hit_per_look: int) -> Callable[[], bytes]:
    """vLLM's counters, which grow between one look and the next."""
    looks: Iterator[int] = iter(range(10**6))

    def metrics() -> bytes:
        n = next(looks)
        lines = [
            f'vllm:prefix_cache_queries_total{{engine="0"}} {queried_per_look * n}.0',
            f'vllm:prefix_cache_hits_total{{engine="0"}} {hit_per_look * n}.0',
        ]
        return whole(200, "text/plain", "\n".join(lines))

    return metrics


@pytest.mark.parametrize(
    ("queried", "hit", "gate"),
    [
        (78, 0, None),  # 6 batches of 13 tokens
        (78, 39, "prefix cache hit: 50.0 % of the prompt tokens, by the server's counters"),
        (178, 0, "foreign requests: the server read 178 prompt tokens, 78 of them ours"),
    ],
)
def test_the_servers_counters_are_read_before_and_after(queried: int, hit: int, gate: str | None) -> None:
    # The metrics script is looked at for every GET, and there is one GET of /version between two of /metrics.
    looked = counting(queried, hit)
    answers: list[bytes] = []

    def metrics() -> bytes:
        answers.append(b"")
        return looked()

    with ScriptedServer(paced, metrics=metrics) as server:
        found = ServerBench(served=behind(server.url), effort=QUICK).measure(PAIR, WORKLOAD)
    assert found.evidence is not None
    said = [each for each in found.evidence.gates if "prompt tokens" in each]
    assert said == ([] if gate is None else [gate])


# ---- what cannot be, and what is unknown ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "transformers"}, "measures engine 'server', not 'transformers'"),
        ({"gpu": "T4", "dtype": "bf16"}, "T4 has no bf16"),
    ],
)
def test_what_a_configuration_cannot_be_is_unsupported_before_anything_is_sent(
    changes: dict[str, Any], reason: str
) -> None:
    bench = ServerBench(served=behind("http://127.0.0.1:1/v1"), effort=QUICK)
    with pytest.raises(Unsupported, match=reason):
        bench.measure(replace(PAIR, **changes), WORKLOAD)


def test_a_worker_on_another_machine_does_not_take_its_own_loopback_for_the_server() -> None:
    bench = ServerBench(served=behind("http://127.0.0.1:1/v1", host="driver.example"), effort=QUICK)
    with pytest.raises(BenchFailed, match=r"the server is on driver\.example and this worker on "):
        bench.measure(PAIR, WORKLOAD)


def test_the_servers_own_context_counts_where_it_is_shorter() -> None:
    bench = ServerBench(served=behind("http://127.0.0.1:1/v1", context_tokens=16), effort=QUICK)
    # 4 prompt tokens, 4 of the prefix, 11 of output: 19.
    with pytest.raises(Unsupported, match=r"a prompt of 8 tokens and 11 output tokens exceed the context .* 16 tokens"):
        bench.measure(PAIR, WORKLOAD)


def test_energy_elsewhere_is_unknown_and_says_where() -> None:
    with ScriptedServer(paced) as server:
        found = ServerBench(served=behind(server.url, local=False, host="gpu.example"), effort=QUICK).measure(
            PAIR, WORKLOAD
        )
    assert found.energy_j is None
    assert "energy unknown: the server is on gpu.example, and no meter of that machine was named" in found.notes


def test_energy_here_is_unknown_for_the_reason_the_instruments_give() -> None:
    found = measured(paced, instruments=Instruments(probes=(), flaw="no RAPL here"))
    assert "energy unknown: no RAPL here" in found.notes


# ---- the seam ----


def test_the_identity_is_what_the_probe_found_and_asks_nobody() -> None:
    bench: Bench = ServerBench(served=behind("http://127.0.0.1:1/v1", engine_version="vLLM 0.32.0"))
    found = bench.identity(replace(PAIR, gpu="T4"))
    assert (found.bench, found.basis, found.engine_version) == ("server", "measured", "vLLM 0.32.0")
    assert (found.weights, found.power_protocol) == (f"served model {MODEL}", "none")
    assert found.device.startswith("T4 of ")
    elsewhere = ServerBench(served=behind("http://gpu.example/v1", local=False, host="gpu.example"))
    assert elsewhere.identity(PAIR).device == "CPU of gpu.example"


def test_it_travels_to_a_worker_and_knows_itself_there() -> None:
    bench = ServerBench(served=behind("http://127.0.0.1:1/v1"), power_protocol="nvml-counter")
    there = pickle.loads(pickle.dumps(bench))
    assert there == bench
    assert there.identity(PAIR) == bench.identity(PAIR)


def test_making_it_and_asking_who_it_is_imports_no_http() -> None:
    program = (
        "import sys\n"
        "from carbonsweep.bench.server import ServerBench\n"
        "sys.exit(bool({'httpx2', 'torch', 'transformers', 'scipy', 'pynvml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_measurement_is_a_record_that_can_be_kept() -> None:
    with ScriptedServer(paced) as server:
        record = trial(ServerBench(served=behind(server.url), effort=QUICK), PAIR, WORKLOAD)
    assert record.measurement is not None
    assert decode(encode(record)) == record


def test_an_interrupt_ends_a_measurement_at_once() -> None:
    program = (
        "import sys\n"
        "from tests.bench.test_server import PAIR, QUICK, WORKLOAD, behind\n"
        "from carbonsweep.bench.server import ServerBench\n"
        "print('measuring', flush=True)\n"
        "try:\n"
        "    ServerBench(served=behind(sys.argv[1]), effort=QUICK).measure(PAIR, WORKLOAD)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)"
    )
    with ScriptedServer(lambda body: [head(), 60.0]) as server:
        process = subprocess.Popen([sys.executable, "-c", program, server.url], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        while not server.seen:
            time.sleep(0.01)
        process.send_signal(2)
        assert process.wait(20) == 130
        process.stdout.close()
