"""The device model: prefill and decode time, memory, power and energy of any configuration, over arrays.

Roofline time per phase, hidden behind or showing the host's launch time; power as a phase floor that grows with
compute utilisation and KV traffic, scaled by how long the GPU is busy. The equations are those of serving-model
literature (roofline: Williams et al., CACM 2009; padded batches and eager attention counted as they are computed);
engine parameters and their sources are in `facts/engines.toml`. Memory is a limit, never a slower time.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Points, listed
from carbonsweep.bench.roofline_inputs import Array, Inputs, gathered
from carbonsweep.bench.roofline_power import power_w
from carbonsweep.bench.roofline_time import all_reduce_s, gpu_s, host_beside_s, host_s, smooth_maximum, spilled_s
from carbonsweep.domain import (
    BenchIdentity,
    Configuration,
    Energy,
    Measurement,
    PhaseMeasurement,
    Workload,
)
from carbonsweep.errors import DoesNotFit, Unsupported
from carbonsweep.facts.engines import engine

Phases = Literal["both", "prefill", "decode"]
"""Which phases a GPU runs: one that only prefills keeps no output, one that only decodes has no prefill activations."""
BOTH: Final[Phases] = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Arrays of shape (configurations,): seconds, watts over all GPUs, bytes per GPU.

    `supported` is False where the GPU lacks the dtype, the longest prompt and its output exceed the model's context, or
    its heads cannot be shared evenly: times and powers then mean nothing. Where `fits` is False they are those of the
    same GPU with more memory, so neither may reach an answer.
    """

    supported: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    needed_bytes: Array
    available_bytes: Array
    prefill_s: Array
    decode_s: Array
    prefill_w: Array
    decode_w: Array
    idle_w: Array
    real_prompt_tokens: Array
    padded_prompt_tokens: Array
    decode_tokens: Array


def predict(configurations: Sequence[Configuration], workload: Workload) -> Prediction:
    """Predict every configuration at once.

    Raises UnknownFact for a GPU, model or engine that no table has.
    """
    return predict_points(listed(configurations), workload)


def predict_points(points: Points, workload: Workload, phases: Phases = BOTH) -> Prediction:
    """The same for configurations given as points, which may be millions; on GPUs that run only `phases`.

    Of one phase alone, memory is what that phase needs, and the other phase's time and power mean nothing.
    """
    return _predict(gathered(points, workload), phases)


def predict_inputs(inputs: Inputs) -> Prediction:
    """The same for facts gathered already, in any shapes that broadcast together."""
    return _predict(inputs)


@dataclass(frozen=True, slots=True)
class RooflineBench:
    """The device model behind the bench seam: one configuration, as a `Measurement` marked modelled.

    With `phases` it is that of GPUs that run one phase alone, and the other phase of what it finds means nothing.
    """

    name: str = "roofline"
    phases: Phases = BOTH

    def identity(self, configuration: Configuration) -> BenchIdentity:
        """The rows it computes from are part of it: a changed fact or parameter makes new records."""
        row = engine(configuration.engine, configuration.gpu)
        return BenchIdentity(
            bench=self.name,
            basis="modelled",
            engine_version=row.key,
            weights="none",
            calibration=f"{row.version}, facts {_facts_digest(configuration.gpu, configuration.model, row.key)}",
            power_protocol="modelled",
            device=configuration.gpu,
        )

    def measure(self, configuration: Configuration, workload: Workload) -> Measurement:
        """Predict `configuration`.

        Raises Unsupported (dtype, context or heads; see `Prediction`), DoesNotFit (bytes), and as `predict`.
        """
        if configuration.gpu.casefold() == facts.CPU.casefold():
            raise Unsupported("the device model knows GPUs only; a CPU can be measured (--bench transformers)")
        predicted = predict_points(listed([configuration]), workload, self.phases)
        if not predicted.supported[0]:
            raise Unsupported(_why_unsupported(configuration, workload))
        if not predicted.fits[0]:
            raise DoesNotFit(float(predicted.needed_bytes[0]), float(predicted.available_bytes[0]))
        return _measurement(configuration, workload, predicted)


def _why_unsupported(configuration: Configuration, workload: Workload) -> str:
    """The first reason, of the three that `_supported` knows."""
    dtypes = facts.gpu(configuration.gpu).peak_flop_per_s
    model = facts.language_model(configuration.model)
    longest = max(workload.prompt_tokens)
    if configuration.dtype not in dtypes:
        return f"{configuration.gpu} has no {configuration.dtype} arithmetic (valid: {', '.join(dtypes)})"
    if longest + workload.output_tokens > model.context_tokens:
        return (
            f"a prompt of {longest} tokens and {workload.output_tokens} output tokens exceed "
            f"the context of {model.key}, {model.context_tokens} tokens"
        )
    return f"{model.key} has {model.heads} attention heads, which {configuration.gpu_count} GPUs cannot share evenly"


@functools.cache
def _facts_digest(gpu: str, model: str, engine_name: str) -> str:
    rows = (facts.gpu(gpu), facts.language_model(model), engine(engine_name, gpu))
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:8]


