"""Whether a server skipped work because it knew the beginning of a prompt: such a prefill is no prefill."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from carbonsweep.shares import percent

MOST_HITS: Final = 0.01
"""Share of prompt tokens from which on a measurement is marked. vLLM's own check: vllm PR #53920."""
FOREIGN: Final = 0.02
"""Prompt tokens beyond our own, relative to ours, from which on somebody else used the server meanwhile."""

_COUNTER: Final = re.compile(
    r"^vllm:(?:gpu_)?prefix_cache_(queries|hits)(?:_total)?(?:\{[^}]*\})?[ \t]+([0-9.eE+]+)", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounters:
    """Prompt tokens looked for in the prefix cache since the server started, and those found; all engines together."""

    queried: float
    hit: float


def counters(metrics: bytes) -> CacheCounters | None:
    """vLLM's counters in what /metrics says; None where they are not, or are no numbers."""
    sums: dict[str, float] = {}
    for name, value in _COUNTER.findall(metrics.decode(errors="replace")):
        try:
            sums[name] = sums.get(name, 0.0) + float(value)
        except ValueError:
            return None
    if set(sums) != {"queries", "hits"} or not all(math.isfinite(each) for each in sums.values()):
        return None
    return CacheCounters(queried=sums["queries"], hit=sums["hits"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheView:
    """What is known of a measurement's hits: sentences that mark it, and those that only inform."""

    gates: tuple[str, ...]
    notes: tuple[str, ...]


def view(
    cached_tokens: int | None, prompt_tokens: int, before: CacheCounters | None, after: CacheCounters | None
) -> CacheView:
    """Judge requests with `prompt_tokens` in all: by usage, None where it told nothing, and by counters around them."""
    gates: list[str] = []
    if cached_tokens is not None:
        gates += _hits(cached_tokens / prompt_tokens, "by usage")
    if before is not None and after is not None:
        gates += _counted(before, after, prompt_tokens)
    elif cached_tokens is None:
        return CacheView(gates=(), notes=("the server does not tell prefix cache hits; all prompts are distinct",))
    return CacheView(gates=tuple(gates), notes=())


def _counted(before: CacheCounters, after: CacheCounters, prompt_tokens: int) -> list[str]:
    queried, hit = after.queried - before.queried, after.hit - before.hit
    if queried < 0 or hit < 0:
        return ["the server's counters fell: it was started anew during the measurement"]
    gates = _hits(hit / queried, "by the server's counters") if queried > 0 else []
    if queried > (1 + FOREIGN) * prompt_tokens:
        gates.append(f"foreign requests: the server read {queried:.0f} prompt tokens, {prompt_tokens} of them ours")
    return gates


def _hits(share: float, source: str) -> list[str]:
    return [f"prefix cache hit: {percent(share, 1)} of the prompt tokens, {source}"] if share > MOST_HITS else []
