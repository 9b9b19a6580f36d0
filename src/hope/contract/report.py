"""The report of one case: what result.json holds, typed. Its JSON Schema is docs/reference/case-report.schema.json.

Fields that are not set are not written, and a report of an older version, which lacks some, can still be read. All
positions are RAS+ millimetres, all volumes millilitres, all times seconds, all hashes SHA-256 in hex.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hope.contract.measurements import Measurements
from hope.domain.ids import check_case_name
from hope.domain.qc import OLD_CODES

FORMAT: Final = "hope-result/1"

Json = dict[str, Any]
Millilitres = Annotated[float, Field(ge=0)]
Matrix = list[list[float]]


class Section(BaseModel):
    """Base of what a report is made of: what is not known here is passed over, as readers should."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class OpenSection(BaseModel):
    """A part to which a model or a method may add facts of its own."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Software(Section):
    """What made the result."""

    software: str = "hope"
    version: str = ""


class GridFacts(Section):
    """The grid of an image."""

    shape: list[int] = Field(description="voxels along i, j, k in file order", examples=[[240, 240, 155]])
    spacing_mm: list[float] = Field(description="voxel size along i, j, k", examples=[[1.0, 1.0, 1.0]])
    orientation: str = Field(description="directions of i, j, k", examples=["LPS"])
    affine_ras_mm: Matrix = Field(description="4x4 rows: voxel centres to the scanner's world")


class ScanFacts(Section):
    """One given sequence."""

    sha256: str = Field(description="of voxels and grid, never of a file name")
    grid: GridFacts | None = None
    confidence: float | None = Field(default=None, description="how sure its identification is, 0 to 1")
    reason: str | None = Field(default=None, description="why it was taken for that sequence")


class InputFacts(Section):
    """The scans."""

    sequences: dict[str, ScanFacts] = Field(default={}, description="per given sequence")
    missing: list[str] = Field(default=[], description="sequences that the model had to do without")
    reference: str | None = Field(default=None, description="the sequence whose grid carries the labels")
    treated_as: str | None = Field(default=None, examples=["raw", "preprocessed"])
    head_state: str | None = Field(default=None, description="what the scans show", examples=["full", "brain"])


class Method(Section):
    """A method and one sentence on it."""

    method: str = Field(description="`none` where nothing was done", examples=["none"])
    note: str | None = None


class BrainMask(Section):
    """What found the brain, with its version; or that the scans came stripped, or the atlas stood in."""

    method: str


class SequenceHarmonization(OpenSection):
    """What became of one sequence; figures of the check of its anatomy."""

    changed: bool = Field(description="whether the model saw the harmonized image")
    reason: str | None = Field(default=None, description="why the original was passed on")
    edge_ssim: float | None = Field(default=None, description="similarity of gradient magnitudes before and after")
    lesion_to_white_before: float | None = None
    lesion_to_white_after: float | None = None
    distance_before: float | None = Field(default=None, description="from the style, in units of the brain's median")
    distance_after: float | None = None


class Harmonization(Section):
    """What harmonisation did; empty unless it was asked for."""

    asked: str | None = Field(default=None, description="the method that was asked for")
    style: str | None = Field(default=None, description="name of the style")
    harmonizer: Json | None = Field(default=None, description="the method's own facts")
    suspected_lesion_ml: Millilitres | None = Field(default=None, description="set aside as perhaps a lesion")
    sequences: dict[str, SequenceHarmonization] = {}


class Flag(Section):
    """One fact, caution or warning about input or result."""

    code: str = Field(description="stable machine name", examples=["thick_slices"])
    severity: str = Field(examples=["info", "caution", "warning"])
    sequence: str | None = Field(default=None, description="empty for the whole case")
    reason: str = Field(description="one sentence with the measured figures")

    @field_validator("code", mode="before")
    @classmethod
    def _present_code(cls, code: object) -> object:
        """Read the codes of version 0.1 as those of today."""
        return OLD_CODES.get(code, code) if isinstance(code, str) else code


class VolumeMl(Section):
    """Volume of a label or region on the scan's own grid."""

    ml: Millilitres
    low_ml: Millilitres | None = Field(default=None, description="low end of the interval")
    high_ml: Millilitres | None = Field(default=None, description="high end of the interval")


Volumes = dict[str, VolumeMl]


class RegionQualityFacts(Section):
    """What outline of one region is to be expected."""

    dice: float = Field(description="expected Dice against an expert's mask")
    low: float = Field(description="nine of ten cases of the fit lay between low and high")
    high: float
    poor_chance: float = Field(description="chance that the Dice is below 0.75 (WT) or 0.6 (TC, ET)")
    verdict: str = Field(examples=["likely good", "check", "likely poor"])


class ExpectedQualityFacts(Section):
    """How good the result is expected to be, from the signs of the model's probabilities."""

    verdict: str = Field(description="show it beside the headline", examples=["likely good", "check", "likely poor"])
    regions: dict[str, RegionQualityFacts] = Field(default={}, description="per region that was marked: WT, TC, ET")
    fitted_on: str = Field(default="", description="the cases that this was fitted on, in words")

    def figures(self) -> str:
        """The expected Dice of each region in words."""
        from hope.domain.labels import REGION_NAMES  # brings numpy, which a report alone does not need

        said = [
            f"{REGION_NAMES[name].lower()}: Dice about {one.dice:.2f} ({one.low:.2f} to {one.high:.2f}), {one.verdict}"
            for name, one in self.regions.items()
            if name in REGION_NAMES
        ]
        return "; ".join(said) or "nothing was marked, so there is no figure"


