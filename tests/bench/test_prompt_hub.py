"""Prompt sets through `datasets`: the library is real, the hub is a small stand-in on this machine.

The library reads where the hub is and where its cache is when it is imported, so each test asks a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from carbonsweep.bench.prompt_hub import hub_rows, is_hub_id
from carbonsweep.errors import BadInput

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
TURNS: Final = [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}]


def lines(*rows: Any) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


SETS: Final[Mapping[str, Mapping[str, bytes]]] = {
    "org/alpaca": {
        "README.md": b"---\nlicense: mit\n---\n",
        "train.jsonl": lines(*({"instruction": f"Name {n}.", "input": "x" * (n % 2), "text": "..."} for n in range(5))),
        "test.jsonl": lines({"instruction": "Name it.", "input": "", "text": "..."}),
    },
    "org/chat-v1.5": {"train.jsonl": lines({"id": 1, "conversations": TURNS})},
    "org/answers": {"train.jsonl": lines({"answer": "42"})},
    "org/broken": {"train.jsonl": b'{"instruction": "x"}\n{"instruction": '},
    "org/bare": {"README.md": b"Nothing here yet.\n"},
}
"""Data sets by name, each with its files. `org/gated` is there too, behind a gate."""


class StandinHub(BaseHTTPRequestHandler):
    """Answers what the client of the hub asks to load a data set: its commit, its files, and their contents."""

    def do_GET(self) -> None:
        status, body, headers = self._answer(self.path.split("?")[0])
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing on the tests' stderr."""

    def _answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        if "org/gated" in path:
            return 403, b"{}", {"X-Error-Code": "GatedRepo"}
        found = [(name, files) for name, files in SETS.items() if f"/{name}/" in f"{path}/"]
        if not found:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        name, files = found[0]
        rest = path.partition(name)[2].split("/", 3)[1:]  # such as resolve, main, README.md
        if rest[:1] == ["resolve"] and rest[2] in files:
            body = files[rest[2]]
            return 200, body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if rest[:1] == ["tree"] and len(rest) == 2:
            listing = [
                {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for file, body in files.items()
            ]
            return 200, json.dumps(listing).encode(), {}
        if not rest or rest[0] == "revision":
            siblings = [{"rfilename": file} for file in files]
            return 200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode(), {}
        return 404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}


@dataclass(frozen=True)
class Hub:
    """Where the stand-in listens, and a cache of its own."""

    address: str
    cache: Path


PROGRAM: Final = """
import json, sys, time
time.sleep = lambda seconds: None  # the client repeats what failed after up to 8 s
from carbonsweep.bench.prompts import prompt_workload
from carbonsweep.errors import BadInput
for source in sys.argv[1:]:
    try:
        workload = prompt_workload(source, 150, 0)
        print(json.dumps([workload.name, workload.prompts, workload.token_basis]))
    except BadInput as error:
        print(json.dumps(str(error)))
"""


def loaded(hub: Hub, *sources: str, **environment: str) -> tuple[list[Any], str]:
    """For each source its name, prompts and token basis, or the message of its refusal; and what stood on stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    places = {"HF_ENDPOINT": hub.address, "HF_HOME": str(hub.cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *sources],
        env={**kept, **places, "NO_PROXY": "127.0.0.1", **environment},
        cwd=hub.cache,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def refused(outcome: Any, source: str) -> str:
    assert isinstance(outcome, str), f"{source} was loaded"
    assert outcome.isprintable()
    assert outcome.startswith(f"prompt set {source!r} ")
    assert "; valid: " in outcome
    return outcome


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    if find_spec("datasets") is None:
        pytest.skip("the library datasets is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), StandinHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Hub(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()


def test_sets_of_the_hub_are_loaded_with_their_revision_and_split_in_the_name(hub: Hub) -> None:
    sources = ("org/alpaca", "org/alpaca:test", "org/alpaca:train[:2]", "org/chat-v1.5")
    (train, test, part, chat), err = loaded(hub, *sources)
    all_five = ["Name 0.", "Name 1.\nx", "Name 2.", "Name 3.\nx", "Name 4."]
    assert train == ["org/alpaca@0123456789ab:train", all_five, "estimated at 4.519 bytes per token"]
    assert test[:2] == ["org/alpaca@0123456789ab:test", ["Name it."]]
    assert part[:2] == ["org/alpaca@0123456789ab:train[:2]", all_five[:2]]
    assert chat[:2] == ["org/chat-v1.5@0123456789ab:train", ["Hi."]]
    assert err == ""  # no progress bar

    # What was loaded once is there without a network, and is known to be the same revision.
    (again,), _ = loaded(hub, "org/alpaca", HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert again == train


def test_sets_that_cannot_be_used_are_refused_in_one_line(hub: Hub) -> None:
    flaws = {
        "org/absent": "is not there, or may not be read (Dataset 'org/absent' doesn't exist on the Hub",
        "org/gated": "is not there, or may not be read (Dataset 'org/gated' is a gated dataset",
        "org/alpaca:absent": "cannot be loaded (ValueError: Unknown split \"absent\". Should be one of ['train', ",
        "org/alpaca:train[": "cannot be loaded (ValueError",
        "org/answers": "has the columns 'answer'; valid: a column \"instruction\" (Alpaca)",
        "org/broken": "cannot be loaded (DatasetGenerationError",
        "org/bare": "cannot be loaded (EmptyDatasetError",
    }
    outcomes, err = loaded(hub, *flaws)
    for (source, flaw), outcome in zip(flaws.items(), outcomes, strict=True):
        assert flaw in refused(outcome, source)
    assert "Traceback" not in err


def test_without_a_network_a_set_that_is_not_cached_is_refused_with_the_cause(hub: Hub) -> None:
    (offline,), err = loaded(hub, "org/alpaca", HF_HUB_OFFLINE="1")
    message = refused(offline, "org/alpaca")
    assert "is not in the local cache, and the hub cannot be reached (" in message
    assert "OfflineModeIsEnabled" in message
    assert "HF_HUB_OFFLINE unset, or a local file" in message
    # Port 9 (discard) is closed: a machine without a network.
    (unreachable,), err = loaded(hub, "org/alpaca", HF_ENDPOINT="http://127.0.0.1:9")
    assert "is not in the local cache, and the hub cannot be reached (" in refused(unreachable, "org/alpaca")
    assert "Retrying" not in err


def test_a_missing_library_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadInput, match=r"needs the package datasets; valid: pip install 'carbonsweep\[measure\]'"):
        hub_rows("org/name")


def test_a_hub_id_is_told_from_a_path_by_its_form() -> None:
    for source in ("org/name", "tatsu-lab/alpaca:train", "o/name-v1.5", "a_b/c.d:train[:10%]"):
        assert is_hub_id(source)
    for source in ("name", "a/b/c", "./name", "../name", "/name", "org/", "org/name:", "a/b c", "org/na\nme", ""):
        assert not is_hub_id(source)
    for ending in (".json", ".jsonl", ".CSV", ".parquet", ".txt", ".json.gz", ".zip"):
        assert not is_hub_id(f"data/prompts{ending}")
