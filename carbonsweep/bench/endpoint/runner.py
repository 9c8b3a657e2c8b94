"""Batches of requests by the measuring protocol: closed batches, started together, and what their streams show.

Prefill is the time until the last first token of b requests for one token each; decode what follows the first token of
each stream. Joules of decode are those from the last first token to the first last token, when all b streams decode
and nothing else: for the tokens that came in that time, and thus for a whole decode.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import TracebackType
from typing import Final

from carbonsweep.bench.assembly import Counted
from carbonsweep.bench.endpoint.address import address
from carbonsweep.bench.endpoint.client import Client
from carbonsweep.bench.endpoint.dialects import body
from carbonsweep.bench.endpoint.distinct import Requests
from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.prefix_cache import CacheCounters, CacheView, counters, view
from carbonsweep.bench.endpoint.probe import server_version
from carbonsweep.bench.endpoint.run import Run
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.endpoint.tally import PromptTally
from carbonsweep.bench.phases import PhaseSample, Repeat
from carbonsweep.bench.power.meter import Meter
from carbonsweep.bench.power.trace import Clock
from carbonsweep.errors import BenchFailed
from carbonsweep.evidence import EnergyWindow
from carbonsweep.facts import LanguageModel
from carbonsweep.shares import percent

MOST_WINDOWS: Final = 3
"""Least windows of time that one batch's decoding may take in a repeat, where each run is short against the meter."""
WARM_UP_TOKENS: Final = 8
LEAST_TOGETHER: Final = 0.5
"""Share of a decode in which all streams of a batch were decoding; less is marked."""


