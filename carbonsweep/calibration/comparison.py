"""Whether a refit says what is committed: number by number, within what another machine's arithmetic may change."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from carbonsweep.errors import BadInput

CLOSE: Final = 0.02
"""Relative difference that two linear-algebra libraries may make of one fit."""


def differences(rows: Mapping[str, Mapping[str, Any]], draws: Mapping[str, Any], facts: Path) -> list[str]:
    """What of `rows` and `draws` the tables in `facts` say otherwise. Raises BadInput where one is not there."""
    committed = tomllib.loads(_text(facts / "engines.toml"))
    drawn = json.loads(_text(facts / "engine_draws.json"))["rows"]
    found: list[str] = []
    for name in rows:
        found += _unlike(f"engines.toml, {name}", rows[name], committed.get(name, {}))
        found += _unlike(f"engine_draws.json, {name}", draws[name], drawn.get(name, {}))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{path.name} cannot be read: {error.strerror}; write it with `carbonsweep calibrate`"
        ) from error


def _unlike(where: str, fitted: Any, committed: Any) -> Iterator[str]:
    if isinstance(fitted, Mapping) and isinstance(committed, Mapping):
        for key in sorted(fitted.keys() | committed.keys()):
            place = f"{where}, {key or 'any other GPU'}"
            if key not in committed:
                yield f"{place}: not committed"
            elif key not in fitted:
                yield f"{place}: no longer fitted"
            else:
                yield from _unlike(place, fitted[key], committed[key])
    elif isinstance(fitted, list) and isinstance(committed, list) and len(fitted) == len(committed):
        wrong = sum(not _close(one, other) for one, other in zip(fitted, committed, strict=True))
        if wrong:
            yield f"{where}: {wrong} of {len(fitted)} draws differ"
    elif isinstance(fitted, int | float) and isinstance(committed, int | float):  # a fixed 4 is written as 4.0
        if not _close(fitted, committed):
            yield f"{where}: {committed:g} is committed, {fitted:g} is fitted"
    elif type(fitted) is not type(committed):
        yield f"{where}: of another kind"


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=0.011 if max(abs(one), abs(other)) < 1e-9 else 0.0)
