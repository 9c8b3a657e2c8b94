"""Which bench answers a request, on which devices; and whether it can know what is asked."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Final

from carbonsweep import facts
from carbonsweep.bench import Bench
from carbonsweep.bench.basis import basis_words
from carbonsweep.bench.per_kind import PerKind
from carbonsweep.bench.phases import Effort
from carbonsweep.bench.power.nvml import present_gpus
from carbonsweep.bench.roofline import RooflineBench
from carbonsweep.bench.transformers import TransformersBench
from carbonsweep.carbon.load import load_words, waits
from carbonsweep.errors import BadInput, EnergyUnknown, UnknownFact
from carbonsweep.facts.engines import engine
from carbonsweep.inputs import DEFAULT_GPUS, DEFAULT_MODELS, modelled_engines
from carbonsweep.search.objectives import Question
from carbonsweep.search.space import KindChoices, Space, space

MEASURED_ENGINE: Final = "transformers"


THIS_MACHINE: Final = "this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A bench with the axes it answers for, and the sentence that says so before anything runs.

    `of_kind` holds the GPU kinds that are not tried with everything on the axes (see `Space`).
    """

    bench: Bench
    gpus: tuple[str, ...]
    dtypes: tuple[str, ...]
    engines: tuple[str, ...]
    statement: str
    of_kind: tuple[KindChoices, ...] = ()

    def space(
        self, *, models: tuple[str, ...] | None, gpu_counts: tuple[int, ...], batch_sizes: tuple[int, ...]
    ) -> Space:
        """These axes with those that are asked for; None: the default models. Raises as `search.space.space`."""
        return space(
            models=models or DEFAULT_MODELS,
            gpus=self.gpus,
            gpu_counts=gpu_counts,
            batch_sizes=batch_sizes,
            dtypes=self.dtypes,
            engines=self.engines,
            of_kind=self.of_kind,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where trials run: GPU kinds there, the words for it ("the cluster at HOST:PORT (5 nodes)"), and if it is here."""

    present: tuple[str, ...]
    name: str
    here: bool


def choose(
    asked: str,
    *,
    weights: str,
    gpus: tuple[str, ...] | None,
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None,
    effort: Effort | None = None,
    model_missing: bool = False,
    rehearse: bool = False,
    present: tuple[str, ...] | None = None,
    where: str = THIS_MACHINE,
) -> Chosen:
    """The bench for `--bench` ("auto", "roofline", "transformers").

    `present` are the GPU kinds of a cluster's nodes, called `where`; None looks at this machine. Auto measures where a
    GPU is and models where there is none at all, and never falls back: a GPU without torch, or a kind that is not
    there, is BadInput, unless `model_missing` says to model those kinds. Raises UnknownFact for an engine the bench has
    not.
    """
    if model_missing and asked != "auto":
        raise BadInput(f"--model-missing is for --bench auto, not for {asked}: that one does the same for every kind")
    if asked == "roofline":
        _refuse_for_a_model(weights, rehearse)
        return modelled(gpus, dtypes, engines)
    if present is None:
        site = Site(present=_present_kinds(), name=THIS_MACHINE, here=True)
    else:
        site = Site(present=_each_once(present), name=where, here=False)
    if asked == "auto" and not site.present:
        _refuse_for_a_model(weights, rehearse)
        return modelled(gpus, dtypes, engines, because=f" {_capital(site.name)} has no GPU to measure.")
    kinds = _asked_kinds(gpus, site, rehearse)
    missing = tuple(kind for kind in kinds if kind not in (*site.present, facts.CPU))
    if missing and not model_missing:
        raise BadInput(_cannot_measure(missing, asked, site))
    there = tuple(kind for kind in kinds if kind not in missing)
    if not there:
        _refuse_for_a_model(weights, rehearse)
        return modelled(missing, dtypes, engines, because=f" {_capital(site.name)} has no such GPU to measure.")
    bench = TransformersBench(weights=weights, effort=effort or Effort(), rehearse=rehearse, elsewhere=not site.here)
    found = _measured(bench, there, dtypes, None if missing else engines, site)
    # Beside measured kinds, the others are modelled under the stack that is measured, unless another is asked for.
    return _mixed(found, modelled(missing, dtypes, engines or (MEASURED_ENGINE,))) if missing else found


def require_energy(bench: Bench, space: Space, question: Question) -> None:
    """Refuse an objective that needs joules where no meter will read any. Raises EnergyUnknown."""
    needing = [objective.name for objective in question.objectives if objective.needs_energy]
    blind = sorted({c.gpu for c in space.configurations() if bench.identity(c).power_protocol == "none"})
    if blind and needing and waits(question.scenario):
        raise EnergyUnknown(
            f"{load_words(question.scenario)}: that charges idle energy, and no meter reads idle power of "
            f"{', '.join(blind)}: leave --utilisation at 1 and state no --request-rate, or model (--bench roofline)"
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
    known = ((c.model, bench.identity(c)) for c in reversed(list(space.configurations())))
    first = {model: identity for model, identity in known if identity.basis != "modelled"}
    return [f"{model}: {identity.weights}" for model, identity in sorted(first.items())]


def modelled(
    gpus: tuple[str, ...] | None,
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None,
    *,
    because: str = "",
) -> Chosen:
    """The device model with its defaults; `because` is appended to what it says.

    Raises BadInput for the CPU, UnknownFact for a GPU or engine.
    """
    kinds = tuple(gpus or DEFAULT_GPUS)
    kinds = tuple(facts.device_key(kind) for kind in kinds)
    if facts.CPU in kinds:
        raise BadInput("the device model knows GPUs only: measure the CPU with --bench transformers")
    keys = modelled_engines(engines)
    named = ", ".join(f"{key} ({engine(key, kinds[0]).version})" for key in keys)
    return Chosen(
        bench=RooflineBench(),
        gpus=kinds,
        dtypes=dtypes or ("fp16",),
        engines=keys,
        statement=f"Modelled, not measured: device model (roofline) of {', '.join(kinds)}, engine {named}.{because}",
    )


def _refuse_for_a_model(weights: str, rehearse: bool) -> None:
    if weights != "auto":
        raise BadInput(f"--weights {weights} is for measuring (--bench transformers): a model needs none")
    if rehearse:
        raise BadInput("--rehearse asks for GPUs and reads their meters, and here nothing would be measured")


def _measured(
    bench: TransformersBench,
    kinds: tuple[str, ...],
    dtypes: tuple[str, ...] | None,
    engines: tuple[str, ...] | None,
    site: Site,
) -> Chosen:
    """The transformers bench on kinds that are there, on a GPU in fp16 and on a CPU in fp32 unless asked otherwise."""
    if site.here:
        _require_this_machine(site.present)
    for name in engines or ():
        if name.casefold() != MEASURED_ENGINE:
            raise UnknownFact("engine of the transformers bench", name, [MEASURED_ENGINE])
    usual = {kind: dtypes or (("fp32",) if kind == facts.CPU else ("fp16",)) for kind in kinds}
    of_kind = tuple(
        KindChoices(gpu=kind, dtypes=choices, engines=(MEASURED_ENGINE,)) for kind, choices in usual.items()
    )
    named = ", ".join(kinds)
    said = f"Measured on {site.name}: transformers bench on {named}."
    if bench.rehearse:
        said = f"{_capital(basis_words('rehearsed', kinds))}: transformers bench on {site.name}."
    return Chosen(
        bench=bench,
        gpus=kinds,
        dtypes=_each_once(*usual.values()),
        engines=(MEASURED_ENGINE,),
        statement=said,
        of_kind=of_kind if len(set(usual.values())) > 1 else (),
    )


def _require_this_machine(present: tuple[str, ...]) -> None:
    """Raises BadInput where this machine cannot measure."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        raise BadInput(
            "measuring needs torch and transformers: pip install 'carbonsweep[measure]', or model instead with "
            "--bench roofline"
        )
    if len(present) > 1:
        # Without a label for each kind, Ray hands out any free GPU: a trial for one kind could run on the other.
        raise BadInput(f"this machine has {' and '.join(present)}: show one kind at a time with CUDA_VISIBLE_DEVICES")


