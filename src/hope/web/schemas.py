"""What the REST interface takes and gives. These models are its documentation: GET /openapi.json."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel

from hope.contract.job import CaseState, StageState
from hope.contract.options import RunOptions
from hope.contract.outputs import Audience, Role, Space
from hope.contract.report import ExpectedQualityFacts, Flag, Harmonization, ModelFacts, Postprocess, Volumes
from hope.contract.stages import Stage
from hope.domain.case import MRSequence

Seconds = Annotated[float, Field(description="seconds since 1970, UTC", examples=[1795363200.0])]
Message = Annotated[str, Field(examples=["t2f has slices of 8.0 mm: small parts may be missed."])]

_ID = "abcdefghjk0123456789mnpqrs"


class ResponseModel(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid")


class RequestModel(BaseModel):
    """Base of what is asked: no unknown field and no other type passes, so that a typing error is not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(BaseModel):
    """An RFC 9457 problem: one sentence, and its parts where there are any."""

    type: str = Field(
        default="about:blank", description="kind of problem, a relative URI", examples=["/problems/input"]
    )
    title: str = Field(description="the status in words", examples=["Unprocessable Entity"])
    status: int = Field(description="the HTTP status", examples=[422])
    detail: str = Field(description="one sentence for people", examples=["t1c is an empty file (got 0 bytes)"])
    what: str | None = Field(default=None, description="what is wrong")
    expected: str | None = Field(default=None, description="what would have been right")
    got: str | None = Field(default=None, description="what was found")
    fix: str | None = Field(default=None, description="what to do about it")


class Limits(ResponseModel):
    """What a session may do."""

    max_upload_bytes: int = Field(description="largest body of one upload")
    max_cases_in_work: int = Field(description="cases that may be queued or running at once")
    session_hours: float = Field(description="an idle session is deleted after this long")


class SessionIn(RequestModel):
    """Opens a session. Without a body the call itself counts as accepting the terms of GET /api/vocabulary."""

    terms_accepted: bool = Field(default=True, description="false is refused: nothing is done without the terms")


class Notify(RequestModel):
    """Where key steps are told. Both are deleted with the session."""

    webhook: str | None = Field(
        default=None,
        max_length=2000,
        description="https address that gets a JSON post",
        examples=["https://example.org/hook"],
    )
    email: str | None = Field(
        default=None, max_length=254, description="address for e-mail", examples=["team@example.org"]
    )


class SessionPatch(RequestModel):
    """Changes what is given."""

    close_with_page: bool | None = Field(default=None, description="delete the session when the page closes")
    notify: Notify | None = Field(default=None, description="replaces what was set before; empty values switch it off")


class StageOut(ResponseModel):
    """One stage of the current run."""

    stage: Stage
    title: str = Field(description="the stage in words", examples=["Preparing the scans"])
    state: StageState
    share: float = Field(ge=0, le=1, description="how much of it is done")
    weight: float = Field(ge=0, le=1, description="its usual share of a whole run of such a case")
    usual_seconds: float = Field(description="how long it took when the shares were measured, on two cores")
    message: str = Field(description="what is being done", examples=["preprocess: register t2w"])
    seconds: float | None = Field(
        default=None, description="how long it took, or has taken so far; absent while it waits"
    )
    attempts: int = Field(description="how often it was begun")
    seen_at: float | None = Field(default=None, description="last sign of life of the process that works on it")


class SeriesOut(ResponseModel):
    """One stored scan."""

    key: str = Field(description="its name within the case", examples=["t1c"])
    sequence: MRSequence | None = Field(description="which of the four; null until somebody says so")
    shape: list[int] = Field(description="voxels along i, j, k in file order", examples=[[240, 240, 155]])
    spacing_mm: list[float] = Field(description="voxel size along i, j, k", examples=[[1.0, 1.0, 1.0]])
    orientation: str = Field(description="directions of i, j, k", examples=["LPS"])
    warnings: list[Message] = Field(description="what looks odd")
    bytes: int = Field(description="size of the stored .nii")
    sha256: str = Field(description="its hash, which is its ETag, too")
    confidence: float | None = Field(default=None, description="how sure the sequence is, 0 to 1 (DICOM)")
    reason: str | None = Field(default=None, description="why it was taken for that sequence (DICOM)")


