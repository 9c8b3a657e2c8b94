"""Observations as arrays, and what the device model says of them: its own equations, on inputs built here.

Paged servers do not refuse a batch beyond memory: they run it in waves of the largest batch that fits. Static batches
have no waves; rows of such engines were run, so memory never decides about them here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.roofline import Prediction, predict_inputs
from carbonsweep.bench.roofline_inputs import Array, Inputs, engine_inputs
from carbonsweep.calibration.observations import Observation, Origin
from carbonsweep.domain import DTYPE_BYTES, Dtype
from carbonsweep.facts import gpu as gpu_row
from carbonsweep.facts.engines import Engine

DTYPE: Final[Dtype] = "fp16"
PAGED: Final = frozenset({"vllm", "tensorrt-llm", "deepspeed-mii", "healthy"})

QUANTITIES: Final = ("prefill_s", "tpot_s", "power_w", "energy_per_token_j")
"""What is compared: prefill time, time and energy per output token, mean power (`Observation` says over what)."""

Values = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Observations with what they were run on; arrays of shape (observations,), NaN where a source states nothing.

    `facts` are the fields of `Inputs` that no engine decides.
    """

    observations: tuple[Observation, ...]
    gpus: tuple[str, ...]
    gpu: NDArray[np.intp]
    facts: Mapping[str, Array]
    phases_apart: NDArray[np.bool_]
    decode_power: NDArray[np.bool_]
    paged: NDArray[np.bool_]
    measured: Values

    def __len__(self) -> int:
        return len(self.observations)

    def where(self, keep: Callable[[Observation], bool]) -> Cases:
        """Only the observations that `keep` keeps."""
        return cases([each for each in self.observations if keep(each)])


def cases(observations: Sequence[Observation]) -> Cases:
    """The arrays of `observations`. Raises UnknownFact for a GPU that no table has."""
    origins = [each.origin for each in observations]
    gpus = tuple(sorted({origin.gpu for origin in origins}))
    return Cases(
        observations=tuple(observations),
        gpus=gpus,
        gpu=np.array([gpus.index(origin.gpu) for origin in origins], dtype=np.intp),
        facts={**_run_inputs(origins), **_gpu_inputs(origins), **_model_inputs(observations)},
        phases_apart=np.array([each.whole_s is None for each in observations], dtype=bool),
        decode_power=np.array([each.power_span == "decode" for each in observations], dtype=bool),
        paged=np.array([origin.engine in PAGED for origin in origins], dtype=bool),
        measured={name: _known(getattr(each, name) for each in observations) for name in QUANTITIES},
    )


def _known(values: Iterable[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _run_inputs(origins: Sequence[Origin]) -> dict[str, Array]:
    batch = np.array([float(origin.batch_size) for origin in origins])
    prompt = np.array([float(origin.prompt_tokens) for origin in origins])
    return {
        "output_tokens": np.array([float(origin.output_tokens) for origin in origins]),
        "longest_prompt": prompt,
        "batch": batch,
        "count": np.ones_like(batch),
        "prompt": prompt,
        "padded_prompt": prompt,
        "bytes_per_value": np.full_like(batch, DTYPE_BYTES[DTYPE]),
    }


def _gpu_inputs(origins: Sequence[Origin]) -> dict[str, Array]:
    rows = [gpu_row(origin.gpu) for origin in origins]
    return {
        "flop_per_s": np.array([row.peak_flop_per_s[DTYPE] for row in rows]),
        "bandwidth": np.array([row.memory_bandwidth_bytes_per_s for row in rows]),
        "memory": np.array([row.memory_bytes for row in rows]),
        "tdp_w": np.array([row.tdp_w for row in rows]),
        "idle_w": np.array([row.idle_w for row in rows]),
        "link": np.array([row.link_bytes_per_s for row in rows]),
    }


def _model_inputs(observations: Sequence[Observation]) -> dict[str, Array]:
    def of(value: Callable[[Observation], float]) -> Array:
        return np.array([float(value(each)) for each in observations])

    return {
        "layers": of(lambda each: each.model.layers),
        "host_layers": of(lambda each: each.model.host_layers(each.origin.attention)),
        "hidden": of(lambda each: each.model.hidden),
        "attention_width": of(lambda each: each.model.heads * each.model.head_dim),
        "heads": of(lambda each: each.model.heads),
        "kv_heads": of(lambda each: each.model.kv_heads),
        "context_tokens": of(lambda each: each.model.context_tokens),
        "block_parameters": of(lambda each: each.model.block_parameters),
        "head_parameters": of(lambda each: each.model.head_parameters),
        "parameters": of(lambda each: each.model.parameters),
        "kv_values_per_token": of(lambda each: each.model.kv_values_per_token),
    }


def predicted(rows: Cases, engine_on: Callable[[str], Engine]) -> Values:
    """What the device model says of each quantity, under the engine row that `engine_on` has for a GPU."""
    by_gpu = [engine_inputs(engine_on(gpu), gpu_row(gpu), DTYPE) for gpu in rows.gpus]
    fields = {name: np.array([row[name] for row in by_gpu])[rows.gpu] for name in by_gpu[0]}
    inputs = Inputs(**rows.facts, **fields)
    return _of_waves(rows, inputs) if rows.paged.any() else _quantities(rows, predict_inputs(inputs))


def _quantities(rows: Cases, found: Prediction, waves: Prediction | None = None, full: Array | float = 1.0) -> Values:
    """Of `full` equal runs, and of one more where `waves` is given."""
    seconds, joules = _whole(found)
    seconds, joules = full * seconds, full * joules
    if waves is not None:
        rest_s, rest_j = _whole(waves)
        seconds, joules = seconds + rest_s, joules + rest_j
    output = rows.facts["output_tokens"]
    step_s = found.decode_s / (output - 1)
    tpot_s = np.where(rows.phases_apart, step_s, seconds / output)
    power_w = np.where(rows.decode_power, found.decode_w, joules / seconds)
    span_s = np.where(rows.decode_power, step_s, seconds / output)
    energy = power_w * span_s / rows.facts["batch"]
    return {"prefill_s": found.prefill_s, "tpot_s": tpot_s, "power_w": power_w, "energy_per_token_j": energy}


def _whole(found: Prediction) -> tuple[Array, Array]:
    joules = found.prefill_w * found.prefill_s + found.decode_w * found.decode_s
    return found.prefill_s + found.decode_s, joules


def _of_waves(rows: Cases, inputs: Inputs) -> Values:
    """A batch beyond memory as full waves of the largest that fits, and one of what is left."""
    one = predict_inputs(replace(inputs, batch=np.ones_like(inputs.batch)))
    two = predict_inputs(replace(inputs, batch=np.full_like(inputs.batch, 2.0)))
    of_sequence = two.needed_bytes - one.needed_bytes
    largest = np.floor((one.available_bytes - one.needed_bytes) / of_sequence) + 1
    beyond = rows.paged & (inputs.batch > largest) & (largest >= 1)
    full = np.where(beyond, np.floor(inputs.batch / np.maximum(largest, 1)), 1.0)
    rest = np.where(beyond, inputs.batch - full * largest, 0.0)
    wave = predict_inputs(replace(inputs, batch=np.where(beyond, largest, inputs.batch)))
    last = predict_inputs(replace(inputs, batch=np.maximum(rest, 1.0)))
    some = rest > 0
    last = replace(last, prefill_s=np.where(some, last.prefill_s, 0.0), decode_s=np.where(some, last.decode_s, 0.0))
    return _quantities(rows, wave, last, full)
