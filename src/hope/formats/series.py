"""What one DICOM series shows: by its tags first, by the words about it second; words about the exam do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hope.contract.sequences import WordReading, read_text
from hope.formats.dicom_series import DicomSeries

MIN_SLICES = 8
"""Fewer slices do not cover a head."""

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
_ACQUISITION_CONTRAST = {"T1": "t1", "T2": "t2", "FLUID_ATTENUATED": "t2f"}
_OTHER_CONTRAST = {
    *("DIFFUSION", "PERFUSION", "PROTON_DENSITY", "T2_STAR", "FLOW_ENCODED", "SPECTROSCOPY", "TAGGING", "STIR", "TOF"),
    *("MAGNETIZATION_TRANSFER", "SUSCEPTIBILITY"),
}


@dataclass(frozen=True)
class SeriesReading:
    """What one series seems to show.

    Attributes:
        series: the series.
        weighting: ``t1``, ``t2``, ``t2f``, or ``other`` for what is no input.
        contrast: for T1: True, False, or None where nothing says it.
        confidence: from 0 to 1.
        reason: why, in words without identity.
        would_be: the weighting of a derived series, which is ``other`` unless the user names it.
    """

    series: DicomSeries
    weighting: str
    contrast: bool | None
    confidence: float
    reason: str
    would_be: str = ""

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
class Exam:
    """Texts that speak of the examination and not of a series, because they stand on series of different contrast.

    Attributes:
        weighting: texts that stand on series of different weighting: none of their words counts.
        contrast: texts that stand on T1 with and without an agent: their words on contrast do not count.
    """

    weighting: frozenset[str] = frozenset()
    contrast: frozenset[str] = frozenset()


def read_all(all_series: Iterable[DicomSeries]) -> list[SeriesReading]:
    """Read every series of a study, each in the light of the others."""
    listed = list(all_series)
    candidates = [s for s in listed if not _why_not(s)]
    by_description = _exam(candidates, "description")
    # What its own words call another image cannot make a protocol's name that of the exam.
    named = [s for s in candidates if _own_words(s, by_description).weighting != "other"]
    by_protocol = _exam(named, "protocol")
    exam = Exam(by_description.weighting | by_protocol.weighting, by_description.contrast | by_protocol.contrast)
    return [read_tags(series, exam) for series in listed]


def read_tags(series: DicomSeries, exam: Exam | None = None) -> SeriesReading:
    """Say what one series shows: by its tags, then by the words about it.

    Args:
        series: the series.
        exam: texts of its study that do not speak of the series.
    """
    other = _why_not(series)
    if other:
        return SeriesReading(series, "other", None, 0.9, other, _would_be(series))
    words = _words_about(series, exam or Exam())
    if words.weighting == "other":
        return SeriesReading(series, "other", None, 0.9, "its description names another kind of image")
    by_tags, tag_reason = _weighting_by_tags(series)
    by_words = words.weighting
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
    contrast, contrast_reason = _contrast(series, words)
    return SeriesReading(series, weighting, contrast, confidence, f"{reason}; {contrast_reason}")


def _exam(candidates: Sequence[DicomSeries], field: str) -> Exam:
    """Texts of one field that stand on series of different contrast.

    A description that names another kind of image is taken at its word unless every series carries it: the maps of one
    perfusion or diffusion study share their description and may differ in timing.
    """
    kinds: dict[str, set[str]] = {}
    agents: dict[str, set[bool]] = {}
    on: Counter[str] = Counter()
    for series in candidates:
        text, weighting = _text(series, field), _weighting_by_tags(series)[0]
        if text and weighting:
            on[text] += 1
            kinds.setdefault(text, set()).add(weighting)
            if weighting == "t1":
                agents.setdefault(text, set()).add(series.contrast_agent is True)
    if field == "description":
        for text in [text for text in kinds if read_text(text).weighting == "other" and on[text] < sum(on.values())]:
            del kinds[text]
            agents.pop(text, None)
    weighting_texts = frozenset(text for text, found in kinds.items() if len(found) > 1)
    return Exam(weighting_texts, weighting_texts | frozenset(text for text, found in agents.items() if len(found) > 1))


def _text(series: DicomSeries, field: str) -> str:
    return " ".join(str(getattr(series, field)).lower().split())


def _own_words(series: DicomSeries, exam: Exam) -> WordReading:
    """What SeriesDescription says of the series."""
    text = _text(series, "description")
    if text in exam.weighting:
        return WordReading()
    said = read_text(series.description)
    return replace(said, contrast=None, contradiction=False) if text in exam.contrast else said


def _words_about(series: DicomSeries, exam: Exam) -> WordReading:
    """What description and protocol say of the series, the description first."""
    own = _own_words(series, exam)
    if own.weighting == "other" or read_text(series.sequence_name).weighting == "other":
        return WordReading("other")
    protocol = _text(series, "protocol")
    # GE writes the exam's name there. A protocol that names no weighting does not speak of one series.
    if series.manufacturer.startswith("GE") or not protocol or protocol in exam.weighting:
        return own
    said = read_text(series.protocol)
    if said.weighting == "other":
        return own if own.weighting else said
    if not said.weighting or said.contradiction:
        return own
    contrast = None if protocol in exam.contrast else said.contrast
    if own.weighting and own.weighting != said.weighting:
        return own
    if own.contrast is not None and contrast is not None and own.contrast != contrast:
        return WordReading(own.weighting or said.weighting, None, contradiction=True)
    return WordReading(
        own.weighting or said.weighting, contrast if own.contrast is None else own.contrast, own.contradiction
    )


def _why_not(series: DicomSeries) -> str:
    """Why a series is no input by its tags alone, empty if it may be one."""
    if series.modality != "MR":
        return "it is no MR image"
    if "LOCALIZER" in series.image_type:
        return "it is a localiser"
    if series.kind:
        return series.kind
    derived = sorted(_DERIVED.intersection(series.image_type))
    if derived or {"DERIVED", "SECONDARY"} <= set(series.image_type):
        how = f" ({', '.join(derived)})" if derived else ""
        return f"it is derived from another series{how}; to use it all the same, name it by its flag"
    if series.diffusion or "EP" in series.scanning_sequence:
        return "it is diffusion or echo planar imaging"
    if series.acquisition_contrast in _OTHER_CONTRAST:
        return f"its contrast is stated as {series.acquisition_contrast.lower().replace('_', ' ')}"
    if series.slices < MIN_SLICES:
        return f"it has only {series.slices} slices"
    return ""


def _would_be(series: DicomSeries) -> str:
    """What a derived series would be if it were an original one."""
    if "derived" not in _why_not(series):
        return ""
    plain = read_tags(replace(series, image_type=("ORIGINAL", "PRIMARY")))
    return "" if plain.weighting == "other" else plain.weighting


def _weighting_by_tags(series: DicomSeries) -> tuple[str, str]:
    by_timing, reason = _weighting_by_timing(series)
    stated = _ACQUISITION_CONTRAST.get(series.acquisition_contrast, "")
    if by_timing or not stated:
        return by_timing, reason
    return stated, f"the stated contrast {stated.replace('t2f', 'FLAIR')}"


def _weighting_by_timing(series: DicomSeries) -> tuple[str, str]:
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


def _contrast(series: DicomSeries, words: WordReading) -> tuple[bool | None, str]:
    if words.contradiction:
        return None, "its description speaks both of contrast and of none"
    if series.contrast_agent is True:
        return (
            (None, "an agent is named but its description says native")
            if words.contrast is False
            else (True, "a contrast agent is named")
        )
    if series.contrast_agent is False:
        return (
            (None, "no agent was given but its description says contrast")
            if words.contrast is True
            else (False, "stated as given no contrast agent")
        )
    if words.contrast is not None:
        return words.contrast, "its description says " + ("with contrast" if words.contrast else "without contrast")
    return None, "contrast is not stated"
