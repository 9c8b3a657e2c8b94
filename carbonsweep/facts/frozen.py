"""A mapping that cannot change, can be hashed and survives pickling (types.MappingProxyType does only the first)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenMapping(Mapping[K, V]):
    """Holds a copy of the mapping it is made from, in the same order."""

    __slots__ = ("_entries",)
    _entries: Mapping[K, V]

    def __init__(self, entries: Mapping[K, V]) -> None:
        object.__setattr__(self, "_entries", MappingProxyType(dict(entries)))

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __repr__(self) -> str:
        return repr(dict(self._entries))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: the mapping is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: the mapping is frozen")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._entries),)
