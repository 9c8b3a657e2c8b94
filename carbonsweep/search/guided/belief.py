"""What is believed of every configuration, once some of them are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonsweep.bench.points import listed
from carbonsweep.bench.roofline_inputs import Array
from carbonsweep.carbon.load import waits
from carbonsweep.domain import Configuration, TrialRecord, Workload
from carbonsweep.search.guided.correction import Correction, features
from carbonsweep.search.guided.guidance import Guidance, known_instead, part
from carbonsweep.search.guided.memory import memory
from carbonsweep.search.guided.observations import IN_95, monotone, observed
from carbonsweep.search.guided.outcomes import Outcomes, outcomes
from carbonsweep.search.guided.support import supported
from carbonsweep.search.objectives import Question

SCREENING_DRAWS: Final = 16
"""Draws by which candidates are screened: only means and spreads are taken of them."""

TIMES: Final = ("prefill_s", "decode_s")
FREEDOM: Final = 3
"""Degrees of freedom of the tails of a GPU kind that was not timed: a factor 3 is then within reach of a stated 2."""

UTMOST: Final = float(np.log(1e6))
"""No correction is larger than this: the tails of a device nobody knows would leave the range of numbers."""

Known = Mapping[int, TrialRecord]


class Candidates:
    """The configurations of a search, as arrays, and what is asked of them."""

    def __init__(
        self, configurations: Sequence[Configuration], workload: Workload, question: Question, guidance: Guidance
    ) -> None:
        if len(guidance) != len(configurations):
            raise ValueError(f"guidance of {len(guidance)} configurations, of which there are {len(configurations)}")
        self.configurations = tuple(configurations)
        self.index = {configuration: i for i, configuration in enumerate(self.configurations)}
        self.workload, self.question, self.guidance = workload, question, guidance
        self.points = listed(self.configurations)
        self.rows = features(self.points)
        self.group = np.unique(self.rows[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)

    def __len__(self) -> int:
        return len(self.configurations)

    def outputs(self) -> tuple[str, ...]:
        """What of the guidance must be corrected to answer the question."""
        if not any(objective.needs_energy for objective in self.question.objectives):
            return TIMES
        return (*TIMES, "prefill_w", "decode_w", *(("idle_w",) if waits(self.question.scenario) else ()))


class Belief:
    """The posterior after `known`, outcomes by index of configuration."""

    def __init__(self, candidates: Candidates, known: Known) -> None:
        self._of, self._known = candidates, known
        measured = {i: r.measurement for i, r in known.items() if r.measurement is not None}
        # Of what it said could not run, the device model said nothing that could be off.
        comparable = {i: m for i, m in measured.items() if candidates.guidance.supported[i]}
        self._guidance = guidance = known_instead(candidates.guidance, measured)
        assumed_w = candidates.question.scenario.assumed_power_w
        told = {output: observed(output, guidance, comparable, assumed_w) for output in candidates.outputs()}
        errors = {output: np.log1p(getattr(guidance, f"{output}_error")) / IN_95 for output in told}
        batch = candidates.rows[:, -1]
        self._bounds = {output: monotone(output, guidance, candidates.group, batch, comparable) for output in told}
        self._correction = Correction(candidates.rows, errors, told)
        self._memory = memory(candidates.rows, candidates.group, guidance, known)
        self._measured = np.array(list(measured), dtype=np.intp)
        self.untimed = np.ones(len(candidates.points.gpu.values), dtype=bool)
        """Of each GPU kind, whether nothing was measured on it."""
        self.untimed[candidates.points.gpu.index[self._measured]] = False

    def joint(self, where: NDArray[np.intp], count: int, seed: int) -> Outcomes:
        """Joint draws of outcomes at `where`; equal seeds draw alike, whatever is known."""
        random = np.random.default_rng(seed)
        log_ratios = self._correction.draws(where, count, random)
        surprise = self._surprise(where, count, random)
        for output in TIMES:
            mean = log_ratios[output].mean(axis=0)
            log_ratios[output] = mean + (log_ratios[output] - mean) * surprise
        runs = self._memory.fits(where, count, random) & self._runs(where, count, random)
        return self._outcomes(where, log_ratios, runs)

    def marginal(self, where: NDArray[np.intp], seed: int) -> tuple[Outcomes, Array]:
        """A few draws of each place by itself, and its chance to run; cheap enough for a million places."""
        random = np.random.default_rng(seed)
        log_ratios = {}
        surprise = np.where(self.untimed[self._of.points.gpu.index[where]], np.sqrt(FREEDOM / (FREEDOM - 2)), 1.0)
        # The same scores for every place: what differs between places is then their mean and spread alone.
        for output, (mean, deviation) in self._correction.marginals(where).items():
            wide = deviation * surprise if output in TIMES else deviation
            log_ratios[output] = mean + wide * random.standard_normal((SCREENING_DRAWS, 1))
        return self._as_if_all_ran(where, log_ratios), self.chances(where, random)

    def chances(self, where: NDArray[np.intp], random: np.random.Generator) -> Array:
        """Chance of each place by itself to run, (len(where),)."""
        fits = self._memory.chances(where, random)
        return np.asarray(fits * self._runs(where, SCREENING_DRAWS, random).mean(axis=0))

    def expected(self, where: NDArray[np.intp], faster: Sequence[float]) -> Outcomes:
        """The means, a draw for each of `faster`: in both phases so many times as fast as believed; as if all ran."""
        log_ratios = {
            output: np.stack([mean - np.log(speed if output in TIMES else 1.0) for speed in faster])
            for output, (mean, _) in self._correction.marginals(where).items()
        }
        return self._as_if_all_ran(where, log_ratios)

    def _as_if_all_ran(self, where: NDArray[np.intp], log_ratios: Mapping[str, Array]) -> Outcomes:
        return self._outcomes(where, log_ratios, np.ones((1, len(where)), dtype=bool))

    def _surprise(self, where: NDArray[np.intp], count: int, random: np.random.Generator) -> Array:
        """What multiplies the errors of times in each draw, (count, len(where)): Student's tails where none was timed.

        A device model that is right on seven GPU kinds may be three times off on the eighth (its clocks, its kernels),
        in both phases at once. One measurement on a kind ends that doubt. Power cannot surprise so: it ends at the TDP.
        """
        drawn = np.sqrt(FREEDOM / random.chisquare(FREEDOM, (count, len(self.untimed))))
        return np.asarray(np.where(self.untimed, drawn, 1.0)[:, self._of.points.gpu.index[where]])

    def _runs(self, where: NDArray[np.intp], count: int, random: np.random.Generator) -> NDArray[np.bool_]:
        refused = [i for i, r in self._known.items() if r.refusal is not None and r.refusal.kind == "unsupported"]
        return supported(self._of.points, where, refused, self._measured.tolist(), count, random)

    def _outcomes(self, where: NDArray[np.intp], log_ratios: Mapping[str, Array], runs: NDArray[np.bool_]) -> Outcomes:
        bounded = {
            output: np.clip(np.clip(drawn, -UTMOST, UTMOST), *(bound[where] for bound in self._bounds[output]))
            for output, drawn in log_ratios.items()
        }
        return outcomes(
            self._of.points.part(where),
            part(self._guidance, where),
            bounded,
            runs,
            workload=self._of.workload,
            question=self._of.question,
        )
