"""Prompt tokens of a server that does not count them, by the model's own tokenizer where that is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from carbonsweep.bench.endpoint.dialects import RequestPath
from carbonsweep.bench.weights import weights_source
from carbonsweep.errors import WrongTokenCount
from carbonsweep.facts import LanguageModel

Counter = Callable[[str], int]


def counter(model: LanguageModel, served_name: str, path: RequestPath) -> Counter:
    """Counts a prompt as the server must: special tokens, or the chat template, included.

    The tokenizer is that of the folder the server names, else the model's own, packaged or in the hub's cache; nothing
    is downloaded. Raises WrongTokenCount where there is none.
    """
    try:
        tokenizer = _tokenizer(model, served_name)
    except (ImportError, OSError, ValueError) as error:
        raise WrongTokenCount(
            f"the server tells no usage, and no tokenizer of {model.key} is here to count prompt tokens with "
            f"({type(error).__name__})"
        ) from error
    if path == "completions":
        return lambda text: len(tokenizer(text)["input_ids"])
    return lambda text: len(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
    )


def _tokenizer(model: LanguageModel, served_name: str) -> Any:
    from transformers import AutoTokenizer

    if (Path(served_name) / "tokenizer_config.json").is_file():
        return AutoTokenizer.from_pretrained(served_name, local_files_only=True)
    source = weights_source("auto", model)
    if source.is_gguf:
        file = Path(source.location)
        return AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    return AutoTokenizer.from_pretrained(source.location, local_files_only=True)
