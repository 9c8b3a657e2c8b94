"""Where the phases run best, for a person: lines of the answer, and the same as plain JSON values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from carbonsweep import in_turn_lines
from carbonsweep.amounts import data_size, digits, grams, joules, objective_value, seconds
from carbonsweep.answer import Candidate
from carbonsweep.bench.basis import basis_words
from carbonsweep.document import candidate_document
from carbonsweep.domain import Measurement
from carbonsweep.placement.answers import Placement, SplitCandidate, compared, saving
from carbonsweep.placement.why import difference_error, why
from carbonsweep.placement_option import KEY as KEY
from carbonsweep.search.objectives import LIMIT_NAMES
from carbonsweep.shares import percent, signed_percent

HARDLY: Final = 0.0005
"""A smaller share would be printed as 0.0 %."""


def around(placement: Placement | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`lines` to say before the best colocated configuration, and after it: it goes first where it is the answer."""
    said = tuple(lines(placement))
    return ((), said) if placement is not None and placement.best == "colocated" else (said, ())


def lines(placement: Placement | None) -> Iterator[str]:
    """The whole section: what is better and by how much, both placements, why, the bound, and by link and model.

    Nothing where no split was asked for.
    """
    if placement is None:
        return
    most = placement.sought.most_per_pool
    yield f"Placement: {verdict(placement)}."
    if placement.split is not None:
        yield from (f"  {line}" for line in _split_lines(placement.split, placement))
    elif placement.closest is not None:
        yield from (f"  {line}" for line in _closest_lines(placement.closest, placement))
    if placement.colocated is not None:
        yield f"  best colocated  {_colocated(placement.colocated, placement)}"
    reasons = why(placement)
    if reasons is not None:
        yield f"  why             {reasons.moves}."
        yield f"                  Of the colocated one's {_objective(placement)}: {reasons.sentence}."
    yield from (f"  {line}" for line in in_turn_lines.lines(placement))
    if placement.bound is not None:
        yield f"  bound           {_bound(placement.bound, placement)}"
    if len(placement.per_link) > 1:
        yield from (f"  over {each.link.key:<10} {_versus(each, placement)}" for each in placement.per_link)
    if len(placement.per_model) > 1:
        yield from (f"  {line}" for line in _model_lines(placement))
    links = ", ".join(link.key for link in placement.sought.links if link not in placement.unjoined) or "no link"
    yield (
        f"  Searched {placement.combinations:,} combinations: every pair of the phases' points over {links}, pools of "
        f"up to {most} replicas each; nothing was measured for it."
    )
    for link in placement.unjoined:
        kinds = ", ".join(link.gpus or ())
        yield f"  {link.key} joins no two of the GPUs compared, only equal ones of the kinds {kinds}."


def verdict(placement: Placement) -> str:
    """What is better, in a sentence without its full stop."""
    saves, split = placement.saves, placement.split
    if split is None:
        limits = placement.question.slo.limits()
        if placement.closest is None and len(placement.unjoined) == len(placement.sought.links):
            return "no split can be formed: none of these links joins two of the GPUs compared"
        if placement.closest is None:
            return "no split can be formed: no pair of phases fits its GPUs over these links"
        return f"no split meets {_limits(limits)}"
    if placement.colocated is None:
        return "a split is feasible, and no colocated configuration is"
    if saves is None:
        return "no split is better: the best colocated configuration costs nothing"
    if saves == 0:
        return "no split is better: the best one is as good as the best colocated configuration, and less simple"
    said = f"{_by(placement, saves)} the best colocated configuration{_beside_error(placement, saves)}"
    said += in_turn_lines.remark(placement)
    return f"a split is better: it {said}" if saves > 0 else f"no split is better: the best one {said}"


def _beside_error(placement: Placement, saves: float) -> str:
    """Whether the difference is larger than what is known of the phases that change."""
    error = difference_error(placement)
    if error is None:
        return ", with an error nobody knows"
    if error == 0:
        return ""
    return f", {'less than' if abs(saves) <= error else 'beyond'} the error of this difference, {percent(error)}"


def _limits(limits: dict[str, float]) -> str:
    return " and ".join(f"{LIMIT_NAMES[name]} {seconds(limit)}" for name, limit in limits.items()) or "every limit"


def _by(placement: Placement, saves: float) -> str:
    """ "saves 12 % against", "costs 3 % more than"; of throughput, per GPU."""
    if placement.question.objectives[0].name == "throughput":
        return f"gives {percent(abs(saves))} {'more' if saves > 0 else 'less'} of it per GPU than"
    return f"saves {percent(saves)} against" if saves > 0 else f"costs {percent(-saves)} more than"