def _mixed(first: Chosen, second: Chosen) -> Chosen:
    """One sweep over the kinds of both, each with its own bench, dtypes and engines."""
    of_kind = [
        KindChoices(gpu=gpu, dtypes=each.dtypes, engines=each.engines) for each in (first, second) for gpu in each.gpus
    ]
    narrower = {each.gpu: each for each in (*first.of_kind, *second.of_kind)}
    return Chosen(
        bench=PerKind(benches=tuple((gpu, each.bench) for each in (first, second) for gpu in each.gpus)),
        gpus=(*first.gpus, *second.gpus),
        dtypes=_each_once(first.dtypes, second.dtypes),
        engines=_each_once(first.engines, second.engines),
        statement=f"{first.statement} {second.statement}",
        of_kind=tuple(narrower.get(each.gpu, each) for each in of_kind),
    )


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _each_once(*choices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in choices for name in each))


def _asked_kinds(gpus: tuple[str, ...] | None, site: Site, rehearse: bool) -> tuple[str, ...]:
    """The asked kinds; unasked, the GPUs that are there, or else the CPU. Raises BadInput for a rehearsal of that."""
    kinds = site.present or (facts.CPU,)
    if gpus is not None:
        kinds = _each_once(tuple(facts.device_key(name) for name in gpus))
    if rehearse and facts.CPU in kinds:
        there = ", ".join(site.present) or "none"
        raise BadInput(
            f"--rehearse asks for GPU kinds and works on the CPU in their place: name one with --gpus, not CPU "
            f"(GPUs of {site.name}: {there})"
        )
    return kinds


def _cannot_measure(missing: tuple[str, ...], asked: str, site: Site) -> str:
    remedy = "model it with --model-missing" if asked == "auto" else "model it with --bench auto --model-missing"
    there = ", ".join((*site.present, facts.CPU))
    return (
        f"cannot measure {', '.join(missing)}: {site.name} has {there}; {remedy}, or everything with --bench roofline"
    )


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
