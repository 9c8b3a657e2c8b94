"""What a rate of requests makes of the best, in words and in JSON."""

from __future__ import annotations

import dataclasses

import pytest

from carbonsweep import inputs, load_lines, loads
from carbonsweep.answer import answer
from carbonsweep.domain import Transfer
from carbonsweep.search.objectives import Question
from tests.conftest import configuration, energy, measurement, phase, record


def question(**options: object) -> Question:
    scenario = inputs.scenario({"region": "QC", "functional_unit": "prompt", **options}, ["T4"])
    return inputs.question(objective=("carbon",), slo_ttft=None, slo_tpot=None, slo_latency=None, scenario=scenario)


def test_the_best_says_its_replicas_its_busy_share_and_the_wait_that_is_not_counted() -> None:
    found = answer([record(configuration(), measurement())], question(request_rate=2.0, utilisation=0.9))
    # 4 prompts in 3.5 s: 2 replicas, busy 0.875; the mean wait for 4 prompts at 2/s is 3 / (2 x 2) s.
    load, wait = load_lines.lines(found)
    assert load == "At 2 prompts/s the best runs as 2 replicas, busy 0.875 of the time (at most 0.9 planned)."
    assert "batch of 4 to fill: 750 ms in the mean" in wait
    # Per prompt: 110 J / 4 busy, and 26 W for 0.125 s.
    assert load_lines.energy_words(found.feasible[0], found.question) == "30.8 J per prompt, idle included"
    assert dict(load_lines.rows(found.feasible[0], found.question))["Load"].startswith("2 prompts/s: 2 replicas")


def test_a_prompt_alone_waits_for_none() -> None:
    one = measurement(batch_size=1)
    found = answer([record(configuration(batch_size=1), one)], question(request_rate=0.1))
    assert len(load_lines.lines(found)) == 1
    assert "1 replica, busy 0.35 of" in load_lines.lines(found)[0]


def test_without_a_rate_nothing_is_said_of_it() -> None:
    for options in ({}, {"utilisation": 0.5}):
        found = answer([record(configuration(), measurement())], question(**options))
        assert load_lines.lines(found) == []
        assert [name for name, _ in load_lines.rows(found.feasible[0], found.question)] == ["GPU energy"]
        assert ("idle included" in load_lines.energy_words(found.feasible[0], found.question)) == bool(options)


def test_a_split_names_both_shares() -> None:
    split = measurement(
        prefill=phase(0.5, 20.0, gpu="RTX6000Ada"),
        decode=phase(3.0, 90.0),
        transfer=Transfer(bytes=1e6, exposed_s=0.1, energy=energy(2.0)),
    )
    scenario = dataclasses.replace(question().scenario, request_rate_per_s=1.0)
    assert "busy 0.125 (prefill devices) and 0.75 (decode devices)" in load_lines.load_of_words(split, scenario)


def test_the_document_of_a_candidate() -> None:
    asked = question(request_rate=2.0, utilisation=0.9).scenario
    assert loads.document(measurement(), asked) == {
        "energy_j": pytest.approx(110 / 4 + 26 * 0.125),
        "energy_includes_idle": True,
        "replicas": 2,
        "prefill_utilisation": pytest.approx(0.875),
        "decode_utilisation": pytest.approx(0.875),
        "mean_batch_fill_s": pytest.approx(0.75),
        "device_s_per_unit": pytest.approx(1.0),  # two replicas for 2 prompts/s
    }
    plain = loads.document(measurement(), question().scenario)
    assert (plain["replicas"], plain["mean_batch_fill_s"], plain["energy_includes_idle"]) == (None, None, False)
    assert loads.document(measurement(decode_j=None), asked)["energy_j"] is None
