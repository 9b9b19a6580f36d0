"""What `hope compare` says of several dates of one patient. Its JSON Schema is docs/reference/comparison.schema.json.

Dates never stand in it: days since the first date do, where the user gave them.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from hope.contract.measurements import Measurements
from hope.contract.report import Software, Volumes

FORMAT: Final = "hope-comparison/1"

OUTSIDE: Final = (
    "Change after surgery lies outside what was validated: cavities and blood are not told from tumour. "
    "A change of scanner, sequence or model changes volumes, too."
)

Percent = Annotated[float, PlainSerializer(lambda percent: round(percent, 1), return_type=float)]
"""Rounded where it is written, not before: a category is found by the value itself."""

Mm2 = Annotated[float, PlainSerializer(lambda mm2: round(mm2, 1), return_type=float)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class VisitFacts(_Part):
    """One date."""

    case_id: str = Field(description="a name without identity")
    days: int | None = Field(default=None, description="since the first date; null where it was not given")
    volumes_ml: Volumes = Field(description="per label and region, on the scan's own grid")
    measurements: Measurements
    model: str = Field(default="", description="id of the model that made the mask; empty for a mask from elsewhere")


class RegistrationFacts(_Part):
    """How the later image was laid on the earlier one: rigidly, on the scans of one sequence."""

    sequence: str = Field(examples=["t1c"])
    rotation_deg: float
    shift_mm: float = Field(description="of the middle of the tumour, or of the image where there is none")
    mutual_information: float = Field(description="normalised, 1 (nothing in common) to 2 (the same image)")
    overlap: float = Field(description="share of the earlier image that lies in the later field of view")
    cautions: list[str] = Field(default=[], description="what speaks against it; empty if nothing does")


class ChangeFacts(_Part):
    """Change of one label or region."""

    earlier_ml: float
    later_ml: float
    change_ml: float
    percent: Percent | None = Field(description="of the earlier volume; null where that is 0")
    low_ml: float | None = Field(description="low end of the interval of the difference; null if unknown")
    high_ml: float | None
    direction: str = Field(
        examples=["larger", "smaller", "not larger than the uncertainty", "uncertainty unknown"],
        description="larger or smaller only where the interval does not hold 0",
    )


class MatchFacts(_Part):
    """Linked lesions of two dates, by their numbers in each date's measurements."""

    fate: str = Field(examples=["same", "new", "gone", "split", "merged", "rearranged", "outside the other scan"])
    earlier: list[int]
    later: list[int]
    earlier_ml: float
    later_ml: float


class TargetFacts(_Part):
    """A target of the earlier date and what became of it; targets that merged stand in one row."""

    fate: str = Field(description="of the group of linked lesions that it belongs to", examples=["same", "gone"])
    earlier: list[int] = Field(description="the targets' numbers at the earlier date")
    later: list[int] = Field(description="what they became, measurable or not; empty where nothing is left")
    earlier_mm2: Mm2 = Field(description="axial products of the targets")
    later_mm2: Mm2 | None = Field(
        description="axial products of what they became; 0 where they are gone, null outside of the later scan"
    )
    shared: bool = Field(description="what they became is that of several earlier lesions, and is counted once")


class StepFacts(_Part):
    """What changed from one date to another."""

    earlier: int = Field(ge=0, description="index in `visits`")
    later: int = Field(ge=1)
    registration: RegistrationFacts
    changes: dict[str, ChangeFacts] = Field(description="ET, NET, CC, ED, TC, WT")
    lesions: list[MatchFacts] = Field(description="every measured lesion of both dates, once")
    cautions: list[str] = Field(default=[], description="lesions that the other date's scan does not show whole")
    targets: list[TargetFacts] = Field(default=[], description="chosen at the earlier date, and followed")
    sum_of_products_percent: Percent | None = Field(
        default=None, description="change of the sum over `targets`; null where `targets_note` says why"
    )
    targets_note: str = Field(default="", description="what speaks against the percentage; empty if nothing does")


class ResponseFacts(_Part):
    """A category from a table that the site supplied."""

    category: str | None = Field(description="null where the table gives none; `reason` says why")
    imaging_part_only: bool = True
    table: str = Field(description="name of the table")
    reason: str


class CalibrationFacts(_Part):
    """How the factors on the intervals were measured, and what they are worth."""

    kind: str = Field(description="what the pairs were")
    pairs: int = Field(description="unchanged pairs that the factors were chosen on")
    factors: dict[str, float] = Field(description="per label and region, on the interval of a difference")
    called_changed: dict[str, int] = Field(
        description="how many of the pairs were called changed by factors of the other pairs"
    )
    growth_found_percent: dict[str, float | None] = Field(
        description="smallest growth found in 80 %; null where the largest that was tried is not"
    )


class Comparison(_Part):
    """Several dates of one patient."""

    format: str = FORMAT
    created_by: Software = Software()
    disclaimer: str = ""
    limits: str = OUTSIDE
    overlap_rule: str = ""
    interval_method: str = ""
    calibration: CalibrationFacts | None = Field(
        default=None, description="null where nothing was measured with the model that made the masks"
    )
    cautions: list[str] = []
    visits: list[VisitFacts] = Field(min_length=2)
    steps: list[StepFacts] = Field(min_length=1, description="each date with the one before, then last with first")
    response: ResponseFacts | None = None
    input: dict[str, dict[str, str]] = Field(
        default={}, description="what it was made from: SHA-256 of mask and scan of each date"
    )
    files: list[dict[str, Any]] | None = Field(default=None, description="what lies beside this file, with hashes")

    def text(self) -> str:
        """The text of comparison.json."""
        return json.dumps(self.model_dump(mode="json", exclude={"files"}), indent=2, ensure_ascii=False) + "\n"

    def csv(self) -> str:
        """A row for each step and label or region."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = list(ChangeFacts.model_fields)
        writer.writerow(["earlier", "later", "days_between", "region", *names])
        for step in self.steps:
            for region, change in step.changes.items():
                values = change.model_dump()
                writer.writerow(
                    [step.earlier + 1, step.later + 1, self.days_between(step), region, *(values[n] for n in names)]
                )
        return stream.getvalue()

    def days_between(self, step: StepFacts) -> int | None:
        """Days from one date of a step to the other; None where they were not given."""
        start, end = self.visits[step.earlier].days, self.visits[step.later].days
        return None if start is None or end is None else end - start


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of comparison.json."""
    schema = Comparison.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
