"""Which series of a study becomes which sequence: by all that is known of them together, never by a silent guess."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError
from hope.formats.dicom_series import DicomSeries
from hope.formats.series import SeriesReading, read_all

MIN_CONFIDENCE = 0.6
"""Below this the user is asked."""

CLEAR_LEAD = 0.4
"""A candidate is taken before another without asking only if its score leads by this: slices closer by a third."""

WHOLE_SHARE = 0.75
"""A stack that reaches less far than this share of the furthest one of the study is a slab and not the whole head."""

WHOLE_HEAD_MM = {"axial": 140.0, "coronal": 180.0, "sagittal": 145.0, "": 140.0}
"""How far slices of each plane reach over a grown head. Shares are taken of what the study's furthest stack reaches."""

OFF_AXIAL = 0.05
"""What a plane other than the axial one costs in score, for slices thicker than their pixels."""

MIN_ENHANCEMENT = 0.3
"""Image evidence weaker than this decides nothing (31 true pairs: -0.08 to 0.87, so none would be decided wrongly)."""

Enhancement = Callable[[DicomSeries, DicomSeries], float]
"""Image evidence: positive when the second T1 series looks contrast-enhanced against the first, in log units."""


@dataclass(frozen=True)
class SeriesChoice:
    """One sequence and the series chosen for it, with a confidence from 0 to 1 and the reason in words."""

    sequence: MRSequence
    series: DicomSeries
    confidence: float
    reason: str


def choose_series(
    all_series: Sequence[DicomSeries], wanted: Iterable[MRSequence] = SEQUENCES, enhancement: Enhancement | None = None
) -> dict[MRSequence, SeriesChoice]:
    """Choose a series for each wanted sequence that the study holds.

    Args:
        all_series: series of one study, without those that the user has named already.
        wanted: sequences that the user has not named.
        enhancement: compares two T1 series by their images, if the caller can convert them.

    Raises:
        AmbiguousInputError: if a choice would be a guess; it says what was found and names the flags to pass.
    """
    wanted = list(wanted)
    readings = [reading for reading in read_all(all_series) if reading.weighting != "other"]
    t1 = _settle_contrast([r for r in readings if r.weighting == "t1"], enhancement)
    pools: Mapping[MRSequence, list[SeriesReading]] = {
        MRSequence.T1N: [r for r in t1 if r.contrast is False],
        MRSequence.T1C: [r for r in t1 if r.contrast is True],
        MRSequence.T2W: [r for r in readings if r.weighting == "t2"],
        MRSequence.T2F: [r for r in readings if r.weighting == "t2f"],
    }
    furthest = max((_reach(r.series) for r in readings), default=0.0)
    cautions: list[str] = []
    flags: list[MRSequence] = []
    open_t1 = [r for r in t1 if r.contrast is None]
    unfilled = [s for s in (MRSequence.T1N, MRSequence.T1C) if s in wanted and not pools[s]]
    if open_t1 and unfilled:
        flags += unfilled
        cautions.append(_why_open(open_t1))
    choices: dict[MRSequence, SeriesChoice] = {}
    for sequence in wanted:
        if not pools[sequence]:
            continue
        choice, caution = _best(sequence, pools[sequence], furthest)
        if choice:
            choices[sequence] = choice
        else:
            cautions.append(caution)
            flags.append(sequence)
    if cautions:
        clear = [f"{c.sequence} = series {c.series.number}" for c in choices.values() if c.series.number is not None]
        found = f" (clear: {', '.join(clear)})" if clear else ""
        raise AmbiguousInputError(
            "; ".join(cautions) + found,
            fix="say which is which with " + " or ".join(f"--{s} SERIES_DIRECTORY" for s in dict.fromkeys(flags)),
        )
    return choices


def selection(all_series: Sequence[DicomSeries], choices: Mapping[MRSequence, SeriesChoice]) -> list[dict[str, object]]:
    """Every series of a study as plain JSON values: what it shows, what it was taken as, and why or why not.

    Args:
        all_series: the series that were looked at.
        choices: what `choose_series` made of them.

    Returns:
        per series ``series`` (its number), ``shows``, ``plane``, ``taken_as`` (None if it was not), ``confidence``,
        ``reason``; nothing of identity.
    """
    taken = {choice.series.uid: choice for choice in choices.values()}
    rows: list[dict[str, object]] = []
    for reading in read_all(all_series):
        series, choice = reading.series, taken.get(reading.series.uid)
        reason = choice.reason.partition(": ")[2] if choice else _why_not_taken(reading, choices)
        rows.append(
            {
                "series": series.number,
                "shows": reading.label.partition(" (")[2].removesuffix(")"),
                "plane": series.plane,
                "taken_as": str(choice.sequence) if choice else None,
                "confidence": choice.confidence if choice else reading.confidence,
                "reason": reason,
            }
        )
    return rows


