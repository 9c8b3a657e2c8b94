"""Searches through a ground truth, one trial after the other, no configuration twice: guided, random, Optuna's.

The baselines have their best form: batch sizes are an ordered number to them, a point asked again is told again and
costs no trial, and one outside the truth (a combination nobody ran) is told as refused and costs none either.
"""

from __future__ import annotations

import importlib.util
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler

from benchmarks.truths.truth import Truth
from carbonsweep.domain import Configuration, TrialRecord
from carbonsweep.search.counsel import Counsel
from carbonsweep.search.guided.guide import Guide
from carbonsweep.search.objectives import Question
from carbonsweep.search.standing import Standing

ATTEMPTS: Final = 20
"""Suggestions of known points taken from a sampler before an untried one is drawn at random, as in search.study."""
STOP_AT: Final = 0.05
"""Chance that something better than 1 % is left, below which a guided search may stop."""
POPULATION: Final = 10
"""NSGA-II's default of 50 would be random search over spaces of 42 to 65 points: the first generation is drawn."""


@dataclass(slots=True)
class Run:
    """What one search tried, in order, and the seconds it thought, its chance left included.

    Processor seconds of one thread: wall time of an idle core, whatever else this machine does.

    `stops` tells that the search knows when to stop; `stopped` is the number of trials after which it first would have:
    chance left below `STOP_AT`, and no GPU kind in doubt. None where it never did.
    """

    tried: list[Configuration] = field(default_factory=list)
    thought_s: float = 0.0
    stops: bool = False
    stopped: int | None = None


Search = Callable[[Truth, int, Callable[[Run], bool]], Run]
"""(truth, seed, whether to go on) -> what was done; it ends by itself where nothing is left."""


def guided(truth: Truth, seed: int, going: Callable[[Run], bool]) -> Run:
    """The model-guided search, with the guiding model of `truth`. Its chance left is asked for until it would stop."""
    run, records = Run(stops=True), dict[Configuration, TrialRecord]()
    start = time.process_time()
    guide = Guide(
        configurations=truth.configurations,
        workload=truth.workload,
        question=truth.question,
        seed=seed,
        guidance=truth.guiding.guidance,
    )
    counsel, ended = Counsel(guide, truth.question, STOP_AT), False
    while going(run) and len(records) < len(truth.configurations):
        configuration = guide.suggestion(records) if ended else counsel.next(standing(records), lambda _: True)
        assert configuration is not None, "something is left to try"
        records[configuration] = truth.records[configuration]
        run.tried.append(configuration)
        counsel.forget()
        ended = counsel.is_enough(standing(records))
        if ended and run.stopped is None:
            run.stopped = len(run.tried)
        run.thought_s += time.process_time() - start
        start = time.process_time()
    return run


def standing(records: dict[Configuration, TrialRecord]) -> Standing:
    """Where a search stands that has these records, and runs nothing."""
    return Standing(known=records, told=set(records))


def at_random(truth: Truth, seed: int, going: Callable[[Run], bool]) -> Run:
    """Every configuration once, in an order drawn by `seed`."""
    run = Run()
    for configuration in random.Random(seed).sample(truth.configurations, len(truth.configurations)):
        if not going(run):
            break
        run.tried.append(configuration)
    return run


def of_optuna(sampler: Callable[[int], BaseSampler]) -> Search:
    """A search by one of Optuna's samplers, made from a seed."""

    def search(truth: Truth, seed: int, going: Callable[[Run], bool]) -> Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _Study(truth, sampler(seed), seed).run(going)

    return search


SEARCHES: Final[Mapping[str, Search]] = {
    "guided": guided,
    "random": at_random,
    "TPE": of_optuna(lambda seed: TPESampler(seed=seed)),
    "TPE, 3 start-up trials": of_optuna(lambda seed: TPESampler(seed=seed, n_startup_trials=3)),
    "NSGA-II": of_optuna(lambda seed: NSGAIISampler(seed=seed, population_size=POPULATION)),
    **(
        {"GP": of_optuna(lambda seed: GPSampler(seed=seed, n_startup_trials=5))}
        if importlib.util.find_spec("torch")
        else {}
    ),
}
"""By name. GP, Optuna's own surrogate, is there where torch is: it knows nothing of the device model."""