class Postprocess(OpenSection):
    """What the clean-up changed. Volumes are counted on the atlas grid."""

    rules: str | None = Field(default=None, description="`none` where none were applied")
    changed: bool = False
    before_ml: dict[str, Millilitres] = {}
    after_ml: dict[str, Millilitres] = {}
    removed_ml: dict[str, Millilitres] | None = Field(default=None, description="adaptive rules: became background")
    renamed_ml: dict[str, Millilitres] | None = Field(default=None, description="adaptive rules: another label")
    cluster: int | None = Field(default=None, description="whose thresholds were applied")
    chosen_by: str | None = None
    runner_up: int | None = Field(default=None, description="the next nearest cluster")
    lead: float | None = Field(default=None, description="0: a tie with the runner-up; 1: on its own centre")
    reason: str | None = Field(default=None, description="why the model's own rules were not applied")


class ModelFacts(OpenSection):
    """Which model answered, and how it ran."""

    id: str = ""
    version: str | None = None
    sha256: str | None = Field(default=None, description="of the bundle")
    licence: str | None = None
    label_schema: str | None = None
    head_state: str | None = Field(default=None, description="what of the head it wants to see")
    spacing_mm: float | list[float] | None = Field(default=None, description="one number: its voxels are cubes")
    device: str | None = None
    note: str | None = None
    members: int | None = Field(default=None, description="networks of an ensemble")
    precision: str | None = None
    backend: str | None = None
    mirroring: bool | None = None
    remark: str | None = None


class TransformFacts(Section):
    """Where a point of the atlas lies in a scan's own world."""

    atlas_to_native_ras_mm: Matrix


class StageSeconds(Section):
    """One finished step of the work."""

    name: str
    seconds: float


class FileFacts(Section):
    """One file beside result.json, which itself is not listed."""

    name: str
    kind: str = Field(description="what it is, in words")
    bytes: int = 0
    sha256: str = ""
    role: str | None = Field(default=None, description="what it is for", examples=["segmentation"])
    sequence: str | None = Field(default=None, description="of an image of one sequence")
    label: str | None = Field(default=None, description="of the file of one label")
    space: str | None = Field(default=None, description="the grid it lies on", examples=["native", "atlas"])
    detail: str | None = Field(default=None, description="what its values mean")


class CaseReport(Section):
    """All facts of one case. No field holds a patient's name, a date or an original file name."""

    format: str = FORMAT
    case_id: str = Field(description="a name without identity")
    created_by: Software = Software()
    disclaimer: str = Field(default="", description="show it wherever you show the result")
    input: InputFacts = InputFacts()
    harmonizer: Method = Method(method="none")
    harmonization: Harmonization = Harmonization()
    qc: list[Flag] = Field(default=[], description="facts, cautions and warnings about input and result")
    volumes_ml: Volumes = Field(default={}, description="ET, NET, CC, ED, TC, WT")
    interval_method: str | None = Field(default=None, description="what low_ml and high_ml mean")
    tumour_found: bool | None = Field(default=None, description="false is a result, not an error")
    postprocess: Postprocess = Postprocess()
    transforms: dict[str, TransformFacts] = Field(default={}, description="per given sequence")
    model: ModelFacts = ModelFacts()
    brain_mask: BrainMask | None = None
    stages: list[StageSeconds] = Field(default=[], description="in the order of work, up to the writing of the files")
    files: list[FileFacts] = []
    series_selection: Json | None = Field(
        default=None, description="DICOM series that were looked at: what each was taken as, and why or why not"
    )
    expected_quality: ExpectedQualityFacts | None = Field(
        default=None, description="how good the result is expected to be; absent where the model cannot tell"
    )
    corrected: bool | None = Field(
        default=None,
        description="true where a person corrected the mask: volumes_ml and tumour_found are of the corrected mask,"
        " everything else is of the run that it corrects",
    )
    measurements: Measurements | None = Field(
        default=None, description="diameters and volume of each lesion, and sums over the targets"
    )
    # Reserved: their form is settled by the first version that writes them.
    case_label: str | None = Field(default=None, description="reserved: what the user calls the case")
    comparison: Json | None = Field(default=None, description="reserved: change against an earlier result")
    training_data: Json | None = Field(default=None, description="reserved: provenance of the model's training data")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """A report as a row of the database or a file holds it, of this version or an older one.

        Raises:
            ValueError: if it is not such a report.
            InputError: if its case's name cannot name files.
        """
        report = cls.model_validate(values)
        check_case_name(report.case_id)
        return report

    def with_sections(
        self, *, stages: Sequence[StageSeconds] | None = None, files: Sequence[FileFacts] | None = None
    ) -> Self:
        """The same report with what is known last; what is not given stays."""
        given = {"stages": stages, "files": files}
        return self.model_copy(update={name: list(value) for name, value in given.items() if value is not None})

    def millilitres(self) -> dict[str, dict[str, float]]:
        """The volumes as plain numbers, without what is not set."""
        return {key: volume.model_dump(exclude_unset=True) for key, volume in self.volumes_ml.items()}

    def to_json(self) -> Json:
        """Plain JSON values of the fields that are set, in order."""
        return self.model_dump(mode="json", exclude_unset=True)

    def text(self) -> str:
        """The text of result.json."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"

    def for_page(self) -> Json:
        """Plain JSON values without what only machines read: matrices, and the files, which the store knows better."""
        values = self.model_dump(mode="json", exclude_unset=True, exclude={"transforms", "files"})
        for scan in values.get("input", {}).get("sequences", {}).values():
            scan.pop("grid", None)
        return values


def json_schema() -> Json:
    """The published JSON Schema of result.json."""
    schema = CaseReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
