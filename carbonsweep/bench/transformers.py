"""Real measurement with torch and transformers, in this process: load, warm up, prefill and decode, several passes.

torch and transformers are imported when a measurement runs, not before: a driver that only asks for identities, or
sends this bench to workers, needs neither.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import random
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.bench import hardware, loading
from carbonsweep.bench.generation import Batch, RewindingRun, random_batches, refuse_beyond_context, text_batches
from carbonsweep.bench.hardware import Place
from carbonsweep.bench.loading import MEASURE_EXTRA, Loaded, loaded_key
from carbonsweep.bench.power.nvml import NVML_COUNTER, PresentGpu, has_energy_counter, present_gpus
from carbonsweep.bench.power.window import Clock, Meter, Window, phase_energy, window
from carbonsweep.bench.weights import WeightsSource, weights_source
from carbonsweep.domain import DTYPE_BYTES, BenchIdentity, Configuration, Measurement, PhaseMeasurement, Workload
from carbonsweep.errors import BadInput, BenchError, BenchFailed, Unsupported
from carbonsweep.facts import CPU, LanguageModel

ENGINE: Final = "transformers"
WARM_UP_TOKENS: Final = 16
"""Output tokens of the warm-up batch: each step costs the same, so a full decode would warm up nothing more."""

_MISSING: Final = f"the transformers bench needs torch and transformers: {MEASURE_EXTRA}"
_ERROR_SOURCE: Final = "95 % t-interval over repeated passes; energy: the counter's refresh period"


_Passes = list[list[tuple[Window, Window]]]
"""For each pass, the prefill and decode window of every batch."""


@dataclass(slots=True, kw_only=True)
class TransformersBench:
    """Measures with the transformers library on CPU (a kind of its own) or on one GPU of this machine.

    `weights` is auto, random, a path or a hub id. Each of `repeats` passes runs the same `batches` batches in a new
    order; at least 2 repeats, or there is no interval. `threads` are those of CPU work, None for all this process may
    use. `meter` replaces the GPU's energy counter, and gives a CPU one.
    Raises BadInput for counts that are too small.
    """

    weights: str = "auto"
    batches: int = 2
    repeats: int = 3
    threads: int | None = None
    meter: Meter | None = None
    clock: Clock = time.perf_counter
    # Fixed where the bench is made, so that a worker with another environment does what the driver's identity says.
    cpu_threads: int = field(init=False)
    _loaded: Loaded | None = field(default=None, init=False, repr=False, compare=False)
    # The driver's, once asked for: a worker that is shown other GPUs must know a record by the same key.
    _present: tuple[PresentGpu, ...] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.cpu_threads = hardware.usable_threads() if self.threads is None else self.threads
        if self.batches < 1 or self.repeats < 2 or self.cpu_threads < 1:
            raise BadInput(
                f"batches {self.batches}, repeats {self.repeats}, threads {self.cpu_threads}: at least 1, 2 and 1"
            )

    @property
    def name(self) -> str:
        return ENGINE

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """Reads package metadata, looks for weights and once for GPUs; imports neither torch nor transformers.

        Raises BadInput, and BenchFailed where a GPU is asked for and its driver is broken. Batches and repeats are no
        part of it: more of them give the same quantity with a smaller error.
        """
        source = weights_source(self.weights, facts.language_model(configuration.model))
        on_cpu = configuration.gpu == CPU
        counted = not on_cpu and has_energy_counter(facts.gpu(configuration.gpu))
        protocol = NVML_COUNTER if counted else "none"
        return BenchIdentity(
            bench=self.name,
            basis="measured",
            engine_version=f"transformers {_version('transformers')}, torch {_version('torch')}",
            weights=source.label,
            calibration="none",
            power_protocol=protocol if self.meter is None else self.meter.source,
            device=hardware.cpu_name(self.cpu_threads) if on_cpu else self._gpu_name(configuration.gpu),
        )

    def _gpu_name(self, kind: str) -> str:
        if self._present is None:
            self._present = present_gpus()
        return hardware.gpu_name(facts.gpu(kind).key, self._present)

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Measure one batch size of one model on this machine.

        Raises BadInput where torch or the weights are missing, DoesNotFit, Unsupported, and BenchFailed with type and
        message of anything else. After memory ran out the process holds no model and no cached memory.
        """
        _import_heavy()
        try:
            return self._measured(configuration, workload)
        except (BenchError, BadInput):
            raise
        except Exception as error:
            shortage = hardware.shortage(error)
            if shortage is None:
                raise BenchFailed(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
            # The frames of a failed run hold its tensors.
            traceback.clear_frames(error.__traceback__)
        self._free()
        raise shortage

    def _measured(self, configuration: Configuration, workload: Workload) -> Measurement:
        model = facts.language_model(configuration.model)
        place = self._place(configuration)
        source = weights_source(self.weights, model)
        if self._loaded is not None and self._loaded.key != loaded_key(model, source, configuration.dtype, place):
            self._free()
        self._refuse_overflow(configuration, workload, model, place)
        loaded = self._load(model, source, configuration.dtype, place)
        inputs = self._inputs(loaded, configuration, workload, place)
        refuse_beyond_context(inputs, workload, model)
        self._warm_up(loaded, inputs[0], workload)
        passes = self._passes(loaded, inputs, workload, place)
        return self._measurement(configuration, workload, loaded, inputs, passes, place)

    def _place(self, configuration: Configuration) -> Place:
        """The device and its meter. Raises Unsupported where this bench has none such, BenchFailed where it is away."""
        if configuration.engine != ENGINE:
            raise Unsupported(f"the transformers bench runs engine {ENGINE!r}, not {configuration.engine!r}")
        if configuration.gpu_count != 1:
            raise Unsupported(f"the transformers bench runs on one device, not on {configuration.gpu_count}")
        if configuration.gpu == CPU:
            return hardware.cpu_place(self.cpu_threads, self.meter)
        return hardware.gpu_place(configuration, self.meter)

    def _refuse_overflow(
        self, configuration: Configuration, workload: Workload, model: LanguageModel, place: Place
    ) -> None:
        """Weights and KV cache alone against memory, before anything is read: what cannot fit is not tried."""
        value_bytes = DTYPE_BYTES[configuration.dtype]
        tokens = configuration.batch_size * (workload.mean_prompt_tokens + workload.output_tokens)
        weight_bytes = model.weight_bytes(value_bytes)
        needed_bytes = weight_bytes + tokens * model.kv_bytes_per_token(value_bytes)
        held_bytes = 0.0 if self._loaded is None else weight_bytes
        hardware.refuse_overflow(needed_bytes, place.torch_device, held_bytes)

    def _load(self, model: LanguageModel, source: WeightsSource, dtype: str, place: Place) -> Loaded:
        """The model, from the last trial where nothing about it changed."""
        if self._loaded is None:
            hardware.return_unused_memory()
            self._loaded = loading.load(model, source, dtype, place)
        return self._loaded

    def _free(self) -> None:
        self._loaded = None
        hardware.return_unused_memory()

    def _inputs(
        self, loaded: Loaded, configuration: Configuration, workload: Workload, place: Place
    ) -> tuple[Batch, ...]:
        size, texts, device = configuration.batch_size, workload.prompts, place.torch_device
        if loaded.tokenizer is None or texts is None:
            return random_batches(workload, size, self.batches, loaded.model.config.vocab_size, device)
        return text_batches(workload, texts, size, self.batches, loaded.tokenizer, device)

    def _warm_up(self, loaded: Loaded, batch: Batch, workload: Workload) -> None:
        run = RewindingRun(loaded.model, batch, min(workload.decode_steps, WARM_UP_TOKENS))
        run.prefill()
        run.decode()

    def _passes(self, loaded: Loaded, inputs: Sequence[Batch], workload: Workload, place: Place) -> _Passes:
        """The order of the batches is drawn anew for each pass."""
        hardware.forget_peak_memory(place.torch_device)
        dealer = random.Random(workload.seed)
        passes = []
        for _ in range(self.repeats):
            order = dealer.sample(inputs, len(inputs))
            passes.append(
                [self._windows(RewindingRun(loaded.model, batch, workload.decode_steps), place) for batch in order]
            )
        return passes

    def _windows(self, run: RewindingRun, place: Place) -> tuple[Window, Window]:
        prefill = window(run.prefill, meter=place.meter, clock=self.clock)
        return prefill, window(run.decode, meter=place.meter, clock=self.clock)

    def _measurement(
        self,
        configuration: Configuration,
        workload: Workload,
        loaded: Loaded,
        inputs: Sequence[Batch],
        passes: _Passes,
        place: Place,
    ) -> Measurement:
        prompt_tokens = fmean(batch.tokens for batch in inputs)
        padded_tokens = fmean(batch.ids.numel() for batch in inputs)
        decoded_tokens = configuration.batch_size * workload.decode_steps
        prefill, prefill_flaws = _phase(
            [[prefill for prefill, _ in each] for each in passes], prompt_tokens, padded_tokens, configuration, place
        )
        decode, decode_flaws = _phase(
            [[decode for _, decode in each] for each in passes], decoded_tokens, decoded_tokens, configuration, place
        )
        unknown = [] if place.unmetered is None else [f"energy unknown: {place.unmetered}"]
        unknown += [f"prefill energy unknown: {flaw}" for flaw in prefill_flaws]
        unknown += [f"decode energy unknown: {flaw}" for flaw in decode_flaws]
        invented = loaded.tokenizer is None or workload.prompts is None
        contents = ("prompts are seeded random token ids of the workload's lengths",) if invented else ()
        return Measurement(
            prefill=prefill,
            decode=decode,
            batch_size=configuration.batch_size,
            output_tokens=workload.output_tokens,
            peak_memory_bytes=hardware.peak_memory_bytes(place.torch_device),
            idle_w=None,
            bench=self.name,
            basis="measured",
            error_source=_ERROR_SOURCE,
            device=place.device,
            notes=(f"weights: {loaded.label}", *contents, *unknown),
        )

    def __getstate__(self) -> dict[str, Any]:
        """A bench travels without its model; a worker loads its own."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "_loaded"} | {"_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _phase(
    passes: list[list[Window]], tokens: float, padded_tokens: float, configuration: Configuration, place: Place
) -> tuple[PhaseMeasurement, tuple[str, ...]]:
    """One phase of the mean batch, and why its energy is unknown where it is."""
    mean_s, low_s, high_s = interval([fmean(each.run_s for each in windows) for windows in passes])
    energy, flaws = phase_energy([each for windows in passes for each in windows], place.meter)
    measurement = PhaseMeasurement(
        tokens=tokens,
        padded_tokens=padded_tokens,
        duration_s=mean_s,
        duration_low_s=low_s,
        duration_high_s=high_s,
        repeats=len(passes),
        energy=energy,
        gpu=configuration.gpu,
        gpu_count=configuration.gpu_count,
        occupied_s=mean_s,
    )
    return measurement, flaws


def interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """Mean of at least two samples and its 95 % t-interval, not below 0."""
    from scipy.stats import t

    mean = fmean(samples)
    half = float(t.ppf(0.975, len(samples) - 1)) * stdev(samples) / math.sqrt(len(samples))
    return mean, max(0.0, mean - half), mean + half


def _import_heavy() -> None:
    """Raises BadInput naming the extra. No telemetry, and no bars and warnings between the sweep's own lines."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import scipy.stats  # noqa: F401
        import torch  # noqa: F401
        from transformers.utils import logging
    except ImportError as error:
        raise BadInput(f"{_MISSING} ({error})") from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise BadInput(f"{_MISSING} (no {package} here)") from error
