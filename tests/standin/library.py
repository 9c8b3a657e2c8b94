"""The stand-in library built, loaded into this process under NVIDIA's own bindings, and pointed to from others."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pynvml
import pytest

from tests.standin.machine import SCRIPT_VARIABLE, Standin

FILE_NAME = "libnvidia-ml.so.1"
SOURCES = sorted(Path(__file__).parent.glob("*.c"))


def build(folder: Path) -> Path:
    """The library, compiled into `folder`. Raises FileNotFoundError where there is no C compiler."""
    library = folder / FILE_NAME
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    flags += ["-fvisibility=hidden", f"-Wl,-soname,{FILE_NAME}"]
    subprocess.run([*_compiler(), *flags, "-o", str(library), *map(str, SOURCES), "-lm"], check=True, timeout=120)
    return library


@functools.cache
def library() -> Path:
    """The library, compiled once per process into a folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="nvml-standin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build(folder)


def environment(folder: Path, standin: Standin) -> dict[str, str]:
    """Variables under which another process finds the stand-in acting out `standin`; its script is put in `folder`."""
    script = standin.written(folder / "nvml-standin.txt")
    others = os.environ.get("LD_LIBRARY_PATH")
    path = os.pathsep.join([str(library().parent), *([others] if others else [])])
    return {"LD_LIBRARY_PATH": path, SCRIPT_VARIABLE: str(script)}


@dataclass(frozen=True, slots=True)
class Running:
    """The library in this process while it acts out a script."""

    library: ctypes.CDLL
    folder: Path

    def load(self, standin: Standin) -> None:
        """Act out another machine from now on; time starts again, and everybody has to call nvmlInit again."""
        script = standin.written(self.folder / "script.txt")
        line = self.library.standin_load(os.fsencode(script))
        if line != 0:
            raise ValueError(f"line {line} of the script is not understood: {standin.script().splitlines()[line - 1]}")

    def set_time_s(self, t_s: float) -> None:
        """Move the manual clock."""
        self.library.standin_set_time_s(t_s)

    @property
    def time_s(self) -> float:
        """Now, on the stand-in's clock."""
        return float(self.library.standin_time_s())

    def at_s(self, monotonic_s: float) -> float:
        """When time.monotonic() said `monotonic_s`, on the stand-in's real clock. time.perf_counter() is the same."""
        return monotonic_s - int(self.library.standin_epoch_monotonic_ns()) * 1e-9


@contextlib.contextmanager
def acting(standin: Standin) -> Iterator[Running]:
    """The stand-in under this process's pynvml; afterwards everything is as before.

    A real driver that is there stays the first to be found once this ends, so it is loaded first.
    """
    with contextlib.suppress(OSError):
        ctypes.CDLL(FILE_NAME)
    loaded = _declared(ctypes.CDLL(str(library()), mode=ctypes.RTLD_GLOBAL))
    before = pynvml.nvmlLib
    with tempfile.TemporaryDirectory(prefix="nvml-standin-") as folder:
        running = Running(loaded, Path(folder))
        _point_bindings(loaded)
        try:
            running.load(standin)
            yield running
        finally:
            loaded.standin_load(None)
            _point_bindings(before)


@pytest.fixture(name="standin")
def standin_fixture() -> Iterator[Callable[[Standin], Running]]:
    """Act out a machine for the rest of the test; a second call replaces the first."""
    with contextlib.ExitStack() as stack:
        running: list[Running] = []

        def act(standin: Standin) -> Running:
            if running:
                running[0].load(standin)
            else:
                running.append(stack.enter_context(acting(standin)))
            return running[0]

        yield act


def _compiler() -> list[str]:
    for name in ("cc", "gcc", *shlex.split(sysconfig.get_config_var("CC") or "")[:1]):
        found = shutil.which(name)
        if found is not None:
            return [found]
    raise FileNotFoundError("the stand-in for NVML is compiled from C, and there is no cc or gcc")


def _point_bindings(to: ctypes.CDLL | None) -> None:
    """The bindings keep the first library they find, and its functions, for as long as the process lives."""
    pynvml.nvmlLib = to
    pynvml._nvmlGetFunctionPointer_cache.clear()


def _declared(loaded: ctypes.CDLL) -> ctypes.CDLL:
    loaded.standin_load.argtypes = [ctypes.c_char_p]
    loaded.standin_set_time_s.argtypes = [ctypes.c_double]
    loaded.standin_set_time_s.restype = None
    loaded.standin_time_s.restype = ctypes.c_double
    loaded.standin_epoch_monotonic_ns.restype = ctypes.c_longlong
    return loaded
