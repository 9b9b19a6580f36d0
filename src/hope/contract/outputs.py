"""The files of a case. A new file is one entry of `Role` here, and whoever writes it.

Files are found by role, sequence, label and space, never by their names. Names, kinds and titles follow this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self


class Space(StrEnum):
    """The grid that an image lies on."""

    NATIVE = "native"
    """The reference scan's own grid."""
    ATLAS = "atlas"
    """The atlas grid, 240 x 240 x 155 voxels of 1 mm."""


class Audience(StrEnum):
    """Whom a file is made for."""

    USER = "user"
    PAGE = "page"
    """The web page draws with it; a person may download it, too."""
    STAGES = "stages"
    """Only later stages read it: it is never listed."""


@dataclass(frozen=True)
class Place:
    """How a role's file is called in one space.

    Attributes:
        file: the name, with ``{case}``, ``{sequence}``, ``{label}`` and ``{version}`` where it holds them.
        kind: what it is, as result.json and the report say it; may hold ``{sequence}``.
        title: what the page says; may hold ``{sequence_title}``.
    """

    file: str
    kind: str
    title: str


@dataclass(frozen=True)
class RoleSpec:
    """What is known of the files of one role.

    Attributes:
        name: of the role, as the REST interface and result.json have it.
        places: the file in each space that it has; ``None`` for what lies in no space.
        audience: whom it is made for.
        made_by_pipeline: False for what only a user can send.
    """

    name: str
    places: Mapping[Space | None, Place]
    audience: Audience = Audience.USER
    made_by_pipeline: bool = True


def _stage_file(name: str) -> RoleSpec:
    return RoleSpec(name, {}, Audience.STAGES, made_by_pipeline=False)


