"""One table of colours and words, so that page, report and programs say the same."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import Field

from hope import DISCLAIMER, __version__
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.job import STAGES, CaseState, Stage
from hope.domain.labels import PEDS, REGION_NAMES, REGIONS
from hope.web.schemas import Answer

STAGE_TITLES: dict[Stage, str] = {
    Stage.PREPROCESS: "Preparing the scans",
    Stage.HARMONIZE: "Matching brightness",
    Stage.SEGMENT: "Finding tumour parts",
    Stage.POSTPROCESS: "Cleaning and measuring",
}

STATE_TITLES: dict[CaseState, str] = {
    CaseState.NEW: "Not started",
    CaseState.QUEUED: "Waiting for its turn",
    CaseState.RUNNING: "Running",
    CaseState.DONE: "Done",
    CaseState.FAILED: "Failed",
    CaseState.CANCELLED: "Cancelled",
}

_HINTS: dict[MRSequence, str] = {
    MRSequence.T1N: "T1-weighted, before contrast agent",
    MRSequence.T1C: "T1-weighted, after contrast agent (gadolinium)",
    MRSequence.T2W: "T2-weighted; fluid is bright",
    MRSequence.T2F: "T2 FLAIR; fluid is dark, oedema is bright",
}

TERMS: tuple[str, ...] = (
    DISCLAIMER,
    "Upload only scans that you may use for research, and that carry no name in the image itself.",
    "File names, patient names and dates are not stored; faces in the scans are, until you delete them.",
    "Everything is deleted when you end the session, or when it has not been used for {session_hours} hours.",
    "Results can be wrong, most of all for scans unlike those that the model was trained on; check every one.",
)

KINDS: dict[str, str] = {
    "segmentation on the scan's own grid": "Tumour parts on your scan",
    "segmentation on the atlas grid": "Tumour parts in atlas space",
    "segmentation before post-processing": "The model's answer before cleaning",
    "corrected segmentation": "Your correction",
    "view": "Scan as the page shows it",
    "view after harmonisation": "Scan after brightness matching, brain only, as the page shows it",
    "mesh": "Surface for 3D",
    "volumes as a table": "Volumes (CSV)",
    "picture": "Picture",
    "report": "Report",
    "all facts": "All facts (JSON)",
    **{f"{sequence} on the atlas grid": f"{sequence.title} in atlas space" for sequence in SEQUENCES},
}


class LabelWords(Answer):
    """One tumour part."""

    value: int = Field(description="the number in the mask")
    key: str
    name: str
    colour: str = Field(description="sRGB hex", examples=["#D55E00"])


class RegionWords(Answer):
    """A composite of tumour parts."""

    key: str
    name: str
    labels: list[int] = Field(description="label values that belong to it")


class SequenceWords(Answer):
    """One of the four sequences."""

    key: MRSequence
    title: str
    optional: bool = Field(description="whether a case can be run without it")
    hint: str


class StageWords(Answer):
    """One stage."""

    key: Stage
    title: str


class WordsOut(Answer):
    """Colours and words."""

    labels: list[LabelWords]
    regions: list[RegionWords]
    sequences: list[SequenceWords]
    stages: list[StageWords]
    states: dict[str, str]
    terms: list[str]
    disclaimer: str
    version: str
    kinds: dict[str, str] = Field(description="kind of file -> what a person reads")


def words(session_hours: float, optional: Collection[str]) -> WordsOut:
    """The table.

    Args:
        session_hours: after which an idle session is deleted.
        optional: sequences that the default model can do without.
    """
    hours: Any = int(session_hours) if session_hours == int(session_hours) else session_hours
    return WordsOut(
        labels=[LabelWords(value=x.value, key=x.key, name=x.name, colour=x.colour) for x in PEDS.labels],
        regions=[RegionWords(key=k, name=REGION_NAMES[k], labels=list(values)) for k, values in REGIONS.items()],
        sequences=[SequenceWords(key=s, title=s.title, optional=s in optional, hint=_HINTS[s]) for s in SEQUENCES],
        stages=[StageWords(key=stage, title=STAGE_TITLES[stage]) for stage in STAGES],
        states={state.value: title for state, title in STATE_TITLES.items()},
        terms=[term.format(session_hours=hours) for term in TERMS],
        disclaimer=DISCLAIMER,
        version=__version__,
        kinds=KINDS,
    )
