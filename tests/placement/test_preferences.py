"""What each phase prefers by itself."""

from __future__ import annotations

import pytest

from carbonsweep import inputs
from carbonsweep.errors import EnergyUnknown
from carbonsweep.placement.preferences import preferences
from tests.conftest import configuration, measurement, phase, record

REGIONS = {name: inputs.scenario({"region": name}, ("T4", "RTX6000Ada")) for name in ("QC", "PACE")}


def test_each_phase_has_a_best_batch_of_each_gpu_and_one_gpu_wins() -> None:
    # T4, tokens/s of decode: 100/4 at batch 4, 100/2 at batch 8; J/token 0.2 and 0.4. RTX6000Ada: 100/1, 0.3.
    made = [
        record(configuration(), measurement(decode=phase(4.0, 20.0))),
        record(configuration(batch_size=8), measurement(batch_size=8, decode=phase(2.0, 40.0))),
        record(
            configuration(gpu="RTX6000Ada"),
            measurement(
                prefill=phase(0.5, 20.0, gpu="RTX6000Ada"), decode=phase(1.0, 30.0, gpu="RTX6000Ada"), idle_w=35.0
            ),
        ),
    ]
    found = {(p.phase, p.gpu, p.by): p for p in preferences(made, REGIONS)}
    quickest, frugal = found["decode", "T4", "tokens/s"], found["decode", "T4", "J/token"]
    assert (quickest.configuration.batch_size, quickest.value, quickest.wins) == (8, 50.0, False)
    assert (frugal.configuration.batch_size, frugal.value, frugal.wins) == (4, 0.2, True)
    assert found["decode", "RTX6000Ada", "tokens/s"].wins
    assert not found["decode", "RTX6000Ada", "J/token"].wins
    assert found["decode", "T4", "g/token PACE"].value > found["decode", "T4", "g/token QC"].value
    assert len(found) == 2 * 2 * 4  # phases, GPUs, and four measures


def test_of_equal_ones_all_win() -> None:
    made = [record(configuration(gpu=gpu), measurement(gpu=gpu)) for gpu in ("T4", "RTX6000Ada")]
    assert all(p.wins for p in preferences(made, {}))


def test_unknown_joules_have_no_least() -> None:
    with pytest.raises(EnergyUnknown, match="decode"):
        list(preferences([record(configuration(), measurement(decode=phase(1.0, None)))], {}))
