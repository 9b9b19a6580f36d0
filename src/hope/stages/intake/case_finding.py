"""From what the user points at to the list of cases in it. Looks at names and headers, never at voxels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError
from hope.domain.identity import Identity
from hope.domain.qc import QCFlag, Severity
from hope.domain.wording import counted
from hope.formats.archive import is_zip
from hope.formats.dicom import is_dicom
from hope.formats.dicom_files import walk_files
from hope.formats.dicom_series import DicomSeries
from hope.formats.names import NO_ANATOMY, is_label_name, is_nifti_name, public_case_name, read_name
from hope.formats.reading import reading
from hope.stages.intake.nifti_cases import count_others, nifti_cases
from hope.stages.intake.sources import (
    FETCH,
    OTHER_FORMATS,
    UNREAD_FORMAT,
    CaseSource,
    entries_of,
    fingerprint,
    left_out_flags,
)
from hope.stages.intake.studies import Studies, is_enough, listed, mixed, nothing_to_read, studies_in

__all__ = ["CaseSource", "FoundCases", "find_all", "find_cases"]

MAX_DEPTH = 8
"""Directories nested deeper than this are not searched."""

_UNREADABLE = "case-unreadable"
_FLAGS = " ".join(f"--{s} FILE" for s in SEQUENCES)
_TOO_DEEP = f"directories nested deeper than {MAX_DEPTH}"
_EMPTY_DIRECTORY = "empty directories (a DataLad dataset that was not fetched looks like this)"


@dataclass(frozen=True)
class FoundCases:
    """The cases in the inputs, and what belongs to none of them: in words without a name, and how many of it."""

    sources: list[CaseSource]
    skipped: Mapping[str, int]


def find_cases(inputs: Sequence[Path], named: Mapping[MRSequence, Path]) -> list[CaseSource]:
    """Find every case in the inputs, as `find_all`, without what belongs to none."""
    return find_all(inputs, named).sources


def find_all(inputs: Sequence[Path], named: Mapping[MRSequence, Path]) -> FoundCases:
    """Find every case in the inputs.

    A case keeps its directory's or files' name only where that follows a pattern of de-identified research data
    (BraTS, TCGA, ``sub-01``, ``synth-0001``: see `hope.formats.names.public_case_name`); any other name may be a
    person's and becomes ``case-`` and the first eight hex digits of a hash of the files' content. Equal names get
    ``-2``, ``-3``. What `hope segment` wrote is passed over, and so is what `hope preprocess` wrote, unless the input
    holds nothing else. A directory that links lead to more than once is looked at once.

    Args:
        inputs: case directories (NIfTI), directories of case directories, DICOM directories, or zip archives.
        named: scans named by the caller for one case; each replaces what the input would give for that sequence.

    Raises:
        InputError: if an input does not exist, holds no scan, or the only case in it cannot be read or told apart. Of
            several cases, such a one carries the error as its ``problem``.
    """
    if named and len(inputs) > 1:
        raise InputError(
            "scans were named for one case but several inputs were given", expected="one input", got=str(len(inputs))
        )
    if not inputs and not named:
        raise InputError(
            "no input was given",
            expected="a case directory, a DICOM directory or zip",
            fix=f"or name the scans: {_FLAGS}",
        )
    found: list[CaseSource] = []
    skipped: Counter[str] = Counter()
    for number, path in enumerate(inputs, start=1):
        found += _at(path, named, f"input {number}" if len(inputs) > 1 else "the input", skipped)
    if not inputs:
        with reading("a named scan"):
            found = [CaseSource(_public_name(list(named.values())) or fingerprint(named.values()), dict(named))]
    if named and len(found) != 1:
        raise InputError(
            "scans were named for one case but the input holds several", expected="one case", got=str(len(found))
        )
    if len(found) == 1 and found[0].problem:
        raise found[0].problem
    return FoundCases(_with_unique_ids(found), dict(skipped))


def _at(path: Path, named: Mapping[MRSequence, Path], what: str, skipped: Counter[str]) -> list[CaseSource]:
    with reading(what):
        if path.is_symlink() and not path.exists():
            raise InputError(f"{what} is a link to content that was not fetched", fix=FETCH)
        if not path.exists():
            raise InputError(f"{what}: no such file or directory", fix="check the path")
        if path.is_file() and path.name.upper() == "DICOMDIR":
            path = path.parent
        if path.is_dir():
            for outputs in (False, True):
                search = _Search(named, outputs)
                if found := search.child(path, 0):
                    skipped.update(search.skipped)
                    return found
            got = ", ".join(counted(count, reason) for reason, count in search.skipped.items())
            expected = "NIfTI files named as BraTS or BIDS name them, or DICOM files"
            raise InputError(f"{what} holds no scan", expected=expected, got=got, fix=f"or name the scans: {_FLAGS}")
        if is_zip(path):
            return [CaseSource(public_case_name(path.stem) or fingerprint([path]), dict(named), path)]
        if path.stat().st_size == 0:
            raise InputError(
                f"{what} is an empty file", expected="a directory or a zip archive", fix="copy or export it again"
            )
    fix = f"name each scan by its flag: {_FLAGS}"
    raise InputError(f"{what} is a single file", expected="a directory or a zip archive", fix=fix)


@dataclass
class _Search:
    """One look through an input.

    Attributes:
        named: scans that the caller named.
        outputs: what `hope preprocess` wrote is taken as an input.
        skipped: what belongs to no case.
        visited: directories and archives seen, links resolved.
    """

    named: Mapping[MRSequence, Path]
    outputs: bool = False
    skipped: Counter[str] = field(default_factory=Counter)
    visited: set[Path] = field(default_factory=set)

    def child(self, entry: Path, depth: int) -> list[CaseSource]:
        """The cases in a directory or a zip; one that cannot be read is a case with a problem, and the others go on."""
        try:
            with reading("a directory or a file in it"):
                if entry.is_symlink() and not entry.exists():
                    raise InputError("a directory or a file is a link to content that was not fetched", fix=FETCH)
                if entry.is_dir():
                    # A directory that the user names is taken for what it is; below it our outputs are passed over.
                    if depth > 0 and (_is_result(entry) or (not self.outputs and _is_prepared(entry))):
                        return []
                    return self._in_directory(entry, depth) if self._first_visit(entry) else []
                if entry.suffix.lower() == ".zip" and is_zip(entry):
                    return _at(entry, self.named, "the archive", self.skipped) if self._first_visit(entry) else []
                if entry.name.lower().endswith(OTHER_FORMATS):
                    self.skipped[UNREAD_FORMAT] += 1
        except InputError as problem:
            return [CaseSource(public_case_name(entry.name.removesuffix(".zip")) or _UNREADABLE, {}, problem=problem)]
        return []

    def _first_visit(self, entry: Path) -> bool:
        resolved = entry.resolve()
        if resolved in self.visited:
            return False
        self.visited.add(resolved)
        return True

    def _in_directory(self, directory: Path, depth: int) -> list[CaseSource]:
        if others := depth > 0 and count_others(directory):
            self.skipped["scans that are none of the four sequences, in directories of their own"] += others
        elif cases := nifti_cases(directory, self.named):
            return cases
        entries = entries_of(directory)
        if any(is_dicom(entry) for entry in entries if entry.is_file() and entry.name.upper() != "DICOMDIR"):
            return self._dicom_cases(directory)
        if not entries and depth > 0:
            self.skipped[_EMPTY_DIRECTORY] += 1
        if depth >= MAX_DEPTH:
            if any(entry.is_dir() for entry in entries):
                self.skipped[_TOO_DEEP] += 1
            return []
        inside: list[CaseSource] = []
        for entry in entries:
            if entry.name not in NO_ANATOMY and not _is_text(entry):
                inside += self.child(entry, depth + 1)
        troubled = [source for source in inside if source.problem and source.dicom is None]
        rest = [source for source in inside if not source.problem or source.dicom is not None]
        if not rest or (troubled and len(rest) == 1) or any(s.dicom is None or s.dicom.is_file() for s in rest):
            return inside
        if len({source.dicom for source in rest}) == len(rest) > 1 and _all_differ([s.identities for s in rest]):
            return inside
        return [*self._dicom_cases(directory), *troubled]

    def _dicom_cases(self, directory: Path) -> list[CaseSource]:
        """The cases that the DICOM files under a directory make up: one for each patient and day."""
        studies = studies_in(directory)
        name = public_case_name(directory.name) or fingerprint([directory])
        if not studies.wanted:
            problem = nothing_to_read(studies.left_out)
            return [CaseSource(name, {}, directory, problem=problem)] if problem else []
        converted = sum(is_nifti_name(path) and not is_label_name(path) for path in walk_files(directory))
        left_out = {**studies.left_out, **({"NIfTI files beside the DICOM files": converted} if converted else {})}
        flags = tuple(left_out_flags(left_out))
        whole = CaseSource(name, dict(self.named), directory, flags=flags, identities=_identities(studies))
        if len(studies.wanted) == 1:
            return [replace(whole, series=frozenset(s.uid for s in studies.wanted[0]))]
        if self.named or not all(is_enough(group) for group in studies.wanted):
            return [replace(whole, problem=mixed(studies, "the DICOM directory"))]
        return [self._one_of_several(whole, group, len(studies.wanted)) for group in studies.wanted]

    def _one_of_several(self, whole: CaseSource, group: Sequence[DicomSeries], count: int) -> CaseSource:
        name = public_case_name(whole.dicom.name) if whole.dicom else ""
        name = name or fingerprint(file for series in group for file in series.files)
        reason = f"one of {count} examinations in the directory, of different patients or days: {listed(group)}"
        flag = QCFlag("examinations_parted", Severity.INFO, reason)
        series = frozenset(series.uid for series in group)
        return replace(whole, case_id=name, series=series, flags=(*whole.flags, flag), identities=(group[0].identity,))


def _identities(studies: Studies) -> tuple[Identity, ...]:
    return tuple(group[0].identity for group in studies.wanted)


def _all_differ(groups: Sequence[Sequence[Identity]]) -> bool:
    """Whether no examination of one directory can be one of another."""
    return all(
        one.differs(two)
        for i, first in enumerate(groups)
        for second in groups[i + 1 :]
        for one in first
        for two in second
    )


def _is_text(entry: Path) -> bool:
    """Whether a broken link cannot have been a scan."""
    return entry.suffix.lower() in (".json", ".txt", ".tsv", ".csv", ".md", ".bval", ".bvec", ".pdf", ".html")


def _is_result(entry: Path) -> bool:
    """Whether this is a case directory that `hope segment` wrote; other programs, too, call a file result.json."""
    return (entry / "result.json").is_file() and any(f.name.endswith("-seg-atlas.nii.gz") for f in entries_of(entry))


def _is_prepared(entry: Path) -> bool:
    """Whether `hope preprocess` or `hope harmonize` wrote this directory."""
    return any((entry / name).is_file() for name in ("preprocess.json", "harmonize.json"))


def _public_name(files: list[Path]) -> str:
    cases = {name.case for name in map(read_name, files) if name}
    parents = {file.parent.name for file in files}
    for names in (cases, parents):
        if len(names) == 1 and (public := public_case_name(next(iter(names)))):
            return public
    return ""


def _with_unique_ids(found: list[CaseSource]) -> list[CaseSource]:
    taken: set[str] = set()
    unique = []
    for source in found:
        case_id, number = source.case_id, 1
        # Compared without case, because some file systems do not tell A from a.
        while case_id.lower() in taken:
            number += 1
            case_id = f"{source.case_id}-{number}"
        taken.add(case_id.lower())
        unique.append(replace(source, case_id=case_id))
    return unique
