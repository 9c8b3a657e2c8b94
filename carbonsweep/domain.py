"""The vocabulary: frozen values every room shares. Suffix = unit; no suffix = a count or a ratio.

Meanings, fixed once (a static batch of b left-padded prompts): TTFT is the prefill duration, and token 1 belongs to
prefill; decode has `output_tokens - 1` steps; TPOT is decode duration / steps; prefill tokens are real prompt tokens,
padded ones are counted apart. Nothing here is in grams except `Footprint`, which is computed, never recorded.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, Literal

from carbonsweep.evidence import Evidence, TrialCost
from carbonsweep.second_life import SecondLife

Dtype = Literal["fp32", "bf16", "fp16"]
DTYPE_BYTES: Final[Mapping[Dtype, int]] = {"fp32": 4, "bf16": 2, "fp16": 2}

Basis = Literal["measured", "modelled", "rehearsed"]  # rehearsed: measured, but on a stand-in for the device
EMBODIED_PRESETS: Final = ("paper", "act", "sc23", "vendor")  # in the order of the default choice
FunctionalUnit = Literal["1k-output-tokens", "output-token", "prompt", "prompt-token"]
RefusalKind = Literal["does-not-fit", "unsupported", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is served: a prompt set and a fixed output length.

    `prompt_tokens` holds one length per prompt, counted by `token_basis`; `prompts` the texts as they are sent, or None
    where only the lengths are known; `template` names what was put around them. Raises ValueError for an empty set, a
    length below 1, or fewer than 2 output tokens (one output token has no decode step, hence no TPOT).
    """

    name: str
    prompts: tuple[str, ...] | None
    prompt_tokens: tuple[int, ...]
    token_basis: str
    output_tokens: int
    seed: int = 0
    template: str = "none"

    def __post_init__(self) -> None:
        if not self.prompt_tokens or min(self.prompt_tokens) < 1:
            raise ValueError("a workload needs at least one prompt, and every prompt at least one token")
        if self.prompts is not None and len(self.prompts) != len(self.prompt_tokens):
            raise ValueError(f"{len(self.prompts)} prompts but {len(self.prompt_tokens)} lengths")
        if self.output_tokens < 2:
            raise ValueError(f"output_tokens is {self.output_tokens}: at least 2, or there is no decode phase")

    @property
    def mean_prompt_tokens(self) -> float:
        return sum(self.prompt_tokens) / len(self.prompt_tokens)

    @property
    def decode_steps(self) -> int:
        return self.output_tokens - 1

    def expected_longest(self, batch_size: int) -> float:
        """Expected longest of `batch_size` lengths drawn independently: what left padding makes of every prompt.

        The empirical maximum has distribution F(x)^b, so E = sum over sorted x_i of x_i ((i/n)^b - ((i-1)/n)^b).
        """
        n = len(self.prompt_tokens)
        ordered = sorted(self.prompt_tokens)
        return sum(x * ((i / n) ** batch_size - ((i - 1) / n) ** batch_size) for i, x in enumerate(ordered, 1))

    def summary(self) -> WorkloadSummary:
        return WorkloadSummary(
            name=self.name,
            # Not asdict: it copies every prompt, half a second for 100,000 of them.
            digest=_digest({f.name: getattr(self, f.name) for f in fields(self)}),
            prompts=len(self.prompt_tokens),
            mean_prompt_tokens=self.mean_prompt_tokens,
            token_basis=self.token_basis,
            output_tokens=self.output_tokens,
            seed=self.seed,
            template=self.template,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSummary:
    """What a record keeps of its workload; `digest` identifies prompts, lengths, seed and output length."""

    name: str
    digest: str
    prompts: int
    mean_prompt_tokens: float
    token_basis: str
    output_tokens: int
    seed: int
    template: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Configuration:
    """One point of the search space: what serves, on what, how many prompts at a time."""

    model: str
    gpu: str
    gpu_count: int
    batch_size: int
    dtype: Dtype
    engine: str

    def __post_init__(self) -> None:
        if self.gpu_count < 1 or self.batch_size < 1:
            raise ValueError(f"gpu_count and batch_size start at 1, got {self.gpu_count} and {self.batch_size}")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, the same in every process and version."""
        return _digest(asdict(self))

    def __str__(self) -> str:
        count = "" if self.gpu_count == 1 else f"{self.gpu_count}x "
        return f"{self.model} on {count}{self.gpu}, batch {self.batch_size}, {self.dtype}, {self.engine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyEstimate:
    """One meter's view of a phase: joules, where from, which quantity that is, and the bound of the meter alone.

    The bound holds for every window, repeats aside; None where the meter claims none.
    """

    joules: float
    source: str
    semantics: str
    low_j: float | None = None
    high_j: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules of one phase, over all its GPUs, with the 95 % interval `low_j..high_j`: of repeats and meter together.

    `estimates` are all meters' views, `gates` the validity checks that failed (none: empty).
    """

    joules: float
    low_j: float
    high_j: float
    source: str
    semantics: str
    estimates: tuple[EnergyEstimate, ...] = ()
    gates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Zero joules is what a broken meter says; a window that long always costs something.
        _require_positive(joules=self.joules)
        if not 0 <= self.low_j <= self.joules <= self.high_j < math.inf:
            raise ValueError(f"energy interval {self.low_j}..{self.high_j} does not hold {self.joules}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMeasurement:
    """Prefill or decode of one batch.

    `tokens` are real ones (prompt tokens in prefill, output tokens in decode), `padded_tokens` what was computed.
    `repeats` is 0 for a model. `energy` is None where it is unknown. `occupied_s` is how long the GPUs were taken.
    `host_energy` is that of the CPU and its memory meanwhile, where a meter reads it: kept, never priced.
    """

    tokens: float
    padded_tokens: float
    duration_s: float
    duration_low_s: float
    duration_high_s: float
    repeats: int
    energy: Energy | None
    gpu: str
    gpu_count: int
    occupied_s: float
    host_energy: Energy | None = None

    def __post_init__(self) -> None:
        _require_positive(tokens=self.tokens, padded_tokens=self.padded_tokens, gpu_count=self.gpu_count)
        _require_positive(duration_s=self.duration_s, occupied_s=self.occupied_s)
        if not 0 <= self.duration_low_s <= self.duration_s <= self.duration_high_s < math.inf:
            raise ValueError(f"interval {self.duration_low_s}..{self.duration_high_s} misses the {self.duration_s} s")

    @property
    def throughput(self) -> float:
        """Real tokens per second that the GPUs are taken."""
        return self.tokens / self.occupied_s

    @property
    def energy_per_token_j(self) -> float | None:
        return None if self.energy is None else self.energy.joules / self.tokens

    @property
    def power_w(self) -> float | None:
        return None if self.energy is None else self.energy.joules / self.occupied_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """KV cache handed from the prefill GPU to the decode GPU; it delays token 2: part of the latency, not of TTFT.

    `is_free`: a bound, without energy; `same_devices`: one set runs both phases in turn. `idle_w`: of each phase's.
    """

    bytes: float
    exposed_s: float
    energy: Energy | None
    is_free: bool = False
    idle_w: tuple[float | None, float | None] | None = None
    same_devices: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The hardware a measurement was really taken on."""

    name: str
    uuid: str | None = None
    driver: str | None = None
    power_cap_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a bench found for one batch of one configuration; `idle_w` is over all its GPUs, model loaded.

    `evidence` is what stands behind a measured one; a model has none.
    """

    prefill: PhaseMeasurement
    decode: PhaseMeasurement
    batch_size: int
    output_tokens: int
    peak_memory_bytes: float | None
    idle_w: float | None
    bench: str
    basis: Basis
    error_source: str
    device: Device | None = None
    transfer: Transfer | None = None
    notes: tuple[str, ...] = ()
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.output_tokens < 2:
            raise ValueError(f"batch_size is {self.batch_size}, output_tokens {self.output_tokens}: at least 1 and 2")
        _require_positive(idle_w=self.idle_w, peak_memory_bytes=self.peak_memory_bytes)

    @property
    def ttft_s(self) -> float:
        return self.prefill.duration_s

    @property
    def tpot_s(self) -> float:
        """Mean time per output token after the first, a hand-over included."""
        return (self.decode.duration_s + self._exposed_s) / (self.output_tokens - 1)

    @property
    def prompt_latency_s(self) -> float:
        return self.prefill.duration_s + self._exposed_s + self.decode.duration_s

    @property
    def throughput(self) -> float:
        """Output tokens per second of the whole batch, prefill included; in a split the slower phase sets the pace."""
        together = sum if self.transfer is None or self.transfer.same_devices else max
        return self.batch_size * self.output_tokens / together((self.prefill.occupied_s, self.decode.occupied_s))

    @property
    def energies(self) -> tuple[Energy | None, ...]:
        """Of each part that costs energy: prefill, decode and, where there is one, the hand-over."""
        of_phases = (self.prefill.energy, self.decode.energy)
        return of_phases if self.transfer is None or self.transfer.is_free else (*of_phases, self.transfer.energy)

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """Validity checks that failed, of the windows of a phase or of the run as a whole, each once."""
        of_windows = [gate for energy in self.energies if energy is not None for gate in energy.gates]
        of_run = () if self.evidence is None else self.evidence.gates
        return tuple(dict.fromkeys((*of_windows, *of_run)))

    @property
    def energy_j(self) -> float | None:
        """Joules of the batch, or None where any part is unknown."""
        known = [energy.joules for energy in self.energies if energy is not None]
        return sum(known) if len(known) == len(self.energies) else None

    @property
    def _exposed_s(self) -> float:
        return 0.0 if self.transfer is None else self.transfer.exposed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Latency limits in seconds, each optional."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    prompt_latency_s: float | None = None

    def __post_init__(self) -> None:
        _require_positive(**self.limits())

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {f.name: limit for f in fields(self) if (limit := getattr(self, f.name)) is not None}

    def excess(self, measurement: Measurement) -> dict[str, float]:
        """Relative excess over each limit that is set (0.1 = 10 % too slow); feasible when none is above 0."""
        return {name: getattr(measurement, name) / limit - 1 for name, limit in self.limits().items()}

    def is_met(self, measurement: Measurement) -> bool:
        return all(excess <= 0 for excess in self.excess(measurement).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CarbonIntensity:
    """Grams of CO2-equivalent per kWh of electricity, and the row it was read from."""

    g_per_kwh: float
    region: str
    basis: Literal["lifecycle", "direct", "given"]
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.g_per_kwh < math.inf:
            raise ValueError(f"carbon intensity is {self.g_per_kwh} g/kWh: it must be finite and not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that prices a measurement.

    `intensity` is None where no region was named: there are no grams then. Host terms are the share of each GPU;
    `second_life` names devices whose making is not charged as a new one's. `assumed_power_w` (per device) stands in for
    energy no meter read: the price is labelled. At a `request_rate_per_s`, `utilisation` is the highest planned for.
    """

    intensity: CarbonIntensity | None
    lifetime_s: float
    embodied: str
    pue: float = 1.0
    utilisation: float = 1.0
    host_power_w: float = 0.0
    host_embodied_kg: float = 0.0
    assumed_power_w: float | None = None
    functional_unit: FunctionalUnit = "1k-output-tokens"
    second_life: tuple[SecondLife, ...] = ()
    request_rate_per_s: float | None = None

    def __post_init__(self) -> None:
        _require_positive(lifetime_s=self.lifetime_s, utilisation=self.utilisation)
        _require_positive(assumed_power_w=self.assumed_power_w, request_rate_per_s=self.request_rate_per_s)
        if not 1 <= self.pue < math.inf:
            raise ValueError(f"pue is {self.pue}: facility over IT energy is at least 1")
        if self.utilisation > 1:
            raise ValueError(f"utilisation is {self.utilisation}: it is a share, at most 1")
        if not (0 <= self.host_power_w < math.inf and 0 <= self.host_embodied_kg < math.inf):
            raise ValueError("host_power_w and host_embodied_kg must be finite and not negative")
        if len({one.device for one in self.second_life}) < len(self.second_life):
            raise ValueError("second_life names a device twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Grams of CO2-equivalent per functional unit.

    The operational interval is the 95 % interval of the energy; the embodied one is the spread over every embodied
    preset that knows the GPU. `assumed` tells that the energy was assumed, not measured or modelled.
    """

    operational_g: float
    operational_low_g: float
    operational_high_g: float
    embodied_g: float
    embodied_low_g: float
    embodied_high_g: float
    functional_unit: FunctionalUnit
    assumed: bool

    @property
    def total_g(self) -> float:
        return self.operational_g + self.embodied_g


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchIdentity:
    """What makes two results the same quantity, so that one may be reused; `batches` of prompts drawn, 0 by a model."""

    bench: str
    basis: Basis
    engine_version: str
    weights: str
    calibration: str
    power_protocol: str
    device: str
    batches: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a trial has no measurement."""

    kind: RefusalKind
    reason: str
    needed_bytes: float | None = None
    available_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """When, where and with what a record was made; `versions` are `package==version`, `attempt` names the run."""

    utc: str
    host: str
    python: str
    versions: tuple[str, ...]
    attempt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial, whole: exactly one of `measurement` and `refusal` is set. `schema` numbers the file format."""

    key: str
    configuration: Configuration
    workload: WorkloadSummary
    identity: BenchIdentity
    provenance: Provenance
    measurement: Measurement | None = None
    refusal: Refusal | None = None
    cost: TrialCost | None = None
    schema: int = 1

    def __post_init__(self) -> None:
        if (self.measurement is None) == (self.refusal is None):
            raise ValueError("a record holds a measurement or a refusal, one of the two")


def record_key(configuration: Configuration, workload: WorkloadSummary, identity: BenchIdentity) -> str:
    """The reuse key: two trials with the same key would measure the same thing."""
    return _digest({"configuration": asdict(configuration), "workload": workload.digest, "bench": asdict(identity)})


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _require_positive(**named: float | None) -> None:
    for name, value in named.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}: it must be a finite number above 0")
