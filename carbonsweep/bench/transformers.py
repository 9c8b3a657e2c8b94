"""Real measurement with torch and transformers, in this process: load, then the protocol of `phases.py`.

torch and transformers are imported when a measurement runs, not before: a driver that only asks for identities, or
sends this bench to workers, needs neither.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Final

from carbonsweep import facts
from carbonsweep.bench import assembly, hardware, loading, phases
from carbonsweep.bench.assembly import Counted, Readout, Subject
from carbonsweep.bench.basis import basis_words
from carbonsweep.bench.generation import Batch, batches_digest, random_batches, refuse_beyond_context, text_batches
from carbonsweep.bench.hardware import Place
from carbonsweep.bench.loading import Loaded, loaded_key
from carbonsweep.bench.phases import Effort, Measured
from carbonsweep.bench.power.devices import Instruments, instruments, power_protocol
from carbonsweep.bench.power.meter import Meter
from carbonsweep.bench.power.nvml import PresentGpu, present_gpus
from carbonsweep.bench.power.trace import Clock, Probe
from carbonsweep.bench.running import ModelRunner
from carbonsweep.bench.weights import WeightsSource, weights_source
from carbonsweep.domain import DTYPE_BYTES, Basis, BenchIdentity, Configuration, Measurement, Workload
from carbonsweep.errors import BadInput, BenchError, BenchFailed, Unsupported
from carbonsweep.evidence import EnergyWindow
from carbonsweep.facts import CPU, LanguageModel

ENGINE: Final = "transformers"


@dataclass(slots=True, kw_only=True)
class TransformersBench:
    """Measures with the transformers library on CPU (a kind of its own) or on one GPU of this machine.

    `weights` is auto, random, a path or a hub id; `effort` how much is measured. `threads` are those of CPU work, None
    for all this process may use. `meter` replaces the device's own instruments (a test counts with one).
    `rehearse` tries a machine out: a GPU of the asked kind must be there and its meter is read, but tensors live on
    the CPU, and everything says "rehearsed". `elsewhere` says that other machines measure: each looks for its own GPUs.
    Raises BadInput for fewer than one thread.
    """

    weights: str = "auto"
    effort: Effort = field(default_factory=Effort)
    threads: int | None = None
    rehearse: bool = False
    elsewhere: bool = False
    meter: Meter | None = None
    clock: Clock = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    # Fixed where the bench is made, so that a worker with another environment does what the driver's identity says.
    cpu_threads: int = field(init=False)
    _loaded: Loaded | None = field(default=None, init=False, repr=False, compare=False)
    # The driver's, once asked for: a worker on its machine that is shown other GPUs must know a record by the same key.
    _present: tuple[PresentGpu, ...] | None = field(default=None, init=False, repr=False, compare=False)
    # Idle windows by device: bare ones can be had only before a model is loaded, loaded ones last as long as the model.
    _bare_idle: dict[str, tuple[EnergyWindow, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _idle: dict[tuple[str, ...], tuple[EnergyWindow, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.cpu_threads = hardware.usable_threads() if self.threads is None else self.threads
        if self.cpu_threads < 1:
            raise BadInput(f"threads {self.cpu_threads}: at least 1")

    @property
    def name(self) -> str:
        return ENGINE

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """Reads package metadata, looks for weights and once for GPUs; needs neither torch nor transformers.

        Raises BadInput for weights that are not there, and BenchFailed where a GPU is asked for and its driver is
        broken. Of the effort only the way power is read, and the batches, which are other prompts: more of the rest
        gives the same with a smaller error.
        """
        source = weights_source(self.weights, facts.language_model(configuration.model))
        sampled_s = self.effort.power_sampling_s
        return BenchIdentity(
            bench=self.name,
            basis=self._basis(configuration.gpu),
            engine_version=", ".join(map(_version, ("transformers", "torch"))),
            weights=source.label,
            calibration="none",
            power_protocol=power_protocol(configuration.gpu, sampled_s) if self.meter is None else "given meter",
            device=self._device_name(configuration.gpu),
            batches=self.effort.batches,
        )

    def _basis(self, kind: str) -> Basis:
        """The CPU is no stand-in for itself."""
        return "rehearsed" if self.rehearse and kind != CPU else "measured"

    def _device_name(self, kind: str) -> str:
        if kind == CPU:
            return hardware.cpu_name(self.cpu_threads)
        if self._present is None:
            self._present = present_gpus()
        name = hardware.gpu_name(facts.gpu(kind).key, self._present)
        return hardware.rehearsed_name(name, self.cpu_threads) if self.rehearse else name

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Measure one batch size of one model on this machine.

        Raises BadInput where torch or the weights are missing, DoesNotFit, Unsupported, and BenchFailed with type and
        message of anything else. After memory ran out the process holds no model and no cached memory.
        """
        loading.import_libraries()
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
        _refuse_unsupported(configuration)
        found = self._instruments(configuration.gpu)
        self._take_bare_idle(found)
        place = self._place(configuration)
        source = weights_source(self.weights, model)
        if self._loaded is not None and self._loaded.key != loaded_key(model, source, configuration.dtype, place):
            self._free()
        self._refuse_overflow(configuration, workload, model, place)
        loaded = self._load(model, source, configuration.dtype, place)
        inputs = self._inputs(loaded, configuration, workload, place)
        refuse_beyond_context(inputs, workload, model)
        runner = ModelRunner(loaded.model, inputs, workload.decode_steps, self.clock)
        hardware.forget_peak_memory(place.torch_device)
        meter = self._meter(found, place)
        with contextlib.nullcontext() if meter is None else meter:
            gathered = phases.measured(
                runner, self.effort, seed=workload.seed, meter=meter, clock=self.clock, sleep=self.sleep
            )
            readout = self._readout(meter, loaded, place)
        return self._assembled(configuration, workload, loaded, inputs, place, found, gathered, readout)

    def _instruments(self, device: str) -> Instruments:
        """Those of the device's kind, for every GPU of it: which one torch will use is not known before it starts."""
        if self.meter is not None:
            return Instruments(probes=())
        return instruments(device, self.effort.power_sampling_s)

    def _take_bare_idle(self, found: Instruments) -> None:
        """Once for each device, and only while this process has nothing on it."""
        probes = [probe for probe in found.probes if probe.name not in self._bare_idle]
        if not probes or self._loaded is not None:
            return
        with self._sampled(tuple(probes)) as meter:
            windows = phases.idle(meter, "bare-idle", self.clock, self.sleep)
        self._bare_idle |= {window.device: (window,) for window in windows if window.flaw is None}

    def _place(self, configuration: Configuration) -> Place:
        """The device. Raises Unsupported where this bench has none such, BenchFailed where it is away."""
        if configuration.gpu == CPU:
            return hardware.cpu_place(self.cpu_threads)
        if self.rehearse:
            return hardware.rehearsal_place(configuration, self.cpu_threads)
        return hardware.gpu_place(configuration)

    def _meter(self, found: Instruments, place: Place) -> Meter | None:
        """Of the one device the trial is on; the host's instruments beside it."""
        if self.meter is not None:
            return self.meter
        mine = tuple(probe for probe in found.probes if place.device.uuid in (None, probe.name))
        if not mine:
            return None
        return self._sampled(mine, found.hosts)

    def _sampled(self, probes: tuple[Probe, ...], hosts: tuple[Probe, ...] = ()) -> Meter:
        return phases.sampled_meter(self.effort, probes, hosts, clock=self.clock, sleep=self.sleep)

    def _readout(self, meter: Meter | None, loaded: Loaded, place: Place) -> Readout:
        """Idle power with the model loaded, conditions, and what was taken before."""
        if meter is None:
            return Readout()
        conditions = meter.conditions()  # before it idles
        idle = self._idle.get(loaded.key) or phases.idle(meter, "idle", self.clock, self.sleep)
        if all(window.flaw is None for window in idle):
            self._idle[loaded.key] = idle
        bare = tuple(window for device in meter.devices for window in self._bare_idle.get(device, ()))
        own = frozenset({os.getpid()})
        return assembly.read_out(meter, conditions=conditions, idle=idle, bare_idle=bare, own_processes=own)

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
        self._idle.clear()
        hardware.return_unused_memory()

    def _inputs(
        self, loaded: Loaded, configuration: Configuration, workload: Workload, place: Place
    ) -> tuple[Batch, ...]:
        size, texts, device = configuration.batch_size, workload.prompts, place.torch_device
        count = self.effort.batches
        if loaded.tokenizer is None or texts is None:
            return random_batches(workload, size, count, loaded.model.config.vocab_size, device)
        return text_batches(workload, texts, size, count, loaded.tokenizer, device)

    def _assembled(
        self,
        configuration: Configuration,
        workload: Workload,
        loaded: Loaded,
        inputs: Sequence[Batch],
        place: Place,
        found: Instruments,
        gathered: Measured,
        readout: Readout,
    ) -> Measurement:
        invented = loaded.tokenizer is None or workload.prompts is None
        contents = ("prompts are seeded random token ids of the workload's lengths",) if invented else ()
        basis = self._basis(configuration.gpu)
        stands_in = (_stand_in_note(configuration.gpu),) if basis == "rehearsed" else ()
        unmetered = () if found.flaw is None or readout.devices else (f"energy unknown: {found.flaw}",)
        subject = Subject(
            bench=self.name,
            configuration=configuration,
            output_tokens=workload.output_tokens,
            counted=Counted(
                prompt_tokens=fmean(batch.tokens for batch in inputs),
                padded_tokens=fmean(batch.ids.numel() for batch in inputs),
                decoded_tokens=configuration.batch_size * workload.decode_steps,
            ),
            batches_digest=batches_digest(inputs),
            device=place.device,
            peak_memory_bytes=hardware.peak_memory_bytes(place.torch_device),
            notes=(*stands_in, f"weights: {loaded.label}", *contents, *unmetered, *readout.remarks),
        )
        return replace(assembly.measurement(gathered, self.effort, subject, readout), basis=basis)

    def __getstate__(self) -> dict[str, Any]:
        """A bench travels without its model and what it read; a worker loads and reads its own."""
        fresh: dict[str, Any] = {"_loaded": None, "_bare_idle": {}, "_idle": {}}
        if self.elsewhere:
            fresh["_present"] = None
        return {name: getattr(self, name) for name in self.__slots__ if name not in fresh} | fresh

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _version(package: str) -> str:
    """Name and version; a driver may have none where others measure, and what is not there cannot be measured with."""
    try:
        return f"{package} {loading.library_version(package)}"
    except BadInput:
        return f"{package} not installed"


def _stand_in_note(kind: str) -> str:
    words = basis_words("rehearsed", [kind])
    return f"{words}: seconds are the CPU's, joules those of a {kind} that had nothing to do"


def _refuse_unsupported(configuration: Configuration) -> None:
    if configuration.engine != ENGINE:
        raise Unsupported(f"the transformers bench runs engine {ENGINE!r}, not {configuration.engine!r}")
    if configuration.gpu_count != 1:
        raise Unsupported(f"the transformers bench runs on one device, not on {configuration.gpu_count}")
    hardware.refuse_dtype(configuration)
