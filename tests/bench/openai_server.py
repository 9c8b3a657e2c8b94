"""A scripted OpenAI-compatible server on loopback, for what no real server does on request: to misbehave.

Well-behaved unless a script says otherwise. A script answers one completion with pieces: bytes go to the socket as they
are, a number is a pause in seconds, and after the last piece the connection is closed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final

Piece = bytes | float
Script = Callable[[dict[str, Any]], Iterable[Piece]]

TOKEN_S: Final = 0.002
"""Between the tokens of a well-behaved answer."""
MODEL: Final = "scripted"


def head(
    status: int = 200, kind: str = "text/event-stream", *, length: int | None = None, chunked: bool = False
) -> bytes:
    """Status line and headers; without a length the end of the connection ends the body."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {kind}", "Connection: close"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    return "\r\n".join([*lines, "", ""]).encode()


def whole(status: int, kind: str, body: str) -> bytes:
    """A complete answer."""
    return head(status, kind, length=len(body.encode())) + body.encode()


def event(value: object) -> bytes:
    """One event of a stream."""
    return f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()


def token(text: str = " word", **more: Any) -> dict[str, Any]:
    """A chunk of a completion."""
    return {"choices": [{"index": 0, "text": text, "finish_reason": None}], **more}


def finish(reason: str = "length", **more: Any) -> dict[str, Any]:
    """The chunk that ends an answer."""
    return {"choices": [{"index": 0, "text": "", "finish_reason": reason}], **more}


def usage(body: dict[str, Any], written: int | None = None, **more: Any) -> dict[str, Any]:
    """The count at the end; a word is a token here."""
    counted = {
        "prompt_tokens": len(str(body["prompt"]).split()),
        "completion_tokens": body["max_tokens"] if written is None else written,
    }
    return {"choices": [], "usage": {**counted, **more}}


def well_behaved(body: dict[str, Any]) -> Iterator[Piece]:
    """As many tokens as asked for, a chunk each, then usage."""
    yield head()
    for _ in range(body["max_tokens"]):
        yield event(token())
        yield TOKEN_S
    yield event(finish())
    yield event(usage(body))
    yield event("[DONE]")


@dataclass
class ScriptedServer:
    """Listens while it is entered. `seen` are the bodies of all completions asked for, `keys` their authorizations."""

    script: Script = well_behaved
    models: bytes = whole(200, "application/json", json.dumps({"data": [{"id": MODEL, "owned_by": "tests"}]}))
    version: bytes = whole(404, "application/json", "{}")
    metrics: Callable[[], bytes] = lambda: whole(404, "text/plain", "")
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def __enter__(self) -> ScriptedServer:
        self._ended = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = {"/v1/models": server.models, "/version": server.version, "/metrics": server.metrics()}
                self._answer([answers.get(self.path, whole(404, "text/plain", "nothing here"))])

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.keys.append(self.headers.get("Authorization"))
                body["path"] = self.path
                server.seen.append(body)
                self._answer(server.script(body))

            def _answer(self, pieces: Iterable[Piece]) -> None:
                self.close_connection = True
                try:
                    for piece in pieces:
                        if isinstance(piece, float):
                            if server._ended.wait(piece):
                                return
                        else:
                            self.wfile.write(piece)
                except OSError:
                    pass  # the client has gone: it had heard enough

            def log_message(self, *_: object) -> None:
                pass

        return Handler
