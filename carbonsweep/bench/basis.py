"""What a result rests on, as a reader says it: measured, modelled, or rehearsed where the device was not used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from carbonsweep.domain import Basis

_WORDS: Final[Mapping[Basis, str]] = {"measured": "measured", "modelled": "modelled, not measured"}


def basis_words(basis: Basis, gpus: Iterable[str]) -> str:
    """ "measured", "modelled, not measured" or "rehearsed on the CPU, not measured on T4, L4"."""
    if basis == "rehearsed":
        return f"rehearsed on the CPU, not measured on {', '.join(dict.fromkeys(gpus))}"
    return _WORDS[basis]


def unless_measured(basis: Basis, gpu: str) -> str:
    """What is appended to a result that was not measured on its GPU; nothing to one that was."""
    return "" if basis == "measured" else f", {basis_words(basis, [gpu])}"
