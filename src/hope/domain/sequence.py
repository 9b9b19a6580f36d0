"""The four sequences, in a module of their own: the command line names them before numpy is there."""

from __future__ import annotations

from enum import StrEnum


class MRSequence(StrEnum):
    """The four sequences, by their BraTS 2023+ names; the order is that of the channels."""

    T1N = "t1n"
    T1C = "t1c"
    T2W = "t2w"
    T2F = "t2f"

    @property
    def title(self) -> str:  # type: ignore[override]
        """What a person reads."""
        return _TITLES[self]

    @property
    def hint(self) -> str:
        """How a person knows it."""
        return _HINTS[self]


_TITLES = {
    MRSequence.T1N: "T1 native",
    MRSequence.T1C: "T1 with contrast",
    MRSequence.T2W: "T2",
    MRSequence.T2F: "T2 FLAIR",
}

_HINTS = {
    MRSequence.T1N: "T1-weighted, before contrast agent",
    MRSequence.T1C: "T1-weighted, after contrast agent (gadolinium)",
    MRSequence.T2W: "T2-weighted; fluid is bright",
    MRSequence.T2F: "T2 FLAIR; fluid is dark, oedema is bright",
}

SEQUENCES: tuple[MRSequence, ...] = tuple(MRSequence)
