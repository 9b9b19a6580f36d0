"""What a run's files say of it: the figures of each phase, and their curves in one picture."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hope.domain.errors import InputError
from hope.formats.atomic import atomic_output
from hope.training.loop import LOSSES
from hope.training.pictures import draw_progress
from hope.training.steps import LOG

Row = dict[str, Any]
_REGIONS = ("WT", "TC", "ET")
_RECENT = 250
"""Steps over which the loss is averaged, as in the log."""


def runs_in(folder: Path) -> list[Path]:
    """The run in a folder, or the runs of its phases in their order.

    Raises:
        InputError: if there is none.
    """
    found = [path for path in (folder, *sorted(folder.glob("*/"))) if (path / LOSSES).is_file()]
    if not found:
        raise InputError("the folder holds no training run", expected=f"{LOSSES} in it or in its folders", got="none")
    return found


def table_of(folder: Path) -> list[Row]:
    """One row a run: phase, steps, hours, recent loss, and Dice on synthetic and on unseen real cases.

    Raises:
        InputError: if there is no run, or its log is damaged.
    """
    rows = []
    for run in runs_in(folder):
        losses = [float(line) for line in (run / LOSSES).read_text(encoding="ascii").splitlines()]
        entries = _entries(run)
        last = entries[-1] if entries else {}
        recent = losses[-_RECENT:]
        row: Row = {
            "phase": run.name,
            "step": len(losses),
            "hours": round(last["seconds"] / last["step"] * len(losses) / 3600, 2) if last else None,
            "loss": round(sum(recent) / len(recent), 4) if recent else None,
            "figures of step": last.get("step"),
        }
        for title, kind in (("synthetic", "hold_out_dice"), ("unseen", "unseen_dice")):
            dice = last.get(kind, {})
            for name in (*_REGIONS, *sorted(set(dice) - set(_REGIONS))):
                row[f"{title} {name}"] = dice.get(name)
        rows.append(row)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in columns} for row in rows]


def _entries(run: Path) -> list[Row]:
    path = run / LOG
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise InputError(f"{LOG} of {run.name} is damaged", fix="cut off its last line") from error


def draw_curves(folder: Path, to: Path) -> None:
    """Draw the curves of every run in a folder below each other, each with its name.

    Args:
        folder: of a run or of a schedule.
        to: the PNG; nothing is drawn before the first figures are there.

    Raises:
        OutputError: if it cannot be written.
    """
    pictures = []
    for run in runs_in(folder):
        if not _entries(run):
            continue
        one = to.with_suffix(".part.png")
        try:
            draw_progress(run / LOG, one)
            picture = Image.open(BytesIO(one.read_bytes())).convert("RGB")
        finally:
            one.unlink(missing_ok=True)
        ImageDraw.Draw(picture).text(
            (picture.width - 8, 8), run.name, fill=(32, 36, 44), font=ImageFont.load_default(14), anchor="ra"
        )
        pictures.append(picture)
    if not pictures:
        return
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), (255, 255, 255))
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    with atomic_output(to) as stream:
        whole.save(stream, "PNG")
