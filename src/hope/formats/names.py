"""What file and directory names say: which sequence a NIfTI holds, and whether a name may be shown at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hope.contract.sequences import case_words, names_label, read_stem, sequence_of, words_of
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
_NOT_A_SCAN = re.compile(r"(^|[-_.])(d?seg|segmentation|labels?|(brain)?-?mask|roi|probseg|seg-atlas)$", re.IGNORECASE)
_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?:\d{6})?(?!\d)")
_SERIES_NUMBER = re.compile(r"\d{1,4}")

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
        bare_t1: a mere ``_t1``, which stands for the native T1 only beside a contrast T1, under a BraTS or a BIDS name.
        exact: the name follows BraTS, BIDS or the plain scheme to the letter; a freer one yields to it.
    """

    sequence: MRSequence
    case: str
    confidence: float
    reason: str
    bare_t1: bool = False
    exact: bool = True


def is_nifti_name(path: Path) -> bool:
    """Whether the name ends in .nii or .nii.gz and is no hidden file."""
    return bool(_NIFTI.search(path.name)) and not path.name.startswith(".")


def read_name(path: Path) -> NamedScan | None:
    """Tell the sequence from a file name by `hope.contract.sequences`; None if it names none of the four."""
    stem = _NIFTI.sub("", path.name)
    said = read_stem(stem)
    sequence = sequence_of(said.words)
    if sequence is None:
        return None
    words, stated = said.words, said.words.contrast is not None
    if said.bids:
        how = "" if words.weighting != "t1" else f", {'with' if words.contrast else 'without'} a word on contrast"
        confidence = 0.9 if words.weighting == "t1" and not stated else 0.95
        return NamedScan(sequence, said.lead, confidence, f"BIDS file name: {words.weighting}{how}", exact=said.exact)
    bare = words.weighting == "t1" and not stated and not stem.lower().startswith("brats")
    reason = f"file name says {sequence}" if said.exact else f"words in the file name say {sequence}"
    return NamedScan(sequence, said.lead, 0.95 if said.exact else 0.85, reason, bare, said.exact)


def other_word(path: Path) -> str:
    """The word by which a name says that the image is known and none of the four sequences (adc, swi), else empty."""
    return read_stem(_NIFTI.sub("", path.name)).other


def contradicts_itself(path: Path) -> bool:
    """Whether a name says two things that cannot both be true: with and without contrast, or two sequences."""
    return read_stem(_NIFTI.sub("", path.name)).words.contradiction


def is_label_name(path: Path) -> bool:
    """Whether the name says that the file is a segmentation or a mask, which is no input."""
    stem = _NIFTI.sub("", path.name)
    return bool(_NOT_A_SCAN.search(stem)) or names_label(words_of(_without_subject(path)))


def _without_subject(path: Path) -> str:
    stem = _NIFTI.sub("", path.name)
    said = read_stem(stem)
    return stem[len(said.lead) :]


@dataclass(frozen=True)
class NamedCase:
    """What the names in one directory say together.

    Attributes:
        files: sequence -> file.
        names: sequence -> what its name said.
        unread: how many NIfTI files were left aside because all four sequences were found without them.
        others: words of files that are known and none of the four sequences, such as adc.
        outweighed: how many files name a sequence less exactly than the one that was taken.
    """

    files: Mapping[MRSequence, Path]
    names: Mapping[MRSequence, NamedScan]
    unread: int = 0
    others: tuple[str, ...] = ()
    outweighed: int = 0

    @property
    def case(self) -> str:
        """The case name that all files share, else empty."""
        cases = {name.case for name in self.names.values()} - {""}
        return cases.pop() if len(cases) == 1 else ""


def cases_by_name(paths: Iterable[Path]) -> list[list[Path]]:
    """Part the scans of one directory by the patient and the date that their names speak of.

    Numbers of series and words on technique are no names. A file whose name speaks of nobody belongs to the only case
    that there is. Files that name no sequence are left out.
    """
    groups: dict[tuple[str, ...], list[Path]] = {}
    scans = [(path, name) for path in sorted(paths) if not is_label_name(path) and (name := read_name(path))]
    exact = {name.sequence for _, name in scans if name.exact}
    for path, name in scans:
        # A freer name that yields to an exact one is no scan of the case, so it speaks of nobody.
        if name.exact or name.sequence not in exact:
            date = _DATE.search(path.name)
            words = tuple(word for word in case_words(name.case) if not _DATE.fullmatch(word))
            groups.setdefault((*words, *([date[1]] if date else [])), []).append(path)
    named = [key for key in groups if key]
    if len(named) > 1 and all(
        len(key) == 1 and _SERIES_NUMBER.fullmatch(key[0]) and len(groups[key]) == 1 for key in named
    ):
        return [sorted(path for group in groups.values() for path in group)]
    if len(named) == 1 and () in groups:
        groups[named[0]] += groups.pop(())
    return [sorted(group) for group in groups.values()]


