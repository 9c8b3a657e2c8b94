"""The server bench beside a real vLLM (CPU build) that serves the small real model on loopback.

    make check-vllm

The argument is the Python of vLLM's own environment. Checks what vLLM is found out to be, golden token counts, answers
of a fixed length, times beside vLLM's own, batches of 1 and 4, that cached prefixes are avoided and else
seen, and that a server which dies is a failed record. Fails on the first of them that does not hold.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the tests ask of transformers serve is asked of vLLM too

from carbonsweep.bench.endpoint import distinct
from carbonsweep.bench.endpoint.probe import served
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.loading import real_model
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.server import ServerBench
from carbonsweep.bench.weights import weights_source
from carbonsweep.domain import Configuration, Measurement, Workload
from carbonsweep.facts import language_model
from carbonsweep.trial import trial
from tests.bench.serving import free_port
from tests.bench.test_server import ENDS_SOON, asked

NAME: Final = "smol"
START_S: Final = 300
ROW: Final = "{:>5} {:>9} {:>9} {:>9} {:>8} {:>7}  {}"
EFFORT: Final = Effort(batches=2, repeats=3, budget_s=30.0)
ON_CPU: Final = Configuration(model="SmolLM2-135M", gpu="CPU", gpu_count=1, batch_size=1, dtype="bf16", engine="server")
LONG: Final = Workload(
    name="long", prompts=("river " * 300,), prompt_tokens=(300,), token_basis="given", output_tokens=4
)
"""Longer than a block of vLLM's cache on a CPU (128 tokens): less is never cached."""


def hold(claim: bool, what: str) -> None:
    """A claim of this check; the first that does not hold ends it."""
    if not claim:
        raise SystemExit(f"does not hold: {what}")
    print(f"holds: {what}")


@contextmanager
def vllm(python: str, model: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its address and process while it runs."""
    port = free_port()
    options = ["--model", str(model), "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    limits = ["--enforce-eager", "--max-model-len", "1024", "--dtype", "bfloat16"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1"}
    log = model.parent / "vllm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "vllm.entrypoints.openai.api_server", *options, *limits],
            env={**os.environ, **settings, "HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait(process, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1", process
        finally:
            process.terminate()
            process.wait(60)


def wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until the server is healthy; SystemExit with the end of its log where it never is."""
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"vLLM did not start: {log.read_text(errors='replace')[-3000:]}")


def unpacked(folder: Path) -> Path:
    """The packaged SmolLM2 as a folder that vLLM reads."""
    model = language_model(ON_CPU.model)
    weights, tokenizer = real_model(model, weights_source("auto", model), "bf16", "cpu")
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def check_identity(found: Served) -> None:
    print(found)
    hold(found.engine_version.startswith("vLLM "), "it is found out to be vLLM, with its version")
    hold(found.path == "completions", "it is asked for completions, without a chat template")
    hold(found.dialect == "ignore_eos and cache_salt", "it is told the length by ignore_eos")
    hold(found.context_tokens == 1024, "its own context limit is known")


def check_counts(found: Served, folder: Path) -> None:
    from tokenizers import Tokenizer

    cut = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = distinct.requests(built_in_workload(2, 0), 4, 4)
    prompts = [text for batch in range(4) for text in texts.texts(batch, 4 * batch)]
    replies = asked(found, prompts, 5)
    golden = [len(cut.encode(prompt).ids) for prompt in prompts]
    hold([reply.prompt_tokens for reply in replies] == golden, "16 prompts have the tokenizer's counts, each exactly")
    hold(all(reply.stepwise for reply in replies), "every token is placed in time by the running count")
    (reply,) = asked(found, [ENDS_SOON], 40)
    hold(reply.counts[-1] == 40, "a greeting has the 40 tokens asked for")
    hold(natural_tokens(found) < 40, "and without the dialect it ends earlier")


