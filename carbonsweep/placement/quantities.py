"""What splits of every pair of two sides cost and how long they take: the arithmetic of `split.compose`, over arrays.

The shape of a block is (links, prefill points, decode points).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.footprint import batch_embodied_g, batch_operational_g, served_energy_j
from carbonsweep.carbon.load import Load, load
from carbonsweep.domain import Scenario
from carbonsweep.facts import Link
from carbonsweep.objective_arrays import ObjectiveArrays
from carbonsweep.placement.sides import Sides
from carbonsweep.search.objectives import Objective
from carbonsweep.split import Pools, bytes_per_s, rate_per_s, transfer_s, wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the arithmetic needs beside the two sides; `kg` is what is charged for making one device of each kind.

    `reached` holds bytes per second, (links, kinds, kinds), 0 where a link does not join two kinds. `same_devices`: one
    set of GPUs runs both phases in turn.
    """

    output_tokens: int
    links: tuple[Link, ...]
    kg: Array
    reached: Array
    same_devices: bool = False


def reached(links: Sequence[Link], gpus: Sequence[str]) -> Array:
    """`Terms.reached`: what copies reach between the kinds."""
    pairs = itertools.product(range(len(links)), range(len(gpus)), range(len(gpus)))
    found: Array = np.zeros((len(links), len(gpus), len(gpus)))
    for k, i, j in pairs:
        if links[k].joins(gpus[i], gpus[j]):
            found[k, i, j] = bytes_per_s(links[k], gpus[i], gpus[j])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitQuantities(ObjectiveArrays):
    """What the objectives of splits are made of; arrays that broadcast to (links, prefill points, decode points).

    `prefill_taken_s` and `decode_taken_s` are seconds of every replica of a pool, `prefill_count` and `decode_count`
    their GPUs together; joules are those of a decode batch, waiting included.
    """

    joined: NDArray[np.bool_]
    delay_s: Array
    prefill_j: Array
    decode_j: Array
    link_j: Array
    prefill_taken_s: Array
    decode_taken_s: Array
    prefill_count: Array
    decode_count: Array
    prefill_idle_w: Array
    decode_idle_w: Array
    prefill_kg: Array
    decode_kg: Array
    same_devices: bool = False

    @property
    def exposed_s(self) -> Array:
        return self.delay_s

    @property
    def period_s(self) -> Array:
        return np.maximum(*self._devices_s)

    def loss(self, objective: Objective, scenario: Scenario) -> Array:
        """What placements are compared by, less is better; throughput is that of one GPU, since they differ in GPUs."""
        if objective.name == "throughput":
            device_s: Array = self.prefill_taken_s * self.prefill_count + self.decode_taken_s * self.decode_count
            return -self.batch * self.output_tokens / device_s
        return objective.sign * self.value(objective.name, scenario)

    @property
    def _devices_s(self) -> tuple[Array, Array]:
        """Seconds that the devices of prefill, and of decode, are taken; the same ones for both phases together."""
        if self.same_devices:
            return (self.prefill_taken_s + self.decode_taken_s,) * 2
        return self.prefill_taken_s, self.decode_taken_s

    def _load(self, scenario: Scenario) -> Load[Array]:
        prefill_s, decode_s = self._devices_s
        return load(prefill_devices_s=prefill_s, decode_devices_s=decode_s, batch=self.batch, scenario=scenario)

    def batch_energy_j(self, scenario: Scenario) -> Array:
        loaded = self._load(scenario)
        prefill_j = served_energy_j(
            energy_j=self.prefill_j,
            busy_s=self.prefill_taken_s,
            idle_w=self.prefill_idle_w,
            utilisation=loaded.prefill,
        )
        decode_j = served_energy_j(
            energy_j=self.decode_j, busy_s=self.decode_taken_s, idle_w=self.decode_idle_w, utilisation=loaded.decode
        )
        return prefill_j + decode_j + self.link_j

    def batch_g(self, scenario: Scenario) -> Array:
        loaded = self._load(scenario)
        link_g = batch_operational_g(
            energy_j=self.link_j, busy_s=0.0 * self.link_j, idle_w=0.0, gpu_count=0, utilisation=1.0, scenario=scenario
        )
        prefill: dict[str, Any] = {
            "busy_s": self.prefill_taken_s,
            "gpu_count": self.prefill_count,
            "utilisation": loaded.prefill,
        }
        decode: dict[str, Any] = {
            "busy_s": self.decode_taken_s,
            "gpu_count": self.decode_count,
            "utilisation": loaded.decode,
        }
        running_g: Array = batch_operational_g(
            energy_j=self.prefill_j, idle_w=self.prefill_idle_w, scenario=scenario, **prefill
        ) + batch_operational_g(energy_j=self.decode_j, idle_w=self.decode_idle_w, scenario=scenario, **decode)
        making_g: Array = batch_embodied_g(
            embodied_kg=self.prefill_kg, scenario=scenario, **prefill
        ) + batch_embodied_g(embodied_kg=self.decode_kg, scenario=scenario, **decode)
        return running_g + link_g + making_g


