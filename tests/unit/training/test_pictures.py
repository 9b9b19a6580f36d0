"""Pictures of a training run: seen by eye once, held here by what must be where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from hope.domain.labels import PEDS, label_set
from hope.training.pictures import draw_examples, draw_progress


def test_the_lines_end_where_the_log_ends(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    entries = [{"step": s, "loss": 2.0 / s, "hold_out_dice": {"WT": 0.5, "TC": 1.0}} for s in (1, 2, 4)]
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    draw_progress(log, tmp_path / "p.png")
    picture = np.asarray(Image.open(tmp_path / "p.png")).astype(int)

    def has(colour: tuple[int, int, int], x: int, y: int) -> bool:
        near = picture[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3)
        return bool((np.abs(near - colour).max(axis=1) < 12).any())

    right, top, height = 56 + 760, 34, 360
    assert has((176, 137, 0), right, top + height // 2)
    assert has((0, 114, 178), right, top)
    assert has((90, 96, 106), right, top + height * 3 // 4)
    assert not has((213, 94, 0), right, top + height // 2)


def test_an_empty_log_draws_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").touch()
    draw_progress(tmp_path / "log.jsonl", tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_the_patients_left_is_on_the_right_and_the_front_on_top(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 10, 6), dtype=np.float16)
    truth = np.full((8, 10, 6), label_set(0), dtype=np.uint8)
    truth[0, 9, 3] = label_set(1)  # RAS: leftmost and foremost
    nothing = np.zeros_like(truth)
    draw_examples([(images, truth)], [nothing], tmp_path / "e.png")
    picture = np.asarray(Image.open(tmp_path / "e.png"))[::2, ::2].astype(int)
    assert picture.shape == (10, 6 * 8, 3)
    colour = next(label.colour for label in PEDS.labels if label.value == 1)
    orange = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    grey = picture[5, 0]
    assert np.abs(picture[0, 4 * 8 + 7] - (grey + orange) / 2).max() <= 1
    assert (picture[:, 5 * 8 :] == grey).all()
