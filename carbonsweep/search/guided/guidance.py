"""What guides a search before anything is measured: the device model's prediction, and how far off it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep import facts
from carbonsweep.bench.points import Axis, Points, Value, listed
from carbonsweep.bench.roofline import Prediction, predict_inputs
from carbonsweep.bench.roofline_inputs import Array, gathered
from carbonsweep.domain import Configuration, Measurement, Workload
from carbonsweep.facts.engines import Engine, engine, engine_names

OTHER_STACK: Final = "healthy"
"""The engine row that guides where the device model has none of the configuration's own engine."""
OTHER_STACK_ERROR: Final = 1.0
"""Another stack's row may be off by a factor 2 either way: what eager transformers and a serving stack differ by."""
STAND_IN_GPU: Final = "L4"
"""The row that stands in for a device without one: of the kinds that have every dtype, the one slowest in memory."""
STAND_IN_ERROR: Final = 9.0
"""Such a device may be ten times slower or faster: nothing but the shape of the workload is known of it."""
BYTES_ERROR: Final = 0.25
"""Of memory the model knows weights and cache exactly; activations, workspace and fragmentation it assumes."""
IDLE_ERROR: Final = 0.5
"""Idle power with a model loaded: many rows of gpus.toml estimate it, and clocks that do not fall add half of it."""
LEAST_ERROR: Final = 0.05
"""No device model is better than this at 95 %, whatever a row says of the few rows it was held against."""

