"""What of a result is free of identity, by the codes of DICOM PS3.15 (CID 7050), and what shows that.

What can be looked at in the files is looked at. What a result cannot hold by its form is said as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import nibabel as nib
from PIL import Image

from hope.contract.outputs import Role
from hope.export.stored_result import FACTS, StoredResult
from hope.formats.hashing import sha256_of
from hope.formats.reading import reading
from hope.stages.intake.burned_in import CODE as BURNED_IN
from hope.stages.report.face_free import BRAIN_ONLY
from hope.stages.report.write_results import FACE_REMOVED

State = Literal["done", "not done", "not applicable"]

_TEXT_FIELDS: Final = ("descrip", "aux_file", "intent_name", "db_name")
_WITHOUT_FACE: Final = ("brain", "defaced")
_RETAINED: Final = (
    ("113106", "Retain Longitudinal Temporal Information Full Dates Option", "no date is kept"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option", "no date is kept, shifted or not"),
    ("113108", "Retain Patient Characteristics Option", "no age, sex, size or weight is kept"),
    ("113109", "Retain Device Identity Option", "no device is named"),
    ("113110", "Retain UIDs Option", "no UID is kept; scans are known by a hash of their voxels"),
    ("113111", "Retain Safe Private Option", "no private attribute is kept"),
    ("113112", "Retain Institution Identity Option", "no institution is named"),
)


@dataclass(frozen=True)
class Finding:
    """One code of CID 7050.

    Attributes:
        code: its value in the scheme DCM.
        name: its meaning.
        state: whether it was done.
        evidence: what shows that.
    """

    code: str
    name: str
    state: State
    evidence: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def findings_of(result: StoredResult) -> list[Finding]:
    """All codes in the order of their numbers.

    Raises:
        InputError: if a file of the result cannot be read.
    """
    left = _traces(result)
    checked = f"{len(result.files())} files looked at: names, hashes, text in image headers and pictures"
    face, where = _face(result)
    overlays = any(flag.code == "overlay_left_out" for flag in result.report.qc)
    left_out = "; overlays of the scans were left out" if overlays else ""
    return [
        Finding(
            "113100",
            "Basic Application Confidentiality Profile",
            "not done" if left else "done",
            "; ".join(left) if left else f"{checked}; nothing of a DICOM header is kept",
        ),
        Finding(
            "113101",
            "Clean Pixel Data Option",
            "not done",
            _burned_in(result) + left_out,
        ),
        Finding("113102", "Clean Recognizable Visual Features Option", "not done" if face else "done", where),
        Finding("113103", "Clean Graphics Option", "done", f"a result holds no overlay and no graphic{left_out}"),
        Finding("113104", "Clean Structured Content Option", "not applicable", "a result holds no structured report"),
        Finding("113105", "Clean Descriptors Option", "done", "no description of study, series or protocol is kept"),
        *(Finding(code, name, "not done", why) for code, name, why in _RETAINED),
    ]


def table_of(findings: Sequence[Finding]) -> str:
    """The findings as lines of text."""
    width = max(len(finding.state) for finding in findings)
    return "\n".join(f"{f.code}  {f.state:{width}}  {f.name}: {f.evidence}" for f in findings)


def _burned_in(result: StoredResult) -> str:
    """What is known of text in the pixels of the scans."""
    said_of = sorted({str(flag.sequence) for flag in result.report.qc if flag.code == BURNED_IN})
    if said_of:
        return f"text may be burned into the pixels of {', '.join(said_of)}: look at the images"
    return "only text that is the same on every slice would have been found: look at the images"


def _traces(result: StoredResult) -> list[str]:
    """What may tell whose result it is, in words without a name."""
    found = []
    known = {facts.name for _, _, facts in result.files()} | {FACTS}
    with reading("the result"):
        strangers = [path for path in result.folder.iterdir() if path.name not in known]
        changed = [p for _, p, facts in result.files() if facts.sha256 and sha256_of(p) != facts.sha256]
    if strangers:
        found.append(f"files that result.json does not list: {len(strangers)}")
    if changed:
        found.append(f"files that were changed since: {len(changed)}")
    for output, path, _ in result.files():
        if path.name.endswith(".nii.gz") and _has_text(path):
            found.append(f"text in the header of the {output.kind}")
        if output.role is Role.PICTURE and path not in changed and _picture_has_text(path):
            found.append("text beside the pixels of the picture")
    return found


def _has_text(path: Path) -> bool:
    with reading("an image of the result"):
        header: Any = nib.load(path).header
    return bool(len(header.extensions)) or any(bytes(header[name].tobytes()).strip(b"\0 ") for name in _TEXT_FIELDS)


def _picture_has_text(path: Path) -> bool:
    with reading("the picture"), Image.open(path) as picture:
        return any(isinstance(value, str) for value in picture.info.values())


def _face(result: StoredResult) -> tuple[bool, str]:
    """Whether a face may be seen, and where or why not."""
    report = result.report
    scans_have_none = report.input.head_state in _WITHOUT_FACE
    shown = []
    for output, _, facts in result.files():
        if output.role in (Role.PICTURE, Role.REPORT) and facts.detail != BRAIN_ONLY:
            shown.append(output.role.value)
        seen_whole = output.role is Role.IMAGE and report.model.head_state not in _WITHOUT_FACE
        if seen_whole and facts.detail != FACE_REMOVED:
            shown.append(f"{output.sequence} on the atlas grid")
    if scans_have_none:
        return False, f"the scans show no face: {report.input.head_state}"
    if shown:
        fix = "run hope segment again without --show-head, with --deface"
        return True, f"a face may be seen in {', '.join(dict.fromkeys(shown))}; {fix}"
    return False, f"picture and report show {BRAIN_ONLY}; images have no face"
