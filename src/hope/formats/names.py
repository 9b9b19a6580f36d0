"""What file and directory names say: which sequence a NIfTI holds, and whether a name may be shown at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError

NO_ANATOMY = {
    "derivatives",
    "sourcedata",
    "code",
    "stimuli",
    "func",
    "dwi",
    "fmap",
    "perf",
    "eeg",
    "meg",
    "pet",
    "__MACOSX",
}
"""Directories in which no scan of a case is looked for."""

_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_PLAIN_ROLE = re.compile(
    r"^(?:(?P<case>.*[^-_.\s])[-_.])?(?P<role>t1n|t1c|t2w|t2f|t1ce|t1gd|t1|t2|flair)$", re.IGNORECASE
)
_PLAIN_SEQUENCE = {
    "t1n": MRSequence.T1N,
    "t1": MRSequence.T1N,
    "t1c": MRSequence.T1C,
    "t1ce": MRSequence.T1C,
    "t1gd": MRSequence.T1C,
    "t2w": MRSequence.T2W,
    "t2": MRSequence.T2W,
    "t2f": MRSequence.T2F,
    "flair": MRSequence.T2F,
}
_BIDS = re.compile(
    r"^(?P<sub>sub-[A-Za-z0-9]+)(?P<ses>_ses-[A-Za-z0-9]+)?(?P<entities>(?:_[a-z]+-[A-Za-z0-9+]+)*)_(?P<suffix>T1w|T2w|FLAIR)$",
    re.IGNORECASE,
)
_BIDS_SEQUENCE = {"t1w": MRSequence.T1N, "t2w": MRSequence.T2W, "flair": MRSequence.T2F}
_BIDS_CONTRAST = re.compile(r"_ce-(?!none|no_|without)|_(?:acq|desc|rec)-\w*(?:post|gad)", re.IGNORECASE)
_NOT_A_SCAN = re.compile(r"(^|[-_.])(d?seg|segmentation|labels?|(brain)?-?mask|roi|probseg|seg-atlas)$", re.IGNORECASE)

_DE_IDENTIFIED = (
    # BraTS-PED-00001-000, BraTS2021_00000, BraTS20_Training_001, Brats18_CBICA_AAM_1
    r"brats\d{0,4}(?:[-_](?:peds?|gli|goat|ssa|men|rt|met|training|validation|cbica_[a-z]{3}|tcia\d{0,2}|tmc|uab|washu|\d{1,6}))+",
    # A free word may be a surname and six digits a birth date, so only known words and few digits are let through.
    r"sub-(?:ped|peds|pat|patient|pt|p|subj|subject|s|case|con|control|ctrl|hc)?(?:\d{1,4}|0\d{4})"
    r"(?:_ses-(?:\d{1,3}|(?:pre|post|preop|postop|intraop|baseline|followup|fu|day|week|month|year|visit|v|m|mri)\d{0,3}))?",
    r"tcga-[a-z0-9]{2}-[a-z0-9]{4}",
    r"upenn-gbm-\d{5}(?:_\d{2})?",
    r"ucsf-pdgm-\d{4}",
    r"open-ms-\d{1,3}",
    r"synth-\d{1,6}",
    # The eight hex digits are our own; eight decimal ones may be a date.
    r"case-?(?:\d{1,5}|(?!\d{8})[0-9a-f]{8})",
)
_DE_IDENTIFIED_NAME = re.compile("|".join(f"(?:{pattern})" for pattern in _DE_IDENTIFIED), re.IGNORECASE)


@dataclass(frozen=True)
class NamedScan:
    """What one file name says.

    Attributes:
        sequence: which sequence the name stands for.
        case: what precedes it (for BIDS subject and session); may be a patient's name, so never to be shown as it is.
        confidence: from 0 to 1.
        reason: the naming rule, without the name.
        bare_t1: a mere ``_t1``, which stands for the native T1 only beside a contrast T1 or under a BraTS name.
    """

    sequence: MRSequence
    case: str
    confidence: float
    reason: str
    bare_t1: bool = False


def is_nifti_name(path: Path) -> bool:
    """Whether the name ends in .nii or .nii.gz and is no hidden file."""
    return bool(_NIFTI.search(path.name)) and not path.name.startswith(".")


def read_name(path: Path) -> NamedScan | None:
    """Tell the sequence from a BraTS 2023+, BraTS <= 2021, BIDS or plain file name; None if it says nothing."""
    stem = _NIFTI.sub("", path.name)
    if bids := _BIDS.match(stem):
        sequence = _BIDS_SEQUENCE[bids["suffix"].lower()]
        enhanced = bool(_BIDS_CONTRAST.search(bids["entities"]))
        if sequence is MRSequence.T1N and enhanced:
            sequence = MRSequence.T1C
        confidence = 0.9 if sequence is MRSequence.T1N else 0.95
        reason = f"BIDS file name: {bids['suffix']} {'with' if enhanced else 'without'} a contrast entity"
        return NamedScan(sequence, bids["sub"] + (bids["ses"] or ""), confidence, reason)
    if plain := _PLAIN_ROLE.match(stem):
        role = plain["role"].lower()
        bare = role == "t1" and not stem.lower().startswith("brats")
        return NamedScan(_PLAIN_SEQUENCE[role], plain["case"] or "", 0.95, f"file name ends in {role}", bare)
    return None


def is_label_name(path: Path) -> bool:
    """Whether the name says that the file is a segmentation or a mask, which is no input."""
    return bool(_NOT_A_SCAN.search(_NIFTI.sub("", path.name)))


@dataclass(frozen=True)
class NamedCase:
    """What the names in one directory say together.

    Attributes:
        files: sequence -> file.
        names: sequence -> what its name said.
        unread: how many NIfTI files were left aside because all four sequences were found without them.
    """

    files: Mapping[MRSequence, Path]
    names: Mapping[MRSequence, NamedScan]
    unread: int = 0

    @property
    def case(self) -> str:
        """The case name that all files share, else empty."""
        cases = {name.case for name in self.names.values()}
        return cases.pop() if len(cases) == 1 else ""


def sort_by_name(paths: Iterable[Path], named: Iterable[MRSequence] = ()) -> NamedCase:
    """Give each NIfTI file of one case directory its sequence.

    Args:
        paths: the NIfTI files of the directory.
        named: sequences that the user has named by a flag and that need not be found here.

    Raises:
        AmbiguousInputError: if two files claim one sequence, or a bare ``_t1`` stands alone.
        InputError: if a sequence is missing while files remain whose names say nothing.
    """
    taken = set(named)
    found: dict[MRSequence, list[tuple[Path, NamedScan]]] = {}
    unread = 0
    for path in sorted(paths):
        if is_label_name(path):
            continue
        name = read_name(path)
        if name is None:
            unread += 1
        elif name.sequence not in taken:
            found.setdefault(name.sequence, []).append((path, name))
    for sequence, claims in found.items():
        if len(claims) > 1:
            raise AmbiguousInputError(
                f"{len(claims)} files are named as {sequence} ({sequence.title})",
                expected="one",
                fix=f"say which one with --{sequence} FILE, or put each case in a directory of its own",
            )
    missing = [s for s in SEQUENCES if s not in found and s not in taken]
    if unread and missing:
        raise InputError(
            f"{unread} NIfTI file{'s have names' if unread > 1 else ' has a name'} that do{'' if unread > 1 else 'es'} "
            f"not say which sequence it is, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            expected="names such as <case>-t1c.nii.gz, <case>_t1ce.nii.gz or sub-01_T1w.nii.gz",
            fix="name the files yourself: " + " ".join(f"--{s} FILE" for s in missing),
        )
    native = found.get(MRSequence.T1N)
    if native and native[0][1].bare_t1 and MRSequence.T1C in missing:
        raise AmbiguousInputError(
            "a file named only t1 does not say whether contrast was given",
            fix="say it with --t1n FILE or --t1c FILE",
        )
    first = {sequence: found[sequence][0] for sequence in SEQUENCES if sequence in found}
    return NamedCase({s: path for s, (path, _) in first.items()}, {s: name for s, (_, name) in first.items()}, unread)


def public_case_name(name: str) -> str:
    """Return the name if it follows a pattern of de-identified research data, else an empty string.

    Known patterns: BraTS (all years), ``sub-<label>[_ses-<label>]`` where the label is a number of up to four digits
    (five with a leading zero), bare or after a known word (sub-01, sub-PED0001, ses-02, ses-preop), TCGA-XX-XXXX,
    UPENN-GBM, UCSF-PDGM, open-ms, synth-0001, case-0001. Whatever else a file or directory is called may be a
    person's name or birth date.
    """
    return name if _DE_IDENTIFIED_NAME.fullmatch(name) else ""
