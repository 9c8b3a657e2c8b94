"""The ways to choose the next configuration, by name; what each can do; and Optuna's sampler behind it.

Nothing heavy is imported before a sampler is made, so the command line can list the names.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from carbonsweep.errors import BadInput

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from carbonsweep.search.space import Space

SamplerName = Literal["guided", "tpe", "nsga2", "gp", "random", "exhaustive"]
SAMPLERS: Final[tuple[SamplerName, ...]] = get_args(SamplerName)
PROPOSING: Final[tuple[SamplerName, ...]] = ("tpe", "nsga2", "gp")
"""Those of Optuna that propose configurations; of the others Optuna only keeps the record."""
AUTO: Final = "auto"
DEFAULT_TRIALS: Final = 256
"""Trials without --trials; a smaller space has fewer. Exhaustive without --trials has the whole space."""
CHANCE_LEFT: Final = 0.05
"""A guided search stops below this chance that something better than 1 % remains, unless told otherwise."""
GENERATIONS: Final = 5
"""NSGA-II draws its first generation at random, and Optuna's 50 would be all of a small budget: so many fit in one."""
MOST_OF_A_GENERATION: Final = 50
LEAST_OF_A_GENERATION: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a space is searched: `trials` configurations at most; a guided search stops below `chance_left`."""

    sampler: SamplerName
    trials: int
    seed: int
    chance_left: float = CHANCE_LEFT


def sampling(
    asked: str,
    *,
    size: int,
    trials: int | None,
    free: bool,
    seed: int,
    chance_left: float,
    rehearsed: bool = False,
) -> Sampling:
    """Of `asked`, auto or a name, for a space of `size` configurations; `free`: every trial is modelled.

    auto: exhaustive where trials are free and as many are allowed as the space is large, else model-guided. A rehearsal
    is for trying every machine, and what it measures is no GPU's, so nothing can guide it: exhaustive, or random where
    not all are allowed. Without `trials`: DEFAULT_TRIALS, exhaustive all; never more than there are.
    """
    whole = (free or rehearsed) and (trials or DEFAULT_TRIALS) >= size
    in_part: SamplerName = "random" if rehearsed else "guided"
    auto: SamplerName = "exhaustive" if whole else in_part
    sampler = next((name for name in SAMPLERS if name == asked), auto)
    default = size if sampler == "exhaustive" else DEFAULT_TRIALS
    return Sampling(sampler=sampler, trials=min(size, trials or default), seed=seed, chance_left=chance_left)


def require(asked: str, space: Space, trials: int | None) -> None:
    """Refuse what a sampler cannot do on this machine or in this space, rather than let it guess.

    Raises BadInput for an exhaustive search that is allowed fewer trials than there are configurations; for gp without
    torch; for gp and nsga2 where only some GPU kinds have a choice of an axis: Optuna learns the parameters that all
    trials share (`IntersectionSearchSpace`, 5.0) and draws the rest at random.
    """
    if asked == "exhaustive" and trials is not None and trials < space.size:
        raise BadInput(
            f"--sampler exhaustive tries all {space.size} configurations, and --trials allows {trials}: leave --trials "
            "out, or choose guided or random"
        )
    missing = [name for name in ("torch", "scipy") if importlib.util.find_spec(name) is None]
    if asked == "gp" and missing:
        raise BadInput(
            f"--sampler gp needs {' and '.join(missing)}, not installed here: pip install 'carbonsweep[measure]', "
            "or choose guided, tpe, nsga2 or random"
        )
    if asked in ("gp", "nsga2") and (axes := space.conditional_axes):
        raise BadInput(
            f"--sampler {asked} cannot search {' and '.join(axes)}, of which the GPU kinds of this space have "
            "different choices: choose guided, tpe or random, or name one --dtypes and one --engine"
        )


def optuna_sampler(sampler: SamplerName, *, trials: int, seed: int, startup_trials: int | None = None) -> BaseSampler:
    """The sampler a study is opened with, for a budget of `trials`.

    `startup_trials` random ones come first where tpe and gp propose; None: Optuna's default, 10. Those that do not
    propose get Optuna's random sampler, which is asked for nothing.
    """
    import optuna
    from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler

    first = 10 if startup_trials is None else startup_trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match sampler:
            case "tpe":
                return TPESampler(seed=seed, constant_liar=True, n_startup_trials=first)
            case "nsga2":
                return NSGAIISampler(seed=seed, population_size=generation(trials))
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=first)
            case _:
                return RandomSampler(seed=seed)


def generation(trials: int) -> int:
    """Trials of one generation of NSGA-II, where the budget is `trials`."""
    return max(LEAST_OF_A_GENERATION, min(MOST_OF_A_GENERATION, trials // GENERATIONS))
