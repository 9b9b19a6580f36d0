"""A DICOM directory as examinations: whose series they are, and which of them could be segmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.wording import counted
from hope.formats.dicom_files import CUT, DAMAGED, UNLISTED
from hope.formats.dicom_series import DicomSeries, parted, read_study
from hope.formats.reading import NOT_FETCHED
from hope.formats.series import SeriesReading, read_all

GRAVE = frozenset((CUT, DAMAGED, NOT_FETCHED, UNLISTED))
"""What was left out for these reasons may be a part of a scan."""

_KINDS = {"t1": "T1", "t2": "T2", "t2f": "FLAIR"}


@dataclass(frozen=True)
class Studies:
    """What lies in a DICOM directory.

    Attributes:
        wanted: series by patient and day, only examinations that hold a T1, T2 or FLAIR; all series where none does.
        left_out: what was left out, in words without a name, and how many of it.
    """

    wanted: tuple[tuple[DicomSeries, ...], ...]
    left_out: Mapping[str, int]


def studies_in(root: Path) -> Studies:
    """Read the DICOM series under a directory and part them by patient, day and study.

    Raises:
        InputError: if there are far too many files.
    """
    series, left_out = read_study(root)
    groups = parted(series)
    wanted = [group for group in groups if _sequences(group)]
    counts = dict(left_out)
    if wanted and (others := sum(len(group) for group in groups if group not in wanted)):
        counts["series of other examinations without a T1, T2 or FLAIR"] = others
    return Studies(tuple(tuple(group) for group in wanted or groups), counts)


def is_enough(group: Sequence[DicomSeries]) -> bool:
    """Whether an examination holds what a case needs at least: T2 or FLAIR, and one more sequence."""
    kinds = {reading.weighting for reading in _sequences(group)}
    return bool(kinds & {"t2", "t2f"}) and len(_sequences(group)) > 1


def mixed(studies: Studies, what: str) -> AmbiguousInputError:
    """The sentence for several examinations of which not each is a case."""
    named = " and ".join(f"examination {i} with {listed(g)}" for i, g in enumerate(studies.wanted, start=1))
    return AmbiguousInputError(
        f"{what} holds {len(studies.wanted)} studies, of different patients, days or examinations: {named}",
        expected="one study",
        fix="put each study in a directory of its own",
    )


def nothing_to_read(left_out: Mapping[str, int]) -> InputError | None:
    """Why a directory holds no DICOM image although it holds what should be one; None if nothing of it looks so."""
    grave = {reason: count for reason, count in left_out.items() if reason in GRAVE}
    if not grave:
        return None
    got = ", ".join(counted(count, reason) for reason, count in grave.items())
    return InputError("no DICOM image can be read", got=got, fix=_fix(grave))


def listed(group: Sequence[DicomSeries]) -> str:
    """The sequences of an examination by series number, such as ``series 3 (T1), 4 (T2)``; numbers are no identity."""
    parts = [f"{_number(r.series)} ({_KINDS[r.weighting]})" for r in _sequences(group)]
    return f"series {', '.join(parts)}" if parts else f"{len(group)} series"


def _fix(grave: Mapping[str, int]) -> str:
    if NOT_FETCHED in grave:
        return "fetch the content (datalad get, git annex get, git lfs pull)"
    return "copy or export the files again"


def _sequences(group: Sequence[DicomSeries]) -> list[SeriesReading]:
    return [reading for reading in read_all(group) if reading.weighting != "other"]


def _number(series: DicomSeries) -> str:
    return "without a number" if series.number is None else str(series.number)
