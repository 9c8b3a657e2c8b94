"""The tree is what its drawing says; errors survive a trip to another process; suggestions are close."""

from __future__ import annotations

import pickle
import re

import pytest

from carbonsweep import errors
from carbonsweep.errors import BadInput, BenchFailed, CarbonsweepError, DoesNotFit, UnknownFact, closest

BRANCH = re.compile(r"^(?P<indent>[│ ]*)[├└]── (?P<name>\w+)(?: +(?P<code>\d))?", re.MULTILINE)


def drawn_tree() -> dict[str, tuple[str, int | None]]:
    """Parent and exit code of each class, as the module's docstring draws them."""
    path = ["CarbonsweepError"]
    drawn: dict[str, tuple[str, int | None]] = {}
    for match in BRANCH.finditer(errors.__doc__ or ""):
        depth = len(match["indent"]) // 4 + 1
        del path[depth:]
        drawn[match["name"]] = (path[-1], None if match["code"] is None else int(match["code"]))
        path.append(match["name"])
    return drawn


def test_the_drawn_tree_is_the_class_tree_with_its_exit_codes() -> None:
    classes = {
        kind.__name__: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CarbonsweepError) and kind is not CarbonsweepError
    }
    drawn = drawn_tree()
    assert {name: parent for name, (parent, _) in drawn.items()} == {
        name: kind.__bases__[0].__name__ for name, kind in classes.items()
    }
    for name, (_, code) in drawn.items():
        assert code is None or classes[name].exit_code == code


@pytest.mark.parametrize(
    "error",
    [UnknownFact("GPU", "T5", ["T4", "L4"]), DoesNotFit(3.0, 1.0), DoesNotFit(None, 1.0), BenchFailed("broke")],
)
def test_errors_survive_pickling(error: CarbonsweepError) -> None:
    # Workers send them to the driver.
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_an_unknown_name_is_answered_with_the_closest_and_all_valid_ones() -> None:
    error = UnknownFact("region", "CSIO", ["QC", "PACE", "CISO"])
    assert str(error) == "unknown region 'CSIO': did you mean CISO? (valid: CISO, PACE, QC)"
    assert isinstance(error, BadInput)


def test_a_name_like_no_other_is_answered_with_the_valid_ones() -> None:
    assert str(UnknownFact("region", "xyz", ["QC", "CISO"])) == "unknown region 'xyz': valid: CISO, QC"


def test_closeness_ignores_case_and_keeps_the_spelling() -> None:
    assert closest("rtx6000ada", ["RTX6000Ada", "T4"]) == ["RTX6000Ada"]
    assert closest("qqqqqq", ["RTX6000Ada", "T4"]) == []


def test_the_bytes_that_are_lacking_are_the_difference_or_unknown() -> None:
    assert DoesNotFit(5e9, 2e9).lacking_bytes == 3e9
    assert str(DoesNotFit(5e9, 2e9)) == "does not fit: lacks 3e+09 bytes"
    assert DoesNotFit(None, 2e9).lacking_bytes is None
    assert DoesNotFit(2e9, None).lacking_bytes is None
    assert "unknown number" in str(DoesNotFit(None, None))
