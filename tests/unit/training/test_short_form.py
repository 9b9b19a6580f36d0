"""The starter's recipe in short: a small network, a minute of steps on synthesis alone, and it must beat chance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hope.domain.labels import REGIONS, surely_in
from hope.domain.progress import silent
from hope.training import loop
from hope.training.config import RECIPES
from hope.training.loop import HOLD_OUT_SEED, start, train
from hope.training.pool import make_sample
from hope.training.steps import LOG
from hope.training.stored import Sample

SHORT = replace(
    RECIPES["starter"],
    steps=60,
    patch=(48, 48, 48),
    widths=(8, 16, 32),
    blocks=(1, 1, 1),
    decoder_blocks=(1, 1),
    first_cases=3,
    new_cases_per_step=0.0,
    held_out=2,
    calibration_cases=0,
)


def chance(region: str, samples: list[Sample]) -> float:
    """Mean Dice on the samples of the better of two blind answers: the whole brain, or the right number anywhere."""
    scores = []
    rng = np.random.default_rng(0)
    for images, sets in samples:
        brain, truth = (images != 0).any(axis=0), surely_in(sets, REGIONS[region])
        if truth.any():
            thrown = rng.permutation(truth[brain])
            scores.append(
                max(
                    2 * truth.sum() / (truth.sum() + brain.sum()),
                    2 * (thrown & truth[brain]).sum() / (2 * truth.sum()),
                )
            )
    return float(np.mean(scores))


@pytest.mark.slow
def test_a_short_training_beats_chance_on_cases_it_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [make_sample(HOLD_OUT_SEED, index) for index in range(SHORT.held_out)]
    monkeypatch.setattr(loop, "make_sample", lambda seed, index: {HOLD_OUT_SEED: samples}[seed][index])
    train(start(SHORT), SHORT, tmp_path, silent)
    last = json.loads((tmp_path / LOG).read_text().splitlines()[-1])
    assert last["step"] == SHORT.steps
    # The parts of a tumour take longer; a run of 200 such steps does not tell them apart yet either.
    assert last["hold_out_dice"]["WT"] > 2 * chance("WT", samples), last
