"""The label by which a trial finds its GPU: Ray's own names are too coarse.

Ray calls RTX 6000 Ada and Quadro RTX 6000 alike (`ray._private.accelerators.nvidia_gpu`, 2.60).
"""

from __future__ import annotations

from typing import Final

GPU_LABEL: Final = "carbonsweep/gpu"
"""Of a node: the fact key of its GPUs, or one of the words below."""
NO_GPU: Final = "none"
UNKNOWN_GPU: Final = "unknown"
"""A GPU no fact table has, or several kinds in one node: no trial is placed there."""
