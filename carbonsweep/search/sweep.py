"""Trials through Ray Tune: suggestions from a `Search`, one actor per running trial, reused from trial to trial.

The only file that imports ray. Tune keeps no state of its own that matters: the record file and the study journal are
the truth, so its experiment folder is temporary, and an interrupted sweep is continued by the same command.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

# Read by ray when it is imported or started; a user's own setting wins. Usage statistics stay off unless asked for.
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new reporter prints tables even at verbose 0
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default; without it every start prints a warning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # 45 kB of csv, json and tensorboard a trial that nobody reads
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: finished trials are on disk already
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "3600",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (after its settings)
from ray import tune  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from carbonsweep import facts  # noqa: E402
from carbonsweep.bench import Bench  # noqa: E402
from carbonsweep.domain import Configuration, TrialRecord, Workload  # noqa: E402
from carbonsweep.errors import BadInput, CarbonsweepError  # noqa: E402
from carbonsweep.records import OutputFolder, decode, encode  # noqa: E402
from carbonsweep.search.implied import implied_record  # noqa: E402
from carbonsweep.search.study import Search  # noqa: E402
from carbonsweep.trial import trial  # noqa: E402

SERVER: Final = "server"
"""Name of the bench whose GPUs are not the trial's."""

Observer = Callable[[TrialRecord], None]


def sweep(
    *,
    search: Search,
    bench: Bench,
    workload: Workload,
    out: OutputFolder,
    observe: Observer,
    address: str | None = None,
) -> list[str]:
    """Run every trial `search` hands out; returns why some ended without a record (their worker died), one entry each.

    Each record is made durable in `out`, then told to the search, then shown to `observe`; a batch size larger than one
    that does not fit gets its record without a trial. `address` names a running Ray cluster ("auto", "host:port"); None
    starts one on this machine, bound to it. Raises StorageFailed when a record cannot be written, and passes
    KeyboardInterrupt on after the workers have ended.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    _connect(address)
    _require_room(search, bench)
    searcher = _SearchFromStudy(search, bench, out, observe)
    try:
        with tempfile.TemporaryDirectory(prefix="carbonsweep-tune-") as scratch:
            tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(_TrialActor, bench=bench, workload=workload),
                    lambda config: _resources(Configuration(**config), bench),
                ),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    num_samples=search.remaining,
                    reuse_actors=True,
                    max_concurrent_trials=max(1, _at_once(search, bench)),
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=scratch,
                    verbose=0,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[_Deaths(searcher)],
                ),
            ).fit()
    finally:
        ray.shutdown()
    if searcher.fatal is not None:
        raise searcher.fatal
    return sorted(searcher.lost.values())


class _TrialActor(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Lives for many trials: the bench it holds keeps its weights loaded."""

    def setup(self, config: dict[str, Any], bench: Bench, workload: Workload) -> None:
        self._bench, self._workload = bench, workload
        self._configuration = Configuration(**config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._configuration = Configuration(**new_config)
        return True

    def step(self) -> dict[str, Any]:
        record = trial(self._bench, self._configuration, self._workload)
        return {"record": encode(record).decode(), "done": True}


class _SearchFromStudy(Searcher):  # type: ignore[misc]  # ray ships no types
    """Tune's searcher interface over a `Search`. Tune would swallow an exception raised in here: it is kept."""

    def __init__(self, search: Search, bench: Bench, out: OutputFolder, observe: Observer) -> None:
        super().__init__()
        self._search, self._bench, self._out, self._observe = search, bench, out, observe
        self._running: dict[str, Configuration] = {}
        self.fatal: CarbonsweepError | None = None
        self.lost: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        while self.fatal is None and (configuration := self._search.suggest()) is not None:
            implied = implied_record(configuration, self._search.outcomes.values(), self._bench)
            if implied is None:
                self._running[trial_id] = configuration
                return asdict(configuration)
            self._keep(implied)
        return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        configuration = self._running.pop(trial_id, None)
        if configuration is None:
            return
        if error or not result or "record" not in result:
            self.lost.setdefault(trial_id, "no result")
            self._search.abandon(configuration)
            return
        self._keep(decode(result["record"]))

    def _keep(self, record: TrialRecord) -> None:
        try:
            self._out.append(record)
            self._search.tell(record)
            self._observe(record)
        except CarbonsweepError as fatal:
            self.fatal = fatal

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher into the experiment folder; that copy is never read, and a live study has locks."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a sweep is continued from its journal, never from Tune's pickle."""


class _Deaths(tune.Callback):  # type: ignore[misc]  # ray ships no types
    """Keeps why a trial died: Tune would print a traceback and tell the searcher nothing."""

    def __init__(self, searcher: _SearchFromStudy) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_pickled_error() or trial.get_error()
        self._searcher.lost[trial.trial_id] = type(error).__name__ if error is not None else "unknown"

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _connect(address: str | None) -> None:
    if address is None:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    else:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BadInput(f"--address {address}: cannot join a Ray cluster ({error})") from error


def _largest(resource: str) -> float:
    """The most of `resource` that any live node has: a bundle fits one node or none."""
    return max((float(node["Resources"].get(resource, 0)) for node in ray.nodes() if node["Alive"]), default=0.0)


def _require_room(search: Search, bench: Bench) -> None:
    """Refuse trials that no node could ever start. Raises BadInput; Tune would keep them pending for ever."""
    for configuration in _by_devices(search):
        for resource, needed in _resources(configuration, bench).bundles[0].items():
            if needed > (most := _largest(resource)):
                raise BadInput(f"{configuration} needs {needed:g} {resource}, and no node has more than {most:g}")


def _at_once(search: Search, bench: Bench) -> int:
    """Trials that can run side by side. One more would only wait, chosen before the outcomes it could be spared by."""
    if bench.name == SERVER:
        return 1  # a second trial would disturb the first, from whichever node
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    bundles = [_resources(configuration, bench).bundles[0] for configuration in _by_devices(search)]
    return max(
        sum(min(int(node.get(resource, 0) / needed) for resource, needed in bundle.items()) for node in nodes)
        for bundle in bundles
    )


def _by_devices(search: Search) -> list[Configuration]:
    """One configuration for each choice of GPUs: what a trial asks of the cluster depends on these alone."""
    return list({(c.gpu, c.gpu_count): c for c in search.space.configurations()}.values())


def _resources(configuration: Configuration, bench: Bench) -> tune.PlacementGroupFactory:
    """A model needs one core; a measurement on the CPU, or of a server, all of them, one on GPUs its GPUs.

    Nothing runs beside a measurement; a server has its GPUs already, wherever they are.
    """
    if bench.identity(configuration).basis == "modelled":
        return tune.PlacementGroupFactory([{"CPU": 1}])
    if configuration.gpu == facts.CPU or bench.name == SERVER:
        # What Ray counts, not the host's cores: in a container Ray goes by its quota, and more would wait for ever.
        return tune.PlacementGroupFactory([{"CPU": _largest("CPU")}])
    return tune.PlacementGroupFactory([{"CPU": 1, "GPU": float(configuration.gpu_count)}])
