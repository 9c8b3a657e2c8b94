"""One closed batch of answered requests, and what its streams say about each phase. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from carbonsweep.bench.endpoint.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Requests that were started together; seconds on the client's clock."""

    replies: tuple[Reply, ...]

    @property
    def begin_s(self) -> float:
        return min(reply.sent_s for reply in self.replies)

    @property
    def ttft_s(self) -> float:
        """Until the last first token."""
        return max(reply.first_s for reply in self.replies) - self.begin_s

    @property
    def whole_s(self) -> float:
        """Until the last token of all."""
        return max(reply.last_s for reply in self.replies) - self.begin_s

    @property
    def decode_s(self) -> float:
        """From first to last token, the mean of the streams."""
        return fmean(reply.decode_s for reply in self.replies)

    @property
    def decode_span(self) -> tuple[float, float]:
        """From the last first token to the first last token."""
        return max(reply.first_s for reply in self.replies), min(reply.last_s for reply in self.replies)

    @property
    def together(self) -> float:
        """Share of the decode that lies in the span; 0 or less where the streams came one after another."""
        begin_s, end_s = self.decode_span
        return (end_s - begin_s) / self.decode_s

    @property
    def tokens_in_span(self) -> float:
        return sum(reply.tokens_between(*self.decode_span) for reply in self.replies)
