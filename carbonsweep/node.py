"""`python -m carbonsweep.node`: the label by which a cluster knows this machine's GPU kind.

Ray's own detection gives RTX 6000 Ada and Quadro RTX 6000 one name and looks at the first GPU only, so trials are
placed by our own label. Imports no Ray: a node asks before Ray runs there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from carbonsweep import options
from carbonsweep.cluster.labels import GPU_LABEL, NO_GPU, UNKNOWN_GPU

if TYPE_CHECKING:
    from carbonsweep.bench.power.nvml import PresentGpu


def kind_of(present: Sequence[PresentGpu]) -> tuple[str, str | None]:
    """The label's value for a machine with these GPUs, and what to do where that is UNKNOWN_GPU.

    Ray gives a node one value per label and hands out GPUs by number, so a node's GPUs are of one kind.
    """
    if not present:
        return NO_GPU, None
    split = [gpu.uuid for gpu in present if gpu.mig]
    if split:
        return UNKNOWN_GPU, f"MIG is on ({', '.join(split)}), and slices share one energy counter: nvidia-smi -mig 0"
    strangers = sorted({gpu.product_name for gpu in present if gpu.kind is None})
    if strangers:
        return UNKNOWN_GPU, f"no fact row (carbonsweep/facts/gpus.toml) names {', '.join(strangers)}: add one"
    kinds = sorted({gpu.kind for gpu in present if gpu.kind is not None})
    if len(kinds) > 1:
        of_one = ",".join(gpu.uuid for gpu in present if gpu.kind == kinds[0])
        return UNKNOWN_GPU, (
            f"it has several kinds ({', '.join(kinds)}), and a node's are of one: show `ray start` those of one kind, "
            f"CUDA_VISIBLE_DEVICES={of_one}"
        )
    return kinds[0], None


@click.command(
    epilog="""\b
Examples:
  python -m carbonsweep.node                                       carbonsweep/gpu=T4
  ray start --address=HEAD:6379 --labels="$(python -m carbonsweep.node)"
  CUDA_VISIBLE_DEVICES=GPU-4ab... python -m carbonsweep.node       only what Ray will use
"""
)
def command() -> None:
    """Print the label for `ray start --labels` that says which GPU kind this machine has, as NVML shows it.

    carbonsweep/gpu=KIND; =none without a GPU or a driver; =unknown, and why on stderr, where there is no telling one
    kind: that node joins, and no trial is placed on its GPUs. Ray counts the GPUs itself, by the same NVML and
    CUDA_VISIBLE_DEVICES.
    """
    from carbonsweep.bench.power.nvml import present_gpus
    from carbonsweep.errors import BenchFailed

    try:
        kind, remedy = kind_of(present_gpus())
    except BenchFailed as error:
        kind, remedy = UNKNOWN_GPU, str(error)
    if remedy is not None:
        click.echo(f"carbonsweep: no trial will be placed on this node's GPUs: {remedy}", err=True)
    click.echo(f"{GPU_LABEL}={kind}")


def main() -> None:
    """Console entry: run and exit."""
    options.run(command, name="python -m carbonsweep.node")


if __name__ == "__main__":
    main()
