"""The whole explanation of an answer, part by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbonsweep.answer import Answer, Candidate
from carbonsweep.domain import TrialRecord
from carbonsweep.explanation.binding import Binding, binding
from carbonsweep.explanation.choices import choice_sensitivities
from carbonsweep.explanation.grounds import Grounds, grounds
from carbonsweep.explanation.relaxations import Relaxations, relaxations
from carbonsweep.explanation.scenarios import scenario_sensitivities
from carbonsweep.explanation.sensitivity import Sensitivity, largest_first
from carbonsweep.explanation.shortfalls import over_a_limit, refused
from carbonsweep.results import Saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why `answer` is what it is, all by its first objective. Without a best there is nothing sensitive, nothing binds.

    `sensitivities` largest first; `over_a_limit` and `refused` closest first.
    """

    answer: Answer
    sensitivities: tuple[Sensitivity, ...]
    binding: Binding | None
    relaxations: Relaxations
    over_a_limit: tuple[Candidate, ...]
    refused: tuple[TrialRecord, ...]
    grounds: Grounds


def explanation(found: Answer, saved: Saved, attempts: Iterable[TrialRecord]) -> Explanation:
    """Of an answer over the records of `saved`; `attempts` as in `grounds`. Raises BadInput as that does."""
    return Explanation(
        answer=found,
        sensitivities=largest_first((*choice_sensitivities(found), *scenario_sensitivities(found))),
        binding=binding(found),
        relaxations=relaxations(found),
        over_a_limit=over_a_limit(found),
        refused=refused(found),
        grounds=grounds(found, saved, attempts),
    )
