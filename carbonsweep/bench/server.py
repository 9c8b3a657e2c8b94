"""Real measurement of any OpenAI-compatible server (vLLM, SGLang, llama.cpp, transformers serve), from outside.

The server is asked once who it is (`endpoint.probe.served`); what came of it makes a bench that travels to workers.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from carbonsweep import facts
from carbonsweep.bench import assembly, phases
from carbonsweep.bench.assembly import Readout, Subject
from carbonsweep.bench.endpoint.distinct import PREFIX_TOKENS, Requests, requests
from carbonsweep.bench.endpoint.patience import Patience
from carbonsweep.bench.endpoint.served import Served
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.devices import UNMETERED, Instruments
from carbonsweep.bench.power.meter import Meter
from carbonsweep.bench.power.trace import Clock
from carbonsweep.domain import BenchIdentity, Configuration, Device, Measurement, Workload
from carbonsweep.errors import BenchFailed, CarbonsweepError, Unsupported
from carbonsweep.facts import CPU

if TYPE_CHECKING:
    from carbonsweep.bench.endpoint.runner import ServerRunner

ENGINE: Final = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBench:
    """Measures the model behind an endpoint in closed batches of streamed requests.

    `served` is what `endpoint.probe.served` found. `instruments` meter the machine of the server, `power_protocol` is
    their name in the reuse key; without any, energy is unknown. `meter` replaces them (a test counts with one).
    """

    served: Served
    effort: Effort = field(default_factory=Effort)
    patience: Patience = field(default_factory=Patience)
    instruments: Instruments = field(default_factory=lambda: Instruments(probes=()))
    power_protocol: str = UNMETERED
    meter: Meter | None = None
    clock: Clock = time.perf_counter
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        return ENGINE

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """From what the server said when it was probed; asks nobody. Which GPU is behind it, the configuration says."""
        return BenchIdentity(
            bench=self.name,
            basis="measured",
            engine_version=self.served.engine_version,
            weights=f"served model {self.served.model}",
            calibration="none",
            power_protocol=self.power_protocol if self.meter is None else "given meter",
            device=f"{configuration.gpu} of {self.served.host}",
        )

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Measure one batch size of the served model.

        Raises Unsupported for what the configuration cannot be, ServerGone, ServerRefused, StreamBroken,
        WrongTokenCount, and BenchFailed with type and message of anything else.
        """
        try:
            return self._measured(configuration, workload)
        except CarbonsweepError:
            raise
        except Exception as error:
            raise BenchFailed(f"{type(error).__name__}: {' '.join(str(error).split())}") from error

    def _measured(self, configuration: Configuration, workload: Workload) -> Measurement:
        from carbonsweep.bench.endpoint.runner import ServerRunner

        self._refuse_unsupported(configuration, workload)
        asked = requests(workload, configuration.batch_size, self.effort.batches)
        model = facts.language_model(configuration.model)
        meter = self._meter()
        with (
            ServerRunner(self.served, model, asked, workload.output_tokens, self.patience, self.clock) as runner,
            contextlib.nullcontext() if meter is None else meter,
        ):
            found = phases.measured(
                runner, self.effort, seed=workload.seed, meter=meter, clock=self.clock, sleep=self.sleep
            )
            readout = self._readout(meter)
            subject = self._subject(configuration, workload, asked, runner, readout)
        return assembly.measurement(found, self.effort, subject, readout)

    def _refuse_unsupported(self, configuration: Configuration, workload: Workload) -> None:
        """What is known before a request is sent. Raises Unsupported, UnknownFact, BenchFailed."""
        if self.served.local and socket.gethostname() != self.served.host:
            raise BenchFailed(
                f"the server is on {self.served.host} and this worker on {socket.gethostname()}, where "
                f"{self.served.endpoint} is another address"
            )
        if configuration.engine != ENGINE:
            raise Unsupported(f"the server bench measures engine {ENGINE!r}, not {configuration.engine!r}")
        if configuration.gpu != CPU:
            gpu = facts.gpu(configuration.gpu)
            if configuration.dtype not in gpu.peak_flop_per_s:
                raise Unsupported(f"{gpu.key} has no {configuration.dtype}; it has {', '.join(gpu.peak_flop_per_s)}")
        model = facts.language_model(configuration.model)
        context_tokens = min(model.context_tokens, self.served.context_tokens or model.context_tokens)
        longest = max(workload.prompt_tokens) + PREFIX_TOKENS
        if longest + workload.output_tokens > context_tokens:
            raise Unsupported(
                f"a prompt of {longest} tokens and {workload.output_tokens} output tokens exceed "
                f"the context of {model.key}, {context_tokens} tokens"
            )

    def _meter(self) -> Meter | None:
        if self.meter is not None or not self.instruments.probes:
            return self.meter
        found = self.instruments
        return phases.sampled_meter(self.effort, found.probes, found.hosts, clock=self.clock, sleep=self.sleep)

    def _readout(self, meter: Meter | None) -> Readout:
        """Idle power with the model loaded; the bare machine is never seen."""
        if meter is None:
            return Readout()
        conditions = meter.conditions()  # before it idles
        idle = phases.idle(meter, "idle", self.clock, self.sleep)
        return assembly.read_out(meter, conditions=conditions, idle=idle)

    def _subject(
        self,
        configuration: Configuration,
        workload: Workload,
        asked: Requests,
        runner: ServerRunner,
        readout: Readout,
    ) -> Subject:
        judged = runner.judged()
        return Subject(
            bench=self.name,
            configuration=configuration,
            output_tokens=workload.output_tokens,
            counted=runner.counted(),
            batches_digest=asked.digest,
            device=Device(name=f"{configuration.gpu} of {self.served.host}, as configured"),
            peak_memory_bytes=None,
            notes=(
                f"weights: served model {self.served.model} at {self.served.endpoint}",
                f"requests: /{self.served.path}, output length fixed by {self.served.dialect}",
                *judged.notes,
                *self._unmetered(readout),
                *readout.remarks,
            ),
            gates=(*judged.gates, *self._miscounted_devices(configuration)),
        )

    def _unmetered(self, readout: Readout) -> tuple[str, ...]:
        if readout.devices:
            return ()
        if not self.served.local:
            return (f"energy unknown: the server is on {self.served.host}, and no meter of that machine was named",)
        return (f"energy unknown: {self.instruments.flaw or 'no meter was given'}",)

    def _miscounted_devices(self, configuration: Configuration) -> tuple[str, ...]:
        """Which of a machine's GPUs a server uses cannot be seen from outside."""
        metered = len(self.instruments.probes)
        if configuration.gpu == CPU or metered in (0, configuration.gpu_count):
            return ()
        return (f"metered devices: {metered}, the configuration has {configuration.gpu_count}",)
