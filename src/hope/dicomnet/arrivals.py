"""What is known of a study that comes in: which series came, over which associations, and why it is not whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ABORTED: Final = "an association ended before all was sent"
REFUSED: Final = "an image of it could not be stored"
RESTARTED: Final = "hope ended while it came in"


@dataclass
class Sent:
    """Series of a study of which one association sent images: those that were stored, and those that could not be."""

    stored: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


@dataclass
class Arrival:
    """A study that comes in.

    Attributes:
        series: series -> names of its files.
        expected: series -> images that it has, where the headers tell it.
        open: associations that sent images of it and have not ended -> what they sent.
        held: series -> why it is not whole.
        last: when something of it came last, by the monotonic clock.
    """

    last: float
    series: dict[str, set[str]] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    open: dict[int, Sent] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)

    def fault(self) -> str:
        """Why it is not whole, empty if it looks whole."""
        if self.held:
            return next(iter(self.held.values()))
        for series, count in self.expected.items():
            if len(self.series.get(series, ())) < count:
                return f"{len(self.series.get(series, ()))} of {count} images of a series came"
        return ""

    def ended(self, association: int, *, released: bool, well: bool) -> bool:
        """Note the end of an association.

        Args:
            association: which.
            released: it ended by a release, not by an abort or a lost connection.
            well: it was released, and nothing that it sent was unreadable.

        Returns:
            whether it sent images of this study.
        """
        sent = self.open.pop(association, None)
        if sent is None:
            return False
        for series in sent.stored | sent.refused:
            if well and series not in sent.refused:
                self.held.pop(series, None)
            else:
                self.held[series] = REFUSED if released else ABORTED
        return True
