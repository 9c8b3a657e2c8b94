"""The HTTP side: one look-up, one stream, a batch of streams started together."""

from __future__ import annotations

import asyncio
import codecs
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx2

from carbonsweep.bench.endpoint import wire
from carbonsweep.bench.endpoint.address import Address
from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.reply import Beat, Heard, Reply, reply
from carbonsweep.errors import BadInput, ServerGone, ServerRefused, StreamBroken

API_KEY: Final = "OPENAI_API_KEY"
LARGEST_BODY_BYTES: Final = 8 * 2**20
"""Of an answer that is no stream; vLLM's /metrics has about 0.1 MB."""
LARGEST_EVENT_BYTES: Final = 2**20
EVENTS_PER_TOKEN: Final = 8
EVENTS_BESIDES: Final = 100
"""More events than so many, and so many per token, are no answer but a flood."""
KEEP_ALIVE_S: Final = 4.0
"""Below the 5 s after which uvicorn, under most of these servers, closes an idle connection: we close it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole body and its status."""

    status: int
    body: bytes
    server: str | None


class Client:
    """Speaks to one server, directly (no proxy of the environment) and with the key of OPENAI_API_KEY where set.

    `close` it in the loop it was used in. Times are those of `clock` at the arrival of the bytes.
    """

    def __init__(self, where: Address, patience: Patience, clock: Callable[[], float] = time.perf_counter) -> None:
        self.where, self.patience, self.clock = where, patience, clock
        self._key = os.environ.get(API_KEY, "").strip()
        self._http = httpx2.AsyncClient(
            headers={"Accept-Encoding": "identity", **self._authorization()},
            # How long answers may take is ours to say, see `_in_time`; only connecting has a limit of its own.
            timeout=httpx2.Timeout(None, connect=patience.connect_s),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEP_ALIVE_S),
            follow_redirects=False,
            trust_env=False,
        )

    def _authorization(self) -> dict[str, str]:
        """Raises BadInput for a key that no header can hold, without repeating it."""
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise BadInput(f"{API_KEY} holds characters that no key has: printable ASCII is valid")
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    async def close(self) -> None:
        """Give back every connection."""
        await self._http.aclose()

    async def look_up(self, url: str) -> Answer:
        """GET. Raises ServerGone, StreamBroken; a refusal is an answer here."""
        async with (
            self._in_time(self.patience.stall_s, "to answer"),
            self._sent(self._http.build_request("GET", url)) as got,
        ):
            body = await self._whole(got)
        return Answer(status=got.status_code, body=body, server=got.headers.get("server"))

    async def batch(self, path: str, bodies: Sequence[bytes], tokens: int) -> tuple[Reply, ...]:
        """Requests for `tokens` tokens each, started together. The first failure ends all. Raises as `stream`."""
        running = [asyncio.create_task(self.stream(path, body, tokens)) for body in bodies]
        try:
            return tuple(await asyncio.gather(*running))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def stream(self, path: str, body: bytes, tokens: int) -> Reply:
        """One streamed answer. Raises ServerGone, ServerRefused, StreamBroken, WrongTokenCount."""
        request = self._http.build_request(
            "POST",
            f"{self.where.url}/{path}",
            content=body,
            headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
        )
        sent_s = self.clock()
        async with self._in_time(self.patience.first_token_s, "for a first token") as limit, self._sent(request) as got:
            if got.status_code != 200:
                raise self.refusal(got.status_code, await self._whole(got))
            heard = await self._listen(got, sent_s, tokens, limit)
        return reply(heard, tokens)

    async def _listen(self, got: httpx2.Response, sent_s: float, tokens: int, limit: asyncio.Timeout) -> Heard:
        """Every event until the server closes the stream. Comments that keep it alive are no events."""
        assert isinstance(got.stream, httpx2.AsyncByteStream)
        arriving = got.stream = _Arriving(got.stream, self.clock)
        loop = asyncio.get_running_loop()
        beats: list[Beat] = []
        finish: str | None = None
        finish_s: float | None = None
        usage: wire.Usage | None = None
        events = 0
        async for event in httpx2.EventSource(got, max_event_size=LARGEST_EVENT_BYTES):
            at_s = arriving.at_s
            limit.reschedule(loop.time() + self.patience.stall_s)
            if event.data == "[DONE]":
                continue  # read on to the end, or the connection cannot be used again
            events += 1
            if events > EVENTS_BESIDES + EVENTS_PER_TOKEN * tokens:
                raise StreamBroken(f"the stream does not end: {events} chunks for {tokens} tokens")
            chunk = self._chunk(event.data)
            usage = chunk.usage or usage
            told = None if chunk.usage is None else chunk.usage.completion_tokens
            choice = chunk.choices[0] if chunk.choices else wire.Choice()
            beats.append(Beat(at_s=at_s, text=choice.added, told=told))
            if choice.finish_reason is not None:
                finish, finish_s = wire.plain(choice.finish_reason), at_s
        return Heard(sent_s=sent_s, beats=tuple(beats), finish=finish, finish_s=finish_s, usage=usage)

    def _chunk(self, data: str) -> wire.Chunk:
        try:
            found = wire.chunk(data)
        except wire.Nonsense as error:
            raise StreamBroken(f"a chunk makes no sense ({error}): {self._quote(data)}") from error
        if (failure := found.failure) is not None:
            raise StreamBroken(f"the server failed while it wrote: {self._quote(failure)}")
        return found

    @asynccontextmanager
    async def _sent(self, request: httpx2.Request) -> AsyncIterator[httpx2.Response]:
        """The answer's head is there, its body to be read. Turns httpx2's errors into ours."""
        began = False
        try:
            answer = await self._http.send(request, stream=True)
            began = True
            try:
                yield answer
            finally:
                await answer.aclose()
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ServerGone(f"nobody answers at {self.where.url} ({_why(error)})") from error
        except httpx2.SSEError as error:
            raise StreamBroken(f"the answer is no stream of events: {_why(error)}") from error
        except (httpx2.HTTPError, UnicodeError) as error:  # UnicodeError: no UTF-8, or a host name that cannot be
            if began:
                raise StreamBroken(f"the answer broke off ({_why(error)})") from error
            raise ServerGone(f"{self.where.url} gave no answer ({_why(error)})") from error

    @asynccontextmanager
    async def _in_time(self, within_s: float, what: str) -> AsyncIterator[asyncio.Timeout]:
        """Whoever reschedules the limit is told of a stall."""
        try:
            async with asyncio.timeout(within_s) as limit:
                first = limit.when()
                yield limit
        except TimeoutError as error:
            if limit.when() == first:
                raise StreamBroken(f"stalled: waited {within_s:g} s {what}") from error
            raise StreamBroken(f"stalled: nothing came for {self.patience.stall_s:g} s after a chunk") from error

    async def _whole(self, got: httpx2.Response) -> bytes:
        parts, size = [], 0
        async for part in got.aiter_bytes():
            size += len(part)
            if size > LARGEST_BODY_BYTES:
                raise StreamBroken(f"an answer of more than {LARGEST_BODY_BYTES:,} bytes")
            parts.append(part)
        return b"".join(parts)

    def refusal(self, status: int, body: bytes) -> ServerRefused:
        """What the server said when it said no."""
        said = wire.words(self._keyless(body.decode(errors="replace")))
        return ServerRefused(status, f"the server refused with {status}: {said}")

    def _quote(self, text: str) -> str:
        return wire.plain(self._keyless(text))

    def _keyless(self, text: str) -> str:
        """Some servers repeat a key that is wrong; no message of ours shall."""
        return text.replace(self._key, "***") if self._key else text


@asynccontextmanager
async def opened(where: Address, patience: Patience) -> AsyncIterator[Client]:
    """A client for a while."""
    client = Client(where, patience)
    try:
        yield client
    finally:
        await client.close()


class _Arriving(httpx2.AsyncByteStream):
    """The bytes of a stream, and when the last ones came: events in one piece came at one time.

    Refuses what is not UTF-8: events are text, and a decoder that replaces would hide it.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, clock: Callable[[], float]) -> None:
        self._stream, self._clock = stream, clock
        self.at_s = clock()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        async for part in self._stream:
            self.at_s = self._clock()
            decoder.decode(part)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _why(error: Exception) -> str:
    return wire.plain(f"{error}") or type(error).__name__
