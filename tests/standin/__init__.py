"""A stand-in for NVIDIA's driver library, compiled from C, under the real bindings (nvidia-ml-py).

Its power follows a known waveform and its counter is that waveform's exact integral, so what a meter makes of it can
be compared with the truth. In a test, import the fixture and ask for it by its name:

    from tests.standin import Standin, StandinGpu, Waveform, standin_fixture as standin_fixture

    def test_it(standin):                       # or: with acting(Standin(...)) as running
        gpu = StandinGpu(waveform=Waveform.steps((0, 60), (1, 300)), refresh_s=0.1)
        running = standin(Standin(gpus=(gpu,), clock="manual"))
        running.set_time_s(1.5)
        truth_j = gpu.waveform.energy_j(0, 1.5)

For another process, add `environment(folder, Standin(...))` to its environment before it starts.
"""

from tests.standin.library import Running, acting, build, environment, library, standin_fixture
from tests.standin.machine import (
    ADA,
    AMPERE,
    HOPPER,
    SCRIPT_VARIABLE,
    TURING,
    VOLTA,
    Standin,
    StandinGpu,
    rtx_6000_ada,
    t4,
)
from tests.standin.waveform import Constant, Decay, Ramp, Square, Waveform

__all__ = [
    "ADA",
    "AMPERE",
    "HOPPER",
    "SCRIPT_VARIABLE",
    "TURING",
    "VOLTA",
    "Constant",
    "Decay",
    "Ramp",
    "Running",
    "Square",
    "Standin",
    "StandinGpu",
    "Waveform",
    "acting",
    "build",
    "environment",
    "library",
    "rtx_6000_ada",
    "standin_fixture",
    "t4",
]
