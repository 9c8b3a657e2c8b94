"""The public measurements the device model is calibrated on, as observations.

Three sources, each with traps: LLM-Perf (transformers, one prompt, power with the host's constant taken off; on the
A10G power is the mean over both phases, dtype and attention are not stated: fp16 and the default of transformers are
assumed), optimum-benchmark (transformers, batches, no power; `decode.latency` is all steps), LLM-Inference-Bench
(serving stacks, whole runs; power in milliwatts).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from carbonsweep import facts
from carbonsweep.calibration.observations import Exclusion, Observation, Origin, Rows
from carbonsweep.calibration.table import Line, lines
from carbonsweep.errors import BadInput, UnknownFact
from carbonsweep.facts.reference import ReferenceModel, reference_model
from carbonsweep.units import W_PER_MW

LLM_PERF: Final = "llm_perf_t4_a10g_figures.csv"
OPTIMUM: Final = (
    "A100-80GB_full_report_6a25a6db.csv",
    "A100-80GB_full_report_71a60178.csv",
    "Llama-7b_full_report_f75d9f93.csv",
    "Llama-13b_full_report_f75d9f93.csv",
)
ARGONNE: Final = "argonne_a100_h100_power.csv"

ARGONNE_GPUS: Final = {"Nvidia A100 GPU": "A100-40", "Nvidia H100 GPU": "H100", "Nvidia GH200 GPU": "GH200"}
ARGONNE_ENGINES: Final = {"vLLM": "vllm", "TensorRT-LLM": "tensorrt-llm", "Deepspeed-MII": "deepspeed-mii"}
OPTIMUM_GPU: Final = "A100-80"

_RECURRENT = "a recurrent model: it has no key-value cache and scans its prompt, which no equation here describes"
_STUB = "random weights for tests of software, no language model; its shape is not published"
LEFT_OUT: Final = {
    "google/recurrentgemma-2b": _RECURRENT,
    "google/recurrentgemma-9b": _RECURRENT,
    "trl-internal-testing/dummy-GPT2-correct-vocab": _STUB,
    "trl-internal-testing/tiny-random-LlamaForCausalLM": _STUB,
}
BNB: Final = "bitsandbytes on one model only: there is no other model to hold out, and 8 or 4 bits are not stated"

HOTTEST: Final = 1.1
COLDEST: Final = 0.5
"""Mean power while serving lies between this share of idle power and that of TDP; what does not has another unit."""


def read(folder: Path) -> Rows:
    """Every row of the three sources in `folder`, or in its sub-folder calibration. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; name the one that holds {LLM_PERF}")
    inside = folder / "calibration"
    where = inside if inside.is_dir() else folder
    found: list[Observation | Exclusion] = [*_llm_perf(where / LLM_PERF), *_argonne(where / ARGONNE)]
    for name in OPTIMUM:
        found += _optimum(where / name)
    return Rows(
        observations=tuple(each for each in found if isinstance(each, Observation)),
        exclusions=tuple(each for each in found if isinstance(each, Exclusion)),
    )


def _model(line: Line, column: str) -> ReferenceModel:
    try:
        return reference_model(line.cells[column])
    except UnknownFact as error:
        raise BadInput(f"{line.file} line {line.number}, column {column!r}: {error}") from error


def _power(line: Line, column: str, gpu: str, w_per_unit: float) -> float:
    row = facts.gpu(gpu)
    least, most = COLDEST * row.idle_w / w_per_unit, HOTTEST * row.tdp_w / w_per_unit
    return line.quantity(column, least=least, most=most) * w_per_unit


