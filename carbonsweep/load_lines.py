"""How busy the devices of an answer are, and what their waiting is charged, in words: for the terminal and the page."""

from __future__ import annotations

from carbonsweep.amounts import joules, seconds
from carbonsweep.answer import Answer, Candidate
from carbonsweep.carbon.load import load_of, mean_fill_s
from carbonsweep.domain import Measurement, Scenario
from carbonsweep.loads import energy_j
from carbonsweep.search.objectives import OBJECTIVES, Question


def lines(answer: Answer) -> list[str]:
    """What a stated rate of requests makes of the best configuration; nothing where no rate is stated."""
    best, scenario = answer.best, answer.question.scenario
    if best is None or scenario.request_rate_per_s is None:
        return []
    measurement, rate_per_s = best.measurement, scenario.request_rate_per_s
    fill_s = mean_fill_s(measurement.batch_size, rate_per_s)
    said = [f"At {rate_per_s:.4g} prompts/s the best runs as {load_of_words(measurement, scenario)}."]
    if measurement.batch_size > 1:
        said.append(
            f"No latency here counts the wait for a batch of {measurement.batch_size} to fill: "
            f"{seconds(fill_s)} in the mean at this rate, where batches fill one at a time."
        )
    return said


def load_of_words(measurement: Measurement, scenario: Scenario) -> str:
    """Replicas and their busy share: "2 replicas, busy 0.831 of the time (at most 0.9 planned)"."""
    loaded = load_of(measurement, scenario)
    count = round(loaded.replicas or 1)
    busy = f"{loaded.prefill:.4g}"
    if loaded.decode != loaded.prefill:
        busy = f"{loaded.prefill:.4g} (prefill devices) and {loaded.decode:.4g} (decode devices)"
    replicas = "1 replica" if count == 1 else f"{count:,} replicas"
    return f"{replicas}, busy {busy} of the time (at most {scenario.utilisation:.4g} planned)"


def energy_words(candidate: Candidate, question: Question) -> str:
    """Joules of the GPUs per functional unit, saying whether idle ones are in it."""
    value_j = energy_j(candidate.measurement, question.scenario)
    unit = OBJECTIVES["energy"].unit_under(question.scenario).removeprefix("J ")
    return f"{joules(value_j)} {unit}" if value_j is not None else joules(value_j)


def rows(candidate: Candidate, question: Question) -> list[tuple[str, str]]:
    """Name and words of each quantity of the load, for the page."""
    scenario, measurement = question.scenario, candidate.measurement
    found = [("GPU energy", energy_words(candidate, question))]
    if scenario.request_rate_per_s is not None:
        found.append(("Load", f"{scenario.request_rate_per_s:.4g} prompts/s: {load_of_words(measurement, scenario)}"))
        fill = seconds(mean_fill_s(measurement.batch_size, scenario.request_rate_per_s))
        found.append(("Wait for a batch", f"{fill} in the mean, in none of the latencies"))
    return found
