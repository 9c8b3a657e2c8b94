"""An address nobody answers at is refused at once: Ray itself would try it for minutes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from carbonsweep.cluster.connection import _require_listener
from carbonsweep.errors import BadInput


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """On a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def address_of(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def test_an_address_that_is_listened_on_is_left_to_ray(listener: socket.socket) -> None:
    _require_listener(address_of(listener))
    caller, _ = listener.accept()
    with caller:
        assert caller.recv(1) == b""  # a listener that is no Ray gets nothing to puzzle over


def test_auto_is_for_ray_to_find() -> None:
    _require_listener("auto")


def test_an_address_nobody_listens_on_is_refused_with_the_reason(listener: socket.socket) -> None:
    free = address_of(listener)
    listener.close()
    with pytest.raises(BadInput, match=rf"^--address {free}: no Ray cluster answers there \(.*[Rr]efused\)$"):
        _require_listener(free)


@pytest.mark.parametrize("address", ["nowhere.invalid:6379", "[::1]:1", "a b:1", "x" * 64 + ":1", "a..b:1"])
def test_a_host_nobody_knows_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(BadInput, match="no Ray cluster answers there") as refused:
        _require_listener(address)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["", "nowhere", ":6379", "127.0.0.1:", "127.0.0.1:port", "host:²", "127.0.0.1:-1", "ray://127.0.0.1:1", "local"],
)
def test_what_is_no_host_and_port_is_refused_saying_what_would_be(address: str) -> None:
    with pytest.raises(BadInput) as refused:
        _require_listener(address)
    assert str(refused.value) == f"--address {address!r} is neither auto nor HOST:PORT"
