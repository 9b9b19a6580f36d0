"""Pictures of a run, drawn with Pillow: how loss and held-out Dice went, and what held-out cases look like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hope.domain.labels import PEDS, first_of_sets
from hope.formats.atomic import atomic_output

PROGRESS, EXAMPLES = "progress.png", "examples.png"

_INK, _FAINT, _PAPER = (32, 36, 44), (196, 202, 210), (255, 255, 255)
_LINES = {"loss": (90, 96, 106), "WT": (176, 137, 0), "TC": (0, 114, 178), "ET": (213, 94, 0)}
_PLOT, _EDGE, _TOP = (760, 360), 56, 34
_LIGHT, _WIDTH, _ZOOM = (-2.0, 3.0), 3, 2
"""z-scores shown as black and white, the width of a line in pixels, and pixels per voxel."""


def draw_progress(log: Path, to: Path) -> None:
    """Draw the lines of a run's ``log.jsonl``: held-out Dice from 0 to 1 against steps, and the loss beside it.

    Thick lines are synthetic cases, thin ones real cases that the run does not train on.

    Args:
        log: the run's log; a log without entries draws nothing.
        to: the PNG.

    Raises:
        OutputError: if it cannot be written.
    """
    entries: list[dict[str, Any]] = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    if not entries:
        return
    picture = Image.new("RGB", (_PLOT[0] + 2 * _EDGE, _PLOT[1] + _EDGE + _TOP), _PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    last, most = max(entry["step"] for entry in entries), max(1.0, *(float(entry["loss"]) for entry in entries))
    for tenth in range(0, 11, 2):
        y = _TOP + _PLOT[1] * (1 - tenth / 10)
        draw.line([(_EDGE, y), (_EDGE + _PLOT[0], y)], fill=_FAINT)
        draw.text((_EDGE - 8, y), f"{tenth / 10:.1f}", fill=_INK, font=font, anchor="rm")
    for quarter in range(5):
        x = _EDGE + _PLOT[0] * quarter / 4
        draw.text((x, _TOP + _PLOT[1] + 8), f"{last * quarter // 4}", fill=_INK, font=font, anchor="mt")
    draw.text((_EDGE + _PLOT[0], _TOP + _PLOT[1] + 28), "step", fill=_INK, font=font, anchor="rt")
    for place, (name, colour) in enumerate(_LINES.items()):
        text = f"loss / {most:.2g}" if name == "loss" else f"Dice {name}"
        draw.text((_EDGE + 120 * place, 8), text, fill=colour, font=font)
        for kind, width in (("hold_out_dice", _WIDTH), ("unseen_dice", 1)):
            points = [
                (_EDGE + _PLOT[0] * entry["step"] / last, _TOP + _PLOT[1] * (1 - value))
                for entry in entries
                if (value := _value(entry, kind, name, most)) is not None
            ]
            if len(points) > 1:
                draw.line(points, fill=colour, width=width, joint="curve")
            for x, y in points:
                draw.ellipse((x - width, y - width, x + width, y + width), fill=colour)
    with atomic_output(to) as stream:
        picture.save(stream, "PNG")


def _value(entry: dict[str, Any], kind: str, name: str, most: float) -> float | None:
    """Where a line passes, 0 to 1; None where the log says nothing."""
    if name == "loss":
        return float(entry["loss"]) / most if kind == "hold_out_dice" else None
    dice: float | None = entry.get(kind, {}).get(name)
    return dice


def draw_examples(
    samples: Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]],
    predictions: Sequence[npt.NDArray[np.uint8]],
    to: Path,
) -> None:
    """Draw one row per case: the four sequences, the truth and the answer, in the axial slice with most tumour.

    Radiological convention: the patient's left is on the viewer's right.

    Args:
        samples: z-scored images (4, i, j, k) and bit sets of peds labels (i, j, k), RAS; none draws nothing.
        predictions: peds labels (i, j, k) of a network.
        to: the PNG.

    Raises:
        OutputError: if it cannot be written.
    """
    if not samples:
        return
    colours = np.zeros((5, 3), dtype=np.float32)
    for label in PEDS.labels:
        colours[label.value] = [int(label.colour[i : i + 2], 16) for i in (1, 3, 5)]
    rows = []
    for (images, sets), prediction in zip(samples, predictions, strict=True):
        truth = first_of_sets(sets)
        either = (truth > 0) | (prediction > 0)
        level = int(either.sum(axis=(0, 1)).argmax()) if either.any() else truth.shape[2] // 2
        low, high = _LIGHT
        grey = np.clip((images[..., level].astype(np.float32) - low) / (high - low), 0, 1) * 255
        shown = [np.repeat(image[..., None], 3, axis=-1) for image in grey]
        for labels in (truth[..., level], prediction[..., level]):
            shown.append(np.where((labels > 0)[..., None], 0.5 * shown[3] + 0.5 * colours[labels], shown[3]))
        # Columns run from the patient's right (RAS begins at the left, so it is turned), rows from the front.
        rows.append(np.concatenate([panel[::-1, ::-1].swapaxes(0, 1) for panel in shown], axis=1))
    with atomic_output(to) as stream:
        whole = Image.fromarray(np.concatenate(rows, axis=0).astype(np.uint8))
        whole.resize((whole.width * _ZOOM, whole.height * _ZOOM), Image.Resampling.NEAREST).save(stream, "PNG")