_ENGINE_ERRORS: Final = ("prefill_time_error", "decode_time_error", "prefill_energy_error", "decode_energy_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """Arrays of shape (configurations,): seconds of a batch, watts over all GPUs, bytes per GPU, real prompt tokens.

    `available_bytes` is what may be used, spilling included. `supported` is False where the device model knows that the
    configuration cannot run; its other values then mean nothing. Errors are half-widths of the 95 % interval, relative
    to what is predicted (0.35: a factor 1.35 either way). `source` says, for a person, which rows predict and what
    those were fitted to. Raises ValueError where shapes differ, or a supported value is no finite number above 0.
    """

    prefill_s: Array
    decode_s: Array
    prefill_w: Array
    decode_w: Array
    idle_w: Array
    needed_bytes: Array
    available_bytes: Array
    prompt_tokens: Array
    supported: NDArray[np.bool_]
    prefill_s_error: Array
    decode_s_error: Array
    prefill_w_error: Array
    decode_w_error: Array
    idle_w_error: Array
    bytes_error: Array
    source: str

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name == "source":
                continue
            values = getattr(self, field.name)
            if values.shape != self.supported.shape or values.ndim != 1:
                raise ValueError(f"{field.name} has shape {values.shape}, supported {self.supported.shape}")
            if field.name != "supported" and not np.all((values > 0) & (values < np.inf), where=self.supported):
                raise ValueError(f"{field.name} holds a value that is no finite number above 0")

    def __len__(self) -> int:
        return len(self.prefill_s)


def part(guided: Guidance, where: NDArray[np.intp]) -> Guidance:
    """The guidance of some of the configurations, in the order of `where`."""
    arrays = {field.name: getattr(guided, field.name)[where] for field in fields(guided) if field.name != "source"}
    return replace(guided, **arrays)


def known_instead(guided: Guidance, measured: Mapping[int, Measurement]) -> Guidance:
    """The guidance with what was measured where it said that nothing could run: there the device model is no guide.

    Unknown power is given as idle power, or 1 W: whoever asks for energy has no value of such a record anyway.
    """
    strangers = {i: m for i, m in measured.items() if not guided.supported[i]}
    if not strangers:
        return guided
    arrays: dict[str, Any] = {f.name: np.array(getattr(guided, f.name)) for f in fields(guided) if f.name != "source"}
    for i, measurement in strangers.items():
        idle_w = measurement.idle_w or 1.0
        for name, phase in (("prefill", measurement.prefill), ("decode", measurement.decode)):
            arrays[f"{name}_s"][i] = phase.duration_s
            arrays[f"{name}_w"][i] = idle_w if phase.energy is None else phase.energy.joules / phase.duration_s
        arrays["idle_w"][i], arrays["prompt_tokens"][i] = idle_w, measurement.prefill.tokens
        arrays["needed_bytes"][i], arrays["available_bytes"][i] = 0.5, 1.0  # it fitted
        arrays["supported"][i] = True
        for name in (name for name in arrays if name.endswith("_error")):
            arrays[name][i] = LEAST_ERROR
    return replace(guided, **arrays)


def guidance(configurations: Sequence[Configuration], workload: Workload) -> Guidance:
    """From the device model: the row of a configuration's own engine, else `healthy`; a stand-in for no known GPU.

    Raises UnknownFact for a model no table has.
    """
    asked = listed(configurations)
    points = _known(asked)
    inputs = gathered(points, workload)
    predicted = predict_inputs(inputs)
    guided = predicted_guidance(
        predicted,
        **_engine_errors(points),
        source=_source(asked, points),
        available_bytes=predicted.available_bytes + inputs.spill_limit,
    )
    other = ~np.isin(_named(asked.engine), engine_names())
    unknown = _named(asked.gpu) != _named(points.gpu)
    return _broadened(guided, other, unknown)


def predicted_guidance(
    predicted: Prediction,
    *,
    prefill_time_error: Array | float,
    decode_time_error: Array | float,
    prefill_energy_error: Array | float,
    decode_energy_error: Array | float,
    source: str,
    available_bytes: Array | None = None,
) -> Guidance:
    """Of a prediction of any engine row, with that row's relative errors (`facts.engines.Engine`, same names).

    `available_bytes` is that of the prediction where none is given.
    """
    shape = predicted.prefill_s.shape

    def spread(error: Array | float) -> Array:
        return np.asarray(np.maximum(np.full(shape, error, dtype=float), LEAST_ERROR))

    def power_error(energy: Array | float, time: Array | float) -> Array:
        """Of a phase's joules and seconds the errors are stated; what the joules are off beyond them is the power."""
        return np.maximum(np.sqrt(np.maximum(spread(energy) ** 2 - spread(time) ** 2, 0.0)), LEAST_ERROR)

    return Guidance(
        prefill_s=predicted.prefill_s,
        decode_s=predicted.decode_s,
        prefill_w=predicted.prefill_w,
        decode_w=predicted.decode_w,
        idle_w=np.broadcast_to(predicted.idle_w, shape),
        needed_bytes=predicted.needed_bytes,
        available_bytes=predicted.available_bytes if available_bytes is None else available_bytes,
        prompt_tokens=np.broadcast_to(predicted.real_prompt_tokens, shape),
        supported=predicted.supported,
        prefill_s_error=spread(prefill_time_error),
        decode_s_error=spread(decode_time_error),
        prefill_w_error=power_error(prefill_energy_error, prefill_time_error),
        decode_w_error=power_error(decode_energy_error, decode_time_error),
        idle_w_error=spread(IDLE_ERROR),
        bytes_error=spread(BYTES_ERROR),
        source=source,
    )


def _known(points: Points) -> Points:
    """The same points with the rows that stand in for engines and GPUs the device model has none of."""
    return replace(
        points,
        gpu=_renamed(points.gpu, lambda name: name if name in facts.gpus() else STAND_IN_GPU),
        engine=_renamed(points.engine, lambda name: name if name in engine_names() else OTHER_STACK),
    )


def _renamed(axis: Axis[str], row: Callable[[str], str]) -> Axis[str]:
    return Axis(tuple(map(row, axis.values)), axis.index)


def _named(axis: Axis[Value]) -> NDArray[np.object_]:
    """The value of every point."""
    return np.array(axis.values, dtype=object)[axis.index]


def _engine_errors(points: Points) -> dict[str, Array]:
    """What each point's engine row says of its own errors on that GPU, by name."""
    rows = [[engine(name, gpu) for gpu in points.gpu.values] for name in points.engine.values]
    return {
        name: np.array([[getattr(row, name) for row in of_engine] for of_engine in rows])[
            points.engine.index, points.gpu.index
        ]
        for name in _ENGINE_ERRORS
    }


def _broadened(guided: Guidance, other: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> Guidance:
    """With further errors on top of the rows' own: of another stack's times, and of all that is said of a stand-in."""
    more = np.where(unknown, STAND_IN_ERROR, np.where(other, OTHER_STACK_ERROR, 0.0))
    broad = {name: np.hypot(getattr(guided, name), more) for name in ("prefill_s_error", "decode_s_error")}
    for name in ("prefill_w_error", "decode_w_error", "idle_w_error", "bytes_error"):
        broad[name] = np.where(unknown, STAND_IN_ERROR, getattr(guided, name))
    return replace(guided, **broad)


def _source(asked: Points, points: Points) -> str:
    """Which engine rows guide, what each was fitted to, and what has no row of its own."""
    rows = [engine(name, gpu) for name in sorted(set(points.engine.values)) for gpu in points.gpu.values[:1]]
    said = "; ".join(f"engine {row.key}: {_fitted_to(row)}" for row in rows)
    without = [name for name in asked.engine.values if name not in engine_names()]
    strangers = [name for name in asked.gpu.values if name not in facts.gpus()]
    if without:
        said += f"; no row of {', '.join(without)}: {OTHER_STACK} stands in"
    if strangers:
        said += f"; no row of {', '.join(strangers)}: {STAND_IN_GPU} stands in, a factor {STAND_IN_ERROR + 1:.0f} off"
    return said


def _fitted_to(row: Engine) -> str:
    """What a row is and was fitted to: its source, less where its priors are written down."""
    return row.source.split("; priors")[0]
