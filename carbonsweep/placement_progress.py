"""A long search for splits, on stderr: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from carbonsweep.placement.answers import Sought
from carbonsweep.shares import percent
from carbonsweep.terminal import warn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

SOON_S: Final = 1.0
"""A search that ends before shows nothing."""
REDRAW_S: Final = 0.2
SILENCE_S: Final = 30.0
"""A log says something that often."""


@contextmanager
def followed(
    sought: Sought | None, *, clock: Callable[[], float] = time.monotonic, console: Console | None = None
) -> Iterator[Sought | None]:
    """The same, told how far its search is; the bar is gone at the end."""
    if sought is None:
        yield None
        return
    shown = _Shown(clock, console)
    try:
        yield dataclasses.replace(sought, told=shown.told)
    finally:
        shown.stop()


class _Shown:
    """Draws when it is told something, and not too often: nothing runs in the background."""

    def __init__(self, clock: Callable[[], float], console: Console | None) -> None:
        from rich.console import Console

        self._clock, self._console = clock, console or Console(stderr=True)
        self._began_s = self._said_s = clock()
        self._bar: Progress | None = None

    def told(self, done: int, total: int) -> None:
        """So many of `total` blocks of combinations are searched."""
        now_s = self._clock()
        watched = self._console.is_terminal and not self._console.is_dumb_terminal
        if now_s - self._began_s < SOON_S or now_s - self._said_s < (REDRAW_S if watched else SILENCE_S):
            return
        self._said_s = now_s
        if not watched:
            warn(f"searching splits: {percent(done / total)} of the combinations")
            return
        if self._bar is None:
            self._bar = self._started()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, refresh=True)

    def _started(self) -> Progress:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("searching splits"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        # What goes to stdout is the answer's: the bar leaves it alone.
        bar = Progress(*columns, console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        bar.add_task("")
        bar.start()
        return bar

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
