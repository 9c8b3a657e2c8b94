"""The workloads a bench serves: built-in prompts, a file's, or a data set's; and the fixed batches drawn from them.

A prompt is bare (the instruction and, on the next line, its input where it has one) unless Alpaca's template is asked
for. Lengths are counted or estimated for the SmolLM2 tokenizer; a bench with a tokenizer counts for itself.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from carbonsweep.bench.prompt_files import file_rows
from carbonsweep.bench.prompt_formats import Prompt, printable, prompts
from carbonsweep.bench.prompt_hub import hub_rows, is_hub_id
from carbonsweep.domain import Workload
from carbonsweep.errors import BadInput

BYTES_PER_TOKEN: Final = 4.519
"""UTF-8 bytes per SmolLM2 token of English instructions, for lengths before a tokenizer has seen the text.

Source: 999 bare Alpaca prompts (hiyouga/LLaMA-Factory, data/alpaca_en_demo.json), all bytes over all tokens, so the sum
is right on that set; a single prompt is off by 3.0 tokens in the mean (mean absolute error; 16 % of all tokens).
Other languages need more tokens per byte.
"""

SLOW_FILE_BYTES: Final = 2**26
"""From here on reading takes seconds: 670 MB of ShareGPT conversations take about 20."""


def built_in_workload(output_tokens: int, seed: int, template: str = "none") -> Workload:
    """The project's own prompts; they follow the length profile of bare Alpaca prompts (mean 19, median 15 tokens).

    Raises BadInput for fewer than 2 `output_tokens`.
    """
    rows = [(_parted(row["prompt"]), row["tokens"]) for row in _built_in_rows()]
    return _workload(
        name="built-in",
        prompts=tuple(prompt.text(template) for prompt, _ in rows),
        tokens=tuple(tokens + prompt.template_tokens(template) for prompt, tokens in rows),
        token_basis="counted by the SmolLM2 tokenizer",
        output_tokens=output_tokens,
        seed=seed,
        template=template,
    )


def prompt_workload(
    source: str, output_tokens: int, seed: int, *, prompt_format: str = "auto", template: str = "none"
) -> Workload:
    """The prompts of a path that exists, else of the data set `source` (org/name or org/name:split) on the hub.

    Raises BadInput as `prompt_file_workload` does, and where the data set cannot be had.
    """
    if not is_hub_id(source) or _size_bytes(source) is not None:
        return prompt_file_workload(source, output_tokens, seed, prompt_format=prompt_format, template=template)
    rows, name = hub_rows(source)
    return _estimated(name, prompts(rows, prompt_format, template), output_tokens, seed, template)


def prompt_file_workload(
    path: str | Path, output_tokens: int, seed: int, *, prompt_format: str = "auto", template: str = "none"
) -> Workload:
    """The prompts of a local .json, .jsonl, .csv, .txt or .parquet file, in one of the `prompt_formats`.

    Lengths are estimates from bytes. Raises BadInput, one line naming the file and what would be valid.
    """
    path = Path(path)
    found = prompts(file_rows(path), prompt_format, template)
    return _estimated(path.name, found, output_tokens, seed, template)


def takes_a_while(source: str) -> bool:
    """Whether a person should be told that `source` is being read: it comes from the hub, or is a large file."""
    size_bytes = _size_bytes(source)
    return is_hub_id(source) if size_bytes is None else size_bytes > SLOW_FILE_BYTES


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


def _size_bytes(path: str) -> int | None:
    """None where there is no such path, or none that may be looked at."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None


def _estimated(name: str, found: Sequence[Prompt], output_tokens: int, seed: int, template: str) -> Workload:
    estimate = f"estimated at {BYTES_PER_TOKEN} bytes per token"
    return _workload(
        name=name,
        prompts=tuple(prompt.text(template) for prompt in found),
        tokens=tuple(estimated_tokens(prompt.bare) + prompt.template_tokens(template) for prompt in found),
        token_basis=estimate if template == "none" else f"{estimate}, the template counted by the SmolLM2 tokenizer",
        output_tokens=output_tokens,
        seed=seed,
        template=template,
    )


def _workload(
    *,
    name: str,
    prompts: tuple[str, ...],
    tokens: tuple[int, ...],
    token_basis: str,
    output_tokens: int,
    seed: int,
    template: str,
) -> Workload:
    try:
        return Workload(
            # A file name may hold anything; this one is printed, and written as UTF-8.
            name=printable(name),
            prompts=prompts,
            prompt_tokens=tokens,
            token_basis=token_basis,
            output_tokens=output_tokens,
            seed=seed,
            template=template,
        )
    except ValueError as error:
        raise BadInput(str(error)) from error


def _parted(prompt: str) -> Prompt:
    """A built-in prompt: its instruction is one line, its input all that follows."""
    instruction, _, context = prompt.partition("\n")
    return Prompt(instruction, context)


@functools.cache
def _built_in_rows() -> Sequence[dict[str, Any]]:
    text = files("carbonsweep.bench").joinpath("prompts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
