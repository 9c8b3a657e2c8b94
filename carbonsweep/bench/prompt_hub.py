"""Prompt sets of the hub, through `datasets` (imported when one is loaded): `org/name`, or `org/name:split`.

Whatever the library caches is reused; with HF_HUB_OFFLINE set nothing but its cache is asked.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from carbonsweep.bench.prompt_files import LARGEST_FILE_BYTES, SUFFIXES, brief, known, table_rows
from carbonsweep.bench.prompt_formats import Rows, refuse

DEFAULT_SPLIT: Final = "train"

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:\S+)?", re.ASCII)
_FILE_ENDINGS: Final = (*SUFFIXES, ".gz", ".zip", ".zst", ".tsv", ".arrow")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_VALID: Final = "a public data set as org/name or org/name:split, such as tatsu-lab/alpaca:train, or a local file"


def is_hub_id(source: str) -> bool:
    """Whether `source` has the form of a data set's name rather than of a path to a file."""
    return _HUB_ID.fullmatch(source) is not None and not source.lower().endswith(_FILE_ENDINGS)


def hub_rows(source: str) -> tuple[Rows, str]:
    """The rows of a data set, and its name with the revision and the split that were read.

    The revision is left out where the library does not tell it. The split may be a slice, such as `train[:1000]`.
    Raises BadInput where the library is missing, or where the set or the split cannot be had: one line with the cause.
    """
    repository, _, split = source.partition(":")
    split = split or DEFAULT_SPLIT
    origin = f"prompt set {source!r}"
    dataset = _dataset(origin, repository, split)
    columns = list(dataset.column_names)
    return table_rows(origin, columns, _tables(origin, dataset, known(columns))), _name(repository, split, dataset)


def _dataset(origin: str, repository: str, split: str) -> Any:
    try:
        import datasets
    except ImportError:
        refuse(origin, "needs the package datasets", "pip install 'carbonsweep[measure]', or a local file")
    try:
        with _quiet():
            return datasets.load_dataset(repository, split=split)
    except Exception as error:  # the library, its file formats and its transport raise types of their own without end
        _refuse_unloadable(origin, error)


def _refuse_unloadable(origin: str, error: Exception) -> NoReturn:
    """In words where the type of `error` says what is the matter, else in the library's own."""
    from datasets.exceptions import DatasetNotFoundError

    if isinstance(error, ConnectionError):
        flaw = f"is not in the local cache, and the hub cannot be reached ({brief(error)})"
        refuse(origin, flaw, "a network connection, HF_HUB_OFFLINE unset, or a local file")
    if isinstance(error, DatasetNotFoundError):
        refuse(origin, f"is not there, or may not be read ({brief(error)})", _VALID)
    refuse(origin, f"cannot be loaded ({type(error).__name__}: {brief(error)})", _VALID)


def _tables(origin: str, dataset: Any, columns: list[str]) -> Iterator[Any]:
    """The chosen columns as Arrow tables, a thousand rows each."""
    chosen = dataset.select_columns(columns)
    unpacked_bytes = chosen.data.nbytes
    if unpacked_bytes > LARGEST_FILE_BYTES:
        flaw, valid = f"holds {unpacked_bytes:,} bytes", f"at most {LARGEST_FILE_BYTES:,.0f}: a part, such as "
        refuse(origin, flaw, f"{valid}org/name:{DEFAULT_SPLIT}[:100000]")
    yield from chosen.with_format("arrow").iter(batch_size=1000)


def _name(repository: str, split: str, dataset: Any) -> str:
    """The cache's last folder is named for the commit that was downloaded."""
    files = dataset.cache_files
    folder = Path(files[0]["filename"]).parent.name if files else ""
    revision = f"@{folder[:12]}" if _COMMIT.fullmatch(folder) else ""
    return f"{repository}{revision}:{split}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no log of repeated requests while a set loads; both settings are put back.

    What `datasets` itself warns of (an old copy from the cache is used because the hub is away) still shows.
    """
    import datasets.utils
    import huggingface_hub.utils

    libraries = [library for library in (datasets.utils, huggingface_hub.utils) if _shows_bars(library)]
    requests_log = logging.getLogger("huggingface_hub")
    level = requests_log.level
    for library in libraries:
        library.disable_progress_bars()
    requests_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        requests_log.setLevel(level)
        for library in libraries:
            library.enable_progress_bars()


def _shows_bars(library: Any) -> bool:
    return not library.are_progress_bars_disabled()
