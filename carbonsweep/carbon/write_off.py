"""Second life of a GPU: the kilograms of its making that a scenario still charges, and the policy in words.

Accounting schemes do not agree on hardware that is used again. The making may be sunk (a decision about what runs
from now on cannot undo it: 0), written off in equal parts over a planned life (what is left is carried on), or charged
whole, as HotCarbon'24 does for its T4 of 2018. So the policy is stated per kind of device, and printed.
"""

from __future__ import annotations

from carbonsweep import facts
from carbonsweep.carbon.embodied import embodied_carbon
from carbonsweep.domain import Scenario
from carbonsweep.second_life import SecondLife
from carbonsweep.shares import percent
from carbonsweep.units import S_PER_YEAR


def share_left(device: str, scenario: Scenario) -> float:
    """Share of a device's embodied carbon its work is charged, 0 to 1: 1 unless the scenario names a second life.

    Raises UnknownFact for no device at all.
    """
    if not scenario.second_life:
        return 1.0
    name = facts.device_key(device)
    return next((one.share for one in scenario.second_life if facts.device_key(one.device) == name), 1.0)


def charged_kg(device: str, scenario: Scenario) -> float:
    """Kilograms of making one device that its work is charged: the preset's value times the share left.

    The host's share (`host_embodied_kg`) is not part of it: the host has no second life of its own here. Raises
    BadInput as `embodied_carbon`.
    """
    return embodied_carbon(device, scenario.embodied).kg * share_left(device, scenario)


def policy_words(one: SecondLife) -> str:
    """The policy of one kind of device, for a person: "T4 none (sunk)", "A100-40 40 % left (3 of 5 years old)"."""
    if one.age_s is None or one.first_lifetime_s is None:
        return f"{one.device} {'none (sunk)' if one.policy == 'none' else 'all'}"
    age, first = one.age_s / S_PER_YEAR, one.first_lifetime_s / S_PER_YEAR
    return f"{one.device} {percent(one.share)} left ({age:g} years old, planned for {first:g})"


def second_life_words(scenario: Scenario) -> str:
    """The policy of every device of a scenario in one line."""
    named = ", ".join(map(policy_words, scenario.second_life))
    return f"{named}; every other device all of its embodied carbon" if named else "of no device, all are charged whole"
