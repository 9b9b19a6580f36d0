"""What a finished run keeps of its limits, and when it forgets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import hope.training.limits as limits
from hope.domain.errors import InputError
from hope.domain.progress import silent
from hope.models.networks import build_network
from hope.models.out_of_distribution import OUT_OF_DISTRIBUTION
from hope.training.config import RECIPES, TrainingConfig, config_of_recipe, continued
from hope.training.intervals import LEAST_CASES
from hope.training.pool import CasePool
from hope.training.stored import RING, Sample, write_sample

CONFIG = TrainingConfig(
    steps=1,
    patch=(16, 16, 16),
    tile=(16, 16, 16),
    widths=(4, 8),
    blocks=(1, 1),
    decoder_blocks=(1,),
    real_share=1.0,
    held_out=0,
    calibration_cases=LEAST_CASES,
)


def a_sample(number: int) -> Sample:
    rng = np.random.default_rng(number)
    images = rng.standard_normal((4, 18, 20, 16)).astype(np.float16)
    images[:, :2] = images[:, -2:] = 0
    return images, (1 << rng.integers(0, 5, images.shape[1:])).astype(np.uint8)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> CasePool:
    """Of ready cases; the other series' are made without another process."""
    monkeypatch.setattr(CasePool, "others", lambda _, seed, cases: iter([a_sample(seed + n) for n in range(cases)]))
    folder = tmp_path_factory.mktemp("cases")
    paths = [folder / f"{number}-00-{RING}.npz" for number in range(95)]
    for number, path in enumerate(paths):
        write_sample(path, a_sample(number))
    return CasePool(CONFIG, folder / "pool", {RING: paths})


def test_both_files_are_written_once_and_forgotten_before_more_training(pool: CasePool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("UNet", CONFIG.network_arguments())
    with pool:
        limits.write_limits(network, pool, CONFIG, tmp_path, silent)
        assert json.loads((tmp_path / OUT_OF_DISTRIBUTION).read_text())["cases"] == 95
        rule = limits.read_intervals(tmp_path)
        assert rule is not None
        assert rule.cases == LEAST_CASES
        for name in (OUT_OF_DISTRIBUTION, limits.INTERVALS):
            (tmp_path / name).write_text("kept")
        limits.write_limits(network, pool, CONFIG, tmp_path, silent)
        assert (tmp_path / OUT_OF_DISTRIBUTION).read_text() == "kept"
        limits.forget_limits(tmp_path)
        assert not list(tmp_path.iterdir())
        limits.forget_limits(tmp_path)
        limits.write_limits(network, pool, replace(CONFIG, calibration_cases=LEAST_CASES - 1), tmp_path, silent)
        assert [path.name for path in tmp_path.iterdir()] == [OUT_OF_DISTRIBUTION]


def test_a_trial_that_goes_on_calibrates_like_a_whole_run() -> None:
    trial = config_of_recipe("starter", 100, None, None, "peds", [])
    assert trial.calibration_cases < LEAST_CASES
    assert continued(trial, [], 2400).calibration_cases == RECIPES["starter"].calibration_cases


@pytest.mark.parametrize(
    ("name", "read"),
    [(OUT_OF_DISTRIBUTION, limits.read_out_of_distribution), (limits.INTERVALS, limits.read_intervals)],
)
def test_damaged_limits_of_a_run_say_what_to_do(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    assert read(tmp_path) is None
    (tmp_path / name).write_text("{")
    with pytest.raises(InputError, match="cannot be read") as refusal:
        read(tmp_path)
    assert refusal.value.fix == "delete it and add --resume"
