"""The numbers the claims compare: by hand on made-up cells, and the same from records as from arrays."""

from __future__ import annotations

import numpy as np
import pytest

from carbonsweep.bench.roofline import RooflineBench, predict_points
from carbonsweep.claims.cells import (
    ADA,
    BATCHES,
    SHAPE,
    T4,
    Cells,
    basis_of_records,
    cells_of_prediction,
    cells_of_records,
    paper_models,
    paper_points,
    paper_workload,
)
from carbonsweep.claims.orders import margins
from carbonsweep.claims.ratios import at, numbers
from carbonsweep.claims.takeaways import takeaway_margins
from carbonsweep.errors import BadInput
from carbonsweep.trial import trial
from tests.claims.grid import made_up, records
from tests.conftest import FAILED, configuration, measurement, record


def test_latency_and_energy_are_of_a_batch_run_of_both_phases() -> None:
    ours = numbers(made_up())
    # T4: 1 + 9 s and 20 + 180 J. Ada: 1 + 4 s and 50 + 350 J.
    assert ours["C01"] == {size: pytest.approx(10 / 5) for size in ("1B", "3B", "7B")}
    assert ours["C04"] == {size: pytest.approx(200 / 400) for size in ("1B", "7B")}
    assert ours["C05"]["3B"] == pytest.approx(0.5)


def test_decode_is_per_output_token_and_prefill_per_real_prompt_token() -> None:
    cells = made_up()
    ours = numbers(cells)
    assert ours["C10"]["J/token"] == pytest.approx(180 / 350)
    assert ours["C10"]["tokens/s"] == pytest.approx(4 / 9)
    assert ours["C12"]["b16"] == pytest.approx(350 / 180)
    assert ours["C11"]["b64"] == pytest.approx(9 / 4)
    # The same joules for 160 prompt tokens and for 320: half as many a token.
    assert ours["C17"]["J/token"] == pytest.approx(2)
    cells.prompt_tokens[0, ADA, at(16)] *= 4
    assert numbers(cells)["C17"]["J/token"] == pytest.approx(0.5)


def test_each_claim_reads_its_own_batch_size() -> None:
    cells = made_up()
    cells.decode_s[0, T4, at(64)] = 20  # C11 alone: 20 / 4
    cells.decode_j[0, ADA, at(16)] = 90  # C12 alone: 90 / 180
    ours = numbers(cells)
    assert ours["C11"]["b64"] == pytest.approx(5)
    assert ours["C12"]["b16"] == pytest.approx(0.5)
    assert ours["C10"]["J/token"] == pytest.approx(180 / 350)


def test_the_largest_ratio_is_over_sizes_and_batches_that_fit_both_gpus() -> None:
    cells = made_up()
    cells.decode_s[1, T4, 3] = 49  # (1 + 49) / 5
    cells.decode_s[2, T4, 5] = 99  # (1 + 99) / 5, but it does not fit
    assert numbers(cells)["C02"]["7B b4"] == pytest.approx(20)
    cells.fits[2, T4, 5] = False
    assert numbers(cells)["C02"]["7B b4"] == pytest.approx(10)


def test_the_largest_energy_ratio_leaves_batch_1_out() -> None:
    cells = made_up()
    cells.decode_j[2, T4, 0] = 4000
    cells.decode_j[1, T4, 2] = 780  # (20 + 780) / 400
    assert numbers(cells)["C06"]["largest, b > 1"] == pytest.approx(2)


def test_the_largest_embodied_share_is_that_of_the_lowest_mean_power() -> None:
    cells = made_up()
    # T4: 200 J in 10 s are 20 W; at batch 8 only 10 W. 10.3 kg over 5 x 8760 h are 0.235160 g/h; 10 W in QC, at 31
    # g/kWh, 0.31 g/h: 0.235160 / 0.545160 = 0.43136. In PACE, at 647 g/kWh, 6.47 g/h: 0.03507.
    cells.prefill_j[0, T4, at(8)], cells.decode_j[0, T4, at(8)] = 10, 90
    shares = numbers(cells)["C16"]
    assert shares["T4 QC"] == pytest.approx(0.43136, abs=1e-5)
    assert shares["T4 PACE"] == pytest.approx(0.03507, abs=1e-5)
    # Ada: 400 J in 5 s are 80 W; 26.6 kg are 0.60731 g/h against 2.48 g/h: 0.19671.
    assert shares["RTX6000Ada QC"] == pytest.approx(0.19671, abs=1e-5)


