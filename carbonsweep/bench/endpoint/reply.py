"""One answered request: when its tokens came, and how many they were, checked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep.bench.endpoint.wire import Usage
from carbonsweep.errors import StreamBroken, WrongTokenCount

FASTEST_TOKEN_S: Final = 1e-4
"""Less from token to token is no generation but the emptying of a buffer: 10,000 tokens a second in a single stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A chunk of a stream at its arrival; `told` is how many tokens the server had counted by then, if it says so."""

    at_s: float
    text: str
    told: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A whole stream, not yet believed. `finish` is the server's reason to stop, None where it never gave one."""

    sent_s: float
    beats: tuple[Beat, ...]
    finish: str | None
    finish_s: float | None
    usage: Usage | None

    @property
    def text(self) -> str:
        return "".join(beat.text for beat in self.beats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A stream that adds up: by `at_s[i]`, `counts[i]` output tokens had come.

    `prompt_tokens` and `cached_tokens` (of the prompt, not computed) are None where the server does not tell.
    `stepwise` says that every token came in a chunk of its own; else only the first and the last are placed in time.
    """

    sent_s: float
    at_s: tuple[float, ...]
    counts: tuple[int, ...]
    prompt_tokens: int | None
    cached_tokens: int | None
    stepwise: bool
    by_usage: bool

    @property
    def first_s(self) -> float:
        return self.at_s[0]

    @property
    def last_s(self) -> float:
        return self.at_s[-1]

    @property
    def ttft_s(self) -> float:
        return self.first_s - self.sent_s

    @property
    def decode_s(self) -> float:
        """From the first token to the last."""
        return self.last_s - self.first_s

    def tokens_between(self, begin_s: float, end_s: float) -> float:
        """Output tokens that came in this stretch of time, linear between arrivals.

        Streams of one batch step arrive a moment apart; whole counts at the edges would miss up to one step of them.
        """
        at_begin, at_end = np.interp((begin_s, end_s), self.at_s, self.counts)
        return float(at_end - at_begin)


def reply(heard: Heard, asked: int) -> Reply:
    """Believe a stream that was asked for `asked` tokens. Raises StreamBroken, WrongTokenCount.

    Without usage the stream must have a chunk for every token and end for its length: then both agree.
    """
    if heard.finish is None or heard.finish_s is None:
        raise StreamBroken(f"the stream ended after {len(heard.beats)} chunks, and the server never said it was done")
    written = None if heard.usage is None else heard.usage.completion_tokens
    _refuse_wrong_count(heard, asked, written)
    at_s, counts = _arrivals(heard, heard.finish_s, asked)
    if at_s[-1] - at_s[0] < (asked - 1) * FASTEST_TOKEN_S:
        raise StreamBroken(f"all {asked} tokens came in one piece: the server, or a proxy before it, does not stream")
    details = None if heard.usage is None else heard.usage.prompt_tokens_details
    return Reply(
        sent_s=heard.sent_s,
        at_s=at_s,
        counts=counts,
        prompt_tokens=(heard.usage.prompt_tokens or None) if heard.usage is not None else None,
        cached_tokens=None if details is None else details.cached_tokens,
        stepwise=counts == tuple(range(1, asked + 1)),
        by_usage=written is not None,
    )


def _refuse_wrong_count(heard: Heard, asked: int, written: int | None) -> None:
    chunks = sum(1 for beat in heard.beats if beat.text)
    ended = f"it ended with {heard.finish!r}"
    if written is not None and written != asked:
        raise WrongTokenCount(f"the server wrote {written} tokens instead of {asked}; {ended}")
    if chunks > asked:
        raise WrongTokenCount(f"{chunks} chunks of text came, and only {asked} tokens were asked for; {ended}")
    if written is None and not (chunks == asked and heard.finish == "length"):
        raise WrongTokenCount(
            f"the server tells no usage, and its {chunks} chunks of text do not show {asked} tokens; {ended}"
        )
    told = [beat.told for beat in heard.beats if beat.told is not None]
    if told and (told != sorted(told) or told[-1] != asked):
        raise WrongTokenCount(f"the server's running count ends at {told[-1]} of {asked} tokens, or goes backwards")


def _arrivals(heard: Heard, finish_s: float, asked: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """When how many tokens had come: by the server's running count, or a chunk a token, or from first to last.

    A token without text (a special one, half a character) comes in no chunk where there is no running count: then the
    first is taken to have come with the first text, and the last with the end.
    """
    running = _growing(heard.beats)
    if running and running[-1][1] == asked:
        return tuple(at_s for at_s, _ in running), tuple(count for _, count in running)
    texts = [beat.at_s for beat in heard.beats if beat.text]
    if len(texts) == asked:
        return tuple(texts), tuple(range(1, asked + 1))
    if asked == 1:
        return (finish_s,), (1,)
    if not texts:
        raise StreamBroken(f"no text came with {asked} tokens, so the first token has no time")
    return (texts[0], finish_s), (1, asked)


def _growing(beats: Sequence[Beat]) -> list[tuple[float, int]]:
    """Arrivals at which the server's running count grew; none where text came uncounted."""
    if any(beat.text and beat.told is None for beat in beats):
        return []
    grown: list[tuple[float, int]] = []
    for beat in beats:
        if beat.told is not None and beat.told > (grown[-1][1] if grown else 0):
            grown.append((beat.at_s, beat.told))
    return grown