class SeriesStored(SeriesOut):
    """A scan that was just stored, and what became of others."""

    replaced: SeriesOut | None = Field(default=None, description="the scan in whose place it is; deleted")
    unassigned: list[str] = Field(default=[], description="keys of scans that stay, but lost the sequence to it")


class CaseOut(ResponseModel):
    """A case: how far it is, its scans, and what came out of it."""

    id: str = Field(examples=[_ID])
    number: int = Field(description="1, 2, ... within the session", examples=[1])
    label: str = Field(description="the user's name for it; it stands in the session's rows only", examples=[""])
    state: CaseState
    created_at: Seconds
    run: int = Field(description="how often it was started")
    choice: RunOptions = Field(description="what was chosen for the current run; null leaves it to the default")
    problem: str | None = Field(default=None, description="why it failed, one sentence")
    problem_is_ours: bool | None = Field(
        default=None, description="whether the fault is the platform's, not the input's"
    )
    stages: list[StageOut]
    series: list[SeriesOut]
    version: int = Field(description="which version of the mask is current; 0 is the model's")
    volumes_ml: Volumes = Field(
        description="of the current version, per label and region ml, low_ml, high_ml; empty until it is done"
    )
    qc: list[Flag] = Field(description="remarks on input and result, the gravest first")
    expected_quality: ExpectedQualityFacts | None = Field(
        default=None, description="how good the result is expected to be; absent where the model cannot tell"
    )
    tumour_found: bool | None = Field(default=None, description="no tumour found is a result, too")
    interval_method: str | None = Field(default=None, description="what low_ml and high_ml mean")
    postprocess: Postprocess | None = Field(
        default=None, description="the rules of cleaning, their cluster, what they changed, volumes before and after"
    )
    harmonization: Harmonization | None = Field(
        default=None, description="if brightness was to be matched: method, style, and what became of each sequence"
    )
    model: ModelFacts | None = Field(default=None, description="which model answered")
    missing: list[str] | None = Field(default=None, description="sequences that were not given")
    reference: str | None = Field(default=None, description="sequence whose own grid the result lies on")
    disclaimer: str


def _plain(label: str) -> str:
    """A name on one line, without what cannot be seen."""
    if any(unicodedata.category(letter).startswith("C") for letter in label):
        raise ValueError("the name holds characters that cannot be seen; use letters, digits, spaces and signs")
    return " ".join(label.split())


class CaseChange(RequestModel):
    """What can be changed of a case."""

    label: Annotated[str, AfterValidator(_plain)] = Field(
        max_length=80,
        description="your name for the case; empty takes it away. Do not use a patient's name",
        examples=["left frontal, before surgery"],
    )


class SessionOut(ResponseModel):
    """A session and all that is in it."""

    id: str = Field(examples=[_ID])
    created_at: Seconds
    expires_at: Seconds
    close_with_page: bool
    notify: dict[str, str]
    cases: list[CaseOut]
    limits: Limits


class SessionCreated(SessionOut):
    """A new session. The token is told once, here; whoever has it may do everything in the session."""

    token: str = Field(description="for `Authorization: Bearer ...`; browsers get a cookie as well")


class CasesOut(ResponseModel):
    """All cases of the session, oldest first."""

    cases: list[CaseOut]


class SeriesFound(ResponseModel):
    """What an archive held."""

    series: list[SeriesOut]
    problem: str | None = Field(default=None, description="why some are not assigned, one sentence")


class ChecksOut(ResponseModel):
    """What a run would say of the scans that a case has now."""

    problem: str | None = Field(default=None, description="why a run would refuse them, one sentence")
    remarks: list[Flag] = Field(description="remarks about the scans, the gravest first")
    thumbnails: dict[MRSequence, str] = Field(
        default={},
        description="an axial slice of each scan without its skin, WebP in base64; absent if it cannot be read",
    )


