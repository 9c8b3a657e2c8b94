"""The engines that are fitted, and the fit of each: of its own rows, or of changes to the engine it is built on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.calibration.cases import Cases, Values, cases, predicted
from carbonsweep.calibration.fit import Fitted, Parameters, as_engine, fitted, solved
from carbonsweep.calibration.observations import Observation
from carbonsweep.calibration.priors import Family, Prior, family
from carbonsweep.errors import BadInput
from carbonsweep.facts import gpu as gpu_row

Weights = Callable[[Observation], float]
"""How often an observation counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """An engine of the device model: the observed engines it is fitted to, and its family of priors.

    A stack with `base` is that stack with a few things changed: its family's values multiply, or come on top of, those
    of the base. `small_batch` is the largest batch the fit sees where larger ones are predicted; `instead` replaces
    priors of the family, to see what they decide.
    """

    name: str
    engines: tuple[str, ...]
    family_name: str
    what: str
    small_batch: int
    base: str | None = None
    instead: tuple[Prior, ...] = ()

    @property
    def family(self) -> Family:
        known = family(self.family_name)
        return replace(known, priors={**known.priors, **{prior.name: prior for prior in self.instead}})

    def mine(self, each: Observation) -> bool:
        """Whether the stack is fitted to this row itself, not through its base."""
        return each.origin.engine in self.engines


TRANSFORMERS: Final = Stack(
    name="transformers",
    engines=("transformers",),
    family_name="eager",
    what="Hugging Face transformers in fp16, run eagerly",
    small_batch=8,
)
_GPTQ = "GPTQ weights of 4 bits under transformers, {} kernels"
STACKS: Final = (
    TRANSFORMERS,
    Stack(
        name="transformers-gptq",
        engines=("transformers-gptq",),
        family_name="quantised",
        what=_GPTQ.format("exllama"),
        small_batch=8,
        base="transformers",
    ),
    Stack(
        name="transformers-gptq-v2",
        engines=("transformers-gptq-v2",),
        family_name="quantised",
        what=_GPTQ.format("exllamav2"),
        small_batch=8,
        base="transformers",
    ),
    Stack(name="vllm", engines=("vllm",), family_name="serving", what="vLLM in fp16", small_batch=16),
    Stack(
        name="tensorrt-llm",
        engines=("tensorrt-llm",),
        family_name="serving",
        what="TensorRT-LLM in fp16",
        small_batch=16,
    ),
    Stack(
        name="deepspeed-mii",
        engines=("deepspeed-mii",),
        family_name="serving",
        what="DeepSpeed-MII in fp16",
        small_batch=16,
    ),
    Stack(
        name="healthy",
        engines=("vllm", "tensorrt-llm", "deepspeed-mii"),
        family_name="serving",
        what="a serving stack that keeps the GPU busy: vLLM, TensorRT-LLM and DeepSpeed-MII pooled",
        small_batch=16,
    ),
)


def stack(name: str) -> Stack:
    """The stack called `name`. Raises BadInput naming all."""
    for each in STACKS:
        if each.name == name:
            return each
    raise BadInput(f"no stack {name!r} is calibrated here (valid: {', '.join(each.name for each in STACKS)})")


def fit_of(
    what: Stack, observations: Sequence[Observation], start: Fitted | None = None, weight: Weights | None = None
) -> Fitted:
    """`what`, fitted to those of `observations` that are its own (and its base to those of the base).

    Raises BadInput where there are none.
    """
    rows = cases([each for each in observations if what.mine(each)])
    if not len(rows):
        raise BadInput(f"no rows of {' or '.join(what.engines)}: {what.name} cannot be fitted")
    weights = None if weight is None else _weights(rows, weight)
    if what.base is None:
        return fitted(rows, what.family, start, weights)
    return _on_base(rows, what.family, fit_of(stack(what.base), observations, None, weight), weights)


def _weights(rows: Cases, weight: Weights) -> Array:
    import numpy as np

    return np.array([weight(each) for each in rows.observations])


def _on_base(rows: Cases, family_of: Family, base: Fitted, weights: Array | None) -> Fitted:
    def says(rows: Cases, found: Parameters) -> Values:
        return predicted(rows, lambda gpu: as_engine(changed(base.on(gpu), found)))

    priors = tuple(family_of.priors.values())
    found, scores = solved(rows, priors, family_of.fixed, weights=weights, says=says)
    return Fitted(
        general=changed(base.general, found),
        own={gpu: changed(base.on(gpu), found) for gpu in rows.gpus},
        scores=dict(zip((prior.name for prior in priors), scores, strict=True)),
    )


MULTIPLIED: Final = ("host_s_per_layer", "compute_efficiency")


def changed(base: Parameters, found: Parameters) -> Parameters:
    """`base` with `found`: what the base has is multiplied by it, the rest is added to it."""
    return {**base, **{name: value * base[name] if name in MULTIPLIED else value for name, value in found.items()}}


def modelled(fit: Fitted, rows: Cases) -> Values:
    """What `fit` says of `rows`: each GPU under its own row where it has one."""
    return predicted(rows, lambda gpu: as_engine(fit.on(gpu)))


def by_model(each: Observation) -> str:
    """The group that is held out together: every checkpoint whose blocks have one shape, on every GPU.

    Under whatever name: a checkpoint of other weights, vocabulary or library has seen the matrices of its sisters.
    """
    of = each.model
    gated = " gated" if of.gated else ""
    return (
        f"blocks of {of.layers} layers, {of.hidden} wide, {of.heads} heads of {of.head_dim}, {of.kv_heads:g} of them "
        f"with keys and values, {of.mlp}{gated}"
    )


def by_gpu(each: Observation) -> str:
    """The group that is held out together: all rows of one die, which boards of several kinds may carry."""
    row = gpu_row(each.origin.gpu)
    return f"{row.architecture} boards of {row.die_mm2:g} mm2"
