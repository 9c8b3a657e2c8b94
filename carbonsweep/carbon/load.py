"""How busy the devices are, and how many replicas a stated rate of requests takes. Elementwise: floats or arrays.

A replica is one deployment of a configuration. Its devices are busy for t seconds with each batch of b prompts, so it
serves at most b / t prompts per second: where both phases share the devices, t is the time of both; where each phase
has devices of its own, the slower of the two sets the pace. Of a stated rate R of prompts per second, with no replica
planned to be busy for more than the share U of its time,

    n = ceil(R t / (b U))            replicas
    u = R t_d / (n b) <= U           busy share of devices that work t_d of the t seconds
    n b / R                          seconds of every replica's devices that fall on one batch

so a batch is charged the idle energy P_idle (n b / R - t_d) = P_idle t_d (1 - u) / u, and the making of its devices for
t_d / u = n b / R seconds: the same formula as with a utilisation that is merely stated, with u of the configuration.
Without a rate, u is the scenario's. The wait for a batch to fill is part of no latency: see `mean_fill_s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic

from carbonsweep import facts
from carbonsweep.carbon.operational import Quantity
from carbonsweep.domain import Measurement, PhaseMeasurement, Scenario
from carbonsweep.errors import BadInput

EQUAL: Final = 1e-12
"""Relative difference below which a rate is exactly what the replicas serve: roundings must not buy another replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Generic[Quantity]):
    """Busy share of the devices of each phase, above 0 and at most 1 but for rounding.

    `replicas` is None where no rate is stated. Phases that share their devices have the same share.
    """

    replicas: Quantity | None
    prefill: Quantity | float
    decode: Quantity | float


def load(
    *, prefill_devices_s: Quantity, decode_devices_s: Quantity, batch: Quantity, scenario: Scenario
) -> Load[Quantity]:
    """The load of configurations whose devices are busy for so many seconds with each batch of `batch` prompts.

    Where both phases run on the same devices, both times are that of the whole batch. Of a pool that works on several
    batches at once, they are seconds per batch that leaves the pool.
    """
    rate_per_s, highest = scenario.request_rate_per_s, scenario.utilisation
    if rate_per_s is None:
        return Load(replicas=None, prefill=highest, decode=highest)
    # The larger of the two, for floats and arrays alike; of equal ones exactly that.
    slower_s = (prefill_devices_s + decode_devices_s + abs(prefill_devices_s - decode_devices_s)) / 2
    needed = slower_s * (rate_per_s / highest) / batch
    replicas = -(needed * (1 - EQUAL) // -1.0)  # rounded up, and at least 1 since `needed` is above 0
    of_second = rate_per_s / (replicas * batch)
    return Load(replicas=replicas, prefill=prefill_devices_s * of_second, decode=decode_devices_s * of_second)


def load_of(measurement: Measurement, scenario: Scenario) -> Load[float]:
    """The load of what was measured or modelled."""
    prefill_s, decode_s = measurement.prefill.occupied_s, measurement.decode.occupied_s
    if not is_split(measurement):
        prefill_s = decode_s = prefill_s + decode_s
    return load(
        prefill_devices_s=prefill_s,
        decode_devices_s=decode_s,
        batch=float(measurement.batch_size),
        scenario=scenario,
    )


def is_split(measurement: Measurement) -> bool:
    """Whether each phase has devices of its own."""
    if measurement.transfer is not None:
        return not measurement.transfer.same_devices
    return measurement.prefill.gpu != measurement.decode.gpu


def waits(scenario: Scenario) -> bool:
    """Whether devices stand idle for some of their life, so that idle energy is charged."""
    return scenario.utilisation < 1 or scenario.request_rate_per_s is not None


def idle_w_of_phases(measurement: Measurement, scenario: Scenario) -> tuple[float | None, float | None]:
    """Idle watts of the devices each phase occupied.

    One set of devices runs both phases, and each then counts all of `idle_w`. In a split, where there is a hand-over,
    `idle_w` is over both sets, and falls to them in proportion to their kinds' idle power, unless the hand-over tells.
    """
    if measurement.transfer is not None and measurement.transfer.idle_w is not None:
        return measurement.transfer.idle_w
    phases = (measurement.prefill, measurement.decode)
    if measurement.idle_w is None or not waits(scenario) or not is_split(measurement):
        return measurement.idle_w, measurement.idle_w
    weights = [_fact_idle_w(phase) for phase in phases]
    prefill_w, decode_w = (measurement.idle_w * weight / sum(weights) for weight in weights)
    return prefill_w, decode_w


def _fact_idle_w(phase: PhaseMeasurement) -> float:
    if phase.gpu == facts.CPU:
        raise BadInput("a split placement with the CPU has no idle power to charge, as devices that wait are")
    return facts.gpu(phase.gpu).idle_w * phase.gpu_count


def mean_fill_s(batch_size: int, request_rate_per_s: float) -> float:
    """Mean time a prompt waits until its batch is full: (b - 1) / (2 R), where batches are filled one at a time.

    The first of b prompts that come at R per second waits for b - 1 others, the last for none.
    """
    return (batch_size - 1) / (2 * request_rate_per_s)


def load_words(scenario: Scenario) -> str:
    """The load a scenario states, for a person: "utilisation 0.5", "3 prompts/s, replicas busy at most 0.5"."""
    if scenario.request_rate_per_s is None:
        return f"utilisation {scenario.utilisation:g}"
    return (
        f"{scenario.request_rate_per_s:.4g} prompts/s, no replica busy more than {scenario.utilisation:.4g} of its time"
    )
