"""A harmonized case that was made to do harm is refused as an input, and takes no memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hope.domain.case import AlignedCase, HarmonizedCase, HeadState, MRSequence
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.endpoint import bodies
from hope.formats import stage_io

GRID = Grid((4, 5, 6), np.eye(4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A case whose images are all empty, which is the least a file can hold."""
    images = {s: Volume(np.zeros(GRID.shape, np.float32), GRID) for s in MRSequence}
    still = {s: Transform(np.eye(4)) for s in images}
    brain = Volume(np.zeros(GRID.shape, bool), GRID)
    aligned = AlignedCase("c", images, brain, HeadState.BRAIN, GRID, MRSequence.T1C, still)
    stage_io.save_aligned(aligned, tmp_path)
    stage_io.save_harmonized(HarmonizedCase(aligned, images), tmp_path)
    return tmp_path


def test_an_ordinary_case_is_let_through(folder: Path) -> None:
    bodies._check_stage_input(folder)
    stage_io.load_harmonized(folder, stage_io.load_aligned(folder))


def claims_a_tebibyte(folder: Path) -> None:
    with (folder / "aligned-t1c.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**38,)})


def entry(**change: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        facts = json.loads((folder / "aligned.json").read_bytes())
        facts["images"]["t1c"].update(change)
        (folder / "aligned.json").write_text(json.dumps(facts))

    return write


def text(content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "aligned.json").write_text(content) and None


@pytest.mark.parametrize(
    "harm",
    [
        claims_a_tebibyte,
        entry(dtype="V2000000000"),
        entry(dtype="O"),
        entry(shape=[float("inf"), 1, 1]),
        entry(shape=[2**40, 1, 1]),
        entry(shape=[-4, 5, 6]),
        entry(file="../aligned-t1c.npy"),
        text("[" * 100_000),
        text("7"),
    ],
    ids=["tebibyte", "wide", "objects", "infinite", "huge", "negative", "climbs", "deep", "number"],
)
def test_a_harmful_case_is_the_callers_fault(
    harm: Callable[[Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_predictor", lambda model: None)
    harm(folder)
    with pytest.raises(InputError, match="cannot be read"):
        bodies._prediction({"in": folder, "out": folder, "model": "starter"}, silent)
