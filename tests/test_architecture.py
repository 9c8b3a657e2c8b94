"""The plan of the house, executed: who may import whom, where heavy libraries live, how long and how named things are.

Every import counts, those inside functions and those for types too.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "carbonsweep"

# From the ground up. A file imports from lower floors and from its own room (folder); on floors of several rooms where
# `neighbours` is False, the rooms do not know each other.
FLOORS: tuple[tuple[frozenset[str], bool], ...] = (
    (frozenset({"units", "shares", "tables", "errors", "evidence", "pareto", "second_life"}), False),
    (frozenset({"domain"}), False),
    (frozenset({"facts"}), False),
    (frozenset({"carbon", "bench", "records"}), False),
    (frozenset({"trial", "spool", "split", "quality", "objective_arrays"}), False),
    (frozenset({"search"}), False),
    (frozenset({"cluster"}), False),
    (frozenset({"answer", "sweep_cost"}), False),
    (
        frozenset(
            {
                "exact",
                "placement",
                "loads",
                "quality_front",
                "per_workload",
                "document",
                "swaps",
                "winners",
                "figures",
                "results",
            }
        )
        | {"ties", "near_misses", "explanation"}
        | {"claims", "calibration", "certainty"},
        True,
    ),
    (
        frozenset({"options", "second_life_option", "inputs", "benches", "measuring", "terminal", "footing"})
        | {"html_page", "side_by_side", "amounts", "cost_lines", "certainty_lines", "workload_file", "workload_answers"}
        | {
            "quantities",
            "placement_lines",
            "in_turn_lines",
            "placement_page",
            "placement_progress",
            "placement_option",
            "verdict_lines",
            "explanation_lines",
            "explanation_tables",
            "evidence_lines",
            "progress",
            "sweeping",
            "drawing",
            "option_types",
            "scenario_options",
        }
        | {"load_lines", "given_file", "quality_file", "quality_options", "quality_lines", "search_lines"},
        True,
    ),
    (frozenset({"tune", "measure", "plan", "price", "compare", "report", "explain", "node", "calibrate"}), False),
    (frozenset({"__main__", "__init__"}), False),
)

# The measuring bench and the parts it is made of; nothing else reaches torch.
MEASURING = {
    "bench/transformers.py",
    "bench/loading.py",
    "bench/generation.py",
    "bench/hardware.py",
    "bench/running.py",
}

# Each heavy library and the only files that may import it.
HOMES = {
    "ray": {"cluster/"},
    "optuna": {"search/parameters.py", "search/sampling.py", "search/study.py", "search/journal.py"}
    | {"search/ledger.py", "search/choosing.py", "search/standing.py"},
    "torch": MEASURING,
    "transformers": MEASURING | {"bench/endpoint/recount.py"},
    "datasets": {"bench/prompt_hub.py"},
    "pyarrow": {"bench/prompt_files.py"},
    "pynvml": {"bench/power/nvml.py"},
    "matplotlib": {"figures/"},
    "PIL": {"figures/page.py"},
    "pandas": set(),
    "sklearn": {"search/guided/"},
}

LONGEST_FILE = 300
LONGEST_FILES = {
    "domain.py": 455,  # the vocabulary: 20 values, read from top to bottom
}
LONGEST_FUNCTION = 60
FORBIDDEN_FILES = {
    "utils",
    "util",
    "helper",
    "helpers",
    "manager",
    "common",
    "base",
    "core",
    "misc",
    "factory",
    "registry",
}
FORBIDDEN_PREFIXES = ("get_", "compute_")
NOT_OURS_TO_NAME = {"get_command"}  # click asks for it

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


FILES = files()


@functools.cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def floor(name: str) -> int:
    found = [level for level, (rooms, _) in enumerate(FLOORS) if name in rooms]
    assert len(found) == 1, f"{name} is on no floor of the plan, or on several: draw it in FLOORS"
    return found[0]


def imported_names(file: str) -> Iterator[str]:
    """Dotted names of every import statement, and of every import by a literal name."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from (str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant))


def imported_files(file: str) -> set[str]:
    """Files of this package that `file` imports: of `a.b.name`, a/b/name.py, else a/b.py or a/b/__init__.py."""
    found = set()
    for name in imported_names(file):
        parts = name.split(".")
        if parts[0] != "carbonsweep":
            continue
        candidates = [
            "/".join(parts[1:end]) + ending for end in range(len(parts), 1, -1) for ending in (".py", "/__init__.py")
        ]
        known = [candidate for candidate in candidates if candidate in FILES]
        assert known, f"{file} imports {name}, which is no file"
        found.add(known[0])
    return found


def functions(file: str) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree(file)) if isinstance(node, Function))


def test_the_plan_is_read() -> None:
    # Were the parsing blind, everything below would pass.
    assert "facts/__init__.py" in imported_files("bench/roofline.py")
    assert "facts/engines.py" in imported_files("bench/roofline.py")
    assert "cluster/sweep.py" in imported_files("sweeping.py")  # inside a function
    assert "ray.tune" in set(imported_names("cluster/sweep.py"))
    assert any("torch" in set(imported_names(file)) for file in MEASURING)


@pytest.mark.parametrize("file", FILES)
def test_a_room_imports_only_what_is_below_it(file: str) -> None:
    mine = floor(room(file))
    for other in imported_files(file):
        if room(other) == room(file):
            continue
        theirs = floor(room(other))
        assert theirs < mine or (theirs == mine and FLOORS[mine][1]), f"{file} imports {other}"


def test_no_file_reaches_itself_through_its_imports() -> None:
    graph = {file: imported_files(file) - {file} for file in FILES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(FILES)


@pytest.mark.parametrize("file", FILES)
def test_heavy_libraries_are_imported_only_where_they_live(file: str) -> None:
    libraries = {name.split(".")[0] for name in imported_names(file)}
    assert {library for library in libraries & set(HOMES) if not any(map(file.startswith, HOMES[library]))} == set()


@pytest.mark.parametrize("file", [file for file in FILES if file not in MEASURING])
def test_the_parts_of_the_measuring_bench_are_known_to_it_alone(file: str) -> None:
    assert imported_files(file) & (MEASURING - {"bench/transformers.py"}) == set()


@pytest.mark.parametrize("file", FILES)
def test_files_are_short(file: str) -> None:
    longest = LONGEST_FILES.get(file, LONGEST_FILE)
    assert len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) <= longest


@pytest.mark.parametrize("file", FILES)
def test_functions_are_short(file: str) -> None:
    long = {
        node.name: length
        for node in functions(file)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("file", FILES)
def test_names_say_what_a_thing_is(file: str) -> None:
    assert not FORBIDDEN_FILES & set(file.removesuffix(".py").split("/"))
    named = {node.name.lstrip("_") for node in functions(file)}
    assert {name for name in named if name.startswith(FORBIDDEN_PREFIXES)} <= NOT_OURS_TO_NAME


@pytest.mark.parametrize("file", [file for file in FILES if tree(file).body])
def test_modules_public_functions_and_classes_say_what_they_are(file: str) -> None:
    assert ast.get_docstring(tree(file)), "the module has no docstring"
    public = [
        node for node in tree(file).body if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []
