"""How much reading one upload may cost: the one policy that every reader of foreign bytes keeps to."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 2**20


@dataclass(frozen=True)
class ReadingLimits:
    """What reading one upload may cost. Each field is the variable ``HOPE_READING_`` + its name in capitals.

    Attributes:
        memory_mb: most memory (MiB) that the child which reads one upload may take above what it holds when idle,
            dcm2niix included.
        seconds: longest time (s) that reading one upload may take.
        expanded_mb: most bytes (MiB) that one upload may become, all of its compressions together (zip, gzip, deflated
            and compressed DICOM). ``HOPE_MAX_UNPACKED_MB`` bounds it too.
        expanded_free_mb: bytes (MiB) that an upload may become however small it is; beyond them
            ``expanded_ratio`` holds.
        expanded_ratio: how many times its own size an upload may become.
        written_mb: most bytes (MiB) that may lie in the directory of one upload while it is read.
        files: most entries of one archive.
        voxels: most voxels of one image: rows x columns x frames x files of a DICOM series.
        elements: most DICOM elements that are looked at in one upload.
        parsed_elements: most DICOM elements of one upload that are turned into values.
        children: uploads that one gateway process reads at once.
        children_per_session: how many of these may be of one session; always fewer than ``children``.
    """

    memory_mb: int = 960
    seconds: float = 300.0
    expanded_mb: int = 8192
    expanded_free_mb: int = 256
    expanded_ratio: int = 200
    written_mb: int = 16384
    files: int = 50_000
    voxels: int = 300_000_000
    elements: int = 20_000_000
    parsed_elements: int = 1_000_000
    children: int = 3
    children_per_session: int = 1

    @property
    def session_children(self) -> int:
        """How many uploads of one session are read at once: never all, unless there is one slot alone."""
        return max(1, min(self.children_per_session, self.children - 1))

    def expanded_bytes(self, upload_bytes: int | None) -> int:
        """Most bytes that an upload of this size may become; of an unknown size if None."""
        most = self.expanded_mb * MIB
        if upload_bytes is None:
            return most
        return min(most, max(self.expanded_free_mb * MIB, self.expanded_ratio * upload_bytes))


DEFAULT_LIMITS = ReadingLimits()
"""What the command line keeps to, and the platform unless told otherwise."""

CASE_LIMITS = replace(DEFAULT_LIMITS, expanded_mb=32_768, elements=100_000_000, parsed_elements=5_000_000)
"""What one case may cost where its owner reads it in a process of their own (`hope segment`, `hope.segment`).

A case is four scans, and a folder may hold a whole examination (100,000 DICOM files need 5 million parsed elements),
so the counts are larger than an upload's. Memory counts for each scan alone: those that were read are held by right.
"""
