"""Prompt tokens of everything that was sent, as the server counted them, checked against what is possible."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from carbonsweep.bench.endpoint.recount import Counter, counter
from carbonsweep.bench.endpoint.reply import Reply
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.errors import WrongTokenCount
from carbonsweep.facts import LanguageModel

SPECIAL_TOKENS: Final = {"completions": 8, "chat/completions": 4096}
"""What a server may add to a prompt: a token or two at the beginning, or a chat template with its system prompt."""


class PromptTally:
    """Counts of `batches` batches, each run many times; where the server counts nothing, the tokenizer does."""

    def __init__(self, model: LanguageModel, served: Served, batches: int) -> None:
        self._model, self._served = model, served
        self._runs: list[list[int]] = [[] for _ in range(batches)]
        self._cached: int | None = None
        self._counter: Counter | None = None

    def add(self, batch: int, texts: Sequence[str], replies: Sequence[Reply]) -> None:
        """One run of a batch. Raises WrongTokenCount."""
        counts = [self._checked(text, reply) for text, reply in zip(texts, replies, strict=True)]
        self._runs[batch].append(sum(counts))
        told = [reply.cached_tokens for reply in replies if reply.cached_tokens is not None]
        if told:
            self._cached = (self._cached or 0) + sum(told)

    @property
    def tokens(self) -> int:
        """Of all requests together."""
        return sum(map(sum, self._runs))

    @property
    def cached_tokens(self) -> int | None:
        """Of all requests together; None where the server never told."""
        return self._cached

    @property
    def mean_batch_tokens(self) -> float:
        """Of one batch, the mean of all batches, each the mean of its runs."""
        return fmean(fmean(runs) for runs in self._runs if runs)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about the counts."""
        return () if self._counter is None else ("prompt tokens counted by the model's tokenizer, not by the server",)

    def _checked(self, text: str, reply: Reply) -> int:
        """A token is at least one byte of the prompt, or was added by the server; none is cached that is not there."""
        count = self._recounted(text) if reply.prompt_tokens is None else reply.prompt_tokens
        most = len(text.encode()) + SPECIAL_TOKENS[self._served.path]
        if count > most:
            raise WrongTokenCount(f"the server counts {count} tokens in a prompt that has at most {most}")
        if reply.cached_tokens is not None and reply.cached_tokens > count:
            raise WrongTokenCount(f"the server took {reply.cached_tokens} of {count} prompt tokens from its cache")
        return count

    def _recounted(self, text: str) -> int:
        if self._counter is None:
            self._counter = counter(self._model, self._served.model, self._served.path)
        return self._counter(text)
