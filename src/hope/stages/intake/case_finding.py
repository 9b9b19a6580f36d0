"""From what the user points at to the list of cases in it. Looks at names and first bytes, never at voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.qc import QCFlag, Severity
from hope.formats.archive import is_zip
from hope.formats.dicom import dicom_files, is_dicom, study_of
from hope.formats.names import NO_ANATOMY, is_label_name, is_nifti_name, public_case_name, read_name, sort_by_name
from hope.formats.reading import reading

MAX_DEPTH = 8
"""Directories nested deeper than this are not searched."""

_UNREADABLE = "case-unreadable"
_FLAGS = " ".join(f"--{s} FILE" for s in SEQUENCES)


@dataclass(frozen=True)
class CaseSource:
    """Where one case lies, before anything of it is read.

    Attributes:
        case_id: a name that carries no identity, unique within the batch.
        files: sequence -> NIfTI file, or one DICOM series: a directory, a zip, one of its files, or
            ``DIRECTORY#SERIES_NUMBER`` where a directory holds several.
        dicom: a DICOM directory, or a zip of DICOM or NIfTI files, in which the other sequences are looked for.
        sources: per sequence found by its file name ``{"confidence": ..., "reason": ...}``; none if named.
        flags: doubts found so far.
        problem: why this case of a batch cannot be read; `load_case` raises it.
    """

    case_id: str
    files: Mapping[MRSequence, Path]
    dicom: Path | None = None
    sources: Mapping[MRSequence, Mapping[str, object]] = field(default_factory=dict)
    flags: tuple[QCFlag, ...] = ()
    problem: InputError | None = None


def find_cases(inputs: Sequence[Path], named: Mapping[MRSequence, Path]) -> list[CaseSource]:
    """Find every case in the inputs.

    A case keeps its directory's or files' name only where that follows a pattern of de-identified research data
    (BraTS, TCGA, ``sub-01``, ``synth-0001``: see `hope.formats.names.public_case_name`); any other name may be a
    person's and becomes ``case-`` and the first eight hex digits of a hash of the files' content. Equal names get
    ``-2``, ``-3``. What `hope segment` wrote is passed over, and so is what `hope preprocess` wrote, unless the input
    holds nothing else.

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
    for number, path in enumerate(inputs, start=1):
        found += _at(path, named, f"input {number}" if len(inputs) > 1 else "the input")
    if not inputs:
        with reading("a named scan"):
            found = [CaseSource(_public_name(list(named.values())) or _fingerprint(named.values()), dict(named))]
    if named and len(found) != 1:
        raise InputError(
            "scans were named for one case but the input holds several", expected="one case", got=str(len(found))
        )
    if len(found) == 1 and found[0].problem:
        raise found[0].problem
    return _with_unique_ids(found)


def nifti_case(directory: Path, named: Mapping[MRSequence, Path], dicom: Path | None = None) -> CaseSource | None:
    """The case that the NIfTI files lying directly in a directory make up, None if there is none."""
    scans = [f for f in _entries(directory) if f.is_file() and is_nifti_name(f) and not is_label_name(f)]
    if not scans or (
        not any(read_name(f) for f in scans) and any(is_dicom(f) for f in _entries(directory) if f.is_file())
    ):
        return None
    try:
        case = sort_by_name(scans, named)
    except InputError as problem:
        return CaseSource(public_case_name(directory.name) or _fingerprint(scans), {}, dicom, problem=problem)
    flags = []
    if case.unread:
        reason = f"{case.unread} more NIfTI files in the directory were not read: their names do not say what they are"
        flags.append(QCFlag("files_ignored", Severity.INFO, reason))
    inner = [d for d in _entries(directory) if d.is_dir() and _may_hold_scans(d)]
    if inner:
        reason = f"{len(inner)} directories inside the case directory hold NIfTI files too and were not read"
        flags.append(QCFlag("directories_ignored", Severity.INFO, reason))
    name = public_case_name(case.case) or public_case_name(directory.name) or _fingerprint(case.files.values())
    sources = {s: {"confidence": n.confidence, "reason": n.reason} for s, n in case.names.items()}
    return CaseSource(name, {**case.files, **named}, dicom, sources, tuple(flags))