class _Study:
    """One Optuna study over the configurations of a truth."""

    def __init__(self, truth: Truth, sampler: BaseSampler, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._truth, self._known = truth, frozenset(truth.configurations)
        self._batches = sorted({c.batch_size for c in truth.configurations})
        axes = {name: sorted({getattr(c, name) for c in truth.configurations}) for name in ("model", "gpu", "engine")}
        self._axes = {name: values for name, values in axes.items() if len(values) > 1}
        self._random = random.Random(seed)
        self._worst: dict[int, float] = {}
        self._study = optuna.create_study(
            sampler=sampler,
            directions=["maximize" if o.sign < 0 else "minimize" for o in truth.question.objectives],
        )

    def run(self, going: Callable[[Run], bool]) -> Run:
        """Ask and tell until `going` says no, or every configuration was tried."""
        run = Run()
        tried: set[Configuration] = set()
        while len(tried) < len(self._known) and going(run):
            start = time.process_time()
            configuration = self._next(tried)
            run.thought_s += time.process_time() - start
            tried.add(configuration)
            run.tried.append(configuration)
        return run

    def _next(self, tried: set[Configuration]) -> Configuration:
        for _ in range(ATTEMPTS):
            configuration = self._asked()
            if configuration in self._known and configuration not in tried:
                return configuration
        untried = [c for c in self._truth.configurations if c not in tried]
        self._study.enqueue_trial(self._params(self._random.choice(untried)))
        return self._asked()

    def _asked(self) -> Configuration:
        """The sampler's suggestion, told at once what comes of it."""
        asked = self._study.ask()
        chosen = {name: asked.suggest_categorical(name, values) for name, values in self._axes.items()}
        batch_size = self._batches[asked.suggest_int("batch_index", 0, len(self._batches) - 1)]
        first = self._truth.configurations[0]
        configuration = Configuration(
            model=chosen.get("model", first.model),
            gpu=chosen.get("gpu", first.gpu),
            gpu_count=first.gpu_count,
            batch_size=batch_size,
            dtype=first.dtype,
            engine=chosen.get("engine", first.engine),
        )
        record = self._truth.records.get(configuration)
        for name, violation in _constraints(record, self._truth.question).items():
            asked.set_constraint(name, violation)
        self._study.tell(asked, self._values(record))
        return configuration

    def _params(self, configuration: Configuration) -> dict[str, str | int]:
        chosen: dict[str, str | int] = {name: getattr(configuration, name) for name in self._axes}
        return {**chosen, "batch_index": self._batches.index(configuration.batch_size)}

    def _values(self, record: TrialRecord | None) -> Sequence[float]:
        """Of a measurement its own; of a refusal the worst so far, so that no surrogate chases an invented number."""
        asked = self._truth.question.objectives
        if record is None or record.measurement is None:
            return [self._worst.get(i, 0.0) for i in range(len(asked))]
        values = self._truth.question.values(record.measurement)
        for i, (objective, value) in enumerate(zip(asked, values, strict=True)):
            losses = [objective.sign * known for known in (value, self._worst.get(i, value))]
            self._worst[i] = objective.sign * max(losses)
        return values


def _constraints(record: TrialRecord | None, question: Question) -> dict[str, float]:
    """One value for every limit and one for refusals, above 0 where broken: always the same names."""
    if record is None or record.measurement is None:
        return {"refused": 1.0, **dict.fromkeys(question.slo.limits(), 1.0)}
    return {"refused": 0.0, **question.slo.excess(record.measurement)}


def until_found(truth: Truth) -> Callable[[Run], bool]:
    """Go on until a configuration within 1 % of the true optimum was tried."""
    found = truth.found
    return lambda run: not run.tried or run.tried[-1] not in found


def for_trials(trials: int) -> Callable[[Run], bool]:
    """Go on for so many trials."""
    return lambda run: len(run.tried) < trials
