"""The cases that the NIfTI files of one directory make up, by what their names say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hope.domain.case import MRSequence
from hope.domain.errors import InputError
from hope.domain.qc import QCFlag, Severity
from hope.domain.wording import counted
from hope.formats.dicom import is_dicom
from hope.formats.names import (
    cases_by_name,
    is_label_name,
    is_nifti_name,
    other_word,
    public_case_name,
    read_name,
    sort_by_name,
)
from hope.formats.reading import NOT_FETCHED, missing_content
from hope.stages.intake.sources import (
    FETCH,
    OTHER_FORMATS,
    UNREAD_FORMAT,
    CaseSource,
    entries_of,
    fingerprint,
    left_out_flags,
)


def nifti_cases(directory: Path, named: Mapping[MRSequence, Path], dicom: Path | None = None) -> list[CaseSource]:
    """The cases that the NIfTI files lying directly in a directory make up: one for each patient and day."""
    entries = entries_of(directory)
    scans = [f for f in entries if not f.is_dir() and is_nifti_name(f) and not is_label_name(f)]
    beside = sum(1 for f in entries if f.is_file() and not is_nifti_name(f) and is_dicom(f))
    # Beside DICOM files, a NIfTI file is a conversion of them unless its name follows a scheme to the letter.
    if not scans or (beside and not any(name.exact for name in map(read_name, scans) if name)):
        return []
    groups = cases_by_name(f for f in scans if (name := read_name(f)) and name.sequence not in named)
    left_out: Counter[str] = Counter()
    if beside:
        left_out["DICOM files beside the NIfTI files"] = beside
    if foreign := sum(f.name.lower().endswith(OTHER_FORMATS) for f in entries):
        left_out[UNREAD_FORMAT] = foreign
    if len(groups) > 1 and not named and all(_is_named_case(group) for group in groups):
        left_out["NIfTI files whose names do not say what they are"] = sum(1 for f in scans if read_name(f) is None)
        return [_nifti_case(directory, group, named, dicom, +left_out, several=True) for group in groups]
    return [_nifti_case(directory, scans, named, dicom, left_out)]


def count_others(directory: Path) -> int:
    """How many NIfTI files lie in a directory that holds none of the four sequences, only images known as others."""
    scans = [f for f in entries_of(directory) if not f.is_dir() and is_nifti_name(f) and not is_label_name(f)]
    return len(scans) if scans and all(read_name(f) is None and other_word(f) for f in scans) else 0


def _is_named_case(group: Sequence[Path]) -> bool:
    """Whether files hold what a case needs at least: T2 or FLAIR, and one more sequence."""
    sequences = {name.sequence for name in map(read_name, group) if name}
    return bool(sequences & {MRSequence.T2W, MRSequence.T2F}) and len(sequences) > 1


def _nifti_case(
    directory: Path,
    scans: Sequence[Path],
    named: Mapping[MRSequence, Path],
    dicom: Path | None,
    left_out: Counter[str],
    several: bool = False,
) -> CaseSource:
    """The case of one patient and day.

    Args:
        directory: where the files lie.
        scans: its NIfTI files.
        named: scans that the caller named.
        dicom: where else sequences are looked for.
        left_out: what of the directory was left out.
        several: the directory holds more cases.
    """
    try:
        case = sort_by_name(scans, named)
        _refuse_unfetched(case.files)
    except InputError as problem:
        name = public_case_name(_lead(scans)) or public_case_name(directory.name) or fingerprint(scans)
        return CaseSource(name, {}, dicom, problem=problem)
    flags = []
    if case.unread:
        reason = f"{case.unread} more NIfTI files in the directory were not read: their names do not say what they are"
        flags.append(QCFlag("files_ignored", Severity.INFO, reason))
    if case.others:
        left_out[f"scans that are none of the four sequences ({', '.join(case.others)})"] = len(case.others)
    if case.outweighed:
        left_out["files whose names say a sequence less exactly than the one that was taken"] = case.outweighed
    taken = set(case.files.values())
    if unfetched := sum(1 for f in scans if f not in taken and missing_content(f)):
        left_out[NOT_FETCHED] = unfetched
    inner = [d for d in entries_of(directory) if d.is_dir() and _may_hold_scans(d)]
    if inner:
        reason = counted(len(inner), "directories inside the case directory hold NIfTI files too and were not read")
        flags.append(QCFlag("directories_ignored", Severity.INFO, reason))
    public = "" if several else public_case_name(directory.name)
    name = public_case_name(case.case) or public or fingerprint(case.files.values())
    sources = {s: {"confidence": n.confidence, "reason": n.reason} for s, n in case.names.items()}
    return CaseSource(name, {**case.files, **named}, dicom, sources, (*flags, *left_out_flags(left_out)))


def _lead(scans: Sequence[Path]) -> str:
    leads = {name.case for name in map(read_name, scans) if name and name.case}
    return leads.pop() if len(leads) == 1 else ""


def _refuse_unfetched(files: Mapping[MRSequence, Path]) -> None:
    absent = [sequence for sequence, path in files.items() if missing_content(path)]
    if absent:
        verb = "is a link" if len(absent) == 1 else "are links"
        raise InputError(f"{', '.join(absent)} {verb} to content that was not fetched", fix=FETCH)


def _may_hold_scans(directory: Path) -> bool:
    try:
        return any(read_name(f) for f in entries_of(directory) if is_nifti_name(f))
    except InputError:
        return True  # nobody knows, and the case beside it needs not fail for that
