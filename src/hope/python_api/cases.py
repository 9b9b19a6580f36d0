"""What a Python program points at, as one case: found, and read if asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from hope.domain.case import SEQUENCES, MRSequence, UploadedCase
from hope.domain.errors import InputError
from hope.domain.progress import Progress
from hope.domain.qc import QCFlag
from hope.domain.volume import Volume
from hope.domain.wording import counted
from hope.formats.private_directory import private_directory
from hope.python_api.images import ImageLike, as_file
from hope.python_api.progress import ProgressLike, listener
from hope.stages.intake.case_finding import find_all
from hope.stages.intake.intake import load_case
from hope.stages.intake.sources import CaseSource

CaseLike: TypeAlias = "str | os.PathLike[str] | Case"
"""A case directory (BraTS or BIDS names), a DICOM directory or zip, or a `Case` that was read."""


@dataclass(frozen=True)
class Case:
    """The scans of one case, read and checked.

    Attributes:
        case_id: a name that carries no identity.
        scans: sequence (``t1n``, ``t1c``, ``t2w``, ``t2f``) -> volume on its own grid, float32, finite, RAS+ mm.
        reference: the sequence whose grid will carry the labels.
        preprocessed: the scans share one atlas grid already and need no registration.
        qc: remarks: code, severity (info, caution, warning) and a sentence.
        sources: per sequence how it was identified: ``{"confidence": ..., "reason": ...}``.
    """

    case_id: str
    scans: Mapping[MRSequence, Volume]
    reference: MRSequence
    preprocessed: bool
    qc: tuple[QCFlag, ...]
    sources: Mapping[MRSequence, Mapping[str, object]]
    uploaded: UploadedCase = field(repr=False)

    def __repr__(self) -> str:
        """One line: name, sequences with their shapes, how many remarks."""
        scans = ", ".join(f"{s} {'x'.join(map(str, v.grid.shape))}" for s, v in self.scans.items())
        return f"<hope.Case {self.case_id}: {scans}; {counted(len(self.qc), 'remarks')}>"


def read_case(
    case: CaseLike | None = None,
    *,
    t1n: ImageLike | None = None,
    t1c: ImageLike | None = None,
    t2w: ImageLike | None = None,
    t2f: ImageLike | None = None,
    preprocessed: bool | None = None,
    progress: ProgressLike = None,
) -> Case:
    """Find and read the scans of one case, and check them. Nothing is computed and nothing stays on disk.

    Args:
        case: a case directory, a DICOM directory or zip; leave it out if all scans are named.
        t1n: the native T1; a path, a nibabel or SimpleITK image, or a `hope.Volume`. Likewise the other three.
        t1c: the T1 with contrast.
        t2w: the T2.
        t2f: the FLAIR.
        preprocessed: True if the scans are in atlas space already; None: they decide.
        progress: see `hope.segment`.

    Raises:
        InputError: if the scans cannot be used, or the input holds several cases.
        AmbiguousInputError: if it cannot be told which scan is which.
    """
    named = {MRSequence.T1N: t1n, MRSequence.T1C: t1c, MRSequence.T2W: t2w, MRSequence.T2F: t2f}
    with listener(progress) as report, case_of(case, named, preprocessed, report) as found:
        if isinstance(found, UploadedCase):
            uploaded = found
        else:
            with private_directory() as scratch:
                uploaded = load_case(found, preprocessed=preprocessed, scratch=scratch, progress=report)
    return Case(
        uploaded.case_id,
        uploaded.scans,
        uploaded.reference,
        uploaded.preprocessed,
        uploaded.flags,
        uploaded.sources,
        uploaded,
    )


@contextmanager
def case_of(
    case: object,
    named: Mapping[MRSequence, ImageLike | None],
    preprocessed: bool | None,
    progress: Progress,
) -> Iterator[CaseSource | UploadedCase]:
    """The one case that the arguments of a call mean, as long as the block runs.

    Args:
        case: see `CaseLike`; None where all scans are named.
        named: sequence -> scan, None where none was given.
        preprocessed: as the caller said.
        progress: called with what is being done.

    Raises:
        InputError: if it is no case, or several.
    """
    given = {sequence: named[sequence] for sequence in SEQUENCES if named[sequence] is not None}
    if isinstance(case, Case):
        if given:
            raise InputError("a case that was read takes no further scans", fix="name them in hope.read_case")
        if preprocessed is not None and preprocessed != case.preprocessed:
            state = "preprocessed" if case.preprocessed else "raw"
            raise InputError(
                "the case was read otherwise", got=f"read as {state}", fix="say preprocessed in hope.read_case"
            )
        yield case.uploaded
        return
    if case is not None and not isinstance(case, str | os.PathLike):
        got = f"a {type(case).__module__}.{type(case).__qualname__}"
        expected = "a path or a hope.Case"
        raise InputError("the case cannot be used", expected=expected, got=got, fix="name single images: t1c=image")
    with private_directory() as folder:
        progress("intake: look for the scans", 0.0)
        files = {s: as_file(image, folder, str(s)) for s, image in given.items() if image is not None}
        inputs = [] if case is None else [as_file(case, folder, "case")]
        sources = find_all(inputs, files).sources
        if len(sources) != 1:
            names = ", ".join(source.case_id for source in sources[:5]) + (", ..." if len(sources) > 5 else "")
            raise InputError(
                "the input holds several cases",
                expected="one",
                got=f"{len(sources)} ({names})",
                fix="call it for the directory of each case",
            )
        yield sources[0]