def test_the_carbon_ratio_of_prefill_adds_its_embodied_grams_in_quebec() -> None:
    cells = made_up()
    # Batch 16 against 32, as many tokens each: 100 J in 2 s against 200 J in 1 s. Per second 26.6 kg / 5 years are
    # 0.168697 mg; per joule 31 g/kWh are 0.0086111 mg: (0.86111 + 0.33739) / (1.72222 + 0.16870) = 0.63382.
    cells.prompt_tokens[0, ADA, :] = 1
    cells.prefill_j[0, ADA, at(16)], cells.prefill_s[0, ADA, at(16)] = 100, 2
    cells.prefill_j[0, ADA, at(32)], cells.prefill_s[0, ADA, at(32)] = 200, 1
    assert numbers(cells)["C17"]["g/token"] == pytest.approx(0.63382, abs=1e-5)


def test_arrays_of_candidates_give_each_the_numbers_it_has_alone() -> None:
    one, other = made_up(), made_up()
    other.decode_s[:, T4] *= 3
    other.decode_j[0, ADA] /= 2
    both = Cells(**{name: np.stack([getattr(one, name), getattr(other, name)]) for name in Cells.__dataclass_fields__})
    for i, alone in enumerate((one, other)):
        for claim, labels in numbers(both).items():
            for label, values in labels.items():
                assert values[i] == pytest.approx(float(numbers(alone)[claim][label])), (claim, label)
        for found, of_one in ((margins(both), margins(alone)), (takeaway_margins(both), takeaway_margins(alone))):
            for claim, each in found.items():
                np.testing.assert_allclose(each.values[i], of_one[claim].values, err_msg=claim)


@pytest.mark.parametrize("engine", ["paper", "healthy"])
def test_records_and_arrays_make_the_same_cells(engine: str) -> None:
    points, workload = paper_points(engine), paper_workload()
    made = [trial(RooflineBench(), points.configuration(i), workload) for i in range(len(points))]
    from_records, from_arrays = cells_of_records(made), cells_of_prediction(predict_points(points, workload))
    assert from_arrays.fits.shape == SHAPE
    np.testing.assert_array_equal(from_records.fits, from_arrays.fits)
    for name in Cells.__dataclass_fields__:
        held = from_arrays.fits if name != "fits" else ...
        np.testing.assert_allclose(getattr(from_records, name)[held], getattr(from_arrays, name)[held], err_msg=name)
    assert basis_of_records(made) == "modelled"


def test_made_up_records_are_read_back_as_the_cells_they_came_from() -> None:
    cells = made_up()
    cells.decode_s[1, ADA, 4] = 7
    cells.fits[2, T4, 6] = False
    found = cells_of_records(records(cells))
    assert found.decode_s[1, ADA, 4] == 7
    assert not found.fits[2, T4, 6]
    assert found.fits.sum() == found.fits.size - 1
    np.testing.assert_array_equal(found.output_tokens[0, 0], [149.0 * b for b in BATCHES])


def test_a_configuration_outside_the_grid_is_nobodys_cell() -> None:
    cells = cells_of_records(
        [
            record(configuration(gpu="L4"), measurement()),
            record(configuration(gpu_count=2), measurement()),
            record(configuration(batch_size=3), measurement()),
            record(configuration(), FAILED),
        ]
    )
    assert np.isnan(cells.prefill_s).all()
    assert cells.fits.all()


def test_two_answers_for_one_cell_are_refused() -> None:
    twice = [record(configuration(engine=engine), measurement()) for engine in ("paper", "healthy")]
    with pytest.raises(BadInput, match=r"two records answer for TinyLlama-1\.1B on T4"):
        cells_of_records(twice)


def test_records_of_two_workloads_are_refused() -> None:
    served = [trial(RooflineBench(), configuration(batch_size=b), paper_workload()) for b in (1, 2)]
    other = record(configuration(batch_size=4), measurement())
    cells_of_records(served)
    with pytest.raises(BadInput, match="several workloads"):
        cells_of_records([*served, other])


def test_the_paper_sizes_are_the_models_that_stand_in_for_them() -> None:
    assert paper_models() == ("TinyLlama-1.1B", "OpenLLaMA-3B", "LLaMA-7B")
