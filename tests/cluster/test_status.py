"""Whether a sweep is complete."""

from __future__ import annotations

import pytest

from carbonsweep.cluster.status import Outcome


@pytest.mark.parametrize(
    ("outcome", "complete"),
    [
        (Outcome(), True),
        (Outcome(lost=("its worker died",)), False),
        (Outcome(closed=(("1 T4 and 1 CPU", 3),)), False),
        # What went with a node was run again elsewhere, or is lost or closed, and then said so there.
        (Outcome(unreachable=(("one", 2),)), True),
    ],
)
def test_a_sweep_is_complete_when_every_configuration_got_its_trial(outcome: Outcome, complete: bool) -> None:
    assert outcome.complete is complete
