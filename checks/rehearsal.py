"""A rehearsed sweep on the head of a cluster, and what is required of its records."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from carbonsweep.domain import TrialRecord
from carbonsweep.records import read
from checks.furnishing import WORKERS
from checks.hosts import Machine, Machines, login

MODEL: Final = "SmolLM2-135M"
SWEEP_S: Final = 900.0

PROMPTS: Final = (
    "Name a river.",
    "Which months have thirty days?",
    "Say a word that rhymes with moon.",
    "Why is ice slippery?",
)
"""Short ones: two cores bear four workers. Their file is on the head alone; what is in it reaches the workers."""


class Falsehood(Exception):
    """What was seen is not what is promised."""


def require(holds: bool, otherwise: str) -> None:
    """Raises Falsehood."""
    if not holds:
        raise Falsehood(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep that runs on the head: its process, its folder, and the file with all it says."""

    process: subprocess.Popen[bytes]
    folder: Path
    said: Path

    def records(self) -> list[TrialRecord]:
        """Those on the head's disk by now."""
        return read(self.folder)[0]

    def ended(self) -> str:
        """All it said, when it has ended with an answer. Raises Falsehood otherwise."""
        try:
            code = self.process.wait(SWEEP_S)
        except subprocess.TimeoutExpired:
            raise Falsehood(f"the sweep has not ended after {SWEEP_S:.0f} s:\n{self._words()[-3000:]}") from None
        require(code == 0, f"the sweep ended with {code}:\n{self._words()[-3000:]}")
        return self._words()

    def _words(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")


@contextmanager
def rehearsed(head: Machine, weights: Path, out: str, batch_sizes: str) -> Iterator[Sweep]:
    """A rehearsed sweep on the head, running inside the block."""
    command = [
        *("python", "-m", "carbonsweep.tune", "--address", "auto", "--bench", "transformers", "--rehearse"),
        *("--sampler", "exhaustive"),
        *("--objective", "latency", "--out", out, "--dtypes", "fp32", "--batch-sizes", batch_sizes),
        *("--gpus", ",".join(sorted(set(WORKERS.values()))), "--models", MODEL, "--weights", str(weights)),
        *("--prompts", machine_file(head, "prompts.txt", "\n".join(PROMPTS)), "--output-tokens", "4"),
        *("--repeats", "2", "--batches", "1", "--budget", "0", "--window-bound", "0.2", "--interval", "0.5"),
    ]
    line = f"cd ~/carbonsweep && {' '.join(command)}"
    said = head.folder / f"{out}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            head.command(login(line)), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield Sweep(process=process, folder=head.home / "carbonsweep" / out, said=said)
        finally:
            process.kill()
            process.wait()


def machine_file(machine: Machine, name: str, text: str) -> str:
    """The path of a new file in the home of one machine, as that machine calls it."""
    (machine.home / name).write_text(text + "\n", encoding="utf-8")
    return f"~/{name}"


def require_right_places(records: Sequence[TrialRecord], machines: Machines) -> None:
    """Each record was made on a host of the kind it is about, and metered by that host's GPU. Raises Falsehood."""
    hosts = {machine.name: machine for machine in machines.workers}
    for record in records:
        asked, name = record.configuration.gpu, record.provenance.host
        require(name in hosts and hosts[name].kind == asked, f"a trial for {asked} ran on {name}")
        require(record.identity.basis == "rehearsed", f"a rehearsal calls itself {record.identity.basis}")
        require(record.measurement is not None, f"{record.configuration} was refused: {record.refusal}")
        metered = metered_by(record)
        require(
            metered == {hosts[name].uuid}, f"a trial on {name}, which has {hosts[name].uuid}, was metered by {metered}"
        )


def metered_by(record: TrialRecord) -> set[str]:
    """The GPUs, by UUID, whose meter stands behind a record's joules."""
    evidence = record.measurement.evidence if record.measurement is not None else None
    return set() if evidence is None else {window.device for window in evidence.windows if window.readings}


def spread(records: Sequence[TrialRecord]) -> str:
    """How many records came from where."""
    count = Counter((record.provenance.host, record.configuration.gpu) for record in records)
    return ", ".join(f"{number} {kind} on {host}" for (host, kind), number in sorted(count.items()))


def unpacked_weights(folder: Path) -> Path:
    """The packaged small model as a folder, from which it loads in half a second; every host sees it on its disk."""
    from carbonsweep.bench.loading import import_libraries, real_model
    from carbonsweep.bench.weights import weights_source
    from carbonsweep.facts import language_model

    import_libraries()
    model = language_model(MODEL)
    weights, tokenizer = real_model(model, weights_source("auto", model), "fp32", "cpu")
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
