"""Operators that one decode step of transformers launches, per layer and per pass, for each architecture.

Eager transformers is host-bound on small models: its time per layer follows the number of operators the host
dispatches. They are counted, not timed, with a dispatch mode of torch on tiny random models of two and of four layers
(four, so that architectures whose layers alternate are counted over both kinds), one step with a cache. Prints the
table `carbonsweep/facts/operators.toml`, or writes it with --write.
"""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

TABLE = Path(__file__).parents[1] / "carbonsweep" / "facts" / "operators.toml"

# Operators that only describe memory anew, or reserve it: no kernel runs for them.
VIEWS = {
    *("view", "_unsafe_view", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "expand", "t"),
    *("split", "split_with_sizes", "chunk", "detach", "alias", "as_strided", "unbind", "_reshape_alias", "lift_fresh"),
    *("empty", "empty_like", "new_empty"),
}

LLAMA = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
GPT = {"n_embd": 64, "n_head": 4}
FALCON = {"hidden_size": 64, "num_attention_heads": 4, "new_decoder_architecture": False}

# Our name: the name transformers has for it, and the shape of a tiny one.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**LLAMA, "num_key_value_heads": 4}),
    "llama_grouped": ("llama", {**LLAMA, "num_key_value_heads": 2}),
    "mistral": ("mistral", {**LLAMA, "num_key_value_heads": 2}),
    "qwen2": ("qwen2", {**LLAMA, "num_key_value_heads": 4}),
    "gemma": ("gemma", {**LLAMA, "num_key_value_heads": 1, "head_dim": 16}),
    "gemma2": ("gemma2", {**LLAMA, "num_key_value_heads": 2, "head_dim": 16}),
    "phi": ("phi", LLAMA),
    "phi3": ("phi3", {**LLAMA, "pad_token_id": 0, "eos_token_id": 1}),
    "stablelm": ("stablelm", {**LLAMA, "num_key_value_heads": 4, "use_qkv_bias": True}),
    "gpt_neox": ("gpt_neox", LLAMA),
    "gpt2": ("gpt2", GPT),
    "gpt_neo": ("gpt_neo", {"hidden_size": 64, "intermediate_size": 128, "num_heads": 4}),
    "gptj": ("gptj", {**GPT, "rotary_dim": 8, "bos_token_id": 1, "eos_token_id": 1}),
    "codegen": ("codegen", {**GPT, "rotary_dim": 8, "bos_token_id": 1, "eos_token_id": 1}),
    "opt": ("opt", {"hidden_size": 64, "ffn_dim": 128, "num_attention_heads": 4, "word_embed_proj_dim": 64}),
    "xglm": ("xglm", {"d_model": 64, "ffn_dim": 128, "attention_heads": 4}),
    "bloom": ("bloom", {"hidden_size": 64, "n_head": 4}),
    "falcon": ("falcon", {**FALCON, "multi_query": True, "parallel_attn": True, "alibi": False, "bias": False}),
    "falcon_rw": ("falcon", {**FALCON, "multi_query": False, "parallel_attn": False, "alibi": True, "bias": True}),
}
ATTENTIONS = ("eager", "sdpa")
LAYER_COUNT = {"gpt2": "n_layer", "gptj": "n_layer", "codegen": "n_layer", "bloom": "n_layer", "xglm": "num_layers"}


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts aten operators by name while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operator and run it."""
        self.counted[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def counted(name: str, layers: int, attention: str) -> tuple[int, int]:
    """Kernels and views of one decode step. Raises ValueError where the architecture lacks this attention."""
    kind, shape = ARCHITECTURES[name]
    shape = {**shape, "vocab_size": 64}
    if kind == "gpt_neo":
        shape |= {"num_layers": layers, "attention_types": [[["global", "local"], layers // 2]]}
    else:
        shape[LAYER_COUNT.get(kind, "num_hidden_layers")] = layers
    config = AutoConfig.for_model(kind, **shape)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float16).eval()
    prompt = torch.ones(1, 16, dtype=torch.long)
    with torch.no_grad():
        cache = model(prompt, use_cache=True, attention_mask=torch.ones(1, 16, dtype=torch.long)).past_key_values
        with Counting() as mode:
            mask = torch.ones(1, 17, dtype=torch.long)
            model(prompt[:, :1], past_key_values=cache, use_cache=True, attention_mask=mask)
    views = sum(count for operator, count in mode.counted.items() if operator in VIEWS)
    return mode.counted.total() - views, views


def rows() -> str:
    """The table as TOML."""
    packages = ("torch", "transformers")
    versions = ", ".join(f"{package} {importlib.metadata.version(package).split('+')[0]}" for package in packages)
    lines = [
        "# Operators of one decode step of transformers: kernels launched and views taken, per layer and per pass.",
        "# Written by `python -m checks.operators_per_layer --write`: counted, not timed. An attention that is",
        "# absent is one the architecture does not have there; transformers then runs eager.",
    ]
    for name in ARCHITECTURES:
        lines += ["", f"[{name}]"]
        for attention in ATTENTIONS:
            try:
                two, four = counted(name, 2, attention), counted(name, 4, attention)
            except ValueError:
                continue
            kernels, views = ((late - early) / 2 for early, late in zip(two, four, strict=True))
            of_pass = [early - 2 * each for early, each in zip(two, (kernels, views), strict=True)]
            lines.append(
                f"{attention} = {{ kernels = {kernels:g}, views = {views:g}, "
                f"pass_kernels = {of_pass[0]:g}, pass_views = {of_pass[1]:g} }}"
            )
        lines.append(f'source = "counted by checks/operators_per_layer.py with {versions}"')
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} instead of printing it")
    warnings.filterwarnings("ignore")
    if parser.parse_args().write:
        TABLE.write_text(rows(), encoding="utf-8")
    else:
        print(rows(), end="")


if __name__ == "__main__":
    main()
