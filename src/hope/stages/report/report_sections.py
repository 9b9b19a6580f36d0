"""What the report is written with: tables, and figures, hashes and names for a person. All of it gives HTML text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from hope.domain.case import SEQUENCES

SHORT_HASH: Final = 12
TIMES: Final = " \u00d7 "
NOTHING: Final = '<span class="soft">none</span>'
HEAD_STATES: Final = {"full": "whole head", "defaced": "defaced head", "brain": "brain only"}


@dataclass(frozen=True)
class Column:
    """A table's column: its heading and whether it holds figures."""

    heading: str
    number: bool = False


def html_table(caption: str, columns: Iterable[Column], rows: Iterable[str]) -> str:
    """Build a table that scrolls by itself on a narrow screen; ``rows`` are HTML already."""
    heads = "".join(
        f'<th scope="col"{" class=" + chr(34) + "number" + chr(34) if column.number else ""}>'
        f"{escape(column.heading)}</th>"
        for column in columns
    )
    name = escape(caption)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>\n<caption>{name}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def signed(value: float) -> str:
    """Write a change with its sign; what rounds to nothing has none."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "\u2212")


def short_hash(sha256: object) -> str:
    """Start of a hash, the whole of it on hover."""
    text = escape(str(sha256 or ""))
    return f'<code title="{text}">{text[:SHORT_HASH]}</code>' if text else NOTHING


def in_bytes(size_bytes: int) -> str:
    """Bytes for a person."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"


def spacing_words(spacing_mm: object) -> str:
    """Spacing for a person: one number where the voxels are cubes."""
    if isinstance(spacing_mm, (int, float)):
        return f"{spacing_mm:g} mm voxels"
    if isinstance(spacing_mm, Sequence) and not isinstance(spacing_mm, str) and spacing_mm:
        sides = [f"{float(side):g}" for side in spacing_mm]
        return (sides[0] if len(set(sides)) == 1 else TIMES.join(sides)) + " mm voxels"
    return "spacing not recorded"


def head_words(state: object) -> str:
    """Say in words what of the head is shown."""
    return escape(HEAD_STATES.get(str(state), str(state or "head state not recorded")))


def sequence_title(name: str) -> str:
    """Name a sequence for a person; unknown names as they are."""
    return next((f"{s.value} ({s.title})" for s in SEQUENCES if s.value == name), name)
