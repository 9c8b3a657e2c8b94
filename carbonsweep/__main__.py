"""`carbonsweep COMMAND`: the same commands as `python -m carbonsweep.COMMAND`, loaded when one is called."""

from __future__ import annotations

import importlib
from typing import Final

import click

from carbonsweep import options

COMMANDS: Final = {
    "tune": "Find the best configuration by trials through Ray Tune and Optuna.",
    "measure": "Measure configurations on this machine, without Ray, and print the evidence.",
    "plan": "The exact best configuration over the modelled space, without Ray.",
    "price": "Price a sweep's records under another scenario.",
    "compare": "Two configurations of a sweep, and where they swap: intensity, lifetime, embodied carbon.",
    "explain": "Why a sweep's answer is what it is: sensitivities, what binds, the cheapest relaxation.",
    "calibrate": "Fit the device model to rows of measurements, with its errors out of sample.",
    "report": "Write a sweep's answer as one HTML page.",
}


class _OnDemand(click.Group):
    """Imports a command's module when it is called, so that `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        loaded = importlib.import_module(f"carbonsweep.{cmd_name}").command
        return loaded if isinstance(loaded, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_OnDemand, epilog="Example: carbonsweep tune --objective carbon --region QC")
@click.version_option(package_name="carbonsweep")
def command() -> None:
    """Which GPU, model and batch size serves tokens with the least total carbon, where, and how sure the answer is."""


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="carbonsweep")


if __name__ == "__main__":
    main()
