"""Prompt sets: the built-in one, a local file in Alpaca format, and the fixed batches a bench draws from them.

A prompt is bare: the instruction and, on the next line, its input where it has one; no template around it.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NoReturn

from carbonsweep.domain import Workload
from carbonsweep.errors import BadInput
from carbonsweep.units import BYTES_PER_GIB

BYTES_PER_TOKEN: Final = 4.519
"""UTF-8 bytes per SmolLM2 token of English instructions, for lengths before a tokenizer has seen the text.

Source: 999 bare Alpaca prompts (hiyouga/LLaMA-Factory, data/alpaca_en_demo.json), all bytes over all tokens, so the sum
is right on that set; a single prompt is off by 3.0 tokens in the mean (mean absolute error; 16 % of all tokens).
Other languages need more tokens per byte.
"""

LARGEST_FILE_BYTES: Final = BYTES_PER_GIB
"""The whole Alpaca set has 23 MB; beyond this a file is taken for a mistake."""

_FORMAT: Final = 'Alpaca format: a .json list or a .jsonl file of {"instruction": "...", "input": "..."}'


def built_in_workload(output_tokens: int, seed: int) -> Workload:
    """The project's own prompts; they follow the length profile of bare Alpaca prompts (mean 19, median 15 tokens)."""
    rows = _built_in_rows()
    return _workload(
        name="built-in",
        prompts=tuple(row["prompt"] for row in rows),
        tokens=tuple(row["tokens"] for row in rows),
        token_basis="counted by the SmolLM2 tokenizer",
        output_tokens=output_tokens,
        seed=seed,
    )


def prompt_file_workload(path: str | Path, output_tokens: int, seed: int) -> Workload:
    """The prompts of a local file in Alpaca format; keys other than instruction and input are ignored.

    Lengths are estimates from bytes; a bench with a tokenizer counts for itself. Raises BadInput, one line naming the
    file and what would be valid.
    """
    path = Path(path)
    prompts = tuple(_prompts(path, _rows(path, _text(path))))
    if not prompts:
        _refuse(path, "has no usable prompt", 'at least one row whose "instruction" is not blank')
    return _workload(
        name=path.name,
        prompts=prompts,
        tokens=tuple(estimated_tokens(prompt) for prompt in prompts),
        token_basis=f"estimated at {BYTES_PER_TOKEN} bytes per token",
        output_tokens=output_tokens,
        seed=seed,
    )


def estimated_tokens(prompt: str) -> int:
    """Length in tokens, from bytes; see BYTES_PER_TOKEN for its error."""
    return max(1, round(len(prompt.encode()) / BYTES_PER_TOKEN))


def batches(workload: Workload, batch_size: int, count: int) -> tuple[tuple[int, ...], ...]:
    """`count` batches of prompt indices, the same in every process: a seeded shuffle, dealt until it is used up, then
    shuffled anew. Batch sizes share the stream, so the prompts of a small batch are among those of a large one.
    """
    dealt = list(itertools.islice(_shuffled_forever(workload), batch_size * count))
    return tuple(tuple(dealt[start : start + batch_size]) for start in range(0, len(dealt), batch_size))


def _shuffled_forever(workload: Workload) -> Iterator[int]:
    dealer = random.Random(workload.seed)
    order = list(range(len(workload.prompt_tokens)))
    while True:
        dealer.shuffle(order)
        yield from order


def _workload(
    *, name: str, prompts: tuple[str, ...], tokens: tuple[int, ...], token_basis: str, output_tokens: int, seed: int
) -> Workload:
    try:
        return Workload(
            name=name,
            prompts=prompts,
            prompt_tokens=tokens,
            token_basis=token_basis,
            output_tokens=output_tokens,
            seed=seed,
        )
    except ValueError as error:
        raise BadInput(str(error)) from error


@functools.cache
def _built_in_rows() -> Sequence[dict[str, Any]]:
    text = files("carbonsweep.bench").joinpath("prompts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _text(path: Path) -> str:
    """The file's text, or BadInput."""
    if path.suffix not in (".json", ".jsonl"):
        _refuse(path, "ends neither in .json nor in .jsonl", _FORMAT)
    try:
        if not path.exists():
            _refuse(path, "is not there", _FORMAT)
        if not path.is_file():
            _refuse(path, "is not a file", _FORMAT)
        if path.stat().st_size > LARGEST_FILE_BYTES:
            _refuse(path, f"has {path.stat().st_size:,} bytes", f"at most {LARGEST_FILE_BYTES:,.0f}, such as a sample")
        # -sig: editors on some systems put a byte order mark before UTF-8.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror})", "a file this user may read")
    except UnicodeDecodeError as error:
        _refuse(path, f"is not UTF-8 (byte {error.start})", _FORMAT)
    if not text.strip():
        _refuse(path, "is empty", _FORMAT)
    return text


def _rows(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Each row with the place it was found at."""
    if path.suffix == ".jsonl":
        # Not splitlines(): that also cuts at U+2028, which JSON allows inside a string.
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f"line {number}", _json(path, line, first_line=number)
        return
    rows = _json(path, text, first_line=1)
    if not isinstance(rows, list):
        _refuse(path, f"holds a JSON {type(rows).__name__} where a list belongs", _FORMAT)
    yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _json(path: Path, text: str, *, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        _refuse(path, f"is not JSON at line {first_line + error.lineno - 1} ({error.msg})", _FORMAT)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"holds JSON that cannot be read ({error})", _FORMAT)


def _prompts(path: Path, rows: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Bare prompts; rows with a blank instruction are passed over."""
    for place, row in rows:
        if not isinstance(row, dict) or "instruction" not in row:
            _refuse(path, f'has no "instruction" at {place}', _FORMAT)
        instruction, context = row["instruction"], row.get("input") or ""
        if not isinstance(instruction, str) or not isinstance(context, str):
            _refuse(path, f'has an "instruction" or "input" that is no text at {place}', _FORMAT)
        prompt = "\n".join(part.strip() for part in (instruction, context) if part.strip())
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            _refuse(path, f"has half a surrogate pair at {place}", "text that is valid Unicode")
        if instruction.strip():
            yield prompt


def _refuse(path: Path, flaw: str, valid: str) -> NoReturn:
    raise BadInput(f"prompt file {str(path)!r} {flaw}; valid: {valid}")
