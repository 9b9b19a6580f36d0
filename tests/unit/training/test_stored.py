"""Cases on disk: what is written is read, whatever the network cannot see is not kept, damage is said."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from hope.domain.errors import InputError
from hope.domain.labels import CC, ED, ET, NET, label_set
from hope.training.stored import NON_ENHANCING, RING, TUMOUR_FREE, core_kind, read_sample, write_sample

BACKGROUND = label_set(0)


def test_a_case_survives_the_disk_within_half_a_step(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = np.zeros((4, 20, 22, 18), np.float16)
    images[:, 3:17, 4:18, 2:15] = rng.normal(0, 1.5, (4, 14, 14, 13)).astype(np.float16)
    images[2, 5, 5, 5] = 0.0
    sets = np.full(images.shape[1:], BACKGROUND, np.uint8)
    sets[5:9, 6:9, 4:8] = label_set(NET, CC)
    write_sample(tmp_path / "case.npz", (images, sets))
    again, labels = read_sample(tmp_path / "case.npz")
    assert again.shape == (4, 14, 14, 13), "cropped to the brain"
    assert labels.shape == (14, 14, 13)
    original = images[:, 3:17, 4:18, 2:15].astype(np.float32)
    inside = np.clip(original, -4, 8.65)
    assert np.abs(again.astype(np.float32) - inside).max() <= 0.5 * 0.05 + 0.004  # half a step, and half precision
    assert ((again != 0) | (original == 0)).all(), "a voxel of the brain never reads as outside"
    assert (labels == label_set(NET, CC)).sum() == 4 * 3 * 4
    assert [path.name for path in tmp_path.iterdir()] == ["case.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"garbage"])
def test_a_damaged_file_is_said_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "000007.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"000007\.npz .* damaged"):
        read_sample(tmp_path / "000007.npz")


@pytest.mark.parametrize(
    ("enhancing", "core", "oedema", "kind"),
    [
        (10, 0, 50, RING),
        (4, 6, 0, RING),
        (3, 7, 20, NON_ENHANCING),
        (0, 10, 0, NON_ENHANCING),
        (0, 0, 9, NON_ENHANCING),
        (0, 0, 0, TUMOUR_FREE),
    ],
)
def test_the_kind_of_a_core(enhancing: int, core: int, oedema: int, kind: str) -> None:
    sets = np.full(100, BACKGROUND, np.uint8)
    sets[:enhancing] = label_set(ET)
    sets[enhancing : enhancing + core] = label_set(NET, CC)
    sets[enhancing + core : enhancing + core + oedema] = label_set(ED)
    assert core_kind(sets.reshape(10, 10, 1)) == kind


def test_two_runs_may_write_one_case_at_one_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds share their synthetic cases: the second writer once found the first one's temporary file gone."""
    images = np.zeros((4, 3, 3, 3), np.float16)
    images[:, 1, 1, 1] = 1
    sets = np.full((3, 3, 3), label_set(0), np.uint8)
    path, savez, depth = tmp_path / "case.npz", np.savez, []

    def meanwhile(stream: BinaryIO, **arrays: np.ndarray) -> None:
        if not depth:
            depth.append(1)
            write_sample(path, (images, sets))
        savez(stream, **arrays)

    monkeypatch.setattr(np, "savez", meanwhile)
    write_sample(path, (images, sets))
    assert depth and [entry.name for entry in tmp_path.iterdir()] == ["case.npz"]
    assert (read_sample(path)[1] == label_set(0)).all()
