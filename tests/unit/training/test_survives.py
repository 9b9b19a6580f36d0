"""A run that is killed at any moment goes on exactly: its losses are those of a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hope.domain.labels import label_set
from hope.training.loop import LOSSES
from hope.training.stored import RING, write_sample

STEPS = int(os.environ.get("HOPE_SURVIVES_STEPS", "60"))
KILLS = int(os.environ.get("HOPE_SURVIVES_KILLS", "2"))
"""`make campaigns` takes 200 steps and five kills."""

PROGRAM = """
import sys
from pathlib import Path
import hope.training.loop as loop
import hope.training.steps as steps_module
from hope.domain.progress import silent
from hope.training.config import TrainingConfig
from hope.training.stored import RING

steps_module.CHECKPOINT_SECONDS = 0.3
loop.use_threads(1)
folder, cases, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
config = TrainingConfig(
    steps=steps, batch=1, patch=(16, 16, 16), tile=(16, 16, 16), widths=(4, 8), blocks=(1, 1), decoder_blocks=(1,),
    real_share=1.0, seed=5, held_out=0, calibration_cases=0, look_every=10_000,
)
there = (folder / "checkpoint.pt").is_file()
state, config = loop.load_checkpoint(folder) if there else (loop.start(config), config)
loop.train(state, config, folder, silent, {RING: sorted(cases.glob("*.npz"))})
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    folder = tmp_path / "cases"
    folder.mkdir()
    for number in range(3):
        rng = np.random.default_rng(number)
        images = rng.normal(0, 1, (4, 20, 22, 18)).astype(np.float16)
        sets = (1 << rng.integers(0, 5, images.shape[1:])).astype(np.uint8)
        sets[:4] = label_set(2, 3)
        write_sample(folder / f"{number}-00-{RING}.npz", (images, sets))
    return folder


def begin(folder: Path, cases: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(cases), str(STEPS)])


def steps_done(folder: Path) -> int:
    path = folder / LOSSES
    return len(path.read_text().splitlines()) if path.is_file() else 0


def test_killed_at_random_moments_it_ends_with_the_same_losses(cases: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert begin(whole, cases).wait(300) == 0
    undisturbed = (whole / LOSSES).read_text()
    assert len(undisturbed.splitlines()) == STEPS
    chance = random.Random(7)
    for at in sorted(chance.sample(range(5, STEPS - 15), KILLS)):
        run = begin(broken, cases)
        deadline = time.monotonic() + 200
        while steps_done(broken) < at and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        assert run.wait(30) == -signal.SIGKILL, "it was still at work when it was killed"
    assert begin(broken, cases).wait(300) == 0
    assert (broken / LOSSES).read_text() == undisturbed
