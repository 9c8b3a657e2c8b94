"""With nothing feasible: the closest by each limit, and by memory where nothing ran at all."""

from __future__ import annotations

from carbonsweep import exact, verdict_lines
from carbonsweep.answer import answer
from carbonsweep.bench.prompts import built_in_workload
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.document import document
from carbonsweep.domain import Refusal, Slo, TrialRecord
from carbonsweep.search.space import space
from carbonsweep.trial import trial
from tests.conftest import FAILED, configuration, measurement, record
from tests.test_answer import asking


def made(batch_size: int, ttft_s: float, tpot_s: float) -> TrialRecord:
    return record(configuration(batch_size=batch_size), measurement(ttft_s=ttft_s, decode_s=149 * tpot_s))


# Limits 0.1 s and 0.05 s: misses of (100 %, 20 %), (50 %, 100 %), (-50 %, 300 %).
RECORDS = [made(1, 0.2, 0.06), made(2, 0.15, 0.1), made(4, 0.05, 0.2)]
LIMITS = Slo(ttft_s=0.1, tpot_s=0.05)


def too_big(batch_size: int, lacking: float | None) -> TrialRecord:
    needed = None if lacking is None else 16e9 + lacking
    refusal = Refusal(kind="does-not-fit", reason="too big", needed_bytes=needed, available_bytes=16e9)
    return record(configuration(batch_size=batch_size), refusal)


def test_each_limit_names_its_own_closest() -> None:
    found = answer(RECORDS, asking("latency", slo=LIMITS))
    closest = {name: c.record.configuration.batch_size for name, c in found.closest_by_limit.items()}
    assert closest == {"ttft_s": 4, "tpot_s": 1}
    # The closest by the worst excess is another one still: (50 %, 100 %) and (100 %, 20 %) are equally far.
    assert found.closest[0].record.configuration.batch_size in (1, 2)


def test_of_equals_the_one_with_the_smallest_worst_excess_is_closest() -> None:
    twins = [made(1, 0.2, 0.16), made(2, 0.2, 0.15)]  # 100 % over the TTFT both, and 220 % or 200 % over the TPOT
    found = answer(twins, asking("latency", slo=LIMITS))
    assert found.closest_by_limit["ttft_s"].record.configuration.batch_size == 2


def test_something_feasible_leaves_no_misses() -> None:
    found = answer([*RECORDS, made(8, 0.05, 0.04)], asking("latency", slo=LIMITS))
    assert (found.closest_by_limit, found.closest_to_fit) == ({}, None)
    assert document(found)["closest_by_limit"] == {}


def test_the_lines_say_limit_configuration_and_distance() -> None:
    found = answer(RECORDS, asking("latency", slo=LIMITS))
    first, second = verdict_lines.closest_lines(found)
    assert first == (
        "Closest by TTFT: TinyLlama-1.1B on T4, batch 4, fp16, paper: 50 ms, 50.0 % below the limit of 100 ms; "
        "it misses TPOT."
    )
    assert second == (
        "Closest by TPOT: TinyLlama-1.1B on T4, batch 1, fp16, paper: 60 ms, 20.0 % above the limit of 50 ms; "
        "it misses TTFT."
    )


def test_where_nothing_ran_the_least_lacking_memory_is_named() -> None:
    found = answer([too_big(8, 3e9), too_big(4, 1e9), too_big(16, None)], asking("latency", slo=LIMITS))
    assert found.closest_to_fit is not None
    assert found.closest_to_fit.configuration.batch_size == 4
    assert document(found)["closest_by_limit"]["memory_bytes"]["lacking_bytes"] == 1e9
    assert list(verdict_lines.closest_lines(found)) == [
        "Closest to fit: TinyLlama-1.1B on T4, batch 4, fp16, paper: it lacks 1 GB a device."
    ]


def test_memory_is_not_named_where_something_ran_or_nobody_knows() -> None:
    assert answer([*RECORDS, too_big(8, 1e9)], asking("latency", slo=LIMITS)).closest_to_fit is None
    unknown = answer([too_big(8, None), record(configuration(), FAILED)], asking("latency"))
    assert unknown.closest_to_fit is None
    assert document(unknown)["closest_by_limit"] == {}


def test_a_plan_shows_the_closest_of_its_whole_space() -> None:
    whole = space(
        models=("TinyLlama-1.1B",),
        gpus=("T4", "L4"),
        gpu_counts=(1,),
        batch_sizes=(1, 2, 4, 8),
        dtypes=("fp16",),
        engines=("healthy",),
    )
    workload = built_in_workload(150, 0)
    # The L4 computes faster and the T4 reads memory faster: who is closest to one limit is far from the other.
    question = asking("latency", slo=Slo(ttft_s=1e-4, tpot_s=1.0), embodied="act")
    planned = answer(exact.shown(exact.plan(whole, workload, question), workload, question), question)
    listed = answer([trial(RooflineBench(), each, workload) for each in whole.configurations()], question)
    closest = {name: c.record.configuration for name, c in planned.closest_by_limit.items()}
    assert closest == {name: c.record.configuration for name, c in listed.closest_by_limit.items()}
    assert {name: one.gpu for name, one in closest.items()} == {"ttft_s": "L4", "tpot_s": "T4"}
    assert {c.record.configuration.gpu for c in planned.closest} == {"L4"}


def test_a_plan_of_what_does_not_fit_shows_who_lacks_least() -> None:
    whole = space(
        models=("Llama-2-13B", "Llama-2-7B"),
        gpus=("T4",),
        gpu_counts=(1,),
        batch_sizes=(64, 128, 256),
        dtypes=("fp16",),
        engines=("paper",),
    )
    workload = built_in_workload(150, 0)
    question = asking("carbon")
    planned = answer(exact.shown(exact.plan(whole, workload, question), workload, question), question)
    assert planned.closest_to_fit is not None
    found = planned.closest_to_fit.configuration
    assert (found.model, found.batch_size) == ("Llama-2-7B", 64)
