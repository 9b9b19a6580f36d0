"""Where each sequence of a case comes from: a file, a DICOM series that the caller named, or an identified one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.identity import NOBODY, Identity
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume
from hope.domain.wording import counted
from hope.formats.archive import extract_zip, is_zip
from hope.formats.dicom import DicomSeries, convert_series, dicom_files, is_dicom, read_series
from hope.formats.names import is_nifti_name
from hope.formats.nifti import NiftiFacts, read_scan
from hope.formats.reading import reading
from hope.formats.series import read_all, read_tags
from hope.formats.series_choice import choose_series, selection
from hope.stages.intake.burned_in import header_flags
from hope.stages.intake.case_finding import CaseSource, find_cases
from hope.stages.intake.quality import compare_pair
from hope.stages.intake.sources import left_out_flags
from hope.stages.intake.studies import mixed, nothing_to_read, studies_in

NAMED = "named by the caller"
"""The reason of a scan that the user named by a flag or put into a slot."""


@dataclass(frozen=True)
class Found:
    """Where one sequence comes from.

    Attributes:
        origin: a NIfTI file or a DICOM series.
        confidence: that it is this sequence, from 0 to 1.
        reason: why, in words without a name.
        flags: remarks on the archive that it came in; of all sequences from one archive only one carries them.
        marked: whose it is, by marks that were kept of it.
    """

    origin: Path | DicomSeries
    confidence: float
    reason: str
    flags: tuple[QCFlag, ...] = ()
    marked: Identity = NOBODY

    @property
    def identity(self) -> Identity:
        """Whose it is: of a DICOM series by its headers, else by what was kept of them."""
        return self.origin.identity if isinstance(self.origin, DicomSeries) else self.marked


@dataclass(frozen=True)
class Resolved:
    """Where the sequences of a case come from.

    Attributes:
        found: sequence -> its origin.
        selection: every DICOM series that was looked at: what it shows, what it was taken as, and why or why not.
        flags: what was left out or is uncertain, for the whole case.
    """

    found: Mapping[MRSequence, Found]
    selection: tuple[Mapping[str, object], ...] = ()
    flags: tuple[QCFlag, ...] = ()


def resolve(source: CaseSource, scratch: Path) -> dict[MRSequence, Found]:
    """Give each sequence of a case its file or DICOM series, as `resolve_all` without what was not taken."""
    return dict(resolve_all(source, scratch).found)


def resolve_all(source: CaseSource, scratch: Path) -> Resolved:
    """Give each sequence of a case its file or DICOM series.

    Raises:
        AmbiguousInputError: if a series could be more than one sequence.
        InputError: for an archive, directory or file that cannot be read or be what it was given as.
    """
    found: dict[MRSequence, Found] = {}
    for sequence in (s for s in SEQUENCES if s in source.files):
        identified = source.sources.get(sequence, {})
        with reading(sequence):
            origin = _origin(source.files[sequence], scratch, sequence)
        confidence, reason = identified.get("confidence", 1.0), identified.get("reason", NAMED)
        whose = Identity.of_marks(identified.get("whose"))
        found[sequence] = Found(origin, float(str(confidence)), str(reason), marked=whose)
    if source.dicom is None:
        return Resolved(found, flags=tuple(_series_flags(found)))
    with reading("the input"):
        zipped = source.dicom.is_file()
    root = extract_zip(source.dicom, scratch / "unpacked") if zipped else source.dicom
    if zipped and not any(True for _ in dicom_files(root)):
        both = _resolve_zipped_nifti(root, source.files, scratch) | found
        return Resolved(both, flags=tuple(_series_flags(both)))
    return _resolve_dicom(source, root, found, scratch, zipped)


def _resolve_dicom(
    source: CaseSource, root: Path, found: dict[MRSequence, Found], scratch: Path, zipped: bool
) -> Resolved:
    """Look for the sequences that are not named in the series under a directory."""
    studies = studies_in(root)
    if len(studies.wanted) > 1 and not source.series:
        raise mixed(studies, "the DICOM input")
    if not studies.wanted:
        raise nothing_to_read(studies.left_out) or InputError(
            "no DICOM images found", expected="a directory or zip of one MRI study"
        )
    named = {f.origin.uid for f in found.values() if isinstance(f.origin, DicomSeries)}
    series = [s for group in studies.wanted for s in group if s.uid not in named]
    if source.series:
        series = [s for s in series if s.uid in source.series]
    wanted = [s for s in SEQUENCES if s not in found]
    choices = choose_series(series, wanted, lambda one, two: _enhancement(one, two, scratch))
    if not choices and not found:
        seen = sorted({reading.reason for reading in read_all(series)})
        raise InputError(
            "no t1n, t1c, t2w or t2f series was found in the DICOM input",
            got="; ".join(seen[:4]),
            fix="name the series by flags",
        )
    found |= {s: Found(c.series, c.confidence, c.reason) for s, c in choices.items()}
    flags = [*(left_out_flags(studies.left_out) if zipped else ()), *_series_flags(found)]
    flags += _derived_flags(series, [s for s in wanted if s not in choices])
    return Resolved(found, tuple(selection(series, choices)), tuple(flags))


def unsettled(source: CaseSource) -> list[dict[str, object]]:
    """The DICOM series of a case as `hope.formats.series_choice.selection` lists them, before any is chosen.

    Args:
        source: a case; of one that is no DICOM directory the list is empty.
    """
    if source.dicom is None or not source.dicom.is_dir():
        return []
    series = [s for group in studies_in(source.dicom).wanted for s in group]
    return selection([s for s in series if not source.series or s.uid in source.series], {})


def _derived_flags(series: Sequence[DicomSeries], missing: Sequence[MRSequence]) -> list[QCFlag]:
    """Say of a missing sequence that a derived series could stand in for it, and how."""
    kinds = {MRSequence.T1N: "t1", MRSequence.T1C: "t1", MRSequence.T2W: "t2", MRSequence.T2F: "t2f"}
    flags = []
    for sequence in missing:
        numbers = [str(r.series.number) for r in read_all(series) if r.would_be == kinds[sequence]]
        if numbers:
            reason = (
                f"{sequence} is missing, and series {', '.join(numbers)} may be one that is derived from it; "
                f"to use it all the same: --{sequence} DIRECTORY#{numbers[0]}"
            )
            flags.append(QCFlag("derived_series", Severity.INFO, reason, sequence))
    return flags


def _series_flags(found: Mapping[MRSequence, Found]) -> list[QCFlag]:
    """What the user should know about the series that were taken, whether named or found."""
    return [
        QCFlag("series_note", Severity.WARNING, f"{sequence}: {note}", sequence)
        for sequence, one in found.items()
        if isinstance(one.origin, DicomSeries)
        for note in one.origin.notes
    ]


def overlay_flags(found: Mapping[MRSequence, Found]) -> list[QCFlag]:
    """Say of which DICOM series an overlay was left out, and which state that text is burned into their pixels."""
    flags = []
    for sequence, one in found.items():
        if isinstance(one.origin, DicomSeries):
            frames = one.origin.frames
            if note := one.origin.overlay_note:
                flags.append(QCFlag("overlay_left_out", Severity.INFO, f"{sequence}: {note}", sequence))
            flags += header_flags(sequence, sum(frame.burned_in for frame in frames), len(frames))
    return flags


def read_found(found: Found, scratch: Path, sequence: MRSequence) -> tuple[Volume, NiftiFacts]:
    """Read one sequence as float32, finite, in file order (RAS+ world).

    Raises:
        InputError: as `hope.formats.nifti.read_scan` and `hope.formats.dicom.convert_series`.
    """
    if isinstance(found.origin, DicomSeries):
        return convert_series(found.origin, scratch, sequence)
    return read_scan(found.origin, sequence)


def _resolve_zipped_nifti(root: Path, named: Mapping[MRSequence, Path], scratch: Path) -> dict[MRSequence, Found]:
    """Give the sequences that the caller has not named their files in an unpacked zip."""
    try:
        inside = find_cases([root], named)
    except InputError as problem:
        # A file within an archive cannot be named by a flag.
        fix = "unpack the zip archive, then name its scans by flags such as --t1c FILE"
        raise type(problem)(problem.what, expected=problem.expected, got=problem.got, fix=fix) from problem
    if len(inside) != 1:
        raise InputError(
            "the zip archive holds several cases", expected="one", got=str(len(inside)), fix="give one zip per case"
        )
    (case,) = inside
    if case.dicom is not None:
        raise InputError("the zip archive holds another archive", expected="scans", fix="unpack it first")
    found = resolve(replace(case, files={s: path for s, path in case.files.items() if s not in named}), scratch)
    for first in list(found)[:1]:
        found[first] = replace(found[first], flags=case.flags)
    return found


def _origin(path: Path, scratch: Path, sequence: MRSequence) -> Path | DicomSeries:
    number: int | None = None
    if not path.exists() and "#" in path.name and path.name.rpartition("#")[2].isdigit():
        folder, _, digits = path.name.rpartition("#")
        path, number = path.with_name(folder), int(digits)
    if is_nifti_name(path) and not path.is_dir():
        return path
    if path.is_dir():
        return _one_series(path, number, sequence)
    if is_zip(path):
        return _one_series(extract_zip(path, scratch / f"unpacked-{sequence}"), number, sequence)
    if path.is_file() and is_dicom(path):
        return next((s for s in read_series(path.parent) if path in s.files), path)
    return path  # whatever it is, the NIfTI reader says best what is wrong with it


def _one_series(directory: Path, number: int | None, sequence: MRSequence) -> Path | DicomSeries:
    if not any(True for _ in dicom_files(directory)):
        scans = [f for f in sorted(directory.iterdir()) if f.is_file() and is_nifti_name(f)]
        if len(scans) == 1:
            return scans[0]
        got = f"{counted(len(scans), 'NIfTI files')} and no DICOM"
        raise InputError(
            f"--{sequence} was given a directory",
            expected="one with one DICOM series",
            got=got,
            fix="give the file itself",
        )
    series = [s for s in read_series(directory) if number is None or s.number == number]
    if len(series) == 1:
        return series[0]
    if not series:
        raise InputError(f"--{sequence}: the DICOM directory has no series {number}", fix="check the series number")
    listed = ", ".join(read_tags(s).label for s in series[:6])
    raise AmbiguousInputError(
        f"--{sequence} was given a directory with {len(series)} DICOM series: {listed}",
        expected="one series",
        fix=f"append its number, such as --{sequence} DIRECTORY#NUMBER",
    )


def _enhancement(one: DicomSeries, two: DicomSeries, scratch: Path) -> float:
    try:
        first, _ = convert_series(one, scratch, "t1")
        second, _ = convert_series(two, scratch, "t1")
    except InputError:
        return 0.0  # no evidence from images that cannot be read: the caller asks the user instead
    return compare_pair(first, second).asymmetry