def _objective(placement: Placement) -> str:
    names = {"carbon": "grams", "energy": "joules", "throughput": "GPU seconds per output token"}
    return names.get(placement.question.objectives[0].name, "seconds")


def _split_lines(split: SplitCandidate, placement: Placement) -> Iterator[str]:
    yield f"best split      {named(split)}"
    yield f"                {_amounts(split, placement)}"
    yield from _times(split)
    measured = split.measurement
    if split.handover.rate_per_s is not None:
        gpus = measured.prefill.gpu_count + measured.decode.gpu_count
        rate_per_s = split.handover.rate_per_s
        tokens_per_s = digits(rate_per_s * measured.output_tokens)
        yield (
            f"pools           {digits(rate_per_s)} prompts/s, {tokens_per_s} output tokens/s of all {gpus} GPUs; "
            f"busy: prefill {percent(_busy(split, 'prefill'))}, decode {percent(_busy(split, 'decode'))}"
        )
    said = f": {measured.error_source}" if placement.best == "split" else ""
    yield f"basis           {basis_words(measured.basis, (split.prefill.gpu, split.decode.gpu))}{said}"
    yield from (f"FAILED CHECK    {check}" for check in measured.failed_checks)


def _times(split: SplitCandidate) -> Iterator[str]:
    found, handed = split.measurement, split.handover
    transfer = found.transfer
    yield (
        f"TTFT            {seconds(found.ttft_s)}; TPOT {seconds(found.tpot_s)}; prompt latency "
        f"{seconds(found.prompt_latency_s)}"
    )
    cost = "" if transfer is None or transfer.energy is None else f", {joules(transfer.energy.joules)} on both ends"
    yield (
        f"hand-over       {data_size(handed.kv_bytes)} of KV cache per prefill batch over {split.link.key}: "
        f"{seconds(handed.transfer_s)}, {seconds(handed.hidden_s)} of it hidden{cost} a decode batch"
    )
    if handed.wait_s > 0:
        yield f"waiting         {seconds(handed.wait_s)} at most between the phases, since their batches differ"


def _busy(split: SplitCandidate, phase: str) -> float:
    """Share of the time a pool is taken that its GPUs work."""
    taken, busy = getattr(split.measurement, phase), getattr(split.busy, phase)
    return float(busy.occupied_s * busy.gpu_count / (taken.occupied_s * taken.gpu_count))


def _closest_lines(split: SplitCandidate, placement: Placement) -> Iterator[str]:
    missed = [
        f"{LIMIT_NAMES[name]} {seconds(getattr(split.measurement, name))}, {percent(excess)} above the limit"
        for name, excess in split.excess.items()
        if excess > 0
    ]
    yield f"closest split   {named(split)}"
    yield f"                misses {'; '.join(missed)}; {_amounts(split, placement)}"


def named(split: SplitCandidate) -> str:
    """Both sides, their pools and the link."""
    p, d = (1, 1) if split.pools is None else (split.pools.prefill, split.pools.decode)
    sides = [
        f"{phase} on {replicas * served.gpu_count}x {served.gpu}, batch {served.batch_size}"
        for phase, replicas, served in (("prefill", p, split.prefill), ("decode", d, split.decode))
    ]
    served = split.prefill
    return f"{served.model}, {'; '.join(sides)}; {served.dtype}, {served.engine}, over {split.link.key}"


def _amounts(split: SplitCandidate, placement: Placement) -> str:
    said = [_value(placement, split.values[0], split.measurement)]
    if split.footprint is not None and placement.question.objectives[0].name != "carbon":
        said.append(f"{grams(split.footprint.total_g)} CO2e")
    if split.footprint is not None:
        said.append(f"operational {grams(split.footprint.operational_g)}, embodied {grams(split.footprint.embodied_g)}")
    return "; ".join(said)


def _colocated(best: Candidate, placement: Placement) -> str:
    return f"{best.record.configuration}: {_value(placement, best.values[0], best.measurement)}"


def _value(placement: Placement, value: float, measurement: Measurement) -> str:
    """The first objective; throughput also per GPU, which is what is compared."""
    objective, said = placement.question.objectives[0], objective_value(placement.question, value)
    if objective.name != "throughput":
        return said
    return f"{said}, {-compared(objective, value, measurement):.4g} per GPU"


