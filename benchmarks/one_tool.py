"""One tool measures one batch size of one model folder, in a process and an environment of its own.

    python one_tool.py {bare|optimum|carbonsweep} SETTINGS.json RESULT.json

`against_optimum_benchmark.py` starts it. Everything heavy is imported first and timed apart; `wall_s` is the rest, from
the tool's start to its result, loading included. Phases are lists of seconds, one per timed pass, or just their mean.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Settings = dict[str, Any]
Result = dict[str, Any]
Tool = Callable[[Settings], Result]


def bare() -> Tool:
    """The model's own forward passes in a loop, and nothing else: what both tools should find."""
    torch: Any = importlib.import_module("torch")
    model_class = importlib.import_module("transformers").AutoModelForCausalLM
    importlib.import_module("transformers.models.llama.modeling_llama")

    def run(settings: Settings) -> Result:
        torch.set_num_threads(1)
        model = model_class.from_pretrained(settings["model"], dtype=torch.float32).eval()
        generator = torch.Generator().manual_seed(0)
        shape = (settings["batch_size"], settings["prompt_tokens"])
        ids = torch.randint(0, model.config.vocab_size, shape, generator=generator)
        passes = [_forwards(torch, model, ids, settings["output_tokens"]) for _ in range(1 + settings["passes"])][1:]
        return {"prefill_s": [prefill_s for prefill_s, _ in passes], "decode_s": [decode_s for _, decode_s in passes]}

    return run


def _forwards(torch: Any, model: Any, ids: Any, output_tokens: int) -> tuple[float, float]:
    """Seconds of one prefill and of the steps that follow."""
    with torch.inference_mode():
        begin_s = time.perf_counter()
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        first_s = time.perf_counter()
        for _ in range(output_tokens - 1):
            out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
            token = out.logits[:, -1].argmax(-1, keepdim=True)
        return first_s - begin_s, time.perf_counter() - first_s


def optimum() -> Tool:
    """optimum-benchmark as its users run it: latency, memory and energy, in this process, which is its fastest way."""
    peer: Any = importlib.import_module("optimum_benchmark")
    for module in ("backends.pytorch.backend", "scenarios.inference.scenario", "launchers.inline.launcher"):
        importlib.import_module(f"optimum_benchmark.{module}")
    importlib.import_module("transformers.models.llama.modeling_llama")

    def run(settings: Settings) -> Result:
        output_tokens = settings["output_tokens"]
        backend = peer.PyTorchConfig(
            model=settings["model"],
            device="cpu",
            torch_dtype="float32",
            task="text-generation",
            library="transformers",
            inter_op_num_threads=1,
            intra_op_num_threads=1,
        )
        scenario = peer.InferenceConfig(
            latency=True,
            memory=True,
            energy=True,
            duration=0,
            iterations=settings["passes"],
            warmup_runs=settings["warm_ups"],
            input_shapes={"batch_size": settings["batch_size"], "sequence_length": settings["prompt_tokens"]},
            generate_kwargs={"max_new_tokens": output_tokens, "min_new_tokens": output_tokens},
        )
        config = peer.BenchmarkConfig(
            name="against", backend=backend, scenario=scenario, launcher=peer.InlineConfig(device_isolation=False)
        )
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)  # it leaves files where it runs
            report = peer.Benchmark.launch(config)
            os.chdir("/")
        return {"prefill_s": list(report.prefill.latency.values), "decode_s": list(report.decode.latency.values)}

    return run


def carbonsweep() -> Tool:
    """This package's bench, with the same number of warm-ups and timed passes."""
    bench: Any = importlib.import_module("carbonsweep.bench.transformers")
    domain: Any = importlib.import_module("carbonsweep.domain")
    phases: Any = importlib.import_module("carbonsweep.bench.phases")
    for module in ("torch", "scipy.stats", "transformers.models.llama.modeling_llama"):
        importlib.import_module(module)
    transformers: Any = importlib.import_module("transformers")
    _ = transformers.AutoModelForCausalLM, transformers.AutoTokenizer, transformers.GgufConfig

    def run(settings: Settings) -> Result:
        effort = phases.Effort(
            batches=1,
            repeats=settings["passes"],
            warm_up_runs=settings["warm_ups"],
            budget_s=0.0,  # no more than these repeats
        )
        workload = domain.Workload(
            name="against",
            prompts=None,
            prompt_tokens=(settings["prompt_tokens"],),
            token_basis="given",
            output_tokens=settings["output_tokens"],
        )
        configuration = domain.Configuration(
            model="SmolLM2-135M",
            gpu="CPU",
            gpu_count=1,
            batch_size=settings["batch_size"],
            dtype="fp32",
            engine="transformers",
        )
        found = bench.TransformersBench(weights=settings["model"], effort=effort, threads=1).measure(
            configuration, workload
        )
        return {"prefill_s": [found.prefill.duration_s], "decode_s": [found.decode.duration_s]}

    return run


TOOLS: dict[str, Callable[[], Tool]] = {"bare": bare, "optimum": optimum, "carbonsweep": carbonsweep}


def main() -> None:
    """Import, run, write; seconds of both are in the result."""
    name, settings, result = sys.argv[1:]
    begin_s = time.perf_counter()
    tool = TOOLS[name]()
    imported_s = time.perf_counter()
    found = tool(json.loads(Path(settings).read_text(encoding="utf-8")))
    end_s = time.perf_counter()
    times = {"import_s": imported_s - begin_s, "wall_s": end_s - imported_s}
    Path(result).write_text(json.dumps({**found, **times}), encoding="utf-8")


if __name__ == "__main__":
    main()
