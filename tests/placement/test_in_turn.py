"""Both phases in turn on the same GPUs, in batches of two sizes: what it costs, and that a split is set beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from carbonsweep import inputs, placement_lines
from carbonsweep.answer import answer
from carbonsweep.carbon.load import load_of
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import TrialRecord
from carbonsweep.placement import sides
from carbonsweep.placement.answers import compared, of_records
from carbonsweep.placement.in_turn import best_in_turn, in_turn
from carbonsweep.placement.quantities import Terms
from carbonsweep.placement_page import placement_section
from carbonsweep.split import Side
from tests.conftest import configuration, measurement, phase, record
from tests.placement.test_answers import preferring, question, searched, sought


def made(batch_size: int, prefill_s: float, decode_s: float, decode_j: float) -> TrialRecord:
    """On a T4 of 26 W idle power; prefill takes 10 J a prompt."""
    found = measurement(
        batch_size=batch_size,
        prefill=phase(prefill_s, 10.0 * batch_size),
        decode=phase(decode_s, decode_j),
        idle_w=26.0,
    )
    return record(configuration(batch_size=batch_size), found)


SMALL = made(4, prefill_s=1.0, decode_s=6.0, decode_j=400.0)
LARGE = made(16, prefill_s=4.0, decode_s=8.0, decode_j=480.0)


def turning() -> tuple[Side, Side]:
    return Side.of(SMALL), Side.of(LARGE)


def test_four_prefills_then_one_decode_take_their_seconds_and_joules_together() -> None:
    found = in_turn(*turning())
    assert found.energy_j == pytest.approx(4 * 40 + 480)
    assert found.ttft_s == 1.0
    # The first of the four batches waits for the other three.
    assert found.prompt_latency_s == pytest.approx(1 + 3 + 8)
    assert found.throughput == pytest.approx(16 * found.output_tokens / (4 * 1 + 8))
    assert found.idle_w == 26.0


def test_one_set_of_gpus_is_charged_once() -> None:
    found = in_turn(*turning())
    asked = inputs.scenario({"region": "QC", "request_rate": 1.0}, ("T4",))
    # 12 s a batch of 16 at 1 prompt/s: one replica, busy 12 of 16 s; as two sets each would be busy a part of it.
    loaded = load_of(found, asked)
    assert loaded.replicas == 1
    assert (loaded.prefill, loaded.decode) == pytest.approx((12 / 16, 12 / 16))


def test_equal_batches_in_turn_are_the_colocated_one() -> None:
    found, whole = in_turn(Side.of(SMALL), Side.of(SMALL)), SMALL.measurement
    assert whole is not None
    for scenario in ({}, {"utilisation": 0.5, "host_power_w": 40.0}, {"request_rate": 0.7}):
        for name in ("carbon", "energy", "latency", "throughput"):
            asked = question(searched(gpus=("T4",)), name, **scenario)
            assert asked.values(found) == pytest.approx(asked.values(whole))


@pytest.mark.parametrize("name", ["carbon", "energy", "latency", "throughput"])
@pytest.mark.parametrize("scenario", [{}, {"utilisation": 0.5, "host_power_w": 40.0}, {"request_rate": 0.7}])
def test_the_best_of_every_pair_is_found(name: str, scenario: dict[str, float]) -> None:
    asked = question(searched(gpus=("T4",)), name, **scenario)
    known = [SMALL, LARGE]
    best = of_records(known, answer(known, asked), sought(most=1)).best_in_turn
    assert best is not None
    objective = asked.objectives[0]
    values = [objective.value(in_turn(Side.of(p), Side.of(d)), asked.scenario) for p in known for d in known]
    assert best.values[0] == pytest.approx(objective.sign * min(objective.sign * value for value in values))


@pytest.mark.parametrize("name", ["carbon", "energy", "throughput"])
def test_arrays_charge_what_the_measurement_is_charged(name: str) -> None:
    # At 0.7 prompts/s one replica does it, and waits: two sets of GPUs would be charged for more of it.
    asked = question(searched(gpus=("T4",)), name, request_rate=0.7)
    of_phase = {phase: sides.of_records([SMALL, LARGE], ("T4",), phase) for phase in ("prefill", "decode")}
    kg = np.array([charged_kg("T4", asked.scenario)])
    terms = Terms(output_tokens=150, links=(), kg=kg, reached=np.zeros((0, 1, 1)))
    (pick,) = best_in_turn(of_phase["prefill"], of_phase["decode"], terms, asked)
    first, second = ([SMALL, LARGE][place] for place in (pick.prefill, pick.decode))
    found = in_turn(Side.of(first), Side.of(second))
    assert found.output_tokens == 150
    assert pick.losses[0] == pytest.approx(compared(asked.objectives[0], asked.values(found)[0], found))


def test_kinds_are_not_mixed() -> None:
    # Of the T4 and the Ada each prefers another phase: 40 J together, but 41 at best on one kind.
    made = preferring(21.0)
    asked = question(searched(gpus=("T4", "RTX6000Ada")), "energy")
    best = of_records(made, answer(made, asked), sought()).best_in_turn
    assert best is not None
    assert best.prefill.gpu == best.decode.gpu == "T4"


def test_numbers_of_gpus_are_not_mixed() -> None:
    one = record(configuration(), measurement(prefill=phase(1.0, 70.0), decode=phase(1.0, 20.0)))
    two = record(
        configuration(gpu_count=2),
        measurement(prefill=phase(1.0, 20.0, gpu_count=2), decode=phase(1.0, 200.0, gpu_count=2)),
    )
    asked = question(searched(gpus=("T4",)), "energy")
    best = of_records([one, two], answer([one, two], asked), sought()).best_in_turn
    assert best is not None
    assert (best.prefill.gpu_count, best.decode.gpu_count) == (1, 1)


def test_a_limit_on_ttft_is_met_by_smaller_prefills_without_a_second_gpu_and_the_answer_says_so() -> None:
    known = [SMALL, LARGE]
    asked = question(searched(gpus=("T4",)), "energy")
    asked = dataclasses.replace(asked, slo=dataclasses.replace(asked.slo, ttft_s=2.0))
    placed = of_records(known, answer(known, asked), sought(most=1))
    # Colocated only batch 4 meets 2 s: 440 J for 4 prompts. In turn 640 J for 16, 64 % less.
    assert placed.best_in_turn is not None
    assert (placed.best_in_turn.prefill.batch_size, placed.best_in_turn.decode.batch_size) == (4, 16)
    said = "without a second kind of GPU, batches of two sizes alone would save 64 %"
    assert said in placement_lines.verdict(placed)
    text = "\n".join(placement_lines.lines(placed))
    assert "TinyLlama-1.1B on 1x T4, the phases in turn, prefill in batches of 4, decode of 16" in text
    asked_before = {"placement": {"asked": "any", "links": ["100GbE"], "most_per_pool": 1}}
    section = placement_section(answer(known, asked), asked_before)
    assert section is not None
    assert any(row[0].startswith("the phases in turn on the same GPUs: ") for row in section["rows"])
    document = placement_lines.document(placed)
    assert document is not None
    assert document["in_turn"]["saves"] == pytest.approx(1 - (640 / 16) / (440 / 4))


def test_nothing_is_said_where_one_batch_size_is_as_good() -> None:
    asked = question(searched(gpus=("T4",)), "energy")
    placed = of_records([LARGE], answer([LARGE], asked), sought(most=1))
    assert "two sizes" not in placement_lines.verdict(placed)
    assert "same GPUs" not in "\n".join(placement_lines.lines(placed))
