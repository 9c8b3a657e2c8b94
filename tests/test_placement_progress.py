"""A long search for splits: a bar where somebody watches, a line now and then where nobody does, else nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from carbonsweep.placement_progress import followed
from tests.placement.test_answers import planned, question, searched, sought


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def screen(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, _environ={"TERM": "xterm"})


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_search_that_takes_long_shows_how_far_it_is() -> None:
    clock, console = Clock(), screen(terminal=True)
    with followed(sought(), clock=clock, console=console) as asked:
        assert asked is not None
        clock.now_s += 0.9
        asked.told(1, 8)
        assert shown(console) == ""  # it may be over soon
        clock.now_s += 0.9
        asked.told(2, 8)
        assert "searching splits" in shown(console)
        assert " 25%" in shown(console)
        before = shown(console)
        asked.told(3, 8)
        assert shown(console) == before  # not again so soon
    assert shown(console).endswith("\x1b[2K")  # and the bar is wiped away


def test_in_a_log_it_is_a_line_each_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with followed(sought(), clock=clock, console=screen(terminal=False)) as asked:
        assert asked is not None
        for done in range(1, 9):
            clock.now_s += 10
            asked.told(done, 8)
    # After 30 and 60 s of 80: 3 and 6 blocks of 8.
    assert capsys.readouterr().err.splitlines() == [
        "searching splits: 38 % of the combinations",
        "searching splits: 75 % of the combinations",
    ]


def test_a_search_tells_of_every_block_and_the_answer_is_the_same() -> None:
    of, heard = searched(), []
    with followed(sought()) as asked:
        assert asked is not None
        object.__setattr__(asked, "told", lambda done, total: heard.append((done, total)))
        found = planned(of, question(of), asked)
    assert heard == [(i, len(heard)) for i in range(1, len(heard) + 1)]
    # Each pair of pools is at least one block of each model.
    assert len(heard) >= len(asked.pools) * len(of.models)
    alone = planned(of, question(of), sought())
    assert found.split == alone.split


def test_what_is_not_searched_is_not_followed() -> None:
    with followed(None) as asked:
        assert asked is None
