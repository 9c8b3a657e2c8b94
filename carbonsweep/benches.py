"""Which bench answers a request, on which devices; and whether it can know what is asked."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Final

from carbonsweep import facts
from carbonsweep.bench import Bench
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.nvml import present_gpus
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.facts.engines import engine
from carbonsweep.inputs import DEFAULT_GPUS, modelled_engines
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import Space

MEASURED_ENGINE: Final = "transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A bench with the axes it answers for, and the sentence that says so before anything runs."""

    bench: Bench
    gpus: tuple[str, ...]
    dtypes: tuple[str, ...]
    engines: tuple[str, ...]
    statement: str


def choose(
    asked: str,
    *,
    weights: str,
    gpus: tuple[str, ...] | None,
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None,
    effort: Effort | None = None,
) -> Chosen:
    """The bench for `--bench` ("auto", "roofline", "transformers").

    Auto measures where this machine has a GPU and models where it has none, and never falls back: a GPU without torch,
    or a kind that is not here, is BadInput. Raises UnknownFact for an engine the bench has not.
    """
    present = () if asked == "roofline" else _present_kinds()
    if asked == "roofline" or (asked == "auto" and not present):
        if weights != "auto":
            raise BadInput(f"--weights {weights} is for measuring (--bench transformers): a model needs none")
        return modelled(gpus, dtypes, engines, nothing_here=asked == "auto")
    return _measured(present, weights, gpus, dtypes, engines, effort or Effort())


def require_energy(bench: Bench, space: Space, question: Question) -> None:
    """Refuse an objective that needs joules where no meter will read any. Raises EnergyUnknown."""
    needing = [objective.name for objective in question.objectives if objective.needs_energy]
    priced = any(objective.needs_intensity for objective in question.objectives)
    blind = sorted({c.gpu for c in space.configurations() if bench.identity(c).power_protocol == "none"})
    if blind and priced and question.scenario.utilisation < 1:
        raise EnergyUnknown(
            f"--utilisation {question.scenario.utilisation:g} charges idle energy, and no meter reads idle power of "
            f"{', '.join(blind)}: leave it at 1, or model (--bench roofline)"
        )
    if not needing or question.scenario.assumed_power_w is not None:
        return
    if blind:
        raise EnergyUnknown(
            f"--objective {','.join(needing)} needs joules, and no meter reads those of {', '.join(blind)}: measure on "
            "a GPU with an energy counter, model it (--bench roofline), state a mean power with --assume-power-w W, or "
            "ask for latency, ttft, tpot or throughput"
        )


def weights(bench: Bench, space: Space) -> list[str]:
    """ "MODEL: where its weights come from" for each model a bench measures; nothing for a bench that only models."""
    first = {c.model: bench.identity(c) for c in reversed(list(space.configurations()))}
    return [f"{model}: {i.weights}" for model, i in sorted(first.items()) if i.basis == "measured"]


def modelled(
    gpus: tuple[str, ...] | None,
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None,
    *,
    nothing_here: bool = False,
) -> Chosen:
    """The device model with its defaults. Raises BadInput for the CPU, UnknownFact for a GPU or engine."""
    kinds = tuple(gpus or DEFAULT_GPUS)
    kinds = tuple(facts.device_key(kind) for kind in kinds)
    if facts.CPU in kinds:
        raise BadInput("the device model knows GPUs only: measure the CPU with --bench transformers")
    keys = modelled_engines(engines)
    named = ", ".join(f"{key} ({engine(key, kinds[0]).version})" for key in keys)
    why = " This machine has no GPU to measure." if nothing_here else ""
    return Chosen(
        bench=RooflineBench(),
        gpus=kinds,
        dtypes=dtypes or ("fp16",),
        engines=keys,
        statement=f"Modelled, not measured: device model (roofline) of {', '.join(kinds)}, engine {named}.{why}",
    )


def _measured(
    present: tuple[str, ...],
    weights: str,
    gpus: tuple[str, ...] | None,
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None,
    effort: Effort,
) -> Chosen:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        raise BadInput(
            "measuring needs torch and transformers: pip install 'carbonsweep[measure]', or model instead with "
            "--bench roofline"
        )
    for name in engines or ():
        if name.casefold() != MEASURED_ENGINE:
            raise UnknownFact("engine of the transformers bench", name, [MEASURED_ENGINE])
    if len(present) > 1:
        # Ray hands out any free GPU of a machine: a trial for one kind could run on the other.
        raise BadInput(f"this machine has {' and '.join(present)}: show one kind at a time with CUDA_VISIBLE_DEVICES")
    kinds = _present(gpus, present)
    only_cpu = kinds == (facts.CPU,)
    bench = TransformersBench(weights=weights, effort=effort)
    return Chosen(
        bench=bench,
        gpus=kinds,
        dtypes=dtypes or (("fp32",) if only_cpu else ("fp16",)),
        engines=(MEASURED_ENGINE,),
        statement=f"Measured on this machine: transformers bench on {', '.join(kinds)}.",
    )


def _present(gpus: tuple[str, ...] | None, present: tuple[str, ...]) -> tuple[str, ...]:
    """The asked kinds, each of which must be here; unasked, the GPUs that are, or else the CPU."""
    if gpus is None:
        return present or (facts.CPU,)
    kinds = tuple(dict.fromkeys(facts.device_key(name) for name in gpus))
    missing = [kind for kind in kinds if kind not in (*present, facts.CPU)]
    if missing:
        here = ", ".join((*present, facts.CPU))
        raise BadInput(f"cannot measure {', '.join(missing)}: this machine has {here}; model it with --bench roofline")
    return kinds


def _present_kinds() -> tuple[str, ...]:
    """GPU kinds of this machine. Raises BadInput for a GPU no fact row knows: it could not be priced."""
    found = present_gpus()
    sliced = [gpu.product_name for gpu in found if gpu.mig]
    if sliced:
        raise BadInput(
            f"this machine's {', '.join(sorted(set(sliced)))} is cut into MIG slices, and a slice has no energy "
            "counter of its own: turn MIG off, leave it out with CUDA_VISIBLE_DEVICES, or model with --bench roofline"
        )
    unknown = [gpu.product_name for gpu in found if gpu.kind is None]
    if unknown:
        raise BadInput(
            f"this machine's GPU {', '.join(sorted(set(unknown)))} is in no fact table "
            f"(known: {', '.join(facts.gpus())}): leave it out with CUDA_VISIBLE_DEVICES, or model with --bench "
            "roofline"
        )
    return tuple(dict.fromkeys(gpu.kind for gpu in found if gpu.kind is not None))
