"""The loop of the two phases, over batches of left-padded prompts.

Prefill is one forward pass over the prompts up to the choice of token 1; decode is the `output_tokens - 1` steps of
one token after it, greedy, never stopped by an end token. Torch and transformers are imported when a loop runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from carbonsweep.bench import prompts
from carbonsweep.bench.hardware import synchronise
from carbonsweep.domain import Workload
from carbonsweep.errors import Unsupported
from carbonsweep.facts import LanguageModel

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Left-padded prompts on the device: `ids` and `mask` are (batch, longest), `tokens` counts the real ones."""

    ids: torch.Tensor
    mask: torch.Tensor
    tokens: int


class RewindingRun:
    """One batch on its way; both phases can be done again and again, so that a window gets long enough."""

    def __init__(self, model: Any, batch: Batch, steps: int) -> None:
        self.model, self.batch, self.steps = model, batch, steps
        self.first: Any = None
        self.cache: Any = None

    def prefill(self) -> None:
        """Token 1 and a new KV cache."""
        self.cache = None  # the old one would double the peak
        self.first, self.cache = prefill(self.model, self.batch)

    def decode(self) -> None:
        """The steps after token 1, from the cache as prefill left it."""
        self.decode_some(self.steps)

    def decode_some(self, steps: int) -> None:
        """Its first `steps` steps, or all where there are fewer."""
        surplus = self.cache.get_seq_length() - self.batch.ids.shape[1]
        if surplus:
            self.cache.crop(-surplus)
        decode(self.model, self.batch, self.first, self.cache, min(steps, self.steps))

    def forget(self) -> None:
        """Let go of the KV cache: one batch is in memory at a time."""
        self.first = self.cache = None


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
        synchronise(str(batch.ids.device))
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
        synchronise(str(batch.ids.device))
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


def text_batches(
    workload: Workload, texts: Sequence[str], batch_size: int, count: int, tokenizer: Any, torch_device: str
) -> tuple[Batch, ...]:
    """`count` batches of the workload's `texts`."""
    chosen = prompts.batches(workload, batch_size, count)
    return tuple(text_batch(tokenizer, [texts[i] for i in batch], torch_device) for batch in chosen)


def random_batches(
    workload: Workload, batch_size: int, count: int, vocabulary: int, torch_device: str
) -> tuple[Batch, ...]:
    """`count` batches with the lengths of the same prompts, their contents drawn from the workload's seed."""
    chosen = prompts.batches(workload, batch_size, count)
    return tuple(
        random_batch([workload.prompt_tokens[i] for i in batch], vocabulary, workload.seed + k, torch_device)
        for k, batch in enumerate(chosen)
    )


def refuse_beyond_context(inputs: Sequence[Batch], workload: Workload, model: LanguageModel) -> None:
    """Raises Unsupported where the longest prompt with its output exceeds the model's context, both in tokens."""
    longest = max(batch.ids.shape[1] for batch in inputs)
    if longest + workload.output_tokens > model.context_tokens:
        raise Unsupported(
            f"a prompt of {longest} tokens and {workload.output_tokens} output tokens exceed "
            f"the context of {model.key}, {model.context_tokens} tokens"
        )


def batches_digest(inputs: Sequence[Batch]) -> str:
    """16 hexadecimal digits of the token ids of every batch, in their order: what was really run."""
    hashed = hashlib.sha256()
    for batch in inputs:
        hashed.update(repr(tuple(batch.ids.shape)).encode())
        hashed.update((batch.ids * batch.mask).cpu().numpy().tobytes())
    return hashed.hexdigest()[:16]
