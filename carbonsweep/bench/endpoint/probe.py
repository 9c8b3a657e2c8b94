"""The first look at a server: who it is, which model it serves, and how it is told to write exactly n tokens."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonsweep.bench.endpoint import wire
from carbonsweep.bench.endpoint.address import address, is_local
from carbonsweep.bench.endpoint.client import API_KEY, Client, opened
from carbonsweep.bench.endpoint.dialects import DIALECTS, PATHS, Dialect, RequestPath, body
from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.errors import BadInput, NoFixedLength, ServerGone, ServerRefused, WrongTokenCount, closest

PROBE_TOKENS: Final = 32
PROBE: Final = "Answer with yes or no, and nothing else: is water wet?"
"""Most models end this answer well before PROBE_TOKENS, unless the server is told to go on. One that does not is found
out later: every answer of a measurement is counted."""

_NO_SUCH_PATH: Final = frozenset({404, 405, 501})
_NO_SUCH_FIELD: Final = frozenset({400, 422})
_NO_KEY: Final = frozenset({401, 403})
_NAMES: Final = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp"}


def served(endpoint: str, model: str | None = None, patience: Patience | None = None) -> Served:
    """Ask the server at `endpoint` what `ServerBench` has to know; `model` None takes the only one it lists.

    Raises BadInput where nobody answers, or it refuses, or lists several models; NoFixedLength where the length of an
    answer cannot be fixed; StreamBroken where it answers nonsense.
    """
    return asyncio.run(_served(endpoint, model, patience or Patience()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    path: RequestPath
    dialect: str


async def _served(endpoint: str, model: str | None, patience: Patience) -> Served:
    where = address(endpoint)
    try:
        async with opened(where, patience) as client:
            listed, software = await _listed(client)
            name = model or _only(listed, endpoint)
            row = next((each for each in listed if each.id == name), None)
            version = await server_version(client)
            spoken = await _spoken(client, name, listed)
    except ServerGone as error:
        raise BadInput(f"--endpoint {endpoint}: {error}") from error
    except ServerRefused as error:
        hint = f"; is {API_KEY} set and right?" if error.status in _NO_KEY else ""
        raise BadInput(f"--endpoint {endpoint}: {error}{hint}") from error
    owner = None if row is None or row.owned_by is None else wire.plain(row.owned_by)
    local = is_local(endpoint)
    return Served(
        endpoint=where.url,
        host=socket.gethostname() if local else where.host,  # loopback is another machine on every machine
        local=local,
        model=name,
        engine_version=_engine_version(owner, version, software, spoken.dialect),
        version=version,
        path=spoken.path,
        dialect=spoken.dialect,
        context_tokens=None if row is None else (row.max_model_len or None),
    )


async def _listed(client: Client) -> tuple[Sequence[wire.Model], str | None]:
    """The models and the Server header. No list is no fault: `transformers serve` has an empty or a failing one."""
    answer = await client.look_up(f"{client.where.url}/models")
    if answer.status in _NO_KEY:
        raise client.refusal(answer.status, answer.body)
    try:
        return (wire.models(answer.body).data if answer.status == 200 else ()), answer.server
    except wire.Nonsense:
        return (), answer.server


def _only(listed: Sequence[wire.Model], endpoint: str) -> str:
    names = [wire.plain(each.id) for each in listed]
    if len(names) == 1:
        return listed[0].id
    if not names:
        raise BadInput(
            f"--endpoint {endpoint} lists no model (does the address end in /v1?): name it with --served-model"
        )
    raise BadInput(f"--endpoint {endpoint} serves {', '.join(names[:20])}: choose one with --served-model")


async def server_version(client: Client) -> str | None:
    """What vLLM and others say at /version; None where that is no version."""
    answer = await client.look_up(f"{client.where.root}/version")
    try:
        return wire.version(answer.body) if answer.status == 200 else None
    except wire.Nonsense:
        return None


def _engine_version(owner: str | None, version: str | None, software: str | None, dialect: str) -> str:
    if version is not None:
        return f"{_NAMES.get(owner or '', owner or 'server')} {version}"
    if dialect == "generation_config":
        return "transformers serve, version not told"
    if owner in _NAMES:
        return f"{_NAMES[owner]}, version not told"
    return f"unknown server ({wire.plain(software or '') or 'no Server header'})"


async def _spoken(client: Client, model: str, listed: Sequence[wire.Model]) -> _Spoken:
    """The first path and dialect in which the server writes exactly as many tokens as asked."""
    tried: list[str] = []
    for path in PATHS:
        for dialect in DIALECTS:
            try:
                await _try(client, model, path, dialect)
            except ServerRefused as error:
                if error.status in _NO_SUCH_PATH:
                    tried.append(f"/{path}: {error}")
                    break
                if error.status not in _NO_SUCH_FIELD:
                    raise
                tried.append(f"{dialect.name}: {error}")
            except WrongTokenCount as error:
                tried.append(f"{dialect.name}: {error}")
            else:
                return _Spoken(path=path, dialect=dialect.name)
        else:
            break  # this path is there: the other one would not be another server
    raise _unspeakable(client, model, listed, tried)


async def _try(client: Client, model: str, path: RequestPath, dialect: Dialect) -> None:
    asked = body(
        dialect=dialect.name, path=path, model=model, prompt=PROBE, tokens=PROBE_TOKENS, salt=secrets.token_hex(8)
    )
    await client.stream(path, asked, PROBE_TOKENS)


def _unspeakable(
    client: Client, model: str, listed: Sequence[wire.Model], tried: Sequence[str]
) -> BadInput | NoFixedLength:
    names = [each.id for each in listed]
    if names and model not in names:
        near = closest(model, names) or names[:20]
        return BadInput(f"{client.where.url} does not serve {model!r}; it lists {', '.join(map(wire.plain, near))}")
    if len(tried) == len(PATHS) and all(each.startswith("/") for each in tried):
        return BadInput(f"{client.where.url} has neither /{PATHS[0]} nor /{PATHS[1]}: {tried[-1]}")
    return NoFixedLength(
        f"{client.where.url} cannot be told to write exactly {PROBE_TOKENS} tokens: {'; '.join(tried)}"
    )
