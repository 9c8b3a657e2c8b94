"""Options of what turns joules and seconds into grams."""

from __future__ import annotations

import click

from carbonsweep.domain import EMBODIED_PRESETS
from carbonsweep.option_types import (
    FUNCTIONAL_UNITS,
    NOT_NEGATIVE,
    POSITIVE,
    PUE,
    SHARE,
    YEARS,
    Command,
    Number,
    RequestRate,
    applied,
)
from carbonsweep.second_life_option import second_life_option


def scenario_options(command: Command) -> Command:
    """What turns joules and seconds into grams; None means "as before" for re-pricing, else the default shown."""
    return applied(
        command,
        click.option(
            "--region", help="Grid: QC, CISO, PACE (the paper's), or an Electricity Maps zone such as DE or CA-QC."
        ),
        click.option(
            "--carbon-intensity-g-per-kwh", type=Number(NOT_NEGATIVE), metavar="G", help="Instead of a region."
        ),
        click.option(
            "--intensity-basis",
            type=click.Choice(["lifecycle", "direct"]),
            help="Of the region's intensity. [default: lifecycle]",
        ),
        click.option("--lifetime-years", type=Number(YEARS), metavar="Y", help="GPU lifetime. [default: 5]"),
        click.option("--pue", type=Number(PUE), metavar="X", help="Facility over IT energy. [default: 1]"),
        click.option(
            "--utilisation",
            type=Number(SHARE),
            metavar="U",
            help="Busy share of the GPU's life; with --request-rate the highest a replica may reach. [default: 1]",
        ),
        click.option(
            "--request-rate",
            type=RequestRate(),
            metavar="R",
            help="Prompts to serve: per second, or N/min, N/h, N/day. Each configuration runs as many replicas as that "
            "takes, and their idle time is charged. [default: none stated]",
        ),
        click.option(
            "--embodied",
            type=click.Choice(EMBODIED_PRESETS),
            help="Embodied carbon preset. [default: the first that knows every GPU]",
        ),
        click.option("--host-power-w", type=Number(NOT_NEGATIVE), metavar="W", help="Host power per GPU. [default: 0]"),
        click.option(
            "--host-embodied-kg",
            type=Number(NOT_NEGATIVE),
            metavar="KG",
            help="Host embodied carbon per GPU. [default: 0]",
        ),
        click.option(
            "--assume-power-w",
            type=Number(POSITIVE),
            metavar="W",
            help="Mean power per device where no meter exists; the price says 'assumed'.",
        ),
        click.option(
            "--functional-unit",
            type=click.Choice(FUNCTIONAL_UNITS),
            help="Of grams and joules. [default: 1k-output-tokens]",
        ),
        second_life_option,
    )
