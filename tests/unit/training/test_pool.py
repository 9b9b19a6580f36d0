"""The pool: made once on disk, drawn by step alone, real cases by kind, and shared by runs with equal settings."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hope.training.pool as pool_module
from hope.domain.labels import CC, label_set
from hope.synthesis.variety import Variety
from hope.training.config import TrainingConfig
from hope.training.pool import CasePool, make_sample
from hope.training.stored import NON_ENHANCING, RING, TUMOUR_FREE, Sample, write_sample

CONFIG = TrainingConfig(seed=3, first_cases=4, new_cases_per_step=0.5, window=6, most_cases=9)


def marked(number: int, tumour: bool = True) -> Sample:
    """A case that can be told by its size."""
    images = np.ones((4, 8 + number, 8, 8), np.float16)
    sets = np.full(images.shape[1:], label_set(0), np.uint8)
    if tumour:
        sets[2:4, 2:4, 2:4] = label_set(1)
    return images, sets


@pytest.fixture
def real(tmp_path: Path) -> dict[str, list[Path]]:
    """Five rings, one core without enhancement, two tumour-free brains."""
    kinds = {RING: range(5), NON_ENHANCING: range(5, 6), TUMOUR_FREE: range(6, 8)}
    files: dict[str, list[Path]] = {}
    for kind, numbers in kinds.items():
        for number in numbers:
            path = tmp_path / f"{number}-00-{kind}.npz"
            write_sample(path, marked(number, kind != TUMOUR_FREE))
            files.setdefault(kind, []).append(path)
    return files


def test_what_a_step_may_draw_from_depends_on_the_step_alone(tmp_path: Path) -> None:
    with CasePool(CONFIG, tmp_path) as pool:
        assert [pool.span(step) for step in (0, 2, 6, 10, 1000)] == [(0, 4), (0, 5), (1, 7), (3, 9), (3, 9)]


def test_shares_are_kept_and_rare_cores_come_as_often_as_rings(
    real: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CasePool, "_synthetic", lambda *_: marked(20, tumour=False))
    config = replace(CONFIG, real_share=0.4, tumour_free_share=0.1, transplant_share=0.2)
    with CasePool(config, tmp_path / "pool", real) as pool:
        drawn = Counter()
        transplants = 0
        for step in range(600):
            images, sets = pool.draw(step, np.random.default_rng(step))
            size = images.shape[1] - 8
            tumour = bool((sets != label_set(0)).any())
            kind = "synthetic" if size == 20 else RING if size < 5 else NON_ENHANCING if size == 5 else TUMOUR_FREE
            moved = tumour and kind in ("synthetic", TUMOUR_FREE)
            transplants += moved
            drawn[kind] += not moved
    assert 0.15 < drawn[RING] / 600 < 0.3
    assert 0.15 < drawn[NON_ENHANCING] / 600 < 0.3, "one such case, drawn as often as five rings together"
    assert 0.05 < drawn[TUMOUR_FREE] / 600 < 0.25
    assert transplants > 30


def test_cases_with_cysts_may_come_oftener(tmp_path: Path) -> None:
    """One of six cases has a cyst: half of the draws want one, and the other half find it as often as any."""
    pool = CasePool(replace(CONFIG, cyst_share=0.5, first_cases=6, new_cases_per_step=0), tmp_path)
    pool.folder.mkdir(parents=True)
    for number in range(6):
        images, sets = marked(number)
        if number == 2:
            sets[5:7, 5:7, 5:7] = label_set(CC)
        write_sample(pool.folder / f"{number:06d}.npz", (images, sets))
    with pool:
        drawn = Counter(pool.draw(0, np.random.default_rng(step))[0].shape[1] - 8 for step in range(300))
        assert 0.5 < drawn[2] / 300 < 0.67
        assert set(drawn) == set(range(6))
    with CasePool(replace(pool.config, cyst_share=0), tmp_path) as even:
        drawn = Counter(even.draw(0, np.random.default_rng(step))[0].shape[1] - 8 for step in range(300))
        assert drawn[2] / 300 < 0.3


def test_cases_are_made_once_and_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with CasePool(CONFIG, tmp_path) as pool:
        first = pool.newest(0, 2)
    (_, (stored, labels)) = first
    images, sets = make_sample(CONFIG.seed, 3)
    assert (stored != 0).any(axis=0).sum() == (images != 0).any(axis=0).sum(), "what synthesis gives, cropped"
    assert [(labels == 1 << value).sum() for value in range(1, 5)] == [(sets == 1 << v).sum() for v in range(1, 5)]
    made = sorted(pool.folder.glob("*.npz"))
    times = [path.stat().st_mtime_ns for path in made]
    other = CasePool(replace(CONFIG, steps=99, learning_rate=1.0), tmp_path)
    assert other.folder == pool.folder, "settings that do not change the cases share them"
    for changed in (replace(CONFIG, seed=4), replace(CONFIG, variety=Variety())):
        assert CasePool(changed, tmp_path).folder != pool.folder
    monkeypatch.setattr(pool_module, "_make_and_write", None)  # nothing may be made again
    with other:
        again = other.newest(0, 2)
    for (images, sets), (images_again, sets_again) in zip(first, again, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(sets, sets_again)
    assert [path.stat().st_mtime_ns for path in made] == times
