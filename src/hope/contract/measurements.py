"""The size of each lesion: one form for result.json, for files of `hope measure`, for tables and for DICOM SR.

Its JSON Schema is docs/reference/measurements.schema.json. Positions are RAS+ millimetres in the scan's own world.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

FORMAT: Final = "hope-measurements/1"

Point = Annotated[list[float], Field(min_length=3, max_length=3)]
Positive = Annotated[float, Field(ge=0)]

PRODUCT_DIGITS: Final = 1
Product = Annotated[Positive, PlainSerializer(lambda mm2: round(mm2, PRODUCT_DIGITS), return_type=Positive)]
"""Square millimetres. It is rounded where it is written, not before: a limit is held against the measured value."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class MeasureRuleFacts(_Part):
    """How lesions were found and measured."""

    region: str = Field(description="a lesion is a 26-connected component of it: TC (ET + NET + CC), ET or WT")
    cysts: Literal["outer", "solid"] = Field(
        description="outer: cysts and what the lesion encloses count; solid: chords stay in the wall, outside CC"
    )
    three_planes: bool = Field(description="whether the limit holds in the coronal and sagittal plane, too")
    least_mm: float = Field(gt=0, description="what both diameters of a measurable lesion reach")
    least_ml: Positive = Field(description="smaller components are counted and not measured")
    targets: int = Field(ge=1, description="at most so many measurable lesions make the sums")


class Chord(_Part):
    """One diameter."""

    mm: Positive
    low_mm: Positive = Field(description="one voxel less at its ends")
    high_mm: Positive = Field(description="one voxel more at its ends")
    ends_ras_mm: Annotated[list[Point], Field(min_length=2, max_length=2)]


class PlaneDiameters(_Part):
    """The two perpendicular diameters of a lesion on the slice with the largest product of both."""

    plane: Literal["axial", "coronal", "sagittal"]
    file_axis: Literal[0, 1, 2] = Field(description="the axis of the mask's file that the slices are counted along")
    slice_index: int = Field(ge=0, description="in the file's order, from 0")
    long: Chord = Field(description="the longest chord inside the lesion")
    short: Chord = Field(description="the longest chord inside the lesion perpendicular to it that crosses it")
    product_mm2: Product


class LesionFacts(_Part):
    """One lesion."""

    number: int = Field(ge=1, description="the largest volume first")
    ml: Positive = Field(description="volume of the region that makes the lesion, cysts included")
    centre_ras_mm: Point
    measurable: bool = Field(description="whether both diameters reach the limit in every plane that the rule asks for")
    near_limit: bool = Field(description="whether one voxel more or less could change that")
    target: bool = Field(description="whether it counts in the sums")
    planes: list[PlaneDiameters] = Field(description="axial first; empty where nothing of it is solid")

    @property
    def axial(self) -> PlaneDiameters | None:
        """The axial diameters; None where there are none."""
        return next((plane for plane in self.planes if plane.plane == "axial"), None)


class Measurements(_Part):
    """The lesions of one mask."""

    format: str = FORMAT
    rule: MeasureRuleFacts
    lesions: list[LesionFacts] = []
    smaller: int = Field(default=0, ge=0, description="components below least_ml, which were not measured")
    sum_of_products_mm2: Product = Field(default=0.0, description="axial products of the targets")
    sum_of_longest_mm: Positive = Field(default=0.0, description="longest axial diameters of the targets")

    def text(self) -> str:
        """The text of a file of `hope measure`."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"

    def csv(self) -> str:
        """A table with a row for each lesion and plane; a lesion without diameters has one row."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for lesion in self.lesions:
            planes: list[PlaneDiameters | None] = [*lesion.planes] or [None]
            for plane in planes:
                writer.writerow([*_lesion_cells(lesion), *_plane_cells(plane)])
        return stream.getvalue()


class MeasuredMask(Measurements):
    """A file of `hope measure`: the lesions, and by hashes what they were measured on and what lies beside the file."""

    input: dict[str, Any] = Field(
        default={}, description="SHA-256 of the mask, and of this file's other fields, which shows a change"
    )
    files: dict[str, str] = Field(default={}, description="name -> SHA-256 of what lies beside this file")


CSV_COLUMNS: Final = (
    *("lesion", "ml", "measurable", "near_limit", "target", "plane", "file_axis", "slice_index"),
    *("long_mm", "long_low_mm", "long_high_mm", "short_mm", "short_low_mm", "short_high_mm", "product_mm2"),
)


def describe_rule(rule: MeasureRuleFacts) -> str:
    """One line on how lesions were measured."""
    cysts = (
        "outer contour (cysts and enclosed necrosis count)"
        if rule.cysts == "outer"
        else "solid wall (cysts, CC, do not count; the labels do not tell necrosis from other tumour)"
    )
    planes = "all three planes" if rule.three_planes else "the axial plane"
    return (
        f"lesions of {rule.region} by {cysts}; measurable from {rule.least_mm:g} x {rule.least_mm:g} mm in {planes}; "
        f"sums over at most {rule.targets} measurable lesions"
    )


def describe_lesion(lesion: LesionFacts) -> str:
    """Diameters, product and whether it is measurable, in words; a range where one voxel could change that."""
    axial = lesion.axial
    if axial is None:
        return "nothing of it is solid"
    said = f"{axial.long.mm:.1f} x {axial.short.mm:.1f} mm, product {axial.product_mm2:.0f} mm2"
    if not lesion.near_limit:
        return f"{said}, {'measurable' if lesion.measurable else 'not measurable'}"
    narrow = min(lesion.planes, key=lambda plane: plane.short.mm).short
    word = "measurable" if lesion.measurable else "not measurable"
    return f"{said}, {word}, but near the limit: the narrowest is {narrow.low_mm:.1f} to {narrow.high_mm:.1f} mm"


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of a file of `hope measure`."""
    schema = MeasuredMask.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _lesion_cells(lesion: LesionFacts) -> list[object]:
    flags = ("yes" if value else "no" for value in (lesion.measurable, lesion.near_limit, lesion.target))
    return [lesion.number, lesion.ml, *flags]


def _plane_cells(plane: PlaneDiameters | None) -> list[object]:
    if plane is None:
        return [""] * 10
    chords = [value for chord in (plane.long, plane.short) for value in (chord.mm, chord.low_mm, chord.high_mm)]
    return [plane.plane, plane.file_axis, plane.slice_index, *chords, round(plane.product_mm2, PRODUCT_DIGITS)]
