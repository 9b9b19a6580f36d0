"""Where one case lies, and how directories and contents are looked at before anything of them is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hope.domain.case import MRSequence
from hope.domain.errors import InputError
from hope.domain.identity import Identity
from hope.domain.qc import QCFlag, Severity
from hope.domain.wording import counted
from hope.formats.dicom import dicom_files
from hope.formats.reading import missing_content
from hope.stages.intake.studies import GRAVE

FETCH = "fetch the content (datalad get, git annex get, git lfs pull)"
"""What to do about links to content that was not fetched."""

OTHER_FORMATS = (
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".mgz",
    ".mgh",
    ".mnc",
    ".img",
    ".hdr",
    ".nii.bz2",
    ".nii.zst",
    ".par",
)
"""Ends of the names of images that are not read."""

UNREAD_FORMAT = "images in a format that is not read"


@dataclass(frozen=True)
class CaseSource:
    """Where one case lies, before anything of it is read.

    Attributes:
        case_id: a name that carries no identity, unique within the batch.
        files: sequence -> NIfTI file, or one DICOM series: a directory, a zip, one of its files, or
            ``DIRECTORY#SERIES_NUMBER`` where a directory holds several.
        dicom: a DICOM directory, or a zip of DICOM or NIfTI files, in which the other sequences are looked for.
        sources: per sequence found by its file name ``{"confidence": ..., "reason": ...}``; none if named. Of one that
            was taken out of DICOM before, ``whose`` may hold the marks of its identity.
        flags: remarks so far.
        problem: why this case of a batch cannot be read; `load_case` raises it.
        series: the series of the DICOM directory that are this case's, by their uid; all if empty.
        identities: whose series they are, for comparing within one search.
    """

    case_id: str
    files: Mapping[MRSequence, Path]
    dicom: Path | None = None
    sources: Mapping[MRSequence, Mapping[str, object]] = field(default_factory=dict)
    flags: tuple[QCFlag, ...] = ()
    problem: InputError | None = None
    series: frozenset[str] = frozenset()
    identities: tuple[Identity, ...] = field(default=(), repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and directories that the scans are in."""
        given = (*self.files.values(), *((self.dicom,) if self.dicom else ()))
        return tuple(p if p.exists() else p.with_name(p.name.rpartition("#")[0] or p.name) for p in given)


def left_out_flags(left_out: Mapping[str, int]) -> list[QCFlag]:
    """One flag for each reason why something was left out."""
    return [
        QCFlag(
            "left_out", Severity.WARNING if reason in GRAVE else Severity.INFO, f"left out: {counted(count, reason)}"
        )
        for reason, count in left_out.items()
    ]


def entries_of(directory: Path) -> list[Path]:
    """What lies in a directory, without hidden entries, sorted.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            "a directory cannot be read", got=error.strerror or "an error", fix="check its permissions"
        ) from error


def fingerprint(paths: Iterable[Path]) -> str:
    """``case-`` and eight hex digits of the content's hash, whatever the files are called."""
    digests = []
    for path in paths:
        for file in dicom_files(path) if path.is_dir() else [path]:
            if file.is_file() and not missing_content(file):
                # All of it: uncompressed scans of two people may share a long run of zeros at the start.
                with file.open("rb") as stream:
                    digests.append(hashlib.file_digest(stream, "sha256").digest())
    return "case-" + hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:8]