class AssignmentsIn(RootModel[dict[MRSequence, Annotated[str, Field(max_length=64)] | None]]):
    """Which stored series is which sequence. A sequence that is left out stays as it is; null takes it away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"t1n": "series-1", "t1c": "series-2"}]})


Days = Annotated[int, Field(ge=1, le=36_525, description="from the earlier to the later date; no date is asked for")]


class ComparisonIn(RequestModel):
    """Which case of the session a case is compared with."""

    earlier: str = Field(description="id of another finished case of this session", max_length=64, examples=[_ID])
    days: Days | None = None


class ReceiptOut(ResponseModel):
    """What was deleted. Kept nowhere but in the audit log, which knows the session by `reference` only."""

    reference: str
    cases: int
    files: int
    bytes: int
    stopped: int = Field(description="running stages that were stopped")
    at: Seconds
    reason: str = Field(examples=["user"])
    unconfirmed: list[str] = Field(
        description="what may still be there for a while, and until when: sentences; empty if all is gone"
    )


class FileOut(ResponseModel):
    """One file to download."""

    name: str = Field(examples=["case-abcdefgh-seg.nii.gz"])
    kind: str = Field(description="what it is, in words", examples=["segmentation on the scan's own grid"])
    title: str = Field(description="what a person reads", examples=["Tumour parts on your scan"])
    role: Role | None = Field(default=None, description="what it is for; absent if only a newer version knows")
    sequence: str | None = Field(default=None, description="of an image of one sequence", examples=["t1c"])
    label: str | None = Field(default=None, description="of the file of one label", examples=["ET"])
    space: Space | None = Field(default=None, description="the grid that it lies on")
    audience: Audience = Field(default=Audience.USER, description="whether people want it, or the page draws with it")
    bytes: int
    sha256: str
    version: int = Field(description="0: made by the pipeline; 1, 2, ...: corrected by the user")


class FilesOut(ResponseModel):
    """What can be downloaded now."""

    files: list[FileOut]


class SegmentationSaved(ResponseModel):
    """A corrected mask that was kept."""

    version: int
    name: str
    volumes_ml: Volumes
    warnings: list[str]


class SegmentationVersion(ResponseModel):
    """One version of the mask."""

    version: int = Field(description="0 is the model's")
    name: str
    made_by: Literal["model", "user"]
    volumes_ml: Volumes


class SegmentationsOut(ResponseModel):
    """All versions of the mask, the model's first; empty until the case is done."""

    versions: list[SegmentationVersion]


class ModelOut(ResponseModel):
    """A model bundle that a run can choose."""

    id: str
    version: str = ""
    title: str = ""
    licence: str = ""
    default: bool = Field(default=False, description="whether it answers if none is chosen")
    note: str = Field(default="", description="a word to the reader")
    sequences: list[MRSequence] = Field(default=[], description="what it reads, in order")
    optional: list[MRSequence] = Field(default=[], description="those that it can do without")
    max_missing: int = Field(default=0, description="how many of them at once")
    at_least_one_of: list[MRSequence] = Field(default=[], description="one of these has to be there")
    sha256: str = Field(default="", description="of the bundle")


class ModelsOut(ResponseModel):
    """The model bundles that are installed."""

    models: list[ModelOut]


class WhoAmIOut(ResponseModel):
    """Whether the caller may open a session, and how one signs in."""

    authenticated: bool
    method: Literal["loopback", "token", "oidc", "none"] = Field(description="how the caller is known")
    ways: list[Literal["token", "oidc"]] = Field(description="how one can sign in")
    sign_in_url: str | None = Field(default=None, description="where a browser signs in", examples=["/auth/login"])


class HealthOut(ResponseModel):
    """The process answers."""

    status: str = Field(examples=["ok"])


class ReadyOut(ResponseModel):
    """Everything that the gateway needs answers."""

    status: str = Field(examples=["ok"])
    parts: dict[str, str] = Field(examples=[{"store": "ok", "blobs": "ok", "queue": "ok", "disk": "ok"}])