def natural_tokens(found: Served) -> int:
    """What the model says by itself, at most 40 tokens."""
    plain = {"model": found.model, "prompt": ENDS_SOON, "max_tokens": 40, "temperature": 0}
    request = urllib.request.Request(
        f"{found.endpoint}/completions", json.dumps(plain).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return int(json.load(answer)["usage"]["completion_tokens"])


def check_times(found: Served) -> None:
    """Our clock at the end of the wire beside vLLM's own, over the same 4 streams of 60 tokens."""
    asked(found, ["warm up"] * 4, 8)
    before = own_seconds(found)
    replies = asked(found, [f"{number} little rivers run to the sea" for number in range(4)], 60)
    after = own_seconds(found)
    for name, ours_s in (
        ("request_decode_time_seconds", fmean(reply.decode_s for reply in replies)),
        ("time_to_first_token_seconds", fmean(reply.ttft_s for reply in replies)),
    ):
        theirs_s = (after[f"{name}_sum"] - before[f"{name}_sum"]) / (after[f"{name}_count"] - before[f"{name}_count"])
        # HTTP, tokenizing and detokenizing lie between the two clocks: some milliseconds each way.
        apart_s = abs(ours_s - theirs_s)
        hold(apart_s < 0.03 + 0.03 * theirs_s, f"{name}: {ours_s:.4f} s here, {theirs_s:.4f} s by vLLM itself")


def own_seconds(found: Served) -> dict[str, float]:
    """vLLM's histograms: seconds and counts since its start."""
    with urllib.request.urlopen(f"{found.endpoint.removesuffix('/v1')}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^vllm:(\w+_(?:sum|count))\{.*\} (\S+)$", text, re.M)}


def gates(measured: Measurement, about: str) -> list[str]:
    assert measured.evidence is not None
    return [gate for gate in measured.evidence.gates if about in gate]


def check_batches(found: Served) -> None:
    print(ROW.format("batch", "TTFT ms", "TPOT ms", "tokens/s", "prompt", "repeats", "gates"))
    throughput = {}
    for batch_size in (1, 4):
        bench = ServerBench(served=found, effort=EFFORT)
        got = bench.measure(replace(ON_CPU, batch_size=batch_size), built_in_workload(32, 0))
        assert got.evidence is not None
        numbers = (f"{1e3 * got.ttft_s:.1f}", f"{1e3 * got.tpot_s:.1f}", f"{got.decode.throughput:.1f}")
        repeats = got.evidence.protocol.repeats
        print(ROW.format(batch_size, *numbers, got.prefill.tokens, repeats, "; ".join(got.evidence.gates) or "none"))
        throughput[batch_size] = got.decode.throughput
        hold(not gates(got, "prompt tokens"), f"batch {batch_size} met no cached prefix and no foreign request")
    hold(throughput[4] > 1.5 * throughput[1], "4 streams decode more tokens a second than 1")


def check_prefix_cache(found: Served) -> None:
    """A measurement again on the same server: salted prompts are new, unsalted ones are seen to be known."""
    quick = Effort(batches=1, repeats=2, budget_s=0.0)
    salted = ServerBench(served=found, effort=quick)
    unsalted = ServerBench(served=replace(found, dialect="ignore_eos"), effort=quick)
    for _ in range(2):
        hold(not gates(salted.measure(ON_CPU, LONG), "prefix cache hit"), "with a salt nothing is cached")
    hold(not gates(unsalted.measure(ON_CPU, LONG), "prefix cache hit"), "prompts that begin unalike are not cached")
    again = gates(unsalted.measure(ON_CPU, LONG), "prefix cache hit")
    hold(bool(again), f"the same prompts once more are seen to be cached: {again}")


def check_death(found: Served, process: subprocess.Popen[bytes]) -> None:
    """The server is killed while it answers."""
    threading.Timer(3.0, process.kill).start()
    record = trial(ServerBench(served=found, effort=EFFORT), ON_CPU, built_in_workload(150, 0))
    hold(
        record.refusal is not None and record.refusal.kind == "failed",
        f"a server that dies is a failed record: {record.refusal and record.refusal.reason}",
    )


def main(arguments: Sequence[str]) -> None:
    """Every check in turn, against one server."""
    if len(arguments) != 1:
        raise SystemExit("usage: vllm_server.py PYTHON_OF_VLLM")
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpacked(Path(scratch) / "model")
        with vllm(arguments[0], folder) as (url, process):
            found = served(url)
            check_identity(found)
            check_counts(found, folder)
            check_times(found)
            check_batches(found)
            check_prefix_cache(found)
            check_death(found, process)
    print("all hold")


if __name__ == "__main__":
    main(sys.argv[1:])
