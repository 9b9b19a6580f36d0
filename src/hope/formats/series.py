"""Which DICOM series is which sequence: tags first, words second, the images themselves third, never a silent guess."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError
from hope.formats.dicom import DicomSeries

MIN_CONFIDENCE = 0.6
"""Below this the user is asked."""

MIN_SLICES = 8
"""Fewer slices do not cover a head."""

FINER_RATIO = 0.67
"""One candidate is preferred over another without asking only if its slices are closer by this factor."""

Enhancement = Callable[[DicomSeries, DicomSeries], float]
"""Image evidence: positive when the second T1 series looks contrast-enhanced against the first, in log units."""

MIN_ENHANCEMENT = 0.3
"""Image evidence weaker than this decides nothing (31 true pairs: -0.08 to 0.87, so none would be decided wrongly)."""

_DERIVED = {
    *(
        "MPR",
        "CSA MPR",
        "CSA 3D EDITOR",
        "REFORMATTED",
        "REFORMAT",
        "RESAMPLED",
        "PROJECTION IMAGE",
        "MIP",
        "MINIP",
        "MIN_IP",
    ),
    *("ADC", "TRACEW", "FA", "DIFFUSION", "PERFUSION", "CBF", "CBV", "MTT", "TTP", "SUBTRACT", "SUBTRACTION"),
}
_OTHER_WORDS = re.compile(
    r"\b(locali[sz]er|scout|survey|loc|3.?plane|dwi|diff|diffusion|adc|dti|tracew?|b\d{3,4}|ep2d|swi|swan|venbold|t2.?star|"
    r"perf|perfusion|dsc|dce|asl|tof|mra|mrv|angio|angiography|spectroscopy|svs|csi|bold|fmri|ciss|fiesta|trufi|b.?ffe|dess|"
    r"stir|mip|sub|subtraction|spine|cervical|lumbar|phase|map|field.?map|pd|pdw|proton)\b|t2\*"
)
_FLAIR_WORDS = re.compile(r"flair|dark.?fl|\btirm.?(dark|da\b)|\bda.?fl")
_T1_WORDS = re.compile(r"(?<![a-z0-9])[sw]?t1|mp.?rage|\bbravo\b|f?spgr|\bvibe\b|\bthrive\b|\btfl3?d?")
_T2_WORDS = re.compile(r"(?<![a-z0-9])[sw]?t2")
_AGENT = r"(?:contrast\w*|kontrast\w*|gad\w*|gd|km|ce|mdc|inj\w*|c)\b"
# English, German, French, Spanish, Italian, Polish, Norwegian. "pre-op" speaks of surgery, not of contrast.
_NATIVE_WORDS = re.compile(
    rf"\b(?:without|w/?o|ohne|sans|avant|sin|senza|bez|uten|non?|pre)[ .-]?(?:iv |i\.v\. )?(?:{_AGENT}|\s*(?:$|\|))|"
    r"\bpre\b(?!.?op)|\bnativ\w?\b|\bnative\b|\bunenhanced\b|\bs/c\b"
)
_CONTRAST_WORDS = re.compile(
    rf"\bpost(?!er|.?op)|\+ ?{_AGENT}|\bc ?\+|\b(?:gd|km|ce|mdc|c/c)\b|\bgado?\w*|"
    r"t1(?:ce|c|gd)\b|\b[ck]ontrast\w*|\binj\w*|\bapr[eè]s\b|\benhanced\b|\b(?:dotarem|gadovist|magnevist|prohance)\b"
)


@dataclass(frozen=True)
class SeriesReading:
    """What one series seems to show.

    Attributes:
        series: the series.
        weighting: ``t1``, ``t2``, ``t2f``, or ``other`` for what is no input.
        contrast: for T1: True, False, or None where nothing says it.
        confidence: from 0 to 1.
        reason: why, in words without identity.
    """

    series: DicomSeries
    weighting: str
    contrast: bool | None
    confidence: float
    reason: str

    @property
    def label(self) -> str:
        """What the user is told it is: ``series 601 (T1-weighted spin echo, 22 slices, 6.0 mm)``."""
        kinds = {"t1": "T1-weighted", "t2": "T2-weighted", "t2f": "FLAIR"}
        series = self.series
        techniques = {"SE": "spin echo", "GR": "gradient echo", "IR": "inversion recovery", "EP": "echo planar"}
        technique = next((techniques[t] for t in ("IR", "SE", "GR", "EP") if t in series.scanning_sequence), "")
        name = "unnumbered series" if series.number is None else f"series {series.number}"
        kind = kinds.get(self.weighting, "other") + (f" {technique}" if technique and self.weighting != "t2f" else "")
        spacing = f", {series.voxel_mm[2]:.1f} mm" if series.voxel_mm else ""
        return f"{name} ({kind}, {series.slices} slices{spacing})"


@dataclass(frozen=True)
class SeriesChoice:
    """One sequence and the series chosen for it, with a confidence from 0 to 1 and the reason in words."""

    sequence: MRSequence
    series: DicomSeries
    confidence: float
    reason: str


def read_tags(series: DicomSeries) -> SeriesReading:
    """Say what one series shows: by its tags, then by the words of its description."""
    other = _why_not(series)
    if other:
        return SeriesReading(series, "other", None, 0.9, other)
    by_tags, tag_reason = _weighting_by_tags(series)
    by_words = _weighting_by_words(series.text.lower())
    if (by_tags, by_words) == ("t2", "t2f") and not series.ti_ms:
        # Exports often lose the inversion time; what is left of a FLAIR's timing is that of a T2.
        return SeriesReading(series, "t2f", None, 0.75, f"its description says FLAIR, {tag_reason} agree")
    if by_tags and by_words and by_tags != by_words:
        reason = f"{tag_reason} suggests {by_tags}, its description {by_words}"
        # Words written for the technologist are wrong more often than timings, but here nobody can tell.
        return SeriesReading(series, by_tags, None, 0.4, reason)
    weighting = by_tags or by_words
    if not weighting:
        return SeriesReading(series, "other", None, 0.5, "neither tags nor description say what it shows")
    reason = tag_reason if by_tags else "its description says so"
    confidence = 0.95 if by_tags and by_words else (0.85 if by_tags else 0.7)
    if weighting != "t1":
        return SeriesReading(series, weighting, None, confidence, reason)
    contrast, contrast_reason = _contrast(series)
    return SeriesReading(series, weighting, contrast, confidence, f"{reason}; {contrast_reason}")


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
    readings = [reading for reading in map(read_tags, all_series) if reading.weighting != "other"]
    t1 = _settle_contrast([r for r in readings if r.weighting == "t1"], enhancement)
    pools: Mapping[MRSequence, list[SeriesReading]] = {
        MRSequence.T1N: [r for r in t1 if r.contrast is False],
        MRSequence.T1C: [r for r in t1 if r.contrast is True],
        MRSequence.T2W: [r for r in readings if r.weighting == "t2"],
        MRSequence.T2F: [r for r in readings if r.weighting == "t2f"],
    }
    doubts: list[str] = []
    flags: list[MRSequence] = []
    open_t1 = [r for r in t1 if r.contrast is None]
    unfilled = [s for s in (MRSequence.T1N, MRSequence.T1C) if s in wanted and not pools[s]]
    if open_t1 and unfilled:
        flags += unfilled
        doubts.append(f"nothing says whether contrast was given for {_listed(open_t1)}")
    choices: dict[MRSequence, SeriesChoice] = {}
    for sequence in wanted:
        if not pools[sequence]:
            continue
        choice, doubt = _best(sequence, pools[sequence])
        if choice:
            choices[sequence] = choice
        else:
            doubts.append(doubt)
            flags.append(sequence)
    if doubts:
        clear = [f"{c.sequence} = series {c.series.number}" for c in choices.values() if c.series.number is not None]
        found = f" (clear: {', '.join(clear)})" if clear else ""
        raise AmbiguousInputError(
            "; ".join(doubts) + found,
            fix="say which is which with " + " or ".join(f"--{s} SERIES_DIRECTORY" for s in dict.fromkeys(flags)),
        )
    return choices


def _why_not(series: DicomSeries) -> str:
    if series.modality != "MR":
        return "it is no MR image"
    if "LOCALIZER" in series.image_type:
        return "it is a localiser"
    derived = sorted(_DERIVED.intersection(series.image_type))
    if derived or {"DERIVED", "SECONDARY"} <= set(series.image_type):
        return "it is derived from another series" + (f" ({', '.join(derived)})" if derived else "")
    if series.diffusion or "EP" in series.scanning_sequence:
        return "it is diffusion or echo planar imaging"
    if series.slices < MIN_SLICES:
        return f"it has only {series.slices} slices"
    if _OTHER_WORDS.search(_plain(series.text)):
        return "its description names another kind of image"
    return ""


def _plain(text: str) -> str:
    # Underscores separate words in protocol names; a plus sign and a slash (w/o) carry meaning.
    return re.sub(r"[_\\,;:()\[\]]+", " ", text.lower())


def _weighting_by_tags(series: DicomSeries) -> tuple[str, str]:
    tr, te, ti = series.tr_ms, series.te_ms, series.ti_ms
    if tr is None or te is None:
        return "", ""
    timing = f"TR {tr:.0f} ms, TE {te:.0f} ms" + (f", TI {ti:.0f} ms" if ti else "")
    if ti and ti >= 1400 and te >= 60 and tr >= 4000:
        return "t2f", timing
    if "IR" in series.scanning_sequence and not ti and tr >= 6000 and te >= 70:
        return "t2f", timing
    if ti and 300 <= ti < 1400 and te <= 40:
        return "t1", timing
    if ti and ti > 50:
        return "", ""  # STIR and other inversions: the timing alone does not tell
    if "GR" in series.scanning_sequence and "SE" not in series.scanning_sequence:
        return ("t1", timing) if tr <= 60 and te <= 12 else ("", "")
    if te <= 40 and 250 <= tr <= 1200:
        return "t1", timing
    if te >= 60 and tr >= 1800:
        return "t2", timing
    return "", ""


def _weighting_by_words(text: str) -> str:
    text = _plain(text)
    t1, t2 = bool(_T1_WORDS.search(text)), bool(_T2_WORDS.search(text))
    if _FLAIR_WORDS.search(text):
        return "" if t1 else "t2f"  # a T1 FLAIR is a T1, but only the inversion time proves it
    if t1 == t2:
        return ""
    return "t1" if t1 else "t2"


def _contrast(series: DicomSeries) -> tuple[bool | None, str]:
    text = _plain(series.text)
    native = bool(_NATIVE_WORDS.search(text))
    enhanced = bool(_CONTRAST_WORDS.search(_NATIVE_WORDS.sub(" ", text)))
    if native and enhanced:
        return None, "its description speaks both of contrast and of none"
    if series.contrast_agent is True:
        return (
            (None, "an agent is named but its description says native")
            if native
            else (True, "a contrast agent is named")
        )
    if series.contrast_agent is False:
        return (
            (None, "no agent was given but its description says contrast")
            if enhanced
            else (False, "stated as given no contrast agent")
        )
    if native or enhanced:
        return enhanced, "its description says " + ("with contrast" if enhanced else "without contrast")
    return None, "contrast is not stated"


def _settle_contrast(t1: list[SeriesReading], enhancement: Enhancement | None) -> list[SeriesReading]:
    """Use one T1 to tell about the other, where only one is open or the images speak clearly."""
    stated = [r for r in t1 if r.contrast is True]
    silent = [r for r in t1 if r.contrast is None and "not stated" in r.reason]
    if stated and silent and all(r.series.contrast_agent for r in stated):
        # Scanners that record the agent record it on every series after the injection.
        known = "no contrast agent is named, while another T1 of the study names one"
        return [
            replace(r, contrast=False, confidence=min(r.confidence, 0.75), reason=f"{r.reason.split(';')[0]}; {known}")
            if r in silent
            else r
            for r in t1
        ]
    if len(t1) == 2 and len(silent) == 2 and enhancement is not None:
        gain = enhancement(silent[0].series, silent[1].series)
        if abs(gain) >= MIN_ENHANCEMENT:
            native, enhanced = silent if gain > 0 else silent[::-1]
            seen = f"compared with the other T1, its brightest tissue is {math.exp(abs(gain)):.1f} times"
            return [
                replace(
                    native, contrast=False, confidence=0.65, reason=f"{native.reason.split(';')[0]}; {seen} less bright"
                ),
                replace(
                    enhanced,
                    contrast=True,
                    confidence=0.65,
                    reason=f"{enhanced.reason.split(';')[0]}; {seen} as bright",
                ),
            ]
    return t1


def _best(sequence: MRSequence, pool: list[SeriesReading]) -> tuple[SeriesChoice | None, str]:
    sound = [r for r in pool if not r.series.fault] or pool
    ranked = sorted(sound, key=lambda r: r.series.coarsest_mm)
    first = ranked[0]
    confidence, reason = first.confidence, first.reason
    if len(ranked) > 1:
        if first.series.coarsest_mm > FINER_RATIO * ranked[1].series.coarsest_mm:
            return None, f"{len(ranked)} series could be {sequence}: {_listed(ranked)}"
        confidence -= 0.1
        reason += f"; thinnest slices of {len(ranked)} candidates ({first.series.coarsest_mm:.1f} mm)"
    if confidence < MIN_CONFIDENCE:
        return None, f"{first.label} may be {sequence}, but {reason}"
    return SeriesChoice(sequence, first.series, round(confidence, 2), f"series {first.series.number}: {reason}"), ""


def _listed(readings: Iterable[SeriesReading]) -> str:
    return " and ".join(reading.label for reading in readings)
