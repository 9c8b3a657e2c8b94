"""Real measurement with torch and transformers, in this process: load, warm up, prefill and decode, several passes.

torch and transformers are imported when a measurement runs, not before: a driver that only asks for identities, or
sends this bench to workers, needs neither. Prefill is one forward pass over the padded prompts up to the choice of
token 1; decode is the `output_tokens - 1` steps of one token after it, greedy, never stopped by an end token.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import io
import math
import os
import platform
import random
import re
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final

from carbonsweep import facts
from carbonsweep.bench import prompts
from carbonsweep.bench.power.nvml import NVML_COUNTER, EnergyCounter, PresentGpu, present_gpus
from carbonsweep.bench.power.window import Clock, Meter, Window, phase_energy, window
from carbonsweep.bench.weights import WeightsSource, weights_source
from carbonsweep.domain import (
    DTYPE_BYTES,
    BenchIdentity,
    Configuration,
    Device,
    Measurement,
    PhaseMeasurement,
    Workload,
)
from carbonsweep.errors import BadInput, BenchError, BenchFailed, DoesNotFit, Unsupported
from carbonsweep.facts import CPU, LanguageModel
from carbonsweep.units import BYTES_PER_GIB, BYTES_PER_MIB

if TYPE_CHECKING:
    import torch

ENGINE: Final = "transformers"
WARM_UP_TOKENS: Final = 16
"""Output tokens of the warm-up batch: each step costs the same, so a full decode would warm up nothing more."""

_MISSING: Final = "the transformers bench needs torch and transformers: pip install 'carbonsweep[measure]'"
_SHAPE: Final = {
    "hidden_size": "hidden",
    "intermediate_size": "mlp",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "vocab_size": "vocabulary",
}
_TILE: Final = 4 * 2**20
_ERROR_SOURCE: Final = "95 % t-interval over repeated passes; energy: the counter's refresh period"


@dataclass(slots=True, kw_only=True)
class TransformersBench:
    """Measures with the transformers library on CPU (a kind of its own) or on one GPU of this machine.

    `weights` is auto, random, a path or a hub id. Each of `repeats` passes runs the same `batches` batches in a new
    order; at least 2 repeats, or there is no interval. `threads` are those of CPU work, None for all this process may
    use. `meter` replaces the GPU's energy counter, and gives a CPU one.
    Raises BadInput for counts that are too small.
    """

    weights: str = "auto"
    batches: int = 2
    repeats: int = 3
    threads: int | None = None
    meter: Meter | None = None
    clock: Clock = time.perf_counter
    # Fixed where the bench is made, so that a worker with another environment does what the driver's identity says.
    cpu_threads: int = field(init=False)
    _loaded: _Loaded | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.cpu_threads = usable_threads() if self.threads is None else self.threads
        if self.batches < 1 or self.repeats < 2 or self.cpu_threads < 1:
            raise BadInput(
                f"batches {self.batches}, repeats {self.repeats}, threads {self.cpu_threads}: at least 1, 2 and 1"
            )

    @property
    def name(self) -> str:
        return ENGINE

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """Reads package metadata and looks for weights; imports neither torch nor transformers. Raises BadInput."""
        source = weights_source(self.weights, facts.language_model(configuration.model))
        on_cpu = configuration.gpu == CPU
        protocol = "none" if on_cpu else NVML_COUNTER
        return BenchIdentity(
            bench=self.name,
            basis="measured",
            engine_version=f"transformers {_version('transformers')}, torch {_version('torch')}",
            weights=source.label,
            calibration="none",
            power_protocol=protocol if self.meter is None else self.meter.source,
            device=f"{self._cpu_name()}, {processor_name()}" if on_cpu else configuration.gpu,
        )

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Measure one batch size of one model on this machine.

        Raises BadInput where torch or the weights are missing, DoesNotFit, Unsupported, and BenchFailed with type and
        message of anything else. After DoesNotFit the process holds no model and no cached memory.
        """
        _import_heavy()
        try:
            return self._measured(configuration, workload)
        except (BenchError, BadInput):
            raise
        except Exception as error:
            shortage = _shortage(error)
            if shortage is None:
                raise BenchFailed(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
            # The frames of a failed run hold its tensors.
            traceback.clear_frames(error.__traceback__)
        self._free()
        raise shortage

    def _measured(self, configuration: Configuration, workload: Workload) -> Measurement:
        model = facts.language_model(configuration.model)
        place = self._place(configuration)
        source = weights_source(self.weights, model)
        self._refuse_overflow(configuration, workload, model, source, place)
        loaded = self._load(configuration, model, source, place.torch_device)
        inputs = self._inputs(loaded, configuration, workload, place.torch_device)
        _refuse_beyond_context(inputs, workload, model)
        self._warm_up(loaded, inputs[0], workload, place)
        passes = self._passes(loaded, inputs, workload, place)
        return self._measurement(configuration, workload, loaded, inputs, passes, place)

    def _place(self, configuration: Configuration) -> _Place:
        """The device and its meter. Raises Unsupported where this machine or this bench has no such thing."""
        if configuration.engine != ENGINE:
            raise Unsupported(f"the transformers bench runs engine {ENGINE!r}, not {configuration.engine!r}")
        if configuration.gpu_count != 1:
            raise Unsupported(f"the transformers bench runs on one device, not on {configuration.gpu_count}")
        if configuration.gpu == CPU:
            _set_threads(self.cpu_threads)
            name = f"{self._cpu_name()}, {processor_name()}"
            return _Place(torch_device="cpu", device=Device(name=name), meter=self.meter)
        gpu = facts.gpu(configuration.gpu)
        if configuration.dtype not in gpu.peak_flop_per_s:
            raise Unsupported(f"{gpu.key} has no {configuration.dtype}; it has {', '.join(gpu.peak_flop_per_s)}")
        index, present = _cuda_device(gpu.key)
        device = Device(
            name=present.product_name, uuid=present.uuid, driver=present.driver, power_cap_w=present.power_cap_w
        )
        meter = EnergyCounter(present.uuid) if self.meter is None else self.meter
        return _Place(torch_device=f"cuda:{index}", device=device, meter=meter)

    def _cpu_name(self) -> str:
        return f"{CPU}, {self.cpu_threads} thread{'s' if self.cpu_threads > 1 else ''}"

    def _refuse_overflow(
        self,
        configuration: Configuration,
        workload: Workload,
        model: LanguageModel,
        source: WeightsSource,
        place: _Place,
    ) -> None:
        """Weights and KV cache alone against free memory, before anything is read: what cannot fit is not tried."""
        key = _key(configuration, source, place.torch_device)
        if self._loaded is not None and self._loaded.key != key:
            self._free()
        value_bytes = DTYPE_BYTES[configuration.dtype]
        tokens = configuration.batch_size * (workload.mean_prompt_tokens + workload.output_tokens)
        needed_bytes = tokens * model.kv_bytes_per_token(value_bytes)
        needed_bytes += 0 if self._loaded is not None else model.weight_bytes(value_bytes)
        available_bytes = _free_bytes(place.torch_device)
        if available_bytes is not None and needed_bytes > available_bytes:
            raise DoesNotFit(needed_bytes, available_bytes)

    def _load(
        self, configuration: Configuration, model: LanguageModel, source: WeightsSource, torch_device: str
    ) -> _Loaded:
        """The model, from the last trial where nothing about it changed."""
        key = _key(configuration, source, torch_device)
        if self._loaded is None or self._loaded.key != key:
            self._free()
            weights, tokenizer = (
                (_random_model(model, configuration.dtype, torch_device), None)
                if source.kind == "random"
                else _real_model(model, source, configuration.dtype, torch_device)
            )
            self._loaded = _Loaded(key=key, model=weights, tokenizer=tokenizer, label=source.label)
        return self._loaded

    def _free(self) -> None:
        import torch

        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _inputs(
        self, loaded: _Loaded, configuration: Configuration, workload: Workload, torch_device: str
    ) -> tuple[Batch, ...]:
        chosen = prompts.batches(workload, configuration.batch_size, self.batches)
        if loaded.tokenizer is None or workload.prompts is None:
            vocabulary = loaded.model.config.vocab_size
            return tuple(
                random_batch([workload.prompt_tokens[i] for i in batch], vocabulary, workload.seed + k, torch_device)
                for k, batch in enumerate(chosen)
            )
        texts = workload.prompts
        return tuple(text_batch(loaded.tokenizer, [texts[i] for i in batch], torch_device) for batch in chosen)

    def _warm_up(self, loaded: _Loaded, batch: Batch, workload: Workload, place: _Place) -> None:
        run = _Run(loaded.model, batch, min(workload.decode_steps, WARM_UP_TOKENS))
        run.prefill()
        run.decode()
        _synchronise(place.torch_device)

    def _passes(
        self, loaded: _Loaded, inputs: Sequence[Batch], workload: Workload, place: _Place
    ) -> list[list[tuple[Window, Window]]]:
        """For each pass, the prefill and decode window of every batch; the order is drawn anew each time."""
        _forget_peak_memory(place.torch_device)
        dealer = random.Random(workload.seed)
        passes = []
        for _ in range(self.repeats):
            order = dealer.sample(inputs, len(inputs))
            passes.append([self._windows(_Run(loaded.model, batch, workload.decode_steps), place) for batch in order])
        return passes

    def _windows(self, run: _Run, place: _Place) -> tuple[Window, Window]:
        prefill = window(run.prefill, meter=place.meter, clock=self.clock)
        return prefill, window(run.decode, meter=place.meter, clock=self.clock)

    def _measurement(
        self,
        configuration: Configuration,
        workload: Workload,
        loaded: _Loaded,
        inputs: Sequence[Batch],
        passes: list[list[tuple[Window, Window]]],
        place: _Place,
    ) -> Measurement:
        prompt_tokens = fmean(batch.tokens for batch in inputs)
        padded_tokens = fmean(batch.ids.numel() for batch in inputs)
        decoded_tokens = configuration.batch_size * workload.decode_steps
        prefill, prefill_flaws = _phase(
            [[prefill for prefill, _ in each] for each in passes], prompt_tokens, padded_tokens, configuration, place
        )
        decode, decode_flaws = _phase(
            [[decode for _, decode in each] for each in passes], decoded_tokens, decoded_tokens, configuration, place
        )
        unknown = [f"prefill energy unknown: {flaw}" for flaw in prefill_flaws]
        unknown += [f"decode energy unknown: {flaw}" for flaw in decode_flaws]
        invented = loaded.tokenizer is None or workload.prompts is None
        contents = ("prompts are seeded random token ids of the workload's lengths",) if invented else ()
        return Measurement(
            prefill=prefill,
            decode=decode,
            batch_size=configuration.batch_size,
            output_tokens=workload.output_tokens,
            peak_memory_bytes=_peak_memory_bytes(place.torch_device),
            idle_w=None,
            bench=self.name,
            basis="measured",
            error_source=_ERROR_SOURCE,
            device=place.device,
            notes=(f"weights: {loaded.label}", *contents, *unknown),
        )

    def __getstate__(self) -> dict[str, Any]:
        """A bench travels without its model; a worker loads its own."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "_loaded"} | {"_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Left-padded prompts on the device: `ids` and `mask` are (batch, longest), `tokens` counts the real ones."""

    ids: torch.Tensor
    mask: torch.Tensor
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A model on its device; `tokenizer` is None for random weights."""

    key: tuple[str, ...]
    model: Any
    tokenizer: Any | None
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a trial runs and what meters it."""

    torch_device: str
    device: Device
    meter: Meter | None


class _Run:
    """One batch on its way; both phases can be done again and again, so that a window gets long enough."""

    def __init__(self, model: Any, batch: Batch, steps: int) -> None:
        self.model, self.batch, self.steps = model, batch, steps
        self.first: Any = None
        self.cache: Any = None

    def prefill(self) -> None:
        self.cache = None  # the old one would double the peak
        self.first, self.cache = prefill(self.model, self.batch)

    def decode(self) -> None:
        surplus = self.cache.get_seq_length() - self.batch.ids.shape[1]
        if surplus:
            self.cache.crop(-surplus)
        decode(self.model, self.batch, self.first, self.cache, self.steps)


def prefill(model: Any, batch: Batch) -> tuple[torch.Tensor, Any]:
    """Token 1 of every prompt, (batch, 1), and the filled KV cache; returns when the device is done.

    Position ids are explicit: the default is a plain range that ignores left padding, which is off by 0.6 in a logit
    in bf16. Only the last position's logits are built.
    """
    import torch
    from transformers import DynamicCache

    with torch.inference_mode():
        cache = DynamicCache(config=model.config)
        positions = (batch.mask.cumsum(-1) - 1).clamp(min=0)  # (batch, longest)
        seen = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        first = seen.logits[:, -1].argmax(-1, keepdim=True)
        _synchronise(str(batch.ids.device))
    return first, cache


def decode(model: Any, batch: Batch, first: torch.Tensor, cache: Any, steps: int) -> torch.Tensor:
    """The `steps` tokens after `first`, (batch, steps), chosen on the device; returns when the device is done."""
    import torch

    with torch.inference_mode():
        size, longest = batch.ids.shape
        mask = torch.ones(size, longest + steps, dtype=batch.mask.dtype, device=batch.mask.device)
        mask[:, :longest] = batch.mask
        chosen = torch.empty(size, steps, dtype=torch.long, device=batch.ids.device)
        token, position = first, batch.mask.sum(-1, keepdim=True) - 1
        for step in range(steps):
            position = position + 1
            seen = model(
                input_ids=token,
                attention_mask=mask[:, : longest + step + 1],
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            token = seen.logits[:, -1].argmax(-1, keepdim=True)
            chosen[:, step : step + 1] = token
        _synchronise(str(batch.ids.device))
    return chosen


def text_batch(tokenizer: Any, texts: list[str], torch_device: str) -> Batch:
    """Prompts as the model's own tokenizer cuts them."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    cut = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left").to(torch_device)
    return Batch(ids=cut["input_ids"], mask=cut["attention_mask"], tokens=int(cut["attention_mask"].sum()))


def random_batch(lengths: Sequence[int], vocabulary: int, seed: int, torch_device: str) -> Batch:
    """Prompts of these lengths in tokens, made of seeded random ids."""
    import torch

    longest = max(lengths)
    ids = torch.randint(vocabulary, (len(lengths), longest), generator=torch.Generator().manual_seed(seed))
    padding = longest - torch.tensor(lengths).unsqueeze(1)  # (batch, 1)
    mask = (torch.arange(longest) >= padding).long()
    return Batch(ids=(ids * mask).to(torch_device), mask=mask.to(torch_device), tokens=sum(lengths))


def usable_threads() -> int:
    """OMP_NUM_THREADS where it is a number, else the processors this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """The processor's product name, or its architecture where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _phase(
    passes: list[list[Window]], tokens: float, padded_tokens: float, configuration: Configuration, place: _Place
) -> tuple[PhaseMeasurement, tuple[str, ...]]:
    """One phase of the mean batch, and why its energy is unknown where it is."""
    mean_s, low_s, high_s = interval([fmean(each.run_s for each in windows) for windows in passes])
    energy, flaws = phase_energy([each for windows in passes for each in windows], place.meter)
    measurement = PhaseMeasurement(
        tokens=tokens,
        padded_tokens=padded_tokens,
        duration_s=mean_s,
        duration_low_s=low_s,
        duration_high_s=high_s,
        repeats=len(passes),
        energy=energy,
        gpu=configuration.gpu,
        gpu_count=configuration.gpu_count,
        occupied_s=mean_s,
    )
    return measurement, flaws


def interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """Mean of at least two samples and its 95 % t-interval, not below 0."""
    from scipy.stats import t

    mean = fmean(samples)
    half = float(t.ppf(0.975, len(samples) - 1)) * stdev(samples) / math.sqrt(len(samples))
    return mean, max(0.0, mean - half), mean + half


def _real_model(model: LanguageModel, source: WeightsSource, dtype: str, torch_device: str) -> tuple[Any, Any]:
    """Weights and tokenizer of a folder, a GGUF file or the hub. Raises BenchFailed where the shape is another."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, options = source.location, {}
    if source.is_gguf:
        # Packed weights, the default, are slow in bf16; dequantised once they are ordinary ones.
        options = {"gguf_file": Path(where).name, "quantization_config": GgufConfig(dequantize=True)}
        where = str(Path(where).parent)
    else:
        _refuse_other_shape(AutoConfig.from_pretrained(where), model, source)  # before gigabytes are read
    # Dequantising draws a bar of its own that no setting turns off; errors are raised, not printed.
    with contextlib.redirect_stderr(io.StringIO()) if source.is_gguf else contextlib.nullcontext():
        weights, loading = AutoModelForCausalLM.from_pretrained(
            where, dtype=_torch_dtype(dtype), output_loading_info=True, **options
        )
    _refuse_other_shape(weights.config, model, source)
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise BenchFailed(f"weights {source.label}: {len(missing)} tensors are missing, such as {missing[0]}")
    options.pop("quantization_config", None)
    return weights.eval().to(torch_device), AutoTokenizer.from_pretrained(where, **options)


def _refuse_other_shape(config: Any, model: LanguageModel, source: WeightsSource) -> None:
    differing = [
        f"{name} {getattr(config, key, None)} instead of {getattr(model, name)}"
        for key, name in _SHAPE.items()
        if getattr(config, key, None) != getattr(model, name)
    ]
    if differing:
        raise BenchFailed(f"weights {source.label} are not {model.key}: {', '.join(differing)}")


def _random_model(model: LanguageModel, dtype: str, torch_device: str) -> Any:
    """Random weights at true shape, in seconds: built without memory, then filled by tiling one random block.

    Tiled weights choose the same token again and again, so such a model times well and says nothing.
    """
    import torch

    kind, config = _random_config(model)
    with torch.device("meta"):
        empty = kind(config)
    built = empty.to(_torch_dtype(dtype)).to_empty(device=torch_device)
    built.tie_weights()  # to_empty may have broken the tie
    # Its inverse frequencies are no weights, so to_empty left garbage there.
    built.model.rotary_emb = type(built.model.rotary_emb)(config).to(torch_device)
    block = torch.randn(_TILE, generator=torch.Generator().manual_seed(0)).mul_(0.02)
    block = block.to(device=torch_device, dtype=_torch_dtype(dtype))
    with torch.no_grad():
        for parameter in built.parameters():
            _fill(parameter, block)
    return built.eval()


def _random_config(model: LanguageModel) -> tuple[Any, Any]:
    """Class and configuration. Llama covers every shape without biases, Mistral's too: its window is off here."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    shape: dict[str, Any] = {key: getattr(model, name) for key, name in _SHAPE.items()}
    shape |= {
        "max_position_embeddings": model.context_tokens,
        "rms_norm_eps": model.norm_epsilon,
        "tie_word_embeddings": model.tied,
        "rope_parameters": None if model.rope is None else dict(model.rope),
        "head_dim": model.head_dim,
        "pad_token_id": 0,
        "eos_token_id": None,
    }
    if model.qkv_bias:
        return Qwen2ForCausalLM, Qwen2Config(**shape)
    return LlamaForCausalLM, LlamaConfig(**shape)


def _fill(parameter: torch.Tensor, block: torch.Tensor) -> None:
    """Matrices from the block, over and over; norms 1 (biases too: a constant of the right cost)."""
    if parameter.dim() < 2:
        parameter.fill_(1.0)
        return
    flat = parameter.view(-1)
    for start in range(0, flat.numel(), block.numel()):
        piece = flat[start : start + block.numel()]
        piece.copy_(block[: piece.numel()])


def _refuse_beyond_context(inputs: Sequence[Batch], workload: Workload, model: LanguageModel) -> None:
    longest = max(batch.ids.shape[1] for batch in inputs)
    if longest + workload.output_tokens > model.context_tokens:
        raise Unsupported(
            f"a prompt of {longest} tokens and {workload.output_tokens} output tokens exceed "
            f"the context of {model.key}, {model.context_tokens} tokens"
        )


def _cuda_device(kind: str) -> tuple[int, PresentGpu]:
    """CUDA's index of a GPU of this kind. By UUID: CUDA and NVML may count in different orders."""
    import torch

    present = present_gpus()
    if not any(gpu.kind == kind for gpu in present):
        there = ", ".join(gpu.kind or gpu.product_name for gpu in present) or "none"
        raise Unsupported(f"no {kind} on this machine (GPUs here: {there})")
    if not torch.cuda.is_available():
        raise Unsupported(f"torch {torch.__version__} cannot use the {kind} of this machine: it finds no CUDA")
    for index in range(torch.cuda.device_count()):
        uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
        for gpu in present:
            if gpu.uuid == uuid and gpu.kind == kind:
                return index, gpu
    raise Unsupported(f"torch is not shown the {kind} of this machine: see CUDA_VISIBLE_DEVICES")


def _shortage(error: Exception) -> DoesNotFit | None:
    """DoesNotFit where `error` says that memory ran out, with the bytes it names."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        asked = re.search(r"Tried to allocate ([\d.]+) (GiB|MiB)", str(error))
        free = re.search(r"of which ([\d.]+) (GiB|MiB) is free", str(error))
        return DoesNotFit(_bytes(asked), _bytes(free))
    if isinstance(error, MemoryError):
        return DoesNotFit(None, None)
    asked = re.search(r"DefaultCPUAllocator: .*?allocate (\d+) bytes", str(error), re.DOTALL)
    return None if asked is None else DoesNotFit(float(asked[1]), _free_bytes("cpu"))


def _bytes(match: re.Match[str] | None) -> float | None:
    if match is None:
        return None
    return float(match[1]) * (BYTES_PER_GIB if match[2] == "GiB" else BYTES_PER_MIB)


def _free_bytes(torch_device: str) -> float | None:
    """Free memory of the device; of the machine for "cpu", None where the system does not tell."""
    import torch

    if torch_device != "cpu":
        return float(torch.cuda.mem_get_info(torch_device)[0])
    with contextlib.suppress(OSError):
        available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
        if available is not None:
            return float(available[1]) * 1024
    return None


def _peak_memory_bytes(torch_device: str) -> float | None:
    import torch

    return None if torch_device == "cpu" else float(torch.cuda.max_memory_allocated(torch_device))


def _forget_peak_memory(torch_device: str) -> None:
    import torch

    if torch_device != "cpu":
        torch.cuda.reset_peak_memory_stats(torch_device)


def _synchronise(torch_device: str) -> None:
    import torch

    if torch_device != "cpu":
        torch.cuda.synchronize(torch_device)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _torch_dtype(dtype: str) -> torch.dtype:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]


def _key(configuration: Configuration, source: WeightsSource, torch_device: str) -> tuple[str, ...]:
    return configuration.model, configuration.dtype, torch_device, source.kind, source.location


def _import_heavy() -> None:
    """Raises BadInput naming the extra. No telemetry, and no bars and warnings between the sweep's own lines."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import scipy.stats  # noqa: F401
        import torch  # noqa: F401
        from transformers.utils import logging
    except ImportError as error:
        raise BadInput(f"{_MISSING} ({error})") from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise BadInput(f"{_MISSING} (no {package} here)") from error