def _why_not_taken(reading: SeriesReading, choices: Mapping[MRSequence, SeriesChoice]) -> str:
    if reading.weighting == "other" or not choices:
        return reading.reason
    rivals = {"t1": (MRSequence.T1N, MRSequence.T1C), "t2": (MRSequence.T2W,), "t2f": (MRSequence.T2F,)}
    others = [c for s in rivals[reading.weighting] if (c := choices.get(s))]
    named = " and ".join(f"series {c.series.number} ({c.sequence})" for c in others)
    why = f"{reading.series.fault}; " if reading.series.fault else ""
    return f"{reading.reason}; {why}{named or 'another one'} was preferred"


def _why_open(open_t1: Sequence[SeriesReading]) -> str:
    silent = [r for r in open_t1 if "not stated" in r.reason]
    torn = [r for r in open_t1 if "not stated" not in r.reason]
    parts = [f"nothing says whether contrast was given for {_listed(silent)}"] if silent else []
    parts += [f"{r.label}: {r.reason.partition('; ')[2] or r.reason}" for r in torn]
    return "; ".join(parts)


def _settle_contrast(t1: list[SeriesReading], enhancement: Enhancement | None) -> list[SeriesReading]:
    """Use one T1 to tell about the other, where only one is open or the images speak clearly."""
    stated = [r for r in t1 if r.contrast is True]
    silent = [r for r in t1 if r.contrast is None and "not stated" in r.reason]
    if stated and silent and all(r.series.contrast_agent for r in stated):
        # Scanners that record the agent record it on every series after the injection, so what they made before it is
        # native; a silent series after it may have lost the entry.
        given = min((r.series.number for r in stated if r.series.number is not None), default=None)
        known = "no contrast agent is named, while another T1 of the study names one"
        return [
            replace(r, contrast=False, confidence=min(r.confidence, 0.75), reason=f"{r.reason.split(';')[0]}; {known}")
            if r in silent and (given is None or r.series.number is None or r.series.number < given)
            else r
            for r in t1
        ]
    if len(t1) == 2 and len(silent) == 2 and enhancement is not None:
        gain = enhancement(silent[0].series, silent[1].series)
        if abs(gain) >= MIN_ENHANCEMENT:
            native, enhanced = silent if gain > 0 else silent[::-1]
            seen = f"compared with the other T1, its brightest tissue is {math.exp(abs(gain)):.1f} times"
            first, second = native.reason.split(";")[0], enhanced.reason.split(";")[0]
            return [
                replace(native, contrast=False, confidence=0.65, reason=f"{first}; {seen} less bright"),
                replace(enhanced, contrast=True, confidence=0.65, reason=f"{second}; {seen} as bright"),
            ]
    return t1


def _best(sequence: MRSequence, pool: list[SeriesReading], furthest: float) -> tuple[SeriesChoice | None, str]:
    sound = [r for r in pool if not r.series.fault] or pool
    whole = [r for r in sound if _share(r.series, furthest) >= WHOLE_SHARE] or sound
    ranked = sorted(whole, key=lambda r: -_score(r.series, furthest))
    first = ranked[0]
    confidence, reason = first.confidence, first.reason
    if len(ranked) > 1:
        if _score(first.series, furthest) - _score(ranked[1].series, furthest) < CLEAR_LEAD:
            return None, f"{len(ranked)} series could be {sequence}: {_listed(ranked)}"
        confidence -= 0.1
        reason += f"; thinnest slices of {len(ranked)} candidates ({first.series.coarsest_mm:.1f} mm)"
    if faulty := len(pool) - len(sound):
        reason += f"; {faulty} more cannot be read: {next(r.series.fault for r in pool if r.series.fault)}"
    if slabs := len(sound) - len(whole):
        reason += f"; {slabs} more cover{'s' if slabs == 1 else ''} a part of the head only"
    if confidence < MIN_CONFIDENCE:
        return None, f"{first.label} may be {sequence}, but {reason}"
    return SeriesChoice(sequence, first.series, round(confidence, 2), f"series {first.series.number}: {reason}"), ""


def _reach(series: DicomSeries) -> float:
    """How far a stack reaches over a grown head, from 0 to 1; 0 where it is not known."""
    return min(1.0, (series.coverage_mm or 0.0) / WHOLE_HEAD_MM[series.plane])


def _share(series: DicomSeries, furthest: float) -> float:
    """How far a stack reaches, over the furthest one of the study; 1 where it is not known."""
    return _reach(series) / furthest if series.coverage_mm and furthest else 1.0


def _score(series: DicomSeries, furthest: float) -> float:
    """What speaks for one of several candidates, in log units: close slices, small pixels, reach, the axial plane."""
    if series.voxel_mm is None:
        return -1e9
    coarsest, pixel = max(series.voxel_mm), max(series.voxel_mm[:2])
    oblong = coarsest > 1.5 * pixel and series.plane not in ("axial", "")
    fine = 0.1 * math.log(series.voxel_mm[0] * series.voxel_mm[1])
    return -math.log(coarsest) - fine + math.log(max(0.01, _share(series, furthest))) - OFF_AXIAL * oblong


def _listed(readings: Iterable[SeriesReading]) -> str:
    return " and ".join(reading.label for reading in readings)
