"""A sweep while it runs: what the display says, how often, and what a log of it holds."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from carbonsweep import inputs
from carbonsweep.cluster.status import SweepStatus
from carbonsweep.domain import Measurement, Refusal, Slo, TrialRecord
from carbonsweep.evidence import TrialCost
from carbonsweep.progress import Pace, Tally, TrialProgress
from carbonsweep.search.objectives import Question, objectives
from carbonsweep.trial import NOT_RUN
from tests.conftest import FAILED, TOO_BIG, configuration, measurement, record

SLOW = configuration(batch_size=64)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def question(name: str = "carbon", slo: Slo | None = None) -> Question:
    return Question(
        objectives=objectives((name,)), slo=slo or Slo(), scenario=inputs.scenario({"region": "QC"}, ["T4"])
    )


def tried(
    batch_size: int = 4,
    outcome: Measurement | Refusal | None = None,
    *,
    energy_j: float | None = 400.0,
    duration_s: float = 20.0,
) -> TrialRecord:
    made = record(configuration(batch_size=batch_size), outcome or measurement())
    return replace(made, cost=TrialCost(duration_s=duration_s, energy_j=energy_j))


def status(**changes: object) -> SweepStatus:
    """Three of four GPUs busy on five nodes, 40 trials in all."""
    start: dict[str, object] = {
        "nodes": 5,
        "gpus": 4,
        "gpus_busy": 3,
        "running": 3,
        "starting": 0,
        "lost": 0,
        "total": 40,
    }
    return SweepStatus(**{**start, **changes})  # type: ignore[arg-type]


class Watched:
    """A display on a terminal of 200 columns that a test reads; `frames` counts how often it was drawn."""

    def __init__(self, total: int = 40, stops_below: float | None = None) -> None:
        self.clock, self.screen = Clock(), io.StringIO()
        console = Console(file=self.screen, force_terminal=True, width=200, color_system=None, _environ={})
        self.progress = TrialProgress(total, question(), stops_below=stops_below, clock=self.clock, console=console)

    @property
    def text(self) -> str:
        return self.screen.getvalue()

    @property
    def frames(self) -> int:
        return self.text.count(" trials")

    def wiped(self) -> None:
        self.screen.seek(0)
        self.screen.truncate()


@pytest.fixture
def watched() -> Watched:
    return Watched()


# ---- on a terminal ----


def test_the_display_shows_trials_cluster_joules_best_and_time_left(watched: Watched) -> None:
    with watched.progress as progress:
        progress.show_status(status())
        for batch_size in (1, 2, 4):
            watched.clock.now_s += 10
            progress.show_status(status())
            progress.advance(tried(batch_size))
        watched.clock.now_s += 10
        watched.wiped()
        progress.show_status(status(lost=2, starting=1))
    # 40 s of 3 trials side by side are 120 s for 3 done and 3 half done: 26.7 s each; 35.5 left on 3 GPUs: 315.6 s.
    assert "3/40 trials, 3 running, 0 infeasible, 0 failed, 2 lost" in watched.text
    assert "GPUs 3/4 busy on 5 nodes; 1 starting; 1.2 kJ so far; about 316 s left" in watched.text
    assert (
        "best so far: TinyLlama-1.1B on T4, batch 1, fp16, paper, 1.96 mg CO2e per 1,000 output tokens" in watched.text
    )


def test_a_guided_sweep_shows_the_chance_left_instead_of_a_total_it_will_not_reach() -> None:
    watched = Watched(stops_below=0.05)
    with watched.progress as progress:
        progress.show_status(status(stops_below=0.05))
        for batch_size in (1, 2, 4):
            watched.clock.now_s += 10
            progress.show_status(status(stops_below=0.05))
            progress.advance(tried(batch_size))
        assert "chance that something better remains: not known yet, ends below 5 %" in watched.text
        watched.clock.now_s += 10
        watched.wiped()
        progress.show_status(status(chance_left=0.317, stops_below=0.05))
    assert "3 trials of at most 40, 3 running" in watched.text
    assert "chance that something better remains: 32 %, ends below 5 %" in watched.text
    assert "nothing was measured yet" not in watched.text
    assert " left" not in watched.text  # of the time: nobody knows
    assert "━" not in watched.text
    assert "/40" not in watched.text


def test_a_guided_sweep_says_which_kinds_it_still_looks_at() -> None:
    watched = Watched(stops_below=0.05)
    with watched.progress as progress:
        progress.show_status(status(stops_below=0.05))
        progress.advance(tried(1))
        watched.clock.now_s += 10
        progress.show_status(status(chance_left=0.001, stops_below=0.05, in_doubt=("T4", "L4")))
    assert "remains: under 1 %, ends below 5 %; nothing was measured yet on T4, L4" in watched.text


def test_a_guided_sweep_that_no_chance_stops_has_a_total() -> None:
    watched = Watched(stops_below=0.0)
    with watched.progress as progress:
        progress.show_status(status(chance_left=0.5, stops_below=0.0))
        watched.clock.now_s += 10
        progress.advance(tried())
    assert "1/40 trials" in watched.text


def test_before_the_first_status_it_says_that_it_starts(watched: Watched) -> None:
    with watched.progress:
        assert "0/40 trials" in watched.text
        assert "starting" in watched.text
        assert "nothing feasible yet" in watched.text


def test_it_is_drawn_at_most_five_times_a_second(watched: Watched) -> None:
    with watched.progress as progress:
        before = watched.frames
        for _ in range(100):  # one second
            watched.clock.now_s += 0.01
            progress.advance(tried())
        assert 4 <= watched.frames - before <= 5


def test_what_happens_is_printed_above_the_bar(watched: Watched) -> None:
    with watched.progress as progress:
        watched.wiped()
        progress.notice("node gpu-2 (1 T4) [bold]went away[/bold]")
        assert watched.text.index("gpu-2 (1 T4) [bold]went away[/bold]\n") < watched.text.index("0/40 trials")


def test_the_display_goes_when_the_sweep_ends(watched: Watched) -> None:
    with watched.progress as progress:
        progress.advance(tried())
        watched.wiped()
    assert "\x1b[2K" in watched.text  # the lines it took are erased
    assert " trials" not in watched.text.rpartition("\x1b[2K")[2]


def test_a_trial_that_takes_long_is_named_with_its_host(watched: Watched) -> None:
    with watched.progress as progress:
        progress.advance(tried(duration_s=20.0))
        shown = []
        for running_s in (59.0, 61.0):  # three times the median is 60 s
            watched.clock.now_s += 1
            watched.wiped()
            progress.show_status(status(longest=(SLOW, "gpu-2", running_s)))
            shown.append(watched.text)
    assert "slowest" not in shown[0]
    assert f"slowest: {SLOW} on gpu-2, running for 61 s (the median is 20 s)" in shown[1]


def test_ten_seconds_are_not_long_however_short_the_others_were(watched: Watched) -> None:
    with watched.progress as progress:
        progress.advance(tried(duration_s=0.1))
        watched.clock.now_s += 1
        watched.wiped()
        progress.show_status(status(longest=(SLOW, "gpu-2", 9.9)))
    assert "slowest" not in watched.text


def test_a_sweep_without_gpus_counts_its_workers(watched: Watched) -> None:
    with watched.progress as progress:
        watched.clock.now_s += 1
        progress.show_status(status(gpus=0, gpus_busy=0, running=1, nodes=1))
    assert "1 worker busy on 1 node;" in watched.text


def test_a_status_says_how_many_trials_there_are_now(watched: Watched) -> None:
    with watched.progress as progress:
        watched.clock.now_s += 1
        progress.show_status(status(total=31))
    assert "0/31 trials" in watched.text


def test_what_is_known_from_before_is_the_best_so_far_and_no_trial(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    known = [tried(batch_size=8), tried(batch_size=16, outcome=TOO_BIG)]
    with TrialProgress(40, question(), known=known, clock=clock) as progress:
        clock.now_s += 60
        progress.show_status(status())
    said = capsys.readouterr().err
    assert "0/40 trials" in said
    assert "0 infeasible" in said
    assert f"best so far: {configuration(batch_size=8)}, " in said


@pytest.mark.parametrize("columns", [20, 80])
def test_a_narrow_terminal_cuts_lines_and_wraps_none(columns: int) -> None:
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=columns, color_system=None, _environ={})
    with TrialProgress(40, question(), clock=clock, console=console) as progress:
        progress.advance(tried())
        screen.seek(0)
        screen.truncate()
        clock.now_s += 1
        progress.show_status(status())
        drawn = screen.getvalue()
    assert drawn.count("\n") == 2  # three lines: bar, cluster, best
    assert max(len(line) for line in drawn.rpartition("\x1b[2K")[2].splitlines()) <= columns


def test_a_real_terminal_shows_the_display_and_stdout_is_left_alone() -> None:
    script = (
        "from tests.test_progress import *; import time\n"
        "with TrialProgress(40, question()) as progress:\n"
        "    time.sleep(0.3); progress.advance(tried()); progress.show_status(status())\n"
        "    time.sleep(0.3); progress.show_status(status()); print('to stdout')\n"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=slave, env=environment)
    os.close(slave)
    screen = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # the other end was closed
            break
        if not chunk:
            break
        screen += chunk
    os.close(master)
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 0
    assert output == b"to stdout\n"
    assert "GPUs 3/4 busy on 5 nodes" in screen.decode()
    assert "1/40 trials, 3 running" in screen.decode()


# ---- in a log ----


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_log_has_a_plain_line_every_tenth_of_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    with TrialProgress(40, question(), clock=Clock()) as progress:
        for _ in range(40):
            progress.advance(tried())
    lines = logged(capsys)
    assert [line.split(" ")[0] for line in lines] == [f"{done}/40" for done in range(4, 41, 4)]
    assert not any("\x1b" in line for line in lines)


def test_a_line_of_the_log_says_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with TrialProgress(2, question(), clock=clock) as progress:
        progress.show_status(status(total=2))
        progress.advance(tried(energy_j=None))
        progress.advance(tried(1, TOO_BIG))
    best = "best so far: TinyLlama-1.1B on T4, batch 4, fp16, paper, 1.96 mg CO2e per 1,000 output tokens"
    first, last = logged(capsys)
    assert first == (
        "1/2 trials, 3 running, 0 infeasible, 0 failed, 0 lost; GPUs 3/4 busy on 5 nodes; joules unknown; "
        f"time left not known yet; {best}"
    )
    assert last == (
        "2/2 trials, 3 running, 1 infeasible, 0 failed, 0 lost; GPUs 3/4 busy on 5 nodes; at least 400 J so far; "
        f"{best}"
    )


def test_a_log_says_something_every_half_minute_though_no_trial_ends(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with TrialProgress(40, question(), clock=clock) as progress:
        for _ in range(95):
            clock.now_s += 1
            progress.show_status(status())
    assert len(logged(capsys)) == 3  # after 30, 60 and 90 seconds


def test_a_line_for_a_finished_trial_puts_off_the_next_of_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with TrialProgress(1, question(), clock=clock) as progress:
        clock.now_s += 29
        progress.advance(tried())
        clock.now_s += 29
        progress.show_status(status(total=1))
    assert len(logged(capsys)) == 1


def test_a_failure_and_a_notice_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with TrialProgress(40, question(), clock=Clock()) as progress:
        progress.advance(tried(outcome=FAILED))
        progress.notice("node gpu-2 went away")
    assert logged(capsys) == [f"failed: {configuration()}: the driver went away", "node gpu-2 went away"]


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_the_log(term: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, _environ={"TERM": term})
    with TrialProgress(1, question(), clock=Clock(), console=console) as progress:
        progress.advance(tried())
    assert screen.getvalue() == ""
    assert len(logged(capsys)) == 1


# ---- what it adds up ----


def test_outcomes_are_told_apart() -> None:
    tally = Tally(question(slo=Slo(ttft_s=0.4)))
    for one in (tried(), tried(1, measurement(ttft_s=0.3)), tried(2, TOO_BIG), tried(8, FAILED)):
        tally.add(one)
    assert (tally.done, tally.infeasible, tally.failed) == (4, 2, 1)  # 0.5 s is over the limit
    assert tally.best is not None
    assert tally.best[1].configuration.batch_size == 1


@pytest.mark.parametrize(
    ("energies_j", "words"),
    [
        ((), ""),
        ((None,), "joules unknown"),
        ((400.0, 600.0), "1 kJ so far"),
        ((400.0, None), "at least 400 J so far"),
    ],
)
def test_joules_so_far_say_what_is_missing(energies_j: tuple[float | None, ...], words: str) -> None:
    tally = Tally(question())
    for energy_j in energies_j:
        tally.add(tried(energy_j=energy_j))
    assert tally.spent() == words


def test_a_record_that_needed_no_trial_costs_nothing_and_leaves_the_median_alone() -> None:
    tally = Tally(question())
    for one in (tried(), replace(tried(1, TOO_BIG), cost=NOT_RUN)):
        tally.add(one)
    assert (tally.spent(), tally.median_s, tally.done) == ("400 J so far", 20.0, 2)


def test_the_best_of_an_objective_that_is_maximised_is_the_largest() -> None:
    tally = Tally(question("throughput"))
    for batch_size in (4, 8, 2):
        tally.add(tried(batch_size, measurement(batch_size=batch_size)))
    # 8 x 150 tokens in 3.5 s.
    assert tally.best_words() == "best so far: TinyLlama-1.1B on T4, batch 8, fp16, paper, 342.9 tokens/s"


def test_a_feasible_record_whose_value_is_unknown_is_no_lie() -> None:
    tally = Tally(question())
    tally.add(tried(outcome=measurement(prefill_j=None)))
    assert tally.best_words().endswith("value unknown")


def test_time_left_is_unknown_until_a_few_trials_are_done() -> None:
    pace = Pace()
    pace.see(2, 0.0)
    pace.see(2, 10.0)
    assert pace.left(2, 40) == "time left not known yet"
    # 20 s for 3 done and 2 half done: 5 s each; 36 left, 2 at a time.
    assert pace.left(3, 40) == "about 90 s left"


def test_fewer_gpus_make_it_longer_and_starting_up_does_not() -> None:
    pace = Pace()
    pace.see(0, 0.0)
    pace.see(4, 300.0)  # five minutes of loading
    pace.see(4, 340.0)
    pace.see(2, 340.0)  # two nodes went
    # 160 s for 7 done and 2 half done: 20 s each; 52 - 7 - 1 = 44 left, 2 at a time.
    assert pace.left(7, 52) == "about 440 s left"


def test_where_nothing_runs_nobody_knows_when_it_ends() -> None:
    pace = Pace()
    pace.see(2, 0.0)
    pace.see(0, 10.0)
    assert pace.left(10, 40) == "time left unknown: no trial is running"
    assert pace.left(40, 40) == ""
