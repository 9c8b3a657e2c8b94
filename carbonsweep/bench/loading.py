"""Weights into a torch model on its device: real ones from disk or the hub, or random ones at true shape.

Torch and transformers are imported when a model is loaded, not before.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from carbonsweep.bench.hardware import Place, torch_dtype
from carbonsweep.bench.weights import WeightsSource
from carbonsweep.errors import BadInput, BenchFailed
from carbonsweep.facts import LanguageModel

if TYPE_CHECKING:
    import torch

MEASURE_EXTRA: Final = "pip install 'carbonsweep[measure]'"
"""What brings every library that measuring needs."""

_MISSING: Final = f"the transformers bench needs torch and transformers: {MEASURE_EXTRA}"
_SHAPE: Final = {
    "hidden_size": "hidden",
    "intermediate_size": "mlp",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "vocab_size": "vocabulary",
}
_TILE: Final = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model on its device; `tokenizer` is None for random weights. The same `key` means the same model."""

    key: tuple[str, ...]
    model: Any
    tokenizer: Any | None
    label: str


def loaded_key(model: LanguageModel, source: WeightsSource, dtype: str, place: Place) -> tuple[str, ...]:
    """What tells one loaded model from another, known before loading; the label tells of files replaced meanwhile."""
    return model.key, dtype, place.torch_device, source.kind, source.location, source.label


def load(model: LanguageModel, source: WeightsSource, dtype: str, place: Place) -> Loaded:
    """The model on the device of `place`. Raises what `real_model` raises."""
    weights, tokenizer = (
        (random_model(model, dtype, place.torch_device), None)
        if source.kind == "random"
        else real_model(model, source, dtype, place.torch_device)
    )
    key = loaded_key(model, source, dtype, place)
    return Loaded(key=key, model=weights, tokenizer=tokenizer, label=source.label)


def real_model(model: LanguageModel, source: WeightsSource, dtype: str, torch_device: str) -> tuple[Any, Any]:
    """Weights and tokenizer of a folder, a GGUF file or the hub.

    Raises BenchFailed where the shape is another, BadInput where a library that reads GGUF is not installed.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where, options = source.location, {}
    if source.is_gguf:
        _refuse_without_gguf_readers(source)
        # Packed weights, the default, are slow in bf16; dequantised once they are ordinary ones.
        options = {"gguf_file": Path(where).name, "quantization_config": GgufConfig(dequantize=True)}
        where = str(Path(where).parent)
    else:
        _refuse_other_shape(AutoConfig.from_pretrained(where), model, source)  # before gigabytes are read
    # Dequantising draws a bar of its own that no setting turns off; errors are raised, not printed.
    with contextlib.redirect_stderr(io.StringIO()) if source.is_gguf else contextlib.nullcontext():
        weights, loading = AutoModelForCausalLM.from_pretrained(
            where, dtype=torch_dtype(dtype), output_loading_info=True, **options
        )
    _refuse_other_shape(weights.config, model, source)
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise BenchFailed(f"weights {source.label}: {len(missing)} tensors are missing, such as {missing[0]}")
    options.pop("quantization_config", None)
    return weights.eval().to(torch_device), AutoTokenizer.from_pretrained(where, **options)


def _refuse_without_gguf_readers(source: WeightsSource) -> None:
    """Before transformers refuses: it names one package at a time, and not the extra that brings both."""
    from transformers.utils import is_accelerate_available, is_gguf_available

    present = {"accelerate": is_accelerate_available(), "gguf": is_gguf_available()}
    missing = [package for package, there in present.items() if not there]
    if missing:
        lacking = f"{' and '.join(missing)}, missing or too old here"
        raise BadInput(f"weights {source.label}: reading GGUF needs {lacking}: {MEASURE_EXTRA}")


def _refuse_other_shape(config: Any, model: LanguageModel, source: WeightsSource) -> None:
    differing = [
        f"{name} {getattr(config, key, None)} instead of {getattr(model, name)}"
        for key, name in _SHAPE.items()
        if getattr(config, key, None) != getattr(model, name)
    ]
    if differing:
        raise BenchFailed(f"weights {source.label} are not {model.key}: {', '.join(differing)}")


def random_model(model: LanguageModel, dtype: str, torch_device: str) -> Any:
    """Random weights at true shape, in seconds: built without memory, then filled by tiling one random block.

    Tiled weights choose the same token again and again, so such a model times well and says nothing.
    """
    import torch

    kind, config = random_config(model)
    with torch.device("meta"):
        empty = kind(config)
    built = empty.to(torch_dtype(dtype)).to_empty(device=torch_device)
    built.tie_weights()  # to_empty may have broken the tie
    # Its inverse frequencies are no weights, so to_empty left garbage there.
    built.model.rotary_emb = type(built.model.rotary_emb)(config).to(torch_device)
    block = torch.randn(_TILE, generator=torch.Generator().manual_seed(0)).mul_(0.02)
    block = block.to(device=torch_device, dtype=torch_dtype(dtype))
    with torch.no_grad():
        for parameter in built.parameters():
            _fill(parameter, block)
    return built.eval()


def random_config(model: LanguageModel) -> tuple[Any, Any]:
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


def import_libraries() -> None:
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


def library_version(package: str) -> str:
    """As installed; imports nothing. Raises BadInput naming the extra."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise BadInput(f"{_MISSING} (no {package} here)") from error
