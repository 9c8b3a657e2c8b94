"""Prefill on one GPU kind, decode on another: two measurements and a link become one, without measuring anything.

A static batch of b_p prompts is prefilled in t_p seconds, its KV cache handed over, and decoded in batches of b_d that
take t_d each. The prefill GPU emits token 1, so TTFT is t_p whatever the link; the hand-over delays token 2.

    bytes     = prompt tokens x 2 L n_kv d b_kv                       of a prefill batch, padding is not sent
    t_x       = bytes / (bandwidth x efficiency) + latency            bandwidth: the slowest of the link and both GPUs'
    hidden    = min(overlap x t_x, t_p)                               layers are sent while later ones are computed
    wait      = (ceil(b_d / b_p) - 1) t_p / p   where b_d > b_p       until a decode batch is full
                (ceil(b_p / b_d) - 1) t_d / d   where b_p > b_d       until a decode replica is free
    exposed   = t_x - hidden + wait                                   of the prompt that waits longest
    rate      = min(p b_p / t_p, d b_d / t_d, min(p, d) b_p / t_x)    prompts per second of p and d replicas

Energies and occupied times are scaled to the decode batch: b_d / b_p prefill batches fall on one. Both pools are taken
for the whole period b_d / rate, which is what their making is charged for; the faster pool waits, and its idle power is
charged for that. Without pools each GPU is charged for the time it is busy only, as if it did other work meanwhile: the
bound that perfect sharing would reach. A link joins one replica to one other; buffers for caches under way, on either
side, are counted by nobody. Phases disaggregated: Patel et al., Splitwise, ISCA'24; Zhong et al., DistServe, OSDI'24.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from carbonsweep import facts
from carbonsweep.carbon.operational import Quantity
from carbonsweep.domain import (
    DTYPE_BYTES,
    Basis,
    Configuration,
    Energy,
    Measurement,
    PhaseMeasurement,
    Transfer,
    TrialRecord,
)
from carbonsweep.errors import BadInput
from carbonsweep.facts import FrozenMapping, Link

FREE: Final = Link(
    key="free",
    name="no link: a bound nothing reaches",
    bandwidth_bytes_per_s=math.inf,
    efficiency=1.0,
    latency_s=0.0,
    overlap_share=0.0,
    energy_j_per_byte=0.0,
    energy_low_j_per_byte=0.0,
    energy_high_j_per_byte=0.0,
    source=FrozenMapping({"default": "made up: a bound"}),
)
"""Takes no time and no energy; for bounds and tests, never a fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: what was served, on which workload (its digest), and what was found. Both phases may be in it."""

    configuration: Configuration
    workload: str
    measurement: Measurement

    @classmethod
    def of(cls, record: TrialRecord) -> Side:
        """Of a record. Raises ValueError for a refusal."""
        if record.measurement is None:
            raise ValueError(f"record {record.key} holds no measurement")
        return cls(configuration=record.configuration, workload=record.workload.digest, measurement=record.measurement)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pools:
    """Replicas that prefill and replicas that decode, at least 1 each."""

    prefill: int
    decode: int

    def __post_init__(self) -> None:
        if self.prefill < 1 or self.decode < 1:
            raise ValueError(f"pools of {self.prefill} and {self.decode} replicas: at least 1 each")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """How the KV cache of one prefill batch of `kv_bytes` gets to the decode replica, in seconds.

    `rate_per_s` is the prompts per second of both pools and the links between them; None without pools.
    """

    kv_bytes: float
    transfer_s: float
    hidden_s: float
    wait_s: float
    rate_per_s: float | None

    @property
    def exposed_s(self) -> float:
        return self.transfer_s - self.hidden_s + self.wait_s


def compose(prefill: Side, decode: Side, link: Link, pools: Pools | None) -> Measurement:
    """One measurement of `prefill`'s prefill and `decode`'s decode, with the hand-over over `link` between them.

    Its batch is the decode batch; its GPUs are those of all replicas. An energy that is unknown stays unknown, also
    where waiting cannot be charged because the idle power is. Raises BadInput for two models, dtypes, engines or
    workloads, and for a link that does not join the two kinds.
    """
    _require_same(prefill, decode)
    handed = handover(prefill, decode, link, pools)
    first, second = prefill.measurement, decode.measurement
    batches = second.batch_size / first.batch_size  # of prefill that fall on one of decode
    replicas = Pools(prefill=1, decode=1) if pools is None else pools
    period_s = None if handed.rate_per_s is None else second.batch_size / handed.rate_per_s
    idle_w = _times(first.idle_w, replicas.prefill), _times(second.idle_w, replicas.decode)
    return Measurement(
        prefill=_phase(first, first.prefill, batches, replicas.prefill, period_s),
        decode=_phase(second, second.decode, 1.0, replicas.decode, period_s),
        batch_size=second.batch_size,
        output_tokens=second.output_tokens,
        peak_memory_bytes=_largest(first.peak_memory_bytes, second.peak_memory_bytes),
        idle_w=_sum(*idle_w),
        bench="+".join(dict.fromkeys((first.bench, second.bench))),
        basis=_basis(first.basis, second.basis),
        error_source=_error_source(first, second, link),
        transfer=Transfer(
            bytes=handed.kv_bytes * batches,
            exposed_s=handed.exposed_s,
            energy=_link_energy(handed.kv_bytes * batches, link),
            is_free=link.energy_j_per_byte == 0,
            idle_w=idle_w,
        ),
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
    )


def handover(prefill: Side, decode: Side, link: Link, pools: Pools | None) -> Handover:
    """The hand-over alone, of a prefill batch. Raises BadInput for a link that does not join the two kinds."""
    of_prefill, of_decode = prefill.configuration, decode.configuration
    first, second = prefill.measurement, decode.measurement
    token_bytes = facts.language_model(of_prefill.model).kv_bytes_per_token(DTYPE_BYTES[of_prefill.dtype])
    kv_bytes = first.prefill.tokens * token_bytes
    whole_s = transfer_s(kv_bytes, bytes_per_s(link, of_prefill.gpu, of_decode.gpu), link.latency_s)
    replicas = Pools(prefill=1, decode=1) if pools is None else pools
    b_p, b_d = float(first.batch_size), float(second.batch_size)
    prefill_s, decode_s = first.prefill.occupied_s, second.decode.occupied_s
    return Handover(
        kv_bytes=kv_bytes,
        transfer_s=whole_s,
        hidden_s=min(link.overlap_share * whole_s, first.prefill.duration_s),
        wait_s=wait_s(b_p, b_d, prefill_s / replicas.prefill, decode_s / replicas.decode),
        rate_per_s=None if pools is None else rate_per_s(b_p, b_d, prefill_s, decode_s, whole_s, pools),
    )


def bytes_per_s(link: Link, prefill_gpu: str, decode_gpu: str) -> float:
    """What large copies reach between two GPU kinds: the slowest of the link and the GPUs' own, times its efficiency.

    On any link but NVLink itself a GPU with NVLink passes its slot. Raises BadInput where `link` does not join them.
    """
    if not link.joins(prefill_gpu, decode_gpu):
        kinds = " or ".join(f"{gpu} and {gpu}" for gpu in link.gpus or ())
        raise BadInput(f"{link.key} does not join {prefill_gpu} and {decode_gpu}: it joins {kinds}")
    if link is FREE:
        return math.inf
    gpus = [gpu for gpu in (prefill_gpu, decode_gpu) if gpu != facts.CPU]
    own = (link.slot_bytes_per_s.get(gpu, facts.gpu(gpu).link_bytes_per_s) for gpu in gpus)
    return min((link.bandwidth_bytes_per_s, *own)) * link.efficiency


def transfer_s(kv_bytes: Quantity, reached_bytes_per_s: Quantity, latency_s: Quantity) -> Quantity:
    """Seconds until `kv_bytes` are on the other side. Elementwise."""
    return kv_bytes / reached_bytes_per_s + latency_s


def wait_s(prefill_batch: Quantity, decode_batch: Quantity, prefill_s: Quantity, decode_s: Quantity) -> Quantity:
    """Seconds the unluckiest prompt waits between the phases, of batch sizes that differ. Elementwise.

    `prefill_s` and `decode_s` are those of a batch over the replicas of its pool: how often one ends.
    """
    filling = -(-decode_batch // prefill_batch) - 1
    queueing = -(-prefill_batch // decode_batch) - 1
    return filling * prefill_s + queueing * decode_s


def rate_per_s(
    prefill_batch: Quantity,
    decode_batch: Quantity,
    prefill_s: Quantity,
    decode_s: Quantity,
    link_s: Quantity,
    pools: Pools,
) -> Quantity:
    """Prompts per second that both pools and the links between them keep up. Elementwise; `link_s` may be 0."""
    of_phases = _smaller(pools.prefill * prefill_batch / prefill_s, pools.decode * decode_batch / decode_s)
    links = min(pools.prefill, pools.decode)
    if isinstance(link_s, float):
        return of_phases if link_s == 0 else _smaller(of_phases, links * prefill_batch / link_s)
    with np.errstate(divide="ignore"):
        return _smaller(of_phases, links * prefill_batch / link_s)


def _smaller(one: Quantity, other: Quantity) -> Quantity:
    if isinstance(one, float) and isinstance(other, float):
        return min(one, other)
    return np.minimum(one, other)


def _phase(
    measurement: Measurement, phase: PhaseMeasurement, batches: float, replicas: int, period_s: float | None
) -> PhaseMeasurement:
    """The phase of `batches` batches, on all replicas of its pool, which is taken for `period_s` where there is one."""
    busy_s = phase.occupied_s * batches
    taken_s = busy_s if period_s is None else max(period_s, busy_s / replicas)
    waiting_j = None
    if period_s is None:
        waiting_j = 0.0
    elif measurement.idle_w is not None:
        waiting_j = measurement.idle_w * (replicas * taken_s - busy_s)
    gates = () if measurement.evidence is None else measurement.evidence.gates
    return dataclasses.replace(
        phase,
        tokens=phase.tokens * batches,
        padded_tokens=phase.padded_tokens * batches,
        energy=None if waiting_j is None else _scaled(phase.energy, batches, waiting_j, gates),
        gpu_count=phase.gpu_count * replicas,
        occupied_s=taken_s,
        host_energy=_scaled(phase.host_energy, batches, 0.0, ()),
    )


def _scaled(energy: Energy | None, batches: float, waiting_j: float, gates: tuple[str, ...]) -> Energy | None:
    """The energy of `batches` batches and of the wait; what meters saw of one batch is no longer part of it."""
    if energy is None:
        return None
    return dataclasses.replace(
        energy,
        joules=energy.joules * batches + waiting_j,
        low_j=energy.low_j * batches + waiting_j,
        high_j=energy.high_j * batches + waiting_j,
        estimates=(),
        gates=tuple(dict.fromkeys((*energy.gates, *gates))),
    )


def _link_energy(kv_bytes: float, link: Link) -> Energy | None:
    """Of both ends; None where the link is free."""
    if link.energy_j_per_byte == 0:
        return None
    return Energy(
        joules=kv_bytes * link.energy_j_per_byte,
        low_j=kv_bytes * link.energy_low_j_per_byte,
        high_j=kv_bytes * link.energy_high_j_per_byte,
        source=f"link facts, {link.key}",
        semantics="energy per byte of both ends x bytes",
    )


def _basis(prefill: Basis, decode: Basis) -> Basis:
    """Measured only if both phases are."""
    return next(basis for basis in ("modelled", "rehearsed", "measured") if basis in (prefill, decode))


def _error_source(prefill: Measurement, decode: Measurement, link: Link) -> str:
    phases = {name: f"{m.basis}, {m.error_source}" for name, m in (("prefill", prefill), ("decode", decode))}
    parts = [f"{name}: {said}" for name, said in phases.items()]
    if len(set(phases.values())) == 1:
        parts = [f"both phases: {phases['prefill']}"]
    return "; ".join((*parts, f"hand-over: computed from the facts of {link.key}, not measured"))


def _require_same(prefill: Side, decode: Side) -> None:
    """Raises BadInput: a split is of one model, dtype, engine and workload."""
    for what in ("model", "dtype", "engine"):
        one, other = getattr(prefill.configuration, what), getattr(decode.configuration, what)
        if one != other:
            raise BadInput(f"a split has one {what} in both phases: prefill has {one}, decode has {other}")
    if prefill.workload != decode.workload:
        raise BadInput("a split has one workload in both phases: these two were found with different ones")
    lengths = prefill.measurement.output_tokens, decode.measurement.output_tokens
    if lengths[0] != lengths[1]:
        raise BadInput(f"a split has one output length in both phases: prefill has {lengths[0]}, decode {lengths[1]}")


def _largest(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _times(value: float | None, factor: int) -> float | None:
    return None if value is None else value * factor
