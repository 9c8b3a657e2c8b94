"""What the rows of a prompt set mean: in which columns the text stands, and the template around it.

Alpaca: "instruction" and, where there is one, "input". ShareGPT: "conversations", of which the first human turn is the
prompt and the rest is ignored. Plain: bare strings, or exactly one of the columns "prompt", "text", "question".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from carbonsweep.errors import BadInput

PROMPT_FORMATS: Final = ("auto", "alpaca", "sharegpt", "plain")
TEMPLATES: Final = ("none", "alpaca")
PLAIN_COLUMNS: Final = ("prompt", "text", "question")
KNOWN_COLUMNS: Final = ("instruction", "input", "conversations", *PLAIN_COLUMNS)

MOST_PROMPTS: Final = 1_000_000
"""Every length is weighed for every batch size; a random sample of a larger set has the same distribution."""

_ALPACA_WITH_INPUT: Final = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
_ALPACA_WITHOUT_INPUT: Final = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)

_HUMAN: Final = ("human", "user")
_HALF_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_VALID: Final = (
    'a column "instruction" (Alpaca), "conversations" (ShareGPT), or one of "prompt", "text", "question" (plain)'
)
_VALID_OF: Final = {
    "auto": f"{_VALID}, or bare strings",
    "alpaca": 'Alpaca rows: {"instruction": "...", "input": "..."}, the input may be missing',
    "sharegpt": 'ShareGPT rows: {"conversations": [{"from": "human", "value": "..."}, ...]}',
    "plain": 'bare strings, or exactly one of the columns "prompt", "text", "question"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a file or a dataset holds, before its meaning is known.

    `origin` names it in a message, `unit` is what `numbered` counts ("row" or "line", from 1); `columns` are those of a
    table, None where each row brings its own keys. `numbered` may be read once.
    """

    origin: str
    unit: str
    columns: tuple[str, ...] | None
    numbered: Iterable[tuple[int, Any]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """An instruction and its input ("" where it has none), both without blanks around them."""

    instruction: str
    context: str = ""

    @property
    def bare(self) -> str:
        """Without a template: the input follows on the next line."""
        return f"{self.instruction}\n{self.context}" if self.context else self.instruction

    def text(self, template: str) -> str:
        """As it is sent. "alpaca" is the wording the Alpaca models were trained on (PROMPT_DICT, stanford_alpaca's
        train.py), one form with an input and one without.
        """
        if template == "none":
            return self.bare
        form = _ALPACA_WITH_INPUT if self.context else _ALPACA_WITHOUT_INPUT
        return form.format(instruction=self.instruction, input=self.context)

    def template_tokens(self, template: str) -> int:
        """What `template` adds to the bare prompt, in SmolLM2 tokens.

        29 and 43 were the same for each of 999 Alpaca prompts and of the built-in ones: the template meets the text at
        line ends, where this tokenizer cuts anyway.
        """
        if template == "none":
            return 0
        return 43 if self.context else 29


Reader = Callable[[Rows, int, Any], Prompt | None]


def prompts(rows: Rows, prompt_format: str, template: str) -> list[Prompt]:
    """The usable prompts of `rows`; blank ones and conversations without a human turn are passed over.

    Raises BadInput, one line, where the columns or a row do not fit `prompt_format` (one of PROMPT_FORMATS), where no
    prompt is left, where there are more than MOST_PROMPTS rows, and for ShareGPT rows with a `template`.
    """
    columns, numbered = _columns(rows)
    kind, read = _reader(rows, columns, prompt_format)
    if kind == "sharegpt" and template != "none":
        refuse(rows.origin, f"is in ShareGPT format, which the {template} template does not fit", "--template none")
    found: list[Prompt] = []
    for count, (number, row) in enumerate(numbered, 1):
        if count > MOST_PROMPTS:
            refuse(rows.origin, f"has more than {MOST_PROMPTS:,} rows", "a random sample of it")
        prompt = read(rows, number, row)
        if prompt is not None and prompt.instruction:
            found.append(prompt)
    if not found:
        _refuse_without_prompts(rows)
    return found


def refuse(origin: str, flaw: str, valid: str) -> NoReturn:
    """Raises BadInput: one line that says what of `origin` is wrong and what would be valid."""
    raise BadInput(printable(f"{origin} {flaw}; valid: {valid}"))


def printable(text: str) -> str:
    """`text` on one line and in valid Unicode: line ends, terminal escapes and half surrogates are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _refuse_without_prompts(rows: Rows) -> NoReturn:
    refuse(rows.origin, "has no usable prompt", "at least one row whose prompt is not blank")


def _columns(rows: Rows) -> tuple[Sequence[str] | None, Iterable[tuple[int, Any]]]:
    """The columns, or the keys of the first row, which speaks for all; None for bare text. And all rows."""
    if rows.columns is not None:
        return rows.columns, rows.numbered
    numbered = iter(rows.numbered)
    first = next(numbered, None)
    if first is None:
        _refuse_without_prompts(rows)
    number, row = first
    if not isinstance(row, dict | str):
        refuse(rows.origin, f"holds a JSON {type(row).__name__} at {rows.unit} {number}", _VALID_OF["auto"])
    return (tuple(row) if isinstance(row, dict) else None), itertools.chain([first], numbered)


def _reader(rows: Rows, columns: Sequence[str] | None, prompt_format: str) -> tuple[str, Reader]:
    """The format that `columns` (None: bare text) show or that was asked for, and how a row of it is read."""
    kind = prompt_format if prompt_format != "auto" else _kind(rows, columns)
    if kind == "alpaca":
        _require(rows, columns, "instruction", kind)
        return kind, _alpaca
    if kind == "sharegpt":
        _require(rows, columns, "conversations", kind)
        return kind, _sharegpt
    if columns is None:
        return kind, _bare_text
    found = [column for column in PLAIN_COLUMNS if column in columns]
    if len(found) != 1:
        refuse(rows.origin, _found(columns), _VALID_OF[kind])
    return kind, _plain(found[0])


def _kind(rows: Rows, columns: Sequence[str] | None) -> str:
    """A column "text" beside an instruction is no rival: Alpaca's own set on the hub holds the whole example there."""
    if columns is None:
        return "plain"
    alpaca, sharegpt = "instruction" in columns, "conversations" in columns
    if alpaca and sharegpt:
        refuse(rows.origin, _found(columns), "--prompt-format alpaca or sharegpt, to say which is meant")
    if alpaca or sharegpt:
        return "alpaca" if alpaca else "sharegpt"
    if not any(column in columns for column in PLAIN_COLUMNS):
        refuse(rows.origin, _found(columns), _VALID_OF["auto"])
    return "plain"


def _require(rows: Rows, columns: Sequence[str] | None, column: str, kind: str) -> None:
    if columns is None:
        refuse(rows.origin, "holds bare strings", _VALID_OF[kind])
    if column not in columns:
        refuse(rows.origin, _found(columns), _VALID_OF[kind])


def _found(columns: Sequence[str], most: int = 10) -> str:
    """The names that are there, cut short where somebody's text stands in the header's place."""
    names = [repr(name if len(name) <= 40 else f"{name[:40]}...") for name in columns[:most]]
    more = [f"and {len(columns) - most} more"] if len(columns) > most else []
    return f"has the columns {', '.join(names + more) or '(none)'}"


def _alpaca(rows: Rows, number: int, row: Any) -> Prompt:
    if not isinstance(row, dict) or "instruction" not in row:
        refuse(rows.origin, f'has no "instruction" at {rows.unit} {number}', _VALID_OF["alpaca"])
    context = row.get("input")
    return Prompt(
        _text(rows, number, "instruction", row["instruction"]),
        "" if context is None else _text(rows, number, "input", context),
    )


def _sharegpt(rows: Rows, number: int, row: Any) -> Prompt | None:
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list):
        refuse(rows.origin, f'has no list "conversations" at {rows.unit} {number}', _VALID_OF["sharegpt"])
    for turn in turns:
        if not isinstance(turn, dict) or "from" not in turn or "value" not in turn:
            flaw = f'has a turn without "from" or "value" at {rows.unit} {number}'
            refuse(rows.origin, flaw, _VALID_OF["sharegpt"])
        if turn["from"] in _HUMAN:
            return Prompt(_text(rows, number, "value", turn["value"]))
    return None


def _plain(column: str) -> Reader:
    def read(rows: Rows, number: int, row: Any) -> Prompt:
        if not isinstance(row, dict) or column not in row:
            refuse(rows.origin, f'has no "{column}" at {rows.unit} {number}', f'a "{column}" in every row')
        return Prompt(_text(rows, number, column, row[column]))

    return read


def _bare_text(rows: Rows, number: int, row: Any) -> Prompt:
    if not isinstance(row, str):
        refuse(rows.origin, f"has no bare string at {rows.unit} {number}", "bare strings only, as the first row is one")
    return Prompt(_text(rows, number, "prompt", row))


def _text(rows: Rows, number: int, column: str, value: Any) -> str:
    if not isinstance(value, str):
        flaw = f'has a "{column}" that is no text at {rows.unit} {number} ({type(value).__name__})'
        refuse(rows.origin, flaw, f'text in every "{column}"')
    if not value.isascii() and _HALF_SURROGATE.search(value):
        refuse(rows.origin, f"has half a surrogate pair at {rows.unit} {number}", "text that is valid Unicode")
    return value.strip()
