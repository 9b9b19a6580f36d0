"""The atlas comes from the pinned package, sits upright on the BraTS grid, and starts nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hope.domain.errors import StageError
from hope.domain.grid import ATLAS_GRID
from hope.formats import atlas


def test_all_volumes_lie_on_the_atlas_grid() -> None:
    tissue = atlas.atlas_tissue()

    assert atlas.atlas_t1().grid == ATLAS_GRID
    assert set(tissue) == {"gm", "wm", "brain"}
    assert all(volume.grid == ATLAS_GRID for volume in tissue.values())
    assert atlas.atlas_t1().data.dtype == np.float32
    assert tissue["brain"].data.dtype == np.bool_
    for name in ("gm", "wm"):
        assert 0.0 <= float(tissue[name].data.min()) < 0.01
        assert 0.9 < float(tissue[name].data.max()) <= 1.0


def test_the_brain_has_an_adult_volume_and_holds_the_tissue() -> None:
    tissue = atlas.atlas_tissue()
    volume_ml = tissue["brain"].data.sum() * ATLAS_GRID.voxel_volume_ml

    assert 1300 < volume_ml < 1600
    assert (tissue["wm"].data > 0.5)[~tissue["brain"].data].sum() == 0


def test_the_brain_sits_upright_in_the_sri24_frame() -> None:
    brain = atlas.atlas_brain()
    world = ATLAS_GRID.to_world(np.argwhere(brain.data))

    # Middle of the brain of the BraTS grid: x 120 voxels from either side, about y 104 and z 76.
    assert np.abs(world.mean(axis=0) - [-119.0, 104.0, 76.0]).max() < 3.0
    # Occiput wider than forehead would be a front-back flip: the cerebellum is low and behind.
    low = world[world[:, 2] < 25]
    assert low[:, 1].mean() < world[:, 1].mean() - 15


def test_the_atlas_is_shared_and_read_only() -> None:
    assert atlas.atlas_t1() is atlas.atlas_t1()
    with pytest.raises(ValueError, match="read-only"):
        atlas.atlas_t1().data[0, 0, 0] = 1.0


def test_a_missing_template_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "find_spec", lambda name: None)
    atlas.atlas_t1.cache_clear()
    try:
        with pytest.raises(StageError, match="atlas template is missing"):
            atlas.atlas_t1()
    finally:
        atlas.atlas_t1.cache_clear()


def test_reading_the_atlas_imports_neither_nilearn_nor_torch() -> None:
    code = "import sys; import hope.formats.atlas as a; a.atlas_t1(); print({'nilearn', 'torch'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "set()"