def _at(path: Path, named: Mapping[MRSequence, Path], what: str) -> list[CaseSource]:
    with reading(what):
        if not path.exists():
            raise InputError(f"{what}: no such file or directory", fix="check the path")
        if path.is_dir():
            found = _child(path, named, 0) or _child(path, named, 0, outputs=True)
            if not found:
                expected = "NIfTI files named as BraTS or BIDS name them, or DICOM files"
                raise InputError(f"{what} holds no scan", expected=expected, fix=f"or name the scans: {_FLAGS}")
            return found
        if is_zip(path):
            return [CaseSource(public_case_name(path.stem) or _fingerprint([path]), dict(named), path)]
        if path.stat().st_size == 0:
            raise InputError(
                f"{what} is an empty file", expected="a directory or a zip archive", fix="copy or export it again"
            )
    fix = f"name each scan by its flag: {_FLAGS}"
    raise InputError(f"{what} is a single file", expected="a directory or a zip archive", fix=fix)


def _child(entry: Path, named: Mapping[MRSequence, Path], depth: int, outputs: bool = False) -> list[CaseSource]:
    """The cases in a directory or a zip; one that cannot be read is a case with a problem, and the others go on."""
    try:
        with reading("a directory or a file in it"):
            if entry.is_dir():
                # A directory that the user names is taken for what it is; the search below it passes over our outputs.
                if depth > 0 and (_is_result(entry) or (not outputs and _is_prepared(entry))):
                    return []
                return _in_directory(entry, named, depth, outputs)
            if entry.suffix.lower() == ".zip" and is_zip(entry):
                return _at(entry, named, "the archive")
    except InputError as problem:
        return [CaseSource(public_case_name(entry.name.removesuffix(".zip")) or _UNREADABLE, {}, problem=problem)]
    return []


def _in_directory(directory: Path, named: Mapping[MRSequence, Path], depth: int, outputs: bool) -> list[CaseSource]:
    if case := nifti_case(directory, named):
        return [case]
    entries = _entries(directory)
    if any(is_dicom(entry) for entry in entries if entry.is_file() and entry.name.upper() != "DICOMDIR"):
        return [_dicom_case(directory, named)]
    if depth >= MAX_DEPTH:
        return []
    inside: list[CaseSource] = []
    for entry in entries:
        if entry.name not in NO_ANATOMY:
            inside += _child(entry, named, depth + 1, outputs)
    troubled = [source for source in inside if source.problem and source.dicom is None]
    rest = [source for source in inside if not source.problem or source.dicom is not None]
    if not rest or (troubled and len(rest) == 1) or any(s.dicom is None or s.dicom.is_file() for s in rest):
        return inside
    studies = [study_of(source.dicom) for source in rest if source.dicom]
    if len(set(studies)) == 1:
        return [_dicom_case(directory, named), *troubled]
    if len(set(studies)) == len(studies):
        return inside
    problem = AmbiguousInputError(
        f"the DICOM directory mixes the series of {len(set(studies))} studies",
        expected="one study",
        fix="put each study in a directory of its own",
    )
    return [replace(_dicom_case(directory, named), problem=problem), *troubled]


def _is_result(entry: Path) -> bool:
    """Whether this is a case directory that `hope segment` wrote; other programs, too, call a file result.json."""
    return (entry / "result.json").is_file() and any(f.name.endswith("-seg-atlas.nii.gz") for f in _entries(entry))


def _is_prepared(entry: Path) -> bool:
    """Whether `hope preprocess` or `hope harmonize` wrote this directory."""
    return any((entry / name).is_file() for name in ("preprocess.json", "harmonize.json"))


def _may_hold_scans(directory: Path) -> bool:
    try:
        return any(read_name(f) for f in _entries(directory) if is_nifti_name(f))
    except InputError:
        return True  # nobody knows, and the case beside it needs not fail for that


def _dicom_case(directory: Path, named: Mapping[MRSequence, Path]) -> CaseSource:
    name = public_case_name(directory.name) or _fingerprint([directory])
    return CaseSource(name, dict(named), directory)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            "a directory cannot be read", got=error.strerror or "an error", fix="check its permissions"
        ) from error


def _public_name(files: list[Path]) -> str:
    cases = {name.case for name in map(read_name, files) if name}
    parents = {file.parent.name for file in files}
    for names in (cases, parents):
        if len(names) == 1 and (public := public_case_name(next(iter(names)))):
            return public
    return ""


def _fingerprint(paths: Iterable[Path]) -> str:
    """``case-`` and eight hex digits of the content's hash, whatever the files are called."""
    digests = []
    for path in paths:
        for file in dicom_files(path) if path.is_dir() else [path]:
            if file.is_file():
                # All of it: uncompressed scans of two people may share a long run of zeros at the start.
                with file.open("rb") as stream:
                    digests.append(hashlib.file_digest(stream, "sha256").digest())
    return "case-" + hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:8]


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