class Role(StrEnum):
    """What a file is for. The order is that in which a person wants them."""

    spec: RoleSpec

    def __new__(cls, spec: RoleSpec | str) -> Self:
        """A member whose value is the role's name. A call with a name finds a member and does not come here."""
        if isinstance(spec, str):
            raise TypeError("a role is made from its spec")
        member = str.__new__(cls, spec.name)
        member._value_ = spec.name
        member.spec = spec
        return member

    SEGMENTATION = RoleSpec(
        "segmentation",
        {
            Space.NATIVE: Place(
                "{case}-seg.nii.gz", "segmentation on the scan's own grid", "Tumour parts on your scan"
            ),
            Space.ATLAS: Place(
                "{case}-seg-atlas.nii.gz", "segmentation on the atlas grid", "Tumour parts in atlas space"
            ),
        },
    )
    CORRECTED_SEGMENTATION = RoleSpec(
        "corrected-segmentation",
        {Space.NATIVE: Place("{case}-seg-v{version}.nii.gz", "corrected segmentation", "Your correction")},
        made_by_pipeline=False,
    )
    CORRECTED_REPORT = RoleSpec(
        "corrected-report",
        {None: Place("report-v{version}.html", "report of a correction", "Report of your correction")},
        made_by_pipeline=False,
    )
    CORRECTED_PICTURE = RoleSpec(
        "corrected-picture",
        {None: Place("preview-v{version}.png", "picture of a correction", "Picture of your correction")},
        made_by_pipeline=False,
    )
    CORRECTED_VOLUMES = RoleSpec(
        "corrected-volumes",
        {None: Place("volumes-v{version}.csv", "volumes of a correction", "Volumes of your correction (CSV)")},
        made_by_pipeline=False,
    )
    CORRECTED_FACTS = RoleSpec(
        "corrected-facts",
        {None: Place("result-v{version}.json", "all facts of a correction", "All facts of your correction (JSON)")},
        made_by_pipeline=False,
    )
    REPORT = RoleSpec("report", {None: Place("report.html", "report", "Report")})
    PICTURE = RoleSpec("picture", {None: Place("preview.png", "picture", "Picture")})
    VOLUMES = RoleSpec("volumes", {None: Place("volumes.csv", "volumes as a table", "Volumes (CSV)")})
    LESIONS = RoleSpec("lesions", {None: Place("lesions.csv", "diameters of lesions as a table", "Diameters (CSV)")})
    FACTS = RoleSpec("facts", {None: Place("result.json", "all facts", "All facts (JSON)")})
    UNCERTAINTY = RoleSpec(
        "uncertainty",
        {
            Space.ATLAS: Place(
                "{case}-uncertainty-atlas.nii.gz",
                "uncertainty on the atlas grid, 0 to 1",
                "Where the mask is uncertain (atlas)",
            )
        },
    )
    IMAGE = RoleSpec(
        "image",
        {
            Space.ATLAS: Place(
                "{case}-{sequence}-atlas.nii.gz", "{sequence} on the atlas grid", "{sequence_title} in atlas space"
            )
        },
    )
    MODEL_SEGMENTATION = RoleSpec(
        "model-segmentation",
        {
            Space.NATIVE: Place(
                "{case}-seg-model.nii.gz", "segmentation before post-processing", "The model's answer before cleaning"
            )
        },
    )
    VIEW = RoleSpec(
        "view",
        {Space.NATIVE: Place("{case}-{sequence}-view.nii.gz", "view", "Scan as the page shows it")},
        Audience.PAGE,
    )
    HARMONIZED_VIEW = RoleSpec(
        "harmonized-view",
        {
            Space.NATIVE: Place(
                "{case}-{sequence}-harmonized-view.nii.gz",
                "view after harmonisation",
                "Scan after brightness matching, brain only, as the page shows it",
            )
        },
        Audience.PAGE,
    )
    UNCERTAINTY_VIEW = RoleSpec(
        "uncertainty-view",
        {
            Space.NATIVE: Place(
                "{case}-uncertainty-view.nii.gz",
                "view of the uncertainty, 0 to 1",
                "Where the mask is uncertain, as the page shows it",
            )
        },
        Audience.PAGE,
    )
    BRAIN_VIEW = RoleSpec(
        "brain-view",
        {Space.NATIVE: Place("{case}-brain-view.nii.gz", "mask of the brain", "Mask of the brain, for the brush")},
        Audience.PAGE,
    )
    QUICK_LOOK = RoleSpec(
        "quick-look",
        {None: Place("quick-look.webp", "quick look", "Small picture that the page shows at once")},
        Audience.PAGE,
    )
    CORRECTED_QUICK_LOOK = RoleSpec(
        "corrected-quick-look",
        {None: Place("quick-look-v{version}.webp", "quick look at a correction", "Small picture of your correction")},
        Audience.PAGE,
        made_by_pipeline=False,
    )
    MESH = RoleSpec("mesh", {Space.NATIVE: Place("{case}-mesh-{label}.mz3", "mesh", "Surface for 3D")}, Audience.PAGE)
    # What stages leave for later stages; their names are `hope.formats.stage_io`'s own.
    UPLOADED = _stage_file("uploaded")
    ALIGNED = _stage_file("aligned")
    HARMONIZED = _stage_file("harmonized")
    PREDICTION = _stage_file("prediction")
    NOTES = _stage_file("notes")

    @property
    def audience(self) -> Audience:
        """Whom files of this role are made for."""
        return self.spec.audience


UNKNOWN_VERSION: Final = "{version}"
"""Stands in a file's name for the number that the store gives when it keeps the file."""

CORRECTION_FILES: Final = {
    Role.CORRECTED_PICTURE: "preview.png",
    Role.CORRECTED_QUICK_LOOK: "quick-look.webp",
    Role.CORRECTED_REPORT: "report.html",
    Role.CORRECTED_VOLUMES: "volumes.csv",
    Role.CORRECTED_FACTS: "result.json",
}
"""What is made beside a corrected mask, and the names that a child leaves it under; the store adds the version."""

LISTED: Final = tuple(role for role in Role if role.audience is not Audience.STAGES)
"""Roles of files that a person can list and download, in order."""


