"""The scans in an uploaded zip, each as a clean NIfTI file, with its sequence where that is certain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.grid import Grid
from hope.domain.progress import Progress
from hope.domain.qc import Severity
from hope.domain.wording import counted
from hope.formats.archive import extract_zip
from hope.formats.dicom import DicomSeries, convert_series, converted_file, dicom_files
from hope.formats.names import is_label_name, is_nifti_name, read_name
from hope.formats.nifti_clean import clean_nifti
from hope.formats.series import SeriesReading, read_all
from hope.formats.series_choice import SeriesChoice, choose_series
from hope.stages.intake.case_finding import CaseSource, find_cases
from hope.stages.intake.quality import compare_pair
from hope.stages.intake.sources import left_out_flags
from hope.stages.intake.studies import mixed, nothing_to_read, studies_in

MAX_SERIES = 12
"""Most series that are offered; a study with more candidates has to be sorted before."""

_COMPARED_VOXELS = 64_000_000
_CHOOSE = "choose below which is which"
_PLANES = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}
_UNREADABLE = 0.6
"""A reading of "other" with less confidence than this says that nothing is known, not that it is something else."""


def series_in_archive(
    archive: Path, scratch: Path, out: Path, max_bytes: int, progress: Progress, key: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """Find and convert the scans of one case.

    Args:
        archive: a zip of DICOM files, or of NIfTI files.
        scratch: directory to unpack and convert in.
        out: where the scans go, as ``t1c.nii`` where certain and ``series-1.nii`` where not.
        max_bytes: most that the archive, and each scan, may unpack to.
        progress: called for each scan.
        key: of the marks that say whose DICOM scans are, so that those of one case can be compared; none if empty.

    Returns:
        facts of each scan (key, sequence, file, shape, spacing_mm, orientation, warnings, confidence, reason, whose,
            and whether it was dicom), and one
        sentence on what is not certain, else empty.

    Raises:
        InputError: if the archive is unusable or holds no scan.
    """
    progress("archive: unpack", 0.0)
    root = extract_zip(archive, scratch / "unpacked", max_bytes)
    finder = _Finder(scratch, out, max_bytes, progress, key)
    if any(True for _ in dicom_files(root)):
        return finder.dicom(root)
    return finder.nifti(root)


def series_in_study(
    study: Path, scratch: Path, out: Path, max_bytes: int, progress: Progress, key: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """Find and convert the scans in a directory of DICOM files; as `series_in_archive`."""
    return _Finder(scratch, out, max_bytes, progress, key).dicom(study)


@dataclass
class _Finder:
    scratch: Path
    out: Path
    max_bytes: int
    progress: Progress
    key: str = ""
    problems: list[str] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)

    def dicom(self, root: Path) -> tuple[list[dict[str, Any]], str]:
        """Scans of a DICOM study."""
        self.progress("archive: read the series", 0.1)
        studies = studies_in(root)
        if not studies.wanted:
            raise nothing_to_read(studies.left_out) or InputError("the archive holds no DICOM images")
        if len(studies.wanted) > 1:
            problem = mixed(studies, "the archive")
            raise InputError(problem.what, expected="one study", fix="zip and send one study at a time")
        found = list(studies.wanted[0])
        self.problems += [flag.reason for flag in left_out_flags(studies.left_out) if flag.severity != Severity.INFO]
        readings = read_all(found)
        candidates = [r for r in readings if r.weighting != "other" or r.confidence < _UNREADABLE]
        if not candidates:
            seen = "; ".join(sorted({r.reason for r in readings})[:4])
            raise InputError("the archive holds no series that could be t1n, t1c, t2w or t2f", got=seen)
        choices = self._choices(found)
        chosen = {choice.series.uid: choice for choice in choices}
        # Certain ones first, then the finest: if there are too many, the least useful ones are left out.
        candidates.sort(key=lambda r: (r.series.uid not in chosen, r.series.coarsest_mm))
        if len(candidates) > MAX_SERIES:
            self.problems.append(f"{len(candidates) - MAX_SERIES} more series were left out")
        for number, reading in enumerate(candidates[:MAX_SERIES]):
            self.progress("archive: convert the series", 0.2 + 0.8 * number / min(len(candidates), MAX_SERIES))
            self._convert(reading, chosen.get(reading.series.uid))
        return self._listed()

    def nifti(self, root: Path) -> tuple[list[dict[str, Any]], str]:
        """Scans of a zip without any DICOM."""
        files = list(_nifti_files(root))
        if not files:
            raise InputError(
                "the archive holds no scan", expected="the DICOM files of one study, or NIfTI files of one case"
            )
        case = self._named_case(root)
        if case is None:
            if len(files) > MAX_SERIES:
                got = counted(len(files), "NIfTI files")
                raise InputError(
                    "the archive holds more than one case's scans", expected=f"at most {MAX_SERIES}", got=got
                )
            said = [read_name(path) for path in files]
            for number, (path, name) in enumerate(zip(files, said, strict=True)):
                self.progress("archive: read the scans", 0.2 + 0.8 * number / len(files))
                alone = name and not name.bare_t1 and sum(1 for n in said if n and n.sequence is name.sequence) == 1
                if name and alone:
                    self._admit(path, name.sequence, name.confidence, name.reason)
                else:
                    self._admit(path, None, 0.0, "the name of the file does not say which sequence it is")
        else:
            for sequence, path in case.files.items():
                known = case.sources.get(sequence, {})
                confidence, reason = known.get("confidence", 1.0), str(known.get("reason", ""))
                self._admit(path, sequence, float(str(confidence)), reason)
        return self._listed()

    def _named_case(self, root: Path) -> CaseSource | None:
        """The case whose sequences the file names tell; None if they do not tell all of them."""
        try:
            cases = find_cases([root], {})
        except InputError as error:
            self.problems.append(f"{error.what}: {_CHOOSE}")
            return None
        if len(cases) != 1:
            fix = "make one zip for each case"
            raise InputError("the archive holds several cases", expected="one", got=str(len(cases)), fix=fix)
        if cases[0].dicom is not None:
            raise InputError("the archive holds another archive", expected="scans", fix="unpack it first")
        return cases[0]

    def _choices(self, found: Sequence[DicomSeries]) -> list[SeriesChoice]:
        """Choose for one sequence at a time: what is unclear about one must not hold up the others."""
        choices: list[SeriesChoice] = []
        cautions: dict[str, None] = {}
        gains: dict[tuple[str, str], float] = {}

        def enhancement(one: DicomSeries, two: DicomSeries) -> float:
            pair = one.uid, two.uid
            if pair not in gains:
                gains[pair] = self._enhancement(one, two)
            return gains[pair]

        for sequence in SEQUENCES:
            try:
                choices += choose_series(found, [sequence], enhancement).values()
            except AmbiguousInputError as error:
                cautions[error.what] = None
        self.problems += [f"{caution}: {_CHOOSE}" for caution in cautions]
        return choices

    def _enhancement(self, one: DicomSeries, two: DicomSeries) -> float:
        if max(sum(frame.pixels for frame in series.frames) for series in (one, two)) > _COMPARED_VOXELS:
            return 0.0  # both do not fit into memory
        try:
            first, _ = convert_series(one, self.scratch, "t1")
            second, _ = convert_series(two, self.scratch, "t1")
        except InputError:
            return 0.0  # no evidence from images that cannot be read: the user is asked instead
        return compare_pair(first, second).asymmetry

    def _convert(self, reading: SeriesReading, choice: SeriesChoice | None) -> None:
        name = str(choice.sequence) if choice else _number(reading.series)
        try:
            with converted_file(reading.series, self.scratch, name.replace(" ", "-")) as (path, grid):
                why = choice.reason.partition(": ")[2] if choice else reading.reason
                reason = f"{_plane(grid)}, {reading.label}: {why}"
                confidence = choice.confidence if choice else reading.confidence
                stated = sum(frame.burned_in for frame in reading.series.frames)
                text = "by its DICOM headers, text is burned into its pixels, which may be a name" if stated else ""
                notes = [note for note in (*reading.series.notes, reading.series.overlay_note, text) if note]
                whose = reading.series.identity.marks(self.key) if self.key else {}
                self._admit(path, choice.sequence if choice else None, confidence, reason, notes, whose)
        except InputError as error:
            self.problems.append(f"{reading.label} was left out: {error.what}")

    def _admit(
        self,
        path: Path,
        sequence: MRSequence | None,
        confidence: float,
        reason: str,
        notes: Sequence[str] = (),
        whose: Mapping[str, str] | None = None,
    ) -> None:
        """Clean one scan into ``out``; one that cannot be used is named as a problem, and the others go on.

        ``whose`` is given of DICOM scans alone.
        """
        key = str(sequence) if sequence else f"series-{1 + sum(1 for s in self.series if s['sequence'] is None)}"
        target = self.out / f"{key}.nii"
        try:
            facts = dict(clean_nifti(path, target, key, self.max_bytes).facts())
        except InputError as error:
            target.unlink(missing_ok=True)
            self.problems.append(error.what)
            return
        facts["warnings"] = [*facts["warnings"], *(f"{key}: {note}." for note in notes)]
        assigned = str(sequence) if sequence else None
        known = {"key": key, "sequence": assigned, "file": target.name, "confidence": round(confidence, 2)}
        self.series.append({**known, **facts, "reason": reason, "dicom": whose is not None, "whose": whose or None})

    def _listed(self) -> tuple[list[dict[str, Any]], str]:
        problem = "; ".join(self.problems)
        if not self.series:
            raise InputError(problem or "the archive holds no scan that can be used")
        return self.series, problem


def _nifti_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(root).parts)
        if path.is_file() and not hidden and is_nifti_name(path) and not is_label_name(path):
            yield path


def _number(series: DicomSeries) -> str:
    return "an unnumbered series" if series.number is None else f"series {series.number}"


def _plane(grid: Grid) -> str:
    """In which plane the slices lie: the axis with the widest spacing is the one across them."""
    spacing = grid.spacing_mm
    across = max(range(3), key=lambda axis: (round(spacing[axis], 1), axis))
    return _PLANES[grid.orientation[across]]
