"""`--placement`, `--link` and `--most-per-pool`: where the phases may run, from what a user typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import click

from carbonsweep.errors import BadInput
from carbonsweep.option_types import Command, Words, applied

if TYPE_CHECKING:
    from carbonsweep.placement.answers import Choice, Sought
    from carbonsweep.results import Saved

KEY: Final = "placement"
"""Where answer.json holds it."""
CHOICES: Final = ("colocated", "split", "any")
DEFAULT_LINKS: Final = ("100GbE",)
ALL_LINKS: Final = "all"
MOST_PER_POOL: Final = 4
LARGEST_POOL: Final = 64


def split_options(command: Command) -> Command:
    """Where the phases may run; None means "as before" for re-pricing, else the default shown."""
    return applied(
        command,
        click.option(
            "--placement",
            type=click.Choice(CHOICES),
            help="Both phases on the same GPUs, each on its own, or whichever is better: composed of what is known, "
            "nothing is measured for it. [default: colocated]",
        ),
        click.option(
            "--link",
            type=Words(),
            help="Links the KV cache may be handed over: PCIe4, 25GbE, 100GbE, NVLink4, ..., or all. "
            f"[default: {','.join(DEFAULT_LINKS)}]",
        ),
        click.option(
            "--most-per-pool",
            type=click.IntRange(1, LARGEST_POOL),
            metavar="N",
            help=f"Replicas that prefill, or decode, at most. [default: {MOST_PER_POOL}]",
        ),
    )


def sought(given: Mapping[str, Any], answered: Mapping[str, Any] | None = None) -> Sought | None:
    """What `given` asks for (those of `split_options`), else what an answer.json was asked for; None: colocated.

    Raises UnknownFact for a link, BadInput where a link or a pool is given and no split is asked for, or the answer
    cannot be read.
    """
    before = _stated(answered or {})
    choice: Choice = given.get("placement") or before.get("asked") or "colocated"
    named = [option for option in ("link", "most_per_pool") if given.get(option) is not None]
    if choice == "colocated":
        if named:
            options = " and ".join(f"--{option.replace('_', '-')}" for option in named)
            raise BadInput(f"{options} is about splits: ask for them with --placement split or any")
        return None
    from carbonsweep.placement.answers import Sought

    return Sought(
        choice=choice,
        links=_links(given.get("link") or before.get("links") or DEFAULT_LINKS),
        most_per_pool=given.get("most_per_pool") or before.get("most_per_pool") or MOST_PER_POOL,
    )


def asked_of(saved: Saved, given: dict[str, Any]) -> Saved:
    """The same answer, asked for the placement that was `given`, if one was; its options are taken out of `given`."""
    own = {name: given.pop(name) for name in ("placement", "link", "most_per_pool")}
    asked = sought(own, saved.document)
    section = asked and {
        "asked": asked.choice,
        "links": [link.key for link in asked.links],
        "most_per_pool": asked.most_per_pool,
    }
    return dataclasses.replace(saved, document={**saved.document, KEY: section})


def _stated(answered: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, of the section of an answer; nothing where it has none. Raises BadInput."""
    import msgspec

    section = answered.get(KEY)
    if section is None:
        return {}
    types: dict[str, Any] = {
        "asked": Literal["split", "any"],
        "links": Annotated[tuple[str, ...], msgspec.Meta(min_length=1)],
        "most_per_pool": Annotated[int, msgspec.Meta(ge=1, le=LARGEST_POOL)],
    }
    try:
        return {name: msgspec.convert(section[name], of_type) for name, of_type in types.items()}
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise BadInput(f"the section {KEY!r} of the answer cannot be read: {error!r}") from error


def _links(names: Iterable[str]) -> tuple[Any, ...]:
    from carbonsweep import facts

    listed = tuple(names)
    named = tuple(dict.fromkeys(facts.link(name) for name in listed if name.casefold() != ALL_LINKS))
    return tuple(facts.links().values()) if ALL_LINKS in {name.casefold() for name in listed} else named
