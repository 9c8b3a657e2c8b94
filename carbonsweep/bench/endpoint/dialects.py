"""How each kind of server is told to write exactly n tokens: OpenAI's API has no way to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

RequestPath = Literal["completions", "chat/completions"]
PATHS: Final[tuple[RequestPath, ...]] = ("completions", "chat/completions")
"""Completions first: no chat template between the prompt and the model."""

Fields = Mapping[str, Any]
_USAGE: Final = {"stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """`fields` are those of a request for n tokens; `salt` is a text that no earlier request had."""

    name: str
    fields: Callable[[int, str], Fields]


def _vllm(tokens: int, salt: str) -> Fields:
    """vLLM: a running count with every chunk, and a salt that no cached prefix has."""
    return {
        "ignore_eos": True,
        "cache_salt": salt,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }


def _ignore_eos(tokens: int, salt: str) -> Fields:
    return {"ignore_eos": True, **_USAGE}


def _generation_config(tokens: int, salt: str) -> Fields:
    """transformers serve takes a whole generation config as JSON text; -1 is no token's id, so none ends the text."""
    config = {"max_new_tokens": tokens, "eos_token_id": -1, "do_sample": False}
    return {"generation_config": json.dumps(config)}


def _min_tokens(tokens: int, salt: str) -> Fields:
    """Forbids the end token until then, which changes the text but not its length."""
    return {"min_tokens": tokens, **_USAGE}


DIALECTS: Final[tuple[Dialect, ...]] = (
    Dialect(name="ignore_eos and cache_salt", fields=_vllm),
    Dialect(name="ignore_eos", fields=_ignore_eos),
    Dialect(name="generation_config", fields=_generation_config),
    Dialect(name="min_tokens", fields=_min_tokens),
)
"""In the order they are tried: the first that is accepted and gives the asked length is spoken."""

BY_NAME: Final[Mapping[str, Dialect]] = {dialect.name: dialect for dialect in DIALECTS}


def body(*, dialect: str, path: RequestPath, model: str, prompt: str, tokens: int, salt: str) -> bytes:
    """A request for exactly `tokens` tokens, greedy and streamed, ready to send."""
    asked: dict[str, Any] = {"model": model, "max_tokens": tokens, "temperature": 0, "stream": True}
    if path == "completions":
        asked["prompt"] = prompt
    else:
        asked["messages"] = [{"role": "user", "content": prompt}]
    return json.dumps({**asked, **BY_NAME[dialect].fields(tokens, salt)}).encode()