def _bound(bound: SplitCandidate, placement: Placement) -> str:
    """What perfect sharing would reach."""
    sides = f"prefill on {bound.prefill.gpu}, batch {bound.prefill.batch_size}; decode on {bound.decode.gpu}, batch "
    value = f"{objective_value(placement.question, bound.values[0])}, "
    if placement.question.objectives[0].name == "throughput":
        value = ""
    return (
        f"if GPUs that wait did other work: {value}{_versus(bound, placement)} ({sides}{bound.decode.batch_size}, over "
        f"{bound.link.key})"
    )


def _versus(split: SplitCandidate, placement: Placement, colocated: Candidate | None = None) -> str:
    """Against the best colocated one, or against `colocated`: the best of its model."""
    share = saving(colocated or placement.colocated, split, placement.question)
    if share is None:
        return "nothing colocated to compare with"
    best = "the best colocated" if colocated is None else "its best colocated"
    if share == 0:
        return f"the same as {best}"
    return f"under 0.1 % from {best}" if abs(share) < HARDLY else f"{signed_percent(-share)} against {best}"


def _model_lines(placement: Placement) -> Iterator[str]:
    for model, split in placement.per_model.items():
        versus = _versus(split, placement, placement.colocated_per_model.get(model))
        if model not in placement.colocated_per_model:
            versus = "no colocated configuration of it is feasible"
        yield f"{model}: {versus}: {named(split).removeprefix(f'{model}, ')}"


def document(placement: Placement | None) -> dict[str, Any] | None:
    """As plain JSON values, None where no split was asked for.

    `saves` are shares of the best colocated one's first objective, negative: it costs more.

    Throughput is compared per GPU. `why.changes` are shares of the colocated one's whole, by part.
    """
    if placement is None:
        return None
    question, reasons = placement.question, why(placement)
    return {
        "asked": placement.sought.choice,
        "links": [link.key for link in placement.sought.links],
        "most_per_pool": placement.sought.most_per_pool,
        "unjoined_links": [link.key for link in placement.unjoined],
        "combinations": placement.combinations,
        "best": placement.best,
        "verdict": verdict(placement),
        "saves": placement.saves,
        "saves_error": difference_error(placement),
        "compared_by": "throughput per GPU"
        if question.objectives[0].name == "throughput"
        else question.objectives[0].name,
        "best_split": _document(placement.split, placement),
        "best_colocated": None if placement.colocated is None else candidate_document(placement.colocated, question),
        "why": None if reasons is None else {**dataclasses.asdict(reasons), "sentence": reasons.sentence},
        "bound": _document(placement.bound, placement),
        "in_turn": _document(placement.best_in_turn, placement),
        "closest": _document(placement.closest, placement),
        "per_link": {each.link.key: _document(each, placement) for each in placement.per_link},
        "per_model": {
            model: _document(each, placement, placement.colocated_per_model.get(model))
            for model, each in placement.per_model.items()
        },
    }


def _document(
    split: SplitCandidate | None, placement: Placement, colocated: Candidate | None = None
) -> dict[str, Any] | None:
    if split is None:
        return None
    found, handed, question = split.measurement, split.handover, placement.question
    transfer = found.transfer
    return {
        "prefill": dataclasses.asdict(split.prefill),
        "decode": dataclasses.asdict(split.decode),
        "link": split.link.key,
        "pools": None if split.pools is None else dataclasses.asdict(split.pools),
        "saves": saving(colocated or placement.colocated, split, question),
        "objectives": {o.name: value for o, value in zip(question.objectives, split.values, strict=True)},
        "footprint": None if split.footprint is None else dataclasses.asdict(split.footprint),
        "ttft_s": found.ttft_s,
        "tpot_s": found.tpot_s,
        "prompt_latency_s": found.prompt_latency_s,
        "throughput": found.throughput,
        "rate_per_s": handed.rate_per_s,
        "handover": {
            "kv_bytes_per_prefill_batch": handed.kv_bytes,
            "transfer_s": handed.transfer_s,
            "hidden_s": handed.hidden_s,
            "wait_s": handed.wait_s,
            "exposed_s": handed.exposed_s,
            "energy_j_per_decode_batch": None
            if transfer is None or transfer.energy is None
            else transfer.energy.joules,
        },
        "slo": dict(split.excess),
        "basis": found.basis,
        "bench": found.bench,
        "error_source": found.error_source,
        "failed_checks": list(found.failed_checks),
    }
