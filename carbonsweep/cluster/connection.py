"""Joining a Ray cluster, or starting one on this machine; ray is imported here first, after its settings."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Final

from carbonsweep.cluster.labels import GPU_LABEL, NO_GPU
from carbonsweep.errors import BadInput

# Read by ray when it is imported or started; a user's own setting wins. Usage statistics stay off unless asked for.
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new reporter prints tables even at verbose 0
    "RAY_worker_niceness": "0",  # Ray's workers have the lowest claim to the processor, and ours measure
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default; without it every start prints a warning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # 45 kB of csv, json and tensorboard a trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: finished trials are on disk already
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # its state is never read: the records and the journal are the truth
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # we hand out no more than can run; one at a time, starting would take turns
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (after its settings)

NAMESPACE: Final = "carbonsweep"
"""Ray's namespace of the named workers, so that any process of the sweep finds them."""
HEAD: Final = "node:__internal_head__"
"""Ray's own resource of the head node; one thousandth of it places an actor there, even where the head has no CPU."""


@contextlib.contextmanager
def connection(address: str | None, kind: str | None = None) -> Iterator[None]:
    """Inside, this process drives a cluster: the one at `address` ("auto", "host:port"), or a new one of this machine.

    `kind` labels the GPUs of a new one. Workers end with the connection. Raises BadInput where nobody answers.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if address is None:
        ray.init(
            address="local",
            namespace=NAMESPACE,
            labels={GPU_LABEL: kind or NO_GPU},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    else:
        _require_listener(address)
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BadInput(f"--address {address}: cannot join a Ray cluster ({_first_line(error)})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Refuse an address nobody listens on: Ray itself would wait for minutes. Raises BadInput."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise BadInput(f"--address {address!r} is neither auto nor HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: a name no resolver can encode
        raise BadInput(f"--address {address}: no Ray cluster answers there ({error})") from error


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