def sort_by_name(paths: Iterable[Path], named: Iterable[MRSequence] = ()) -> NamedCase:
    """Give each NIfTI file of one case directory its sequence.

    Args:
        paths: the NIfTI files of the directory.
        named: sequences that the user has named by a flag and that need not be found here.

    Raises:
        AmbiguousInputError: if two files claim one sequence, the names speak of two patients or dates or contradict
            themselves, or a bare ``_t1`` stands alone.
        InputError: if a sequence is missing while files remain whose names say nothing.
    """
    taken = set(named)
    scans = [path for path in sorted(paths) if not is_label_name(path)]
    wanted = [(path, name) for path in scans if (name := read_name(path)) and name.sequence not in taken]
    _refuse_two_cases([path for path, _ in wanted])
    found: dict[MRSequence, list[tuple[Path, NamedScan]]] = {}
    for path, name in wanted:
        found.setdefault(name.sequence, []).append((path, name))
    outweighed = 0
    for sequence, claims in found.items():
        best = [claim for claim in claims if claim[1].exact] or claims
        outweighed += len(claims) - len(best)
        found[sequence] = best
        if len(best) > 1:
            raise AmbiguousInputError(
                f"{len(best)} files are named as {sequence} ({sequence.title})",
                expected="one",
                fix=f"say which one with --{sequence} FILE, or put each case in a directory of its own",
            )
    missing = [s for s in SEQUENCES if s not in found and s not in taken]
    silent = [path for path in scans if read_name(path) is None]
    others = [word for path in silent if (word := other_word(path))]
    _refuse_contradictions(silent, missing)
    unread = len(silent) - len(others)
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
    files, names = {s: path for s, (path, _) in first.items()}, {s: name for s, (_, name) in first.items()}
    return NamedCase(files, names, unread, tuple(sorted(set(others))), outweighed)


def described_cases(groups: Iterable[Iterable[Path]]) -> str:
    """Name the cases in one directory by what may be shown: a research name, and the sequences of each."""
    parts = []
    for number, group in enumerate(groups, start=1):
        names = [name for name in map(read_name, group) if name]
        public = {public_case_name(name.case) for name in names}
        who = next(iter(public)) if len(public) == 1 and "" not in public else f"case {number}"
        sequences = sorted({name.sequence for name in names}, key=SEQUENCES.index)
        parts.append(f"{who} ({', '.join(sequences)})")
    return " and ".join(parts)


def _refuse_two_cases(paths: Iterable[Path]) -> None:
    groups = cases_by_name(paths)
    if len(groups) > 1:
        raise AmbiguousInputError(
            f"the file names speak of {len(groups)} patients or dates: {described_cases(groups)}",
            expected="one case",
            fix="put each case in a directory of its own, or name the scans of one case by flags such as --t1c FILE",
        )


def _refuse_contradictions(silent: Iterable[Path], missing: Iterable[MRSequence]) -> None:
    unclear = [path for path in silent if contradicts_itself(path) and not other_word(path)]
    lacking = list(missing)
    if unclear and lacking:
        raise AmbiguousInputError(
            f"{len(unclear)} file name{'s say' if len(unclear) > 1 else ' says'} two things that cannot both be true, "
            f"such as with and without contrast, while {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} "
            "missing",
            fix="name the files yourself: " + " ".join(f"--{s} FILE" for s in lacking),
        )


def public_case_name(name: str) -> str:
    """Return the name if it follows a pattern of de-identified research data, else an empty string.

    Known patterns: BraTS (all years), ``sub-<label>[_ses-<label>]`` where the label is a number of up to four digits
    (five with a leading zero), bare or after a known word (sub-01, sub-PED0001, ses-02, ses-preop), TCGA-XX-XXXX,
    UPENN-GBM, UCSF-PDGM, open-ms, synth-0001, case-0001. Whatever else a file or directory is called may be a
    person's name or birth date.
    """
    return name if _DE_IDENTIFIED_NAME.fullmatch(name) else ""
