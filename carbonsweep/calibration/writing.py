"""Fitted engines into `facts/engines.toml`, and their draws into `facts/engine_draws.json`: whole files, atomically."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.errors import BadInput
from carbonsweep.records import write_atomically

FACTS: Final = Path(facts.__file__).parent
ENGINES: Final = FACTS / "engines.toml"
DRAWS: Final = FACTS / "engine_draws.json"
DRAW_COUNT: Final = 64
DIGITS: Final = 4
"""Significant digits of a fitted value: a fit knows no more, and a committed number stays readable."""

Draws = Mapping[str, Mapping[str, Sequence[float]]]
"""Of one engine: by GPU kind ("" for any other), by field, `DRAW_COUNT` values; index i is one joint draw."""


def rounded(value: float) -> float:
    """`value` to `DIGITS` significant digits. Raises ValueError where it is not finite."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number to write down")
    return float(f"{value:.{DIGITS}g}")


def engine_text(name: str, row: Mapping[str, Any]) -> str:
    """The TOML of one engine: its fields, and a sub-table for each entry of its "gpu"."""
    lines = [f"[{name}]", *_assignments(row)]
    for kind, fields in row.get("gpu", {}).items():
        lines += [f"[{name}.gpu.{kind}]", *_assignments(fields)]
    return "\n".join(lines) + "\n"


def _assignments(row: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in row.items() if key != "gpu"]


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(float(value))
    raise TypeError(f"an engine's field is a number or a sentence, not {type(value).__name__}")


def engines_text(before: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """`before` with the engines of `rows` replaced, or added at its end; every other line stays as it is."""
    blocks = re.split(r"(?m)^(?=\[)", before)
    kept, written = [blocks[0].rstrip() + "\n"], set()
    for block in blocks[1:]:
        name = re.match(r'\["?([^\].":]+)', block)
        engine = name[1] if name else ""
        if engine not in rows:
            of_gpu = ".gpu." in block.split("]")[0]
            kept.append(("" if of_gpu else "\n") + block.rstrip() + "\n")
        elif engine not in written:
            written.add(engine)
            kept.append("\n" + engine_text(engine, rows[engine]))
    kept += ["\n" + engine_text(name, row) for name, row in rows.items() if name not in written]
    text = "".join(kept)
    tomllib.loads(text)
    return text


def write_engines(rows: Mapping[str, Mapping[str, Any]], path: Path = ENGINES) -> None:
    """Replace the engines of `rows` in the fact table. Raises StorageFailed."""
    write_atomically(path, engines_text(path.read_text(encoding="utf-8"), rows))


def draws_text(before: str | None, rows: Mapping[str, Draws], seed: int) -> str:
    """`before` with the draws of the engines in `rows` replaced. Raises BadInput where a field has not `DRAW_COUNT`."""
    kept: dict[str, Any] = json.loads(before)["rows"] if before else {}
    for name, by_gpu in rows.items():
        for gpu, by_field in by_gpu.items():
            wrong = [field for field, values in by_field.items() if len(values) != DRAW_COUNT]
            if wrong:
                raise BadInput(
                    f"draws of {name} on {gpu or 'any GPU'}: {', '.join(wrong)} must have {DRAW_COUNT} values"
                )
    kept |= {
        name: {
            gpu: {field: [rounded(value) for value in values] for field, values in sorted(by_field.items())}
            for gpu, by_field in sorted(by_gpu.items())
        }
        for name, by_gpu in rows.items()
    }
    document = {"draws": DRAW_COUNT, "seed": seed, "rows": dict(sorted(kept.items()))}
    return _one_line_per_field(document)


def write_draws(rows: Mapping[str, Draws], *, seed: int, path: Path = DRAWS) -> None:
    """Replace the draws of the engines in `rows`, keep those of the others. Raises BadInput, StorageFailed."""
    before = path.read_text(encoding="utf-8") if path.exists() else None
    write_atomically(path, draws_text(before, rows, seed))


def write_facts(
    rows: Mapping[str, Mapping[str, Any]], draws: Mapping[str, Draws], *, seed: int, folder: Path = FACTS
) -> None:
    """Engines and their draws, which belong together: neither is touched before both texts are whole.

    Raises BadInput as `draws_text`, StorageFailed.
    """
    engines, drawn = folder / ENGINES.name, folder / DRAWS.name
    texts = (
        engines_text(engines.read_text(encoding="utf-8"), rows),
        draws_text(drawn.read_text(encoding="utf-8") if drawn.exists() else None, draws, seed),
    )
    for path, text in zip((engines, drawn), texts, strict=True):
        write_atomically(path, text)


def _one_line_per_field(document: Mapping[str, Any]) -> str:
    """JSON with one line for each list of numbers: a changed draw is a readable difference."""
    text = json.dumps(document, indent=1)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", text) + "\n"