@dataclass(frozen=True)
class OutputFile:
    """Which file of a case.

    Attributes:
        role: what it is for.
        sequence: ``t1n`` and so on, of an image of one sequence; empty for others.
        label: ``ET`` and so on, of the file of one label; empty for others.
        space: the grid it lies on; None for what is no image, and for files between stages.
        detail: said behind its kind, such as what the values of a map mean.
    """

    role: Role
    sequence: str = ""
    label: str = ""
    space: Space | None = None
    detail: str = ""

    @classmethod
    def of(cls, role: Role, *, sequence: str = "", label: str = "", detail: str = "") -> Self:
        """The file of a role that lies in one space only."""
        (space,) = role.spec.places
        return cls(role, sequence, label, space, detail)

    @property
    def _place(self) -> Place:
        return self.role.spec.places[self.space]

    @property
    def listed(self) -> bool:
        """Whether a person can list and download it."""
        return self.role.audience is not Audience.STAGES

    @property
    def kind(self) -> str:
        """What it is, in words; empty for files between stages."""
        if not self.listed:
            return ""
        said = self._place.kind.format(sequence=self.sequence)
        return f"{said}: {self.detail}" if self.detail else said

    def name(self, case: str, version: int | str = 0) -> str:
        """The file's name.

        Args:
            case: what files call the case.
            version: of a correction; `UNKNOWN_VERSION` where only the store can tell.
        """
        return self._place.file.format(case=case, sequence=self.sequence, label=self.label, version=version)

    def title(self, sequence_titles: Mapping[str, str]) -> str:
        """What the page says.

        Args:
            sequence_titles: what a person reads for each sequence.
        """
        return self._place.title.format(sequence_title=sequence_titles.get(self.sequence, self.sequence))

    def entry(self, name: str) -> dict[str, Any]:
        """What a stage's process says of a file that it left under this name; plain JSON values."""
        return {"name": name, "kind": self.kind, "public": self.listed, **self.to_json()}

    def to_json(self) -> dict[str, str]:
        """Plain JSON values, without what is empty; `from_json` reads them."""
        values = {
            "role": str(self.role),
            "sequence": self.sequence,
            "label": self.label,
            "space": str(self.space or ""),
            "detail": self.detail,
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self | None:
        """What `to_json` gave; None if there is no role, or one that only a newer version knows."""
        try:
            role, space = Role(values["role"]), values.get("space")
            place = Space(space) if space else None
        except (KeyError, ValueError):
            return None
        said = (str(values.get(name) or "") for name in ("sequence", "label"))
        sequence, label = said
        return cls(role, sequence, label, place, str(values.get("detail") or ""))

    @classmethod
    def of_name(cls, name: str) -> Self | None:
        """Which file has this name; for rows and reports that were written before roles were. None if it is unknown."""
        fits = [(role, space, found) for role, space, form in _FORMS if (found := form.fullmatch(name))]
        if not fits:
            return None
        # "x-seg-atlas.nii.gz" also looks like an image of a sequence named "seg".
        role, space, found = max(fits, key=lambda fit: -sum(len(text) for text in fit[2].groups()))
        parts = found.groupdict()
        return cls(role, parts.get("sequence") or "", parts.get("label") or "", space)


_PARTS: Final = {
    "case": r"(?P<case>.+)",
    "sequence": r"(?P<sequence>[a-z0-9]+)",
    "label": r"(?P<label>[A-Za-z0-9]+)",
    "version": r"(?P<version>\d+)",
}


def _form(template: str) -> re.Pattern[str]:
    """A name template as the pattern of the names that it makes."""
    pieces = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(_PARTS[p] if number % 2 else re.escape(p) for number, p in enumerate(pieces)))


_FORMS: Final = [
    *((role, space, _form(place.file)) for role in LISTED for space, place in role.spec.places.items()),
    # Its name in version 0.1; read for one version.
    (Role.UNCERTAINTY, Space.ATLAS, _form("{case}-doubt-atlas.nii.gz")),
]
