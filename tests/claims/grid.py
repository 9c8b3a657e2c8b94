"""A made-up grid of cells, the same at every size and batch, so that every number can be worked out by hand."""

from __future__ import annotations

import numpy as np

from carbonsweep.claims.cells import BATCHES, GPUS, SHAPE, SIZES, Cells, paper_models
from carbonsweep.domain import Measurement, Refusal, TrialRecord
from tests.conftest import TOO_BIG, configuration, measurement, phase, record


def made_up() -> Cells:
    """T4: 1 s and 20 J of prefill, 9 s and 180 J of decode; Ada: 1 s and 50 J, 4 s and 350 J. Arrays may be changed.

    Of a batch of b: 10 b prompt tokens and 149 b output tokens.
    """
    batch = np.broadcast_to(np.array(BATCHES, dtype=float), SHAPE)

    def by_gpu(t4: float, ada: float) -> np.ndarray:
        return np.broadcast_to(np.array([[t4], [ada]], dtype=float), SHAPE).copy()

    return Cells(
        fits=np.ones(SHAPE, dtype=bool),
        prefill_s=by_gpu(1, 1),
        decode_s=by_gpu(9, 4),
        prefill_j=by_gpu(20, 50),
        decode_j=by_gpu(180, 350),
        prompt_tokens=10 * batch,
        output_tokens=149 * batch,
    )


def records(cells: Cells) -> list[TrialRecord]:
    """One record per cell."""
    return [
        record(configuration(model=paper_models()[i], gpu=gpu, batch_size=batch), _outcome(cells, i, g, j))
        for i in range(len(SIZES))
        for g, gpu in enumerate(GPUS)
        for j, batch in enumerate(BATCHES)
    ]


def _outcome(cells: Cells, i: int, g: int, j: int) -> Measurement | Refusal:
    place = (i, g, j)
    if not cells.fits[place]:
        return TOO_BIG
    batch = BATCHES[j]
    return measurement(
        prefill=phase(
            float(cells.prefill_s[place]),
            float(cells.prefill_j[place]),
            gpu=GPUS[g],
            tokens=float(cells.prompt_tokens[place]),
            padded_tokens=float(cells.prompt_tokens[place]),
        ),
        decode=phase(
            float(cells.decode_s[place]),
            float(cells.decode_j[place]),
            gpu=GPUS[g],
            tokens=float(cells.output_tokens[place]),
            padded_tokens=float(cells.output_tokens[place]),
        ),
        batch_size=batch,
    )
