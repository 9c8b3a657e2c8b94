"""Objectives of many modelled configurations at once: the arithmetic of `footprint` and `Objective`, over arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from carbonsweep.bench.points import Indices, Points
from carbonsweep.bench.roofline import Prediction
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.footprint import batch_embodied_g, batch_operational_g, batch_units, served_energy_j
from carbonsweep.carbon.load import Load, load
from carbonsweep.carbon.write_off import charged_kg
from carbonsweep.domain import Scenario, Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveArrays(ABC):
    """Every objective of many measurements at once, from what a batch of each takes; all arrays broadcast together."""

    ttft_s: Array
    decode_s: Array
    batch: Array
    prompt_tokens: Array
    output_tokens: int | Array

    @property
    @abstractmethod
    def exposed_s(self) -> Array | float:
        """What lies between the phases."""

    @property
    @abstractmethod
    def period_s(self) -> Array:
        """From one batch to the next."""

    @abstractmethod
    def batch_energy_j(self, scenario: Scenario) -> Array:
        """Joules of a batch, idle included, as `footprint.batch_energy_j`."""

    @abstractmethod
    def batch_g(self, scenario: Scenario) -> Array:
        """Operational and embodied grams of a batch."""

    @property
    def tpot_s(self) -> Array:
        return (self.decode_s + self.exposed_s) / (self.output_tokens - 1)

    @property
    def prompt_latency_s(self) -> Array:
        return self.ttft_s + self.exposed_s + self.decode_s

    def value(self, objective: str, scenario: Scenario) -> Array:
        """The objective's value, as `Objective.value` gives it for one measurement."""
        match objective:
            case "carbon":
                return self.batch_g(scenario) / self._units(scenario)
            case "energy":
                return self.batch_energy_j(scenario) / self._units(scenario)
            case "latency":
                return self.prompt_latency_s
            case "ttft":
                return self.ttft_s
            case "tpot":
                return self.tpot_s
            case "throughput":
                return self.batch * self.output_tokens / self.period_s
        raise ValueError(f"objective {objective} has no array form")

    def excess(self, slo: Slo) -> Array:
        """The worst relative excess over any limit, as `Slo.excess` gives it; -inf where no limit is set."""
        worst: Array = np.full(np.shape(self.ttft_s), -np.inf)
        for name, limit in slo.limits().items():
            worst = np.maximum(worst, getattr(self, name) / limit - 1)
        return worst

    def _units(self, scenario: Scenario) -> Array:
        return batch_units(
            scenario.functional_unit,
            batch=self.batch,
            output_tokens=self.batch * self.output_tokens,
            prompt_tokens=self.prompt_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities(ObjectiveArrays):
    """What the objectives are made of: arrays of shape (configurations,), or any that broadcast together."""

    gpus: tuple[str, ...]
    gpu_index: Indices  # into `gpus`
    energy_j: Array
    idle_w: Array
    count: Array

    @classmethod
    def of(cls, points: Points, predicted: Prediction, output_tokens: int | Array) -> Quantities:
        """Of predicted points; where the prediction has a second axis (workloads), so has what is made of it."""
        shape = (-1,) + (1,) * (predicted.prefill_s.ndim - 1)
        return cls(
            gpus=points.gpu.values,
            gpu_index=points.gpu.index.reshape(shape),
            ttft_s=predicted.prefill_s,
            decode_s=predicted.decode_s,
            energy_j=predicted.prefill_w * predicted.prefill_s + predicted.decode_w * predicted.decode_s,
            idle_w=predicted.idle_w,
            batch=np.array(points.batch_size.values, dtype=float)[points.batch_size.index].reshape(shape),
            count=np.array(points.gpu_count.values, dtype=float)[points.gpu_count.index].reshape(shape),
            prompt_tokens=predicted.real_prompt_tokens,
            output_tokens=output_tokens,
        )

    @property
    def exposed_s(self) -> float:
        return 0.0

    @property
    def period_s(self) -> Array:
        return self.prompt_latency_s

    def load(self, scenario: Scenario) -> Load[Array]:
        """How busy the devices are, and how many replicas a stated rate takes; one set of devices runs both phases."""
        busy_s = self.prompt_latency_s
        return load(prefill_devices_s=busy_s, decode_devices_s=busy_s, batch=self.batch, scenario=scenario)

    def batch_energy_j(self, scenario: Scenario) -> Array:
        return served_energy_j(
            energy_j=self.energy_j,
            busy_s=self.prompt_latency_s,
            idle_w=self.idle_w,
            utilisation=self.load(scenario).prefill,
        )

    def batch_g(self, scenario: Scenario) -> Array:
        utilisation = self.load(scenario).prefill
        kg = np.array([charged_kg(gpu, scenario) for gpu in self.gpus])[self.gpu_index]
        operational_g = batch_operational_g(
            energy_j=self.energy_j,
            busy_s=self.prompt_latency_s,
            idle_w=self.idle_w,
            gpu_count=self.count,
            utilisation=utilisation,
            scenario=scenario,
        )
        embodied_g = batch_embodied_g(
            embodied_kg=kg,
            busy_s=self.prompt_latency_s,
            gpu_count=self.count,
            utilisation=utilisation,
            scenario=scenario,
        )
        return operational_g + embodied_g
