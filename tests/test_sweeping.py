"""A sweep from question to answer: what is known counts, what is left runs, and what went wrong is said."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import create_trial

from carbonsweep import inputs, results, search_lines, sweeping
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.cluster.status import Outcome
from carbonsweep.domain import BenchIdentity, Configuration, Measurement, TrialRecord, Workload
from carbonsweep.errors import EXIT_ANSWER, EXIT_INTERRUPTED, EXIT_NOTHING_FEASIBLE, BenchFailed, NothingMeasured
from carbonsweep.records import OutputFolder, read
from carbonsweep.search.counsel import LEAST_MEASURED
from carbonsweep.search.journal import journal
from carbonsweep.search.objectives import objectives
from carbonsweep.search.sampling import Sampling
from carbonsweep.search.space import Space
from carbonsweep.search.study import Search
from carbonsweep.spool import ROOT_VARIABLE, spool
from carbonsweep.sweeping import Asked, Place
from carbonsweep.trial import trial
from tests.conftest import FAILED, SHORT, TOO_BIG, identity, measurement, record
from tests.running import environment

SPACE = Space(
    models=("TinyLlama-1.1B",),
    gpus=("T4", "RTX6000Ada"),
    gpu_counts=(1,),
    batch_sizes=(1, 2, 4),
    dtypes=("fp16",),
    engines=("paper",),
)
POINTS = sorted(SPACE.configurations())
ALL = Sampling(sampler="exhaustive", trials=100, seed=0)
ALONE = Place(connected=False, trial_timeout_s=60.0, node_grace_s=60.0)
Swept = Callable[[Asked, Search, OutputFolder, Place], Outcome]


class Saying:
    """Measures the kinds in `measured` and models the rest."""

    name = "test"

    def __init__(self, *measured: str) -> None:
        self._measured = measured

    def identity(self, asked: Configuration) -> BenchIdentity:
        return identity(basis="measured" if asked.gpu in self._measured else "modelled", device=asked.gpu)

    def measure(self, asked: Configuration, workload: Workload) -> Measurement:
        raise BenchFailed("not here")


def asking(bench: Any = None, space: Space = SPACE, **changes: Any) -> Asked:
    """Latency of SHORT over six configurations of the device model, with changes."""
    limits: dict[str, float | None] = {"slo_ttft": None, "slo_tpot": None, "slo_latency": None, **changes}
    priced = inputs.scenario({"region": "QC"}, space.gpus)
    used = bench or RooflineBench()
    return Asked(
        bench=used,
        here=used,
        space=space,
        question=inputs.question(objective=("latency",), scenario=priced, **limits),
        workload=SHORT,
        elsewhere=functools.partial(inputs.workload_elsewhere(SHORT, {}, 0)),
        summary=SHORT.summary(),
        name="test",
    )


def modelled(point: Configuration, attempt: str | None = None) -> TrialRecord:
    return trial(RooflineBench(), point, SHORT, attempt=attempt)


@pytest.fixture(autouse=True)
def own_spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "spools"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def filled(out: Path, *records: TrialRecord) -> Path:
    with OutputFolder(out) as folder:
        for each in records:
            folder.append(each)
    return out


def sweeps(monkeypatch: pytest.MonkeyPatch, *, most: int = 100, then: Outcome | BaseException | None = None) -> None:
    """In place of Ray: run up to `most` trials of the device model here, then end so."""

    def swept(asked: Asked, search: Search, folder: OutputFolder, _: Place) -> Outcome:
        for _turn in range(most):
            point = search.suggest()
            if point is None:
                break
            made = trial(asked.bench, point, SHORT)
            folder.append(made)
            search.tell(made)
        if isinstance(then, BaseException):
            raise then
        return then or Outcome()

    monkeypatch.setattr(sweeping, "_sweep", swept)


def answered(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    return found


# ---- what is known ----


def test_records_of_another_bench_workload_or_space_answer_nothing(out: Path) -> None:
    mine = modelled(POINTS[0])
    larger = modelled(replace(POINTS[0], batch_size=64))
    other_model = modelled(replace(POINTS[0], model="LLaMA-7B"))
    other_workload = trial(RooflineBench(), POINTS[1], replace(SHORT, output_tokens=20))
    other_bench = record(POINTS[2], measurement())
    filled(out, larger, other_model, other_workload, other_bench, mine)
    with OutputFolder(out) as folder:
        asked = asking()
        # Another batch size is no record of the sweep, but may tell that larger ones do not fit.
        assert asked.known(folder) == {POINTS[0]: mine, larger.configuration: larger}
        assert asked.records(folder) == [mine]


def test_a_failure_of_the_trial_is_a_record_and_nothing_known(out: Path) -> None:
    good = modelled(POINTS[0])
    failed = replace(modelled(POINTS[1]), measurement=None, refusal=FAILED)
    refused = replace(modelled(POINTS[2]), measurement=None, refusal=TOO_BIG)
    filled(out, refused, failed, good)
    with OutputFolder(out) as folder:
        assert asking().known(folder) == {POINTS[0]: good, POINTS[2]: refused}
        assert asking().records(folder) == [good, failed, refused]  # in the order of configurations


def test_a_record_without_the_joules_that_are_asked_for_is_nothing_known(out: Path) -> None:
    blind = replace(modelled(POINTS[0]), measurement=measurement(prefill_j=None))
    filled(out, blind)
    for_energy = asking()
    for_energy = replace(for_energy, question=replace(for_energy.question, objectives=objectives(("energy",))))
    with OutputFolder(out) as folder:
        assert for_energy.known(folder) == {}
        assert asking().known(folder) == {POINTS[0]: blind}  # its seconds are all that latency needs


@pytest.mark.parametrize(
    ("measured", "gpus", "loads_weights", "is_modelled", "kind_here"),
    [
        ((), ("T4", "RTX6000Ada"), False, True, None),
        (("T4",), ("T4", "RTX6000Ada"), True, False, "T4"),
        (("T4",), ("T4",), True, False, "T4"),
        (("CPU",), ("CPU",), True, False, None),  # weights load there too, and there is no GPU to label
        (("CPU", "T4"), ("CPU", "T4"), True, False, "T4"),
    ],
)
def test_what_is_measured_decides_what_a_sweep_is(
    measured: tuple[str, ...], gpus: tuple[str, ...], loads_weights: bool, is_modelled: bool, kind_here: str | None
) -> None:
    asked = asking(Saying(*measured), replace(SPACE, gpus=gpus))
    assert (asked.loads_weights, asked.is_modelled, asked.kind_here) == (loads_weights, is_modelled, kind_here)


# ---- to the answer ----


def test_a_sweep_runs_what_is_left_writes_its_answer_and_says_what_it_did(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(out, modelled(POINTS[0]), modelled(POINTS[1]))
    sweeps(monkeypatch)
    assert sweeping.run(asking(), ALONE, ALL, out=out) == EXIT_ANSWER
    printed = capsys.readouterr()
    assert f"Space: 6 configurations; 2 known from before, 4 to run; records in {out}" in printed.out
    assert printed.err == ""
    assert sorted(each.configuration for each in read(out)[0]) == POINTS
    written = answered(out)
    assert written["complete"] is True
    # The device model is known exactly, so the answer of an exhaustive sweep is the exact one: no regret.
    assert written["records"] == [each.key for each in sorted(read(out)[0], key=lambda r: r.configuration)]


def test_a_sweep_with_nothing_left_answers_from_the_records_and_starts_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(out, *map(modelled, POINTS))
    sweeps(monkeypatch, then=AssertionError("nothing is left to run"))
    assert sweeping.run(asking(), ALONE, ALL, out=out) == EXIT_ANSWER
    assert answered(out)["complete"] is True


def test_where_no_configuration_is_within_the_limits_the_code_says_so(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps(monkeypatch)
    assert sweeping.run(asking(slo_latency=1e-9), ALONE, ALL, out=out) == EXIT_NOTHING_FEASIBLE


def test_an_interrupted_sweep_answers_from_what_it_has_and_says_that_it_is_not_all(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps(monkeypatch, most=3, then=KeyboardInterrupt())
    assert sweeping.run(asking(), ALONE, ALL, out=out) == EXIT_INTERRUPTED
    assert "interrupted: 3 finished trials are kept; run it again to go on" in capsys.readouterr().err
    assert answered(out)["complete"] is False
    assert len(answered(out)["records"]) == 3


def test_a_sweep_interrupted_before_its_first_record_has_no_answer_and_no_traceback(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps(monkeypatch, most=0, then=KeyboardInterrupt())
    assert sweeping.run(asking(), ALONE, ALL, out=out) == EXIT_INTERRUPTED
    assert "interrupted: 0 finished trials are kept" in capsys.readouterr().err
    assert not (out / "answer.json").exists()


def test_a_sweep_that_measures_nothing_at_all_raises(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps(monkeypatch, most=0)
    with pytest.raises(NothingMeasured):
        sweeping.run(asking(), ALONE, ALL, out=out)
    with OutputFolder(out):  # and the folder is free
        pass


def test_what_became_of_trials_without_a_record_is_said_and_the_answer_is_not_complete(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Outcome(
        lost=("its worker died", "hung: no result within 60 s", "its worker died"),
        unreachable=(("one", 2),),
        closed=(("1 T4 and 1 CPU", 3),),
    )
    sweeps(monkeypatch, then=ended)
    sweeping.run(asking(), ALONE, ALL, out=out)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "3 trials ended without a result (hung: no result within 60 s, its worker died); run it again to retry them",
        "one went with trials running: at most 2 finished measurements are out of reach",
        "no node with 1 T4 and 1 CPU was left, 3 configurations are untried: run it again with one",
    ]
    assert answered(out)["complete"] is False


def test_a_damaged_line_is_named_and_its_configuration_run_again(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(out, *map(modelled, POINTS))
    lines = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
    (out / "records.jsonl").write_bytes(b"".join([lines[0], b"{broken\n", *lines[2:]]))
    sweeps(monkeypatch)
    assert sweeping.run(asking(), ALONE, ALL, out=out) == EXIT_ANSWER
    printed = capsys.readouterr()
    assert f"{out}/records.jsonl line 2 is damaged and was set aside" in printed.err
    assert "5 known from before, 1 to run" in printed.out
    assert sorted(each.configuration for each in read(out)[0]) == POINTS


# ---- after an interruption ----


def test_what_a_dead_sweep_finished_on_this_machine_is_kept_and_not_run_again(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with OutputFolder(out) as folder:
        spool(folder.spool_name).keep(modelled(POINTS[0], "a"))
        spool(folder.spool_name).keep(modelled(POINTS[1], "b"))
    sweeps(monkeypatch)
    sweeping.run(asking(), ALONE, ALL, out=out)
    printed = capsys.readouterr()
    assert "2 finished trials of an interrupted sweep were found where they ran, and are kept" in printed.err
    assert "2 known from before, 4 to run" in printed.out
    assert len(read(out)[0]) == 6


def killed_sweep(out: Path, *hosts: str | None) -> None:
    """A sweep that dies while one trial runs on each of `hosts`; None: it was not placed yet."""
    asked = asking()
    with OutputFolder(out) as folder:
        search = Search(
            space=SPACE,
            question=asked.question,
            name=f"{asked.name}-{ALL.sampler}",
            trials=100,
            seed=0,
            known={},
            sampler=ALL.sampler,
            storage=journal(folder.folder),
        )
        for host in hosts:
            point = search.suggest()
            assert point is not None
            if host is not None:
                search.placed(point, host)


def test_trials_that_were_running_are_told_and_where_nobody_can_look_at_them(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed_sweep(out, "one", "two", "two", None)
    sweeps(monkeypatch)
    monkeypatch.setattr(sweeping, "_gather", lambda folder, place: {"one", "three"})
    sweeping.run(asking(), replace(ALONE, connected=True), ALL, out=out)
    assert capsys.readouterr().err.splitlines() == [
        "trials that were running when the last sweep ended, and run again: 3",
        "two is not in the cluster: at most 2 finished measurements are out of reach there",
    ]


def test_trials_that_were_cut_short_are_not_said_to_run_again_where_nothing_more_is_asked_for(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed_sweep(out, "one")
    sweeps(monkeypatch)
    monkeypatch.setattr(Search, "remaining", 0)
    with pytest.raises(NothingMeasured):
        sweeping.run(asking(), ALONE, ALL, out=out)
    said = "trials that were running when the last sweep ended, and not run again: 1"
    assert capsys.readouterr().err.splitlines()[0] == said


def test_a_sweep_that_ended_well_is_not_said_to_have_been_cut_short(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps(monkeypatch)
    for _ in range(2):
        sweeping.run(asking(), ALONE, ALL, out=out)
    assert capsys.readouterr().err == ""


# ---- how it is searched ----

GUIDED = Sampling(sampler="guided", trials=100, seed=0)


def test_a_guided_sweep_stops_by_itself_and_its_answer_says_what_it_tried_and_why_no_more(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps(monkeypatch)
    assert sweeping.run(asking(), ALONE, GUIDED, out=out) == EXIT_ANSWER
    document, printed = answered(out), capsys.readouterr().out
    how = document["search"]
    assert (how["sampler"], how["stopped_by"], how["of"], how["stops_below"]) == ("guided", "chance", 6, 0.05)
    assert LEAST_MEASURED <= how["trials"] == len(document["records"]) < 6
    assert 0 <= how["chance_left"] < 0.05
    assert sum(how["tried"].values()) + sum(how["not_tried"].values()) == 6
    assert document["complete"] is True  # it did what it was asked to
    assert document["regret"] == 0
    assert document["study"] == "test-guided"
    assert how["guided_by"].startswith("guided by the device model")
    assert f"Search: model-guided, {how['trials']} of 6 configurations tried; chance that" in printed
    assert "That model is also what every trial here asks" in printed  # nothing was measured: said, not hidden


def test_a_guided_sweep_run_again_runs_nothing_and_answers_the_same(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps(monkeypatch)
    sweeping.run(asking(), ALONE, GUIDED, out=out)
    first = answered(out)
    capsys.readouterr()
    sweeping.run(asking(), ALONE, GUIDED, out=out)
    assert answered(out) == first
    assert f"{first['search']['trials']} known from before, 0 to run" in capsys.readouterr().out


def test_an_interrupted_guided_sweep_says_so_and_goes_on_as_if_nothing_had_happened(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps(monkeypatch)
    sweeping.run(asking(), ALONE, GUIDED, out=tmp_path / "whole")
    sweeps(monkeypatch, most=2, then=KeyboardInterrupt())
    assert sweeping.run(asking(), ALONE, GUIDED, out=out) == EXIT_INTERRUPTED
    cut = answered(out)
    assert (cut["complete"], cut["search"]["stopped_by"], cut["search"]["trials"]) == (False, "interrupted", 2)
    assert cut["search"]["chance_left"] is None  # two measurements are too few to know
    sweeps(monkeypatch)
    assert sweeping.run(asking(), ALONE, GUIDED, out=out) == EXIT_ANSWER
    assert answered(out)["search"] == answered(tmp_path / "whole")["search"]


def test_each_sampler_has_a_study_of_its_own_over_the_same_records(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps(monkeypatch)
    sweeping.run(asking(), ALONE, ALL, out=out)
    for sampler in ("guided", "tpe", "nsga2", "random"):
        capsys.readouterr()
        sweeping.run(asking(), ALONE, replace(ALL, sampler=sampler), out=out)
        assert "6 known from before, 0 to run" in capsys.readouterr().out
    names = set(optuna.get_all_study_names(journal(out)))
    assert names == {f"test-{sampler}" for sampler in ("exhaustive", "guided", "tpe", "nsga2", "random")}
    assert answered(out)["search"]["stopped_by"] == "exhausted"


def test_a_folder_with_the_study_of_an_older_version_keeps_its_records_and_opens_a_new_study(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Batch sizes were categories then, under the plain name, and the study had the name of the question.
    before = [modelled(point) for point in POINTS[:4]]
    filled(out, *before)
    old = optuna.create_study(study_name="test", storage=journal(out))
    for each in before:
        params = {axis: getattr(each.configuration, axis) for axis in SPACE.axes()}
        choices: dict[str, BaseDistribution] = {
            axis: CategoricalDistribution(values) for axis, values in SPACE.axes().items()
        }
        old.add_trial(create_trial(value=1.0, params=params, distributions=choices))
    sweeps(monkeypatch)
    assert sweeping.run(asking(), ALONE, ALL, out=out) == EXIT_ANSWER
    assert "4 known from before, 2 to run" in capsys.readouterr().out
    assert set(optuna.get_all_study_names(journal(out))) == {"test", "test-exhaustive"}
    assert len(read(out)[0]) == 6
    new = optuna.load_study(study_name="test-exhaustive", storage=journal(out))
    assert len(new.trials) == 6


def test_what_was_searched_stays_said_when_the_records_are_priced_anew(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps(monkeypatch)
    sweeping.run(asking(), ALONE, GUIDED, out=out)
    saved, how = results.load(out), answered(out)["search"]
    assert search_lines.kept(saved, saved.question) == {"search": how}
    elsewhere = replace(saved.question, objectives=objectives(("throughput",)))
    assert search_lines.kept(saved, elsewhere) == {"search": {**how, "of_another_question": True}}


# ---- what is not needed is not imported ----


def test_with_nothing_left_to_run_ray_is_not_imported(out: Path, tmp_path: Path) -> None:
    filled(out, *map(modelled, POINTS))
    script = """
        import sys
        from pathlib import Path
        from carbonsweep import sweeping
        from tests.test_sweeping import ALL, ALONE, asking
        loaded = "ray" in sys.modules
        code = sweeping.run(asking(), ALONE, ALL, out=Path("out"))
        print("code", code, "ray", "ray" in sys.modules or loaded)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout.splitlines()[-1:] == ["code 0 ray False"], ran.stderr
