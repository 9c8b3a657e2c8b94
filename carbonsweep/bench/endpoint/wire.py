"""What comes over the wire, typed: chunks of a stream, usage, models, and what a refusal says."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec

LONGEST_QUOTE: Final = 200
"""Characters of a server's own words that a message repeats."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_T = TypeVar("_T")


class PromptDetails(msgspec.Struct, frozen=True):
    """`cached_tokens` were not computed: the server had them from an earlier prompt."""

    cached_tokens: Count | None = None


class Usage(msgspec.Struct, frozen=True):
    """The server's own count of tokens."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None


class Delta(msgspec.Struct, frozen=True):
    """What a chunk of a chat adds; servers call the model's thinking by either name."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(msgspec.Struct, frozen=True):
    """`text` of a completion, `delta` of a chat."""

    text: str | None = None
    delta: Delta | None = None
    finish_reason: str | None = None

    @property
    def added(self) -> str:
        """The text this chunk adds, thinking included; a chunk that only names the role adds none."""
        if self.delta is None:
            return self.text or ""
        return (self.delta.reasoning_content or self.delta.reasoning or "") + (self.delta.content or "")


class Chunk(msgspec.Struct, frozen=True):
    """One event of a stream; a server that fails on the way says so in `error`, or in an object called "error"."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None
    object: Any = None
    message: Any = None

    @property
    def failure(self) -> str | None:
        """What went wrong, in the server's words; None where nothing did."""
        if self.error:
            return said(self.error) or "an error without words"
        return (said(self.message) or "an error without words") if self.object == "error" else None


class Model(msgspec.Struct, frozen=True):
    """One row of the model list."""

    id: str
    owned_by: str | None = None
    max_model_len: Count | None = None


class Models(msgspec.Struct, frozen=True):
    """The model list."""

    data: list[Model]


class Version(msgspec.Struct, frozen=True):
    """What vLLM says at /version."""

    version: str


class Nonsense(ValueError):
    """JSON that is none, or says something impossible."""


def chunk(data: str) -> Chunk:
    """One event's data. Raises Nonsense."""
    return _decoded(data, Chunk)


def models(body: bytes) -> Models:
    """The model list. Raises Nonsense."""
    return _decoded(body, Models)


def version(body: bytes) -> str:
    """A server's version. Raises Nonsense."""
    return plain(_decoded(body, Version).version)


def _decoded(data: str | bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Nonsense(f"{error}") from error


def plain(text: str) -> str:
    """One short printable line of what a server wrote: it may hold anything, terminal codes too."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST_QUOTE]).split())
    return line if len(line) <= LONGEST_QUOTE else f"{line[:LONGEST_QUOTE]}..."


def words(body: str | bytes) -> str:
    """What a refusal says, in whichever of the usual places."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    if text.lstrip()[:1] == "<":
        return "an HTML page"
    try:
        return said(msgspec.json.decode(text)) or plain(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return plain(text) or "nothing"


def said(value: Any) -> str:
    """The message inside an error object: OpenAI's error.message, FastAPI's detail, or a bare text."""
    for _ in range(4):
        if isinstance(value, dict):
            value = next((value[key] for key in ("error", "message", "detail") if value.get(key)), "")
        elif isinstance(value, list) and value:
            value = value[0].get("msg", value[0]) if isinstance(value[0], dict) else value[0]
    return plain(value) if isinstance(value, str) else ""