class ServerRunner:
    """A `Runner` over the fixed batches of `requests`, each answered with `output_tokens` tokens.

    Used inside `with`. Entering and leaving read the server's counters; every method raises the errors of a server.
    """

    def __init__(
        self,
        served: Served,
        model: LanguageModel,
        requests: Requests,
        output_tokens: int,
        patience: Patience,
        clock: Clock,
    ) -> None:
        self._served, self._requests, self._output_tokens = served, requests, output_tokens
        self._patience, self._clock = patience, clock
        self._tally = PromptTally(model, served, self.batches)
        self._salt = secrets.token_hex(8)  # of this measurement: an earlier one may have sent the same prompts
        self._numbered = 0
        self._stepwise, self._by_usage, self._least_together = True, True, 1.0
        self._before: CacheCounters | None = None

    def __enter__(self) -> ServerRunner:
        self._loop = asyncio.Runner()
        self._client = self._loop.run(self._opened())
        try:
            self._loop.run(self._refuse_another_server())
            self._before = self._loop.run(self._counters())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with self._loop:
            self._loop.run(self._client.close())

    async def _opened(self) -> Client:
        """Inside the loop that it will live in."""
        return Client(address(self._served.endpoint), self._patience, self._clock)

    @property
    def batches(self) -> int:
        return len(self._requests.batches)

    @property
    def batch_size(self) -> int:
        return len(self._requests.batches[0])

    def warm_up(self, runs: int) -> None:
        """Every batch, prompts and a few steps: connections, caches of compiled shapes, clocks."""
        for _ in range(runs):
            for index in range(self.batches):
                self._run(index, min(self._output_tokens, WARM_UP_TOKENS))

    def repeat(self, order: Sequence[int], meter: Meter | None) -> Repeat:
        prefill = self._prefill(order, meter)
        runs = {index: self._decodes(index, meter) for index in order}
        latencies_s = [reply.last_s - reply.sent_s for each in runs.values() for run in each for reply in run.replies]
        return Repeat(prefill=prefill, decode=self._decode(runs, meter), latencies_s=tuple(latencies_s))

    def whole(self, order: Sequence[int], meter: Meter | None) -> PhaseSample:
        """The batches in turn, each from its requests to its last token."""
        runs, span = self._in_turn(order, self._output_tokens, meter)
        count = sum(map(len, runs))
        return _sample(
            [[run.whole_s for run in each] for each in runs],
            windows=() if meter is None else meter.windows("whole", [span], count),
        )

    def counted(self) -> Counted:
        """Tokens of the mean batch; a server pads nothing."""
        tokens = self._tally.mean_batch_tokens
        return Counted(
            prompt_tokens=tokens,
            padded_tokens=tokens,
            decoded_tokens=self.batch_size * (self._output_tokens - 1),
        )

    def judged(self) -> CacheView:
        """What must be said of this measurement, after its last run."""
        cache = view(self._tally.cached_tokens, self._tally.tokens, self._before, self._loop.run(self._counters()))
        gates, notes = list(cache.gates), list(cache.notes)
        if self._least_together < LEAST_TOGETHER:
            together = percent(self._least_together, 1)
            gates.append(f"not one batch: all {self.batch_size} streams decoded together for only {together}")
        if not self._stepwise:
            notes.append("chunks are not one token each: tokens between the first and the last are spread evenly")
        if not self._by_usage:
            notes.append("output tokens counted by chunks: the server tells no usage")
        if self._requests.invented:
            notes.append("prompts are seeded words of about the workload's lengths")
        return CacheView(gates=tuple(gates), notes=(*notes, *self._tally.notes))

    def _prefill(self, order: Sequence[int], meter: Meter | None) -> PhaseSample:
        self._guard(order, meter)
        runs, span = self._in_turn(order, 1, meter)
        self._guard(order, meter)
        return _sample(
            [[run.ttft_s for run in each] for each in runs],
            windows=() if meter is None else meter.windows("prefill", [span], sum(map(len, runs))),
            requests_s=[reply.ttft_s for each in runs for run in each for reply in run.replies],
        )

    def _in_turn(
        self, order: Sequence[int], tokens: int, meter: Meter | None
    ) -> tuple[list[list[Run]], tuple[float, float]]:
        """All batches in turn, again and again until the window is long enough."""
        runs: list[list[Run]] = [[] for _ in range(self.batches)]
        begin_s = end_s = self._clock()
        while True:
            for index in order:
                runs[index].append(self._run(index, tokens))
            end_s = self._clock()
            if meter is None or end_s - begin_s >= meter.least_window_s:
                return runs, (begin_s, end_s)

    def _guard(self, order: Sequence[int], meter: Meter | None) -> None:
        if meter is None:
            return
        end_s = self._clock() + meter.guard_s
        while self._clock() < end_s:
            self._run(order[-1], 1)

    def _decode(self, runs: Mapping[int, Sequence[Run]], meter: Meter | None) -> PhaseSample:
        windows = [] if meter is None else [w for each in runs.values() for w in self._decode_windows(each, meter)]
        return _sample(
            [[run.decode_s for run in runs[index]] for index in range(self.batches)],
            windows=windows,
            requests_s=[reply.decode_s for each in runs.values() for run in each for reply in run.replies],
        )

    def _decodes(self, index: int, meter: Meter | None) -> list[Run]:
        """One run of a batch, or as many as its windows of decoding together need, within reason.

        Each has two edges of its own, so short ones need many; what is still short then is marked by the meter.
        """
        runs = [self._together(index)]
        begin_s = self._clock()
        while (
            meter is not None
            and not meter.is_enough([run.decode_span for run in runs])
            and self._clock() - begin_s < MOST_WINDOWS * meter.least_window_s
        ):
            runs.append(self._together(index))
        return runs

    def _together(self, index: int) -> Run:
        run = self._run(index, self._output_tokens)
        self._least_together = min(self._least_together, run.together)
        if run.together <= 0:
            raise BenchFailed(
                f"the server did not serve {self.batch_size} requests at a time: a stream had ended before the last "
                "one began; raise its limit of sequences (vLLM: --max-num-seqs)"
            )
        return run

    def _decode_windows(self, runs: Sequence[Run], meter: Meter) -> tuple[EnergyWindow, ...]:
        """Of one batch; its runs are the tokens that came in the spans, over those of a whole decode."""
        whole = self.batch_size * (self._output_tokens - 1)
        decodes = sum(run.tokens_in_span for run in runs) / whole
        return meter.windows("decode", [run.decode_span for run in runs], decodes)

    def _run(self, index: int, tokens: int) -> Run:
        texts = self._requests.texts(index, self._numbered)
        bodies = [
            body(
                dialect=self._served.dialect,
                path=self._served.path,
                model=self._served.model,
                prompt=text,
                tokens=tokens,
                salt=f"{self._salt}-{self._numbered + i}",
            )
            for i, text in enumerate(texts)
        ]
        self._numbered += len(texts)
        run = Run(replies=self._loop.run(self._client.batch(self._served.path, bodies, tokens)))
        self._tally.add(index, texts, run.replies)
        if tokens > 1:
            self._stepwise &= all(reply.stepwise for reply in run.replies)
        self._by_usage &= all(reply.by_usage for reply in run.replies)
        return run

    async def _refuse_another_server(self) -> None:
        version = await server_version(self._client)
        if version != self._served.version:
            raise BenchFailed(
                f"the server said {self._served.version or 'no version'} before and {version or 'no version'} now: "
                "it was replaced"
            )

    async def _counters(self) -> CacheCounters | None:
        answer = await self._client.look_up(f"{self._client.where.root}/metrics")
        return counters(answer.body) if answer.status == 200 else None


def _sample(
    seconds: Sequence[Sequence[float]],
    *,
    windows: Sequence[EnergyWindow],
    requests_s: Sequence[float] = (),
) -> PhaseSample:
    """Batches weigh the same, however often each was run."""
    batch_s = tuple(map(fmean, seconds))
    return PhaseSample(run_s=fmean(batch_s), batch_s=batch_s, windows=tuple(windows), requests_s=tuple(requests_s))
