"""Where a server listens, and whether that is this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from carbonsweep.errors import BadInput

_VALID: Final = "http://HOST:PORT/v1 or https://HOST/v1"
_VERSION_PATH: Final = "/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`url` is the API's, without a slash at the end; `root` the server's, where /version and /metrics are."""

    url: str
    root: str
    host: str
    port: int | None


def address(endpoint: str) -> Address:
    """What `--endpoint` says. Raises BadInput for what is no address, or holds a password."""
    text = endpoint.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"endpoint {endpoint!r}: {error}; valid: {_VALID}") from error
    if parts.scheme not in ("http", "https") or not host or not text.isascii() or any(c.isspace() for c in text):
        raise BadInput(f"endpoint {endpoint!r} is no address of a server; valid: {_VALID}")
    if parts.username is not None or parts.password is not None:
        raise BadInput(f"endpoint at {host} holds a user or password: set OPENAI_API_KEY instead, it is never recorded")
    if parts.query or parts.fragment:
        raise BadInput(f"endpoint {endpoint!r} holds a query or fragment; valid: {_VALID}")
    return Address(url=text, root=text.removesuffix(_VERSION_PATH), host=host, port=port)


def is_local(endpoint: str) -> bool:
    """Whether every address of the endpoint's host is one of this machine: only then can a meter here read its joules.

    A tunnel or a forwarded port looks local and is not: nobody can tell from here. A name that is not known is not
    local.
    """
    try:
        found = socket.getaddrinfo(address(endpoint).host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_mine(family, where[0]) for family, _, _, _, where in found)


def _is_mine(family: int, host: str | int) -> bool:
    """Only an address of this machine can be bound to."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(str(host).split("%")[0]).is_loopback:
            return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
