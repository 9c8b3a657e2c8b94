"""What one look at a server found out: plain values that travel to workers, and that identify a measurement."""

from __future__ import annotations

from dataclasses import dataclass

from carbonsweep.bench.endpoint.dialects import RequestPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model behind an endpoint. `local` says that the endpoint's addresses were those of the machine that looked.

    `host` is that machine's name then, else the endpoint's.
    `version` is what the server said of itself, `dialect` how it is told to write exactly n tokens, `context_tokens`
    the longest prompt with answer it takes; None where it does not tell.
    """

    endpoint: str
    host: str
    local: bool
    model: str
    engine_version: str
    version: str | None
    path: RequestPath
    dialect: str
    context_tokens: int | None
