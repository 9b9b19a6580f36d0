"""One table of colours and words, so that page, report and programs say the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Any

from pydantic import Field

from hope import DISCLAIMER, __version__
from hope.contract.job import CaseState
from hope.contract.options import Option, options
from hope.contract.outputs import LISTED, OutputFile
from hope.contract.stages import STAGES, Stage
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.labels import PEDS, REGION_NAMES, REGIONS
from hope.web.schemas import ResponseModel

STATE_TITLES: dict[CaseState, str] = {
    CaseState.NEW: "Not started",
    CaseState.QUEUED: "Waiting for its turn",
    CaseState.RUNNING: "Running",
    CaseState.DONE: "Done",
    CaseState.FAILED: "Failed",
    CaseState.CANCELLED: "Cancelled",
}

TERMS: tuple[str, ...] = (
    DISCLAIMER,
    "Upload only scans that you may use for research, and that carry no name in the image itself.",
    "File names, patient names and dates are not stored; faces in the scans are, until you delete them.",
    "Everything is deleted when you end the session, or when it has not been used for {session_hours} hours.",
    "Results can be wrong, most of all for scans unlike those that the model was trained on; check every one.",
)


BUNDLED_MODELS = frozenset(path.name for path in (files("hope.resources") / "models").iterdir())
"""Ids of the models in the package: each has a card in the documentation."""


class LabelTerm(ResponseModel):
    """One tumour part."""

    value: int = Field(description="the number in the mask")
    key: str
    name: str
    colour: str = Field(description="sRGB hex", examples=["#D55E00"])


class RegionTerm(ResponseModel):
    """A composite of tumour parts."""

    key: str
    name: str
    labels: list[int] = Field(description="label values that belong to it")


class SequenceTerm(ResponseModel):
    """One of the four sequences."""

    key: MRSequence
    title: str
    optional: bool = Field(description="whether a case can be run without it")
    hint: str


class StageTerm(ResponseModel):
    """One stage."""

    key: Stage
    title: str
    usual_seconds: float = Field(description="how long it took of a raw case when that was measured, on two cores")


class Links(ResponseModel):
    """Pages to read; each is absent where the server does not know of one."""

    docs: str | None = Field(default=None, description="the documentation of this version")
    model_card: str | None = Field(default=None, description="the card of the model that runs if none is chosen")


class OptionForm(StrEnum):
    """How an option of a run is asked for."""

    MODEL = "model"
    """One of GET /api/models, or none of them."""
    CHOICE = "choice"
    """Nothing, yes or no."""
    TICK = "tick"
    """Yes or no."""


class OptionTerm(ResponseModel):
    """One option of a run."""

    key: str = Field(description="its field in the body of POST /run", examples=["harmonize"])
    form: OptionForm
    title: str
    hint: str = Field(description="a second sentence; may be empty")
    choices: list[str] = Field(description="what a choice says for nothing, yes and no; a model's for nothing")
    default: bool | None


class Feature(StrEnum):
    """What a server can do only where it was installed or set up for it."""

    DICOM_OBJECTS = "dicom-objects"
    """POST /dicom-objects of a case: the extra [dicom] is installed."""
    ARCHIVE = "archive"
    """POST /api/archive/studies and /archive of a case: the operator has named an archive."""


class VocabularyOut(ResponseModel):
    """Colours and words."""

    labels: list[LabelTerm]
    regions: list[RegionTerm]
    sequences: list[SequenceTerm]
    stages: list[StageTerm]
    options: list[OptionTerm] = Field(description="what can be chosen for a run")
    states: dict[str, str]
    terms: list[str]
    disclaimer: str
    version: str
    kinds: dict[str, str] = Field(description="kind of file -> what a person reads")
    links: Links
    features: list[Feature] = Field(default=[], description="what this server can do that others cannot")


def vocabulary(
    session_hours: float,
    optional: Collection[str],
    docs_url: str = "",
    model_id: str = "",
    features: Sequence[Feature] = (),
) -> VocabularyOut:
    """The table.

    Args:
        session_hours: after which an idle session is deleted.
        optional: sequences that the default model can do without.
        docs_url: where the documentation lies; empty if nobody said so.
        model_id: of the default model; only bundled models have a card in the documentation.
        features: what this server can do that others cannot.
    """
    hours: Any = int(session_hours) if session_hours == int(session_hours) else session_hours
    return VocabularyOut(
        labels=[LabelTerm(value=x.value, key=x.key, name=x.name, colour=x.colour) for x in PEDS.labels],
        regions=[RegionTerm(key=k, name=REGION_NAMES[k], labels=list(values)) for k, values in REGIONS.items()],
        sequences=[SequenceTerm(key=s, title=s.title, optional=s in optional, hint=s.hint) for s in SEQUENCES],
        stages=[
            StageTerm(key=stage, title=stage.spec.title, usual_seconds=round(stage.spec.seconds(False), 1))
            for stage in STAGES
        ],
        options=[_option_term(option) for option in options()],
        states={state.value: title for state, title in STATE_TITLES.items()},
        terms=[term.format(session_hours=hours) for term in TERMS],
        disclaimer=DISCLAIMER,
        version=__version__,
        kinds=kinds(),
        links=_links(docs_url.rstrip("/"), model_id),
        features=list(features),
    )


def _links(docs: str, model_id: str) -> Links:
    if not docs:
        return Links()
    card = f"{docs}/model-cards/{model_id}.html" if model_id in BUNDLED_MODELS else None
    return Links(docs=f"{docs}/index.html", model_card=card)


def _option_term(option: Option) -> OptionTerm:
    form = OptionForm.MODEL if option.is_text else OptionForm.TICK if option.default is not None else OptionForm.CHOICE
    return OptionTerm(
        key=option.name,
        form=form,
        title=option.ask.title,
        hint=option.ask.hint,
        choices=list(option.ask.choices),
        default=option.default,
    )


def kinds() -> dict[str, str]:
    """Kind of file -> what a person reads."""
    titles = sequence_titles()
    found: dict[str, str] = {}
    for role in LISTED:
        for space, place in role.spec.places.items():
            sequences = SEQUENCES if "{sequence}" in place.kind else ("",)
            outputs = [OutputFile(role, str(sequence), space=space) for sequence in sequences]
            found |= {output.kind: output.title(titles) for output in outputs}
    return found


def sequence_titles() -> dict[str, str]:
    """What a person reads for each sequence."""
    return {str(sequence): sequence.title for sequence in SEQUENCES}