def quantities(
    prefill: Sides, decode: Sides, terms: Terms, pools: Pools | None, assumed_power_w: float | None
) -> SplitQuantities:
    """Of every pair of the two sides (along axes 1 and 2), over every link; `pools` as in `split.compose`."""
    p, d = (1, 1) if pools is None else (pools.prefill, pools.decode)
    reached_per_s = terms.reached[:, prefill.gpu[0, :, :], decode.gpu[0, :, :]]
    joined = reached_per_s > 0
    per_s = np.where(joined, reached_per_s, 1.0)  # of no meaning where they are not joined, but finite
    latency_s, overlap, link_j = (
        np.array([getattr(link, name) for link in terms.links])[:, None, None]
        for name in ("latency_s", "overlap_share", "energy_j_per_byte")
    )
    whole_s = transfer_s(prefill.kv_bytes, per_s, latency_s)
    hidden_s = np.minimum(overlap * whole_s, prefill.duration_s)
    waiting_s = wait_s(prefill.batch, decode.batch, prefill.taken_s / p, decode.taken_s / d)
    batches = decode.batch / prefill.batch
    prefill_busy_s, decode_busy_s = prefill.taken_s * batches, decode.taken_s
    prefill_j, decode_j = prefill.energy_j * batches, decode.energy_j
    if pools is None:
        prefill_taken_s, decode_taken_s = prefill_busy_s, decode_busy_s
    else:
        rate = rate_per_s(prefill.batch, decode.batch, prefill.taken_s, decode.taken_s, whole_s, pools)
        prefill_taken_s = decode_taken_s = decode.batch / rate
        prefill_j = prefill_j + prefill.idle_w * (p * prefill_taken_s - prefill_busy_s)
        decode_j = decode_j + decode.idle_w * (d * decode_taken_s - decode_busy_s)
    if assumed_power_w is not None:
        prefill_j = _else_assumed(prefill_j, assumed_power_w * prefill.count * p * prefill_taken_s)
        decode_j = _else_assumed(decode_j, assumed_power_w * decode.count * d * decode_taken_s)
    return SplitQuantities(
        joined=joined,
        ttft_s=prefill.duration_s,
        delay_s=whole_s - hidden_s + waiting_s,
        decode_s=decode.duration_s,
        prefill_j=prefill_j,
        decode_j=decode_j,
        link_j=prefill.kv_bytes * batches * link_j,
        prefill_taken_s=prefill_taken_s,
        decode_taken_s=decode_taken_s,
        prefill_count=p * prefill.count,
        decode_count=d * decode.count,
        prefill_idle_w=p * prefill.idle_w,
        decode_idle_w=d * decode.idle_w,
        prefill_kg=terms.kg[prefill.gpu],
        decode_kg=terms.kg[decode.gpu],
        batch=decode.batch,
        prompt_tokens=prefill.prompt_tokens * batches,
        output_tokens=terms.output_tokens,
        same_devices=terms.same_devices,
    )


def _else_assumed(joules: Array, assumed_j: Array) -> Array:
    return np.where(np.isnan(joules), assumed_j, joules)