def _llm_perf(path: Path) -> Iterator[Observation | Exclusion]:
    columns = ["gpu", "model", "attention", "prompt_tokens", "output_tokens", "prefill_s", "tpot_s", "gpu_power_w"]
    for line in lines(path, columns):
        gpu = line.one_of("gpu", {"T4": "T4", "A10G": "A10G"})
        origin = Origin(
            source=line.file,
            line=line.number,
            gpu=gpu,
            engine="transformers",
            checkpoint=line.cells["model"],
            attention=line.one_of("attention", {"eager": "eager", "sdpa": "sdpa", "fa2": "fa2", "": "sdpa"}),
            batch_size=1,
            prompt_tokens=line.count("prompt_tokens"),
            output_tokens=line.count("output_tokens", least=2),
        )
        if origin.checkpoint in LEFT_OUT:
            yield Exclusion(origin=origin, reason=LEFT_OUT[origin.checkpoint])
            continue
        yield Observation(
            origin=origin,
            model=_model(line, "model"),
            prefill_s=line.quantity("prefill_s"),
            step_s=line.quantity("tpot_s"),
            power_w=_power(line, "gpu_power_w", gpu, 1.0),
            power_span="decode" if gpu == "T4" else "whole",
        )


def _optimum(path: Path) -> Iterator[Observation | Exclusion]:
    shape = "benchmark.input_shapes."
    columns = ("experiment_name", "model", f"{shape}batch_size", f"{shape}sequence_length", "benchmark.new_tokens")
    for line in lines(path, (*columns, "forward.latency(s)", "generate.latency(s)")):
        name = line.cells["experiment_name"].split("-batch_size")[0]
        origin = Origin(
            source=line.file,
            line=line.number,
            gpu=OPTIMUM_GPU,
            engine=_optimum_engine(name),
            checkpoint=line.cells["model"],
            attention="fa2" if "+fa2" in name else "bt" if "+bt" in name else "eager",
            batch_size=line.count(f"{shape}batch_size"),
            prompt_tokens=line.count(f"{shape}sequence_length"),
            output_tokens=line.count("benchmark.new_tokens", least=2),
        )
        if name == "bnb":
            yield Exclusion(origin=origin, reason=BNB)
            continue
        if name.split("+")[0] not in ("fp16", "gptq"):
            raise line.wrong(
                "experiment_name", "is not known (valid: fp16, gptq, bnb, with +bt, +fa2, +gptq+exllamav2)"
            )
        prefill_s = line.quantity("forward.latency(s)")
        all_steps = "decode.latency(s)"
        decode_s = line.quantity(all_steps) if line.cells.get(all_steps) else _after_prefill(line, prefill_s)
        yield Observation(
            origin=origin,
            model=_model(line, "model"),
            prefill_s=prefill_s,
            step_s=decode_s / (origin.output_tokens - 1),
        )


def _optimum_engine(name: str) -> str:
    if "gptq" not in name:
        return "transformers"
    return "transformers-gptq-v2" if name.endswith("exllamav2") else "transformers-gptq"


def _after_prefill(line: Line, prefill_s: float) -> float:
    whole_s = line.quantity("generate.latency(s)")
    if whole_s <= prefill_s:
        raise line.wrong("generate.latency(s)", f"is not longer than the prefill of {prefill_s:g} s inside it")
    return whole_s - prefill_s


def _argonne(path: Path) -> Iterator[Observation]:
    columns = ("Hardware", "Framework", "Model", "Input Output Length", "Batch Size", "Latency", "avg_power")
    for line in lines(path, (*columns, "Num of Hardware")):
        if line.count("Num of Hardware") != 1:
            raise line.wrong("Num of Hardware", "is not 1: runs over several GPUs are not read")
        gpu = line.one_of("Hardware", ARGONNE_GPUS)
        tokens = line.count("Input Output Length", least=2)
        yield Observation(
            origin=Origin(
                source=line.file,
                line=line.number,
                gpu=gpu,
                engine=line.one_of("Framework", ARGONNE_ENGINES),
                checkpoint=line.cells["Model"],
                attention="sdpa",
                batch_size=line.count("Batch Size"),
                prompt_tokens=tokens,
                output_tokens=tokens,
            ),
            model=_model(line, "Model"),
            whole_s=line.quantity("Latency"),
            power_w=_power(line, "avg_power", gpu, W_PER_MW),
        )