def _measurement(configuration: Configuration, workload: Workload, predicted: Prediction) -> Measurement:
    row = engine(configuration.engine, configuration.gpu)

    def phase(
        tokens: Array, padded_tokens: Array, duration: Array, power: Array, time_error: float, energy_error: float
    ) -> PhaseMeasurement:
        duration_s = float(duration[0])
        joules = float(power[0]) * duration_s
        return PhaseMeasurement(
            tokens=float(tokens[0]),
            padded_tokens=float(padded_tokens[0]),
            duration_s=duration_s,
            duration_low_s=duration_s * max(0.0, 1 - time_error),
            duration_high_s=duration_s * (1 + time_error),
            repeats=0,
            energy=Energy(
                joules=joules,
                low_j=joules * max(0.0, 1 - energy_error),
                high_j=joules * (1 + energy_error),
                source=f"device model, engine {row.key} {row.version}",
                semantics="modelled board power x modelled time",
            ),
            gpu=configuration.gpu,
            gpu_count=configuration.gpu_count,
            occupied_s=duration_s,
        )

    return Measurement(
        prefill=phase(
            predicted.real_prompt_tokens,
            predicted.padded_prompt_tokens,
            predicted.prefill_s,
            predicted.prefill_w,
            row.prefill_time_error,
            row.prefill_energy_error,
        ),
        decode=phase(
            predicted.decode_tokens,
            predicted.decode_tokens,
            predicted.decode_s,
            predicted.decode_w,
            row.decode_time_error,
            row.decode_energy_error,
        ),
        batch_size=configuration.batch_size,
        output_tokens=workload.output_tokens,
        peak_memory_bytes=float(predicted.needed_bytes[0]),
        idle_w=float(predicted.idle_w[0]),
        bench="roofline",
        basis="modelled",
        error_source=row.error_source,
    )


def _predict(x: Inputs, phases: Phases = BOTH) -> Prediction:
    # Bytes on each GPU. Tensor parallelism shares out whole heads, so beyond one key-value head a GPU it repeats them.
    kv_bytes = x.kv_values_per_token * x.bytes_per_value / np.minimum(x.count, x.kv_heads)
    stored_parameters = x.block_parameters * x.weight_bytes_factor + x.head_parameters
    streamed_weight_bytes = stored_parameters * x.bytes_per_value / x.count
    context = x.padded_prompt + x.output_tokens / 2  # mean over the decode steps
    steps = x.output_tokens - 1
    rows = x.batch * x.padded_prompt

    # Prefill: embeddings are looked up, not multiplied; the head works once per sequence.
    prefill_flop = (
        2 * x.block_parameters * rows
        + 2 * x.head_parameters * x.batch
        + x.attention_flop_factor * x.layers * x.attention_width * rows * x.padded_prompt
    )
    prefill_gpu_s = gpu_s(x, prefill_flop, streamed_weight_bytes + rows * kv_bytes, rows)
    needed_bytes, prefill_bytes = _needed_bytes(x, kv_bytes, phases)
    available_bytes = x.memory * x.memory_share
    spill_s = spilled_s(x, prefill_bytes - available_bytes)
    prefill_s = smooth_maximum(host_s(x), prefill_gpu_s) + spill_s + all_reduce_s(x, rows)

    # Decode: one row per sequence and step, attending to its whole padded context.
    decode_flop = (
        2 * (x.block_parameters + x.head_parameters) * x.batch + 4 * x.layers * x.attention_width * x.batch * context
    )
    kv_traffic = x.kv_traffic_factor * x.batch * context * kv_bytes
    kv_reads = kv_traffic * (x.heads / x.kv_heads) ** x.kv_group_exponent
    decode_gpu_s = gpu_s(x, decode_flop, streamed_weight_bytes + kv_reads, x.batch)
    sequence_s = x.layers * x.sequence_s_per_layer
    pass_s = smooth_maximum(host_beside_s(x, x.free_sequences * sequence_s), decode_gpu_s)
    # A caching allocator does not wait for the last token: decode lacks what the full context lacks.
    spill_s = spilled_s(x, needed_bytes - available_bytes)
    step_s = pass_s + x.batch * sequence_s + spill_s + all_reduce_s(x, x.batch)

    prefill_w = power_w(x, x.prefill_power_floor, prefill_flop, 0.0, prefill_gpu_s, prefill_gpu_s / prefill_s, 0.0)
    decode_w = power_w(
        x,
        x.decode_power_floor,
        decode_flop,
        kv_traffic / (streamed_weight_bytes + kv_traffic),
        decode_gpu_s,
        decode_gpu_s / step_s,
        x.sequence_busy * np.maximum(x.batch - x.free_sequences, 0) * sequence_s / step_s,
    )
    return Prediction(
        supported=_supported(x),
        fits=needed_bytes <= available_bytes + x.spill_limit,
        needed_bytes=needed_bytes,
        available_bytes=available_bytes,
        prefill_s=prefill_s,
        decode_s=step_s * steps,
        prefill_w=prefill_w,
        decode_w=decode_w,
        idle_w=x.idle_w * x.count,
        real_prompt_tokens=x.batch * x.prompt,
        padded_prompt_tokens=rows,
        decode_tokens=x.batch * steps,
    )


def _supported(x: Inputs) -> NDArray[np.bool_]:
    has_dtype = np.isfinite(x.flop_per_s)
    within_context = np.less_equal(x.longest_prompt + x.output_tokens, x.context_tokens)
    return has_dtype & within_context & np.equal(x.heads % x.count, 0)


def _needed_bytes(x: Inputs, kv_bytes: Array, phases: Phases) -> tuple[Array, Array]:
    """Bytes per GPU for `phases`, and for prefill alone: weights, the engine's reserve, KV cache, prefill activations.

    The cache is that of the full context, of prefill alone that of the prompts; decode alone has no such activations.
    """
    stored_parameters = x.parameters - x.block_parameters * (1 - x.weight_bytes_factor)
    weights = stored_parameters * x.bytes_per_value / x.count
    cache = x.batch * (x.padded_prompt + x.output_tokens) * kv_bytes
    activations = x.batch * x.padded_prompt * x.hidden * x.activation_bytes
    needed = weights + cache + activations + x.memory_reserve
    prefill = needed - x.batch * x.output_tokens * kv_bytes
    if phases == BOTH:
        return needed, prefill
    return prefill if phases == "prefill" else needed - activations, prefill
