"""Results as BIDS derivatives: a data set that the validator of the standard takes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hope import DISCLAIMER, __version__
from hope.contract.outputs import Role, Space
from hope.domain.errors import InputError, OutputError
from hope.domain.labels import PEDS
from hope.export.stored_result import FACTS, StoredResult
from hope.formats.atomic import atomic_directory, is_free
from hope.formats.nifti import write_labels

BIDS_VERSION: Final = "1.10.0"
DESCRIPTION: Final = "dataset_description.json"
NAMES: Final[Mapping[str, str]] = {
    "t1n": "space-SRI24_desc-preproc_T1w",
    "t1c": "ce-gadolinium_space-SRI24_desc-preproc_T1w",
    "t2w": "space-SRI24_desc-preproc_T2w",
    "t2f": "space-SRI24_desc-preproc_FLAIR",
}
"""Sequence -> what follows subject and session in the name of its image."""

_ATLAS: Final = "SRI24 frame, 240 x 240 x 155 voxels of 1 mm"
_IGNORED: Final = "# What BIDS has no names for: figures, report and picture of each case.\n/hope\n"


@dataclass(frozen=True)
class _Place:
    """Labels of subject and session as BIDS wants them: letters and digits."""

    subject: str
    session: str

    @property
    def stem(self) -> str:
        """What every file's name begins with."""
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")

    @property
    def folder(self) -> Path:
        """Where its files lie, from the data set's root."""
        return Path(f"sub-{self.subject}") / (f"ses-{self.session}" if self.session else "")


def export_derivatives(results: Sequence[StoredResult], out: Path) -> Path:
    """Write results as one data set of derivatives; it appears whole or not at all.

    Args:
        results: of one or more cases.
        out: its directory, which must be empty or not there.

    Raises:
        InputError: if two cases would get one label, or a result is incomplete.
        OutputError: if it cannot be written, or something else lies there.
    """
    places = {result.case_id: place_of(result.case_id) for result in results}
    for place in set(places.values()):
        same = sorted(name for name, other in places.items() if other == place)
        if len(same) > 1:
            raise InputError(
                "two cases would get one BIDS label, which has no hyphens",
                got=" and ".join(same),
                fix="export them to two directories",
            )
    if not is_free(out):
        raise OutputError("the output directory exists and is not empty; choose another -o")
    with atomic_directory(out, last=DESCRIPTION) as root:
        for result in results:
            _write_case(root, result, places[result.case_id])
        _json(root / DESCRIPTION, _description())
        (root / ".bidsignore").write_text(_IGNORED, encoding="utf-8")
        (root / "README.md").write_text(_readme(len(results)), encoding="utf-8")
    return out


def place_of(case_id: str) -> _Place:
    """Subject and session of a case: of ``sub-X_ses-Y`` what stands there, of any other name its letters and digits."""
    named = re.fullmatch(r"sub-([^_]+)(?:_ses-(.+))?", case_id)
    subject, session = (named[1], named[2] or "") if named else (case_id, "")
    plain = [re.sub(r"[^A-Za-z0-9]", "", text) for text in (subject, session)]
    if not plain[0]:
        raise InputError("the name of a case holds no letter or digit, so it has no BIDS label")
    return _Place(plain[0], plain[1])


def _write_case(root: Path, result: StoredResult, place: _Place) -> None:
    anat, own = root / place.folder / "anat", root / "hope" / place.stem
    anat.mkdir(parents=True)
    own.mkdir(parents=True)
    report = result.report
    images = {}
    for output, path, facts in result.files():
        if output.role is Role.IMAGE and output.sequence in NAMES:
            images[output.sequence] = f"{place.stem}_{NAMES[output.sequence]}.nii.gz"
            shutil.copyfile(path, anat / images[output.sequence])
        elif output.role in (Role.REPORT, Role.PICTURE, Role.UNCERTAINTY):
            shutil.copyfile(path, own / facts.name)
    shutil.copyfile(result.folder / FACTS, own / FACTS)
    uris = {s: f"bids::{place.folder.as_posix()}/anat/{name}" for s, name in images.items()}
    stripped = report.model.head_state == "brain"
    for sequence, name in images.items():
        said = f"{sequence} on the atlas grid"
        _json(_sidecar(anat / name), {"Description": said, "SkullStripped": stripped, "SpatialReference": _ATLAS})
    sources = {"Sources": list(uris.values())} if uris else {}
    by = {
        "Description": f"Tumour parts by the model {report.model.id}, sha256 {report.model.sha256 or 'not known'}",
        "Manual": False,
    }
    scan = f"the {report.input.reference or 'reference'} scan's own grid"
    for space, said, grid in (("orig", scan, Space.NATIVE), ("SRI24", _ATLAS, Space.ATLAS)):
        target = anat / f"{place.stem}_space-{space}_dseg.nii.gz"
        shutil.copyfile(result.path_of(Role.SEGMENTATION, grid), target)
        _json(_sidecar(target), {**by, "SpatialReference": said, **sources})
        target.with_name(target.name.replace(".nii.gz", ".tsv")).write_text(_label_table(), encoding="utf-8")
    labels = result.labels()
    target = anat / f"{place.stem}_space-orig_label-WT_mask.nii.gz"
    write_labels(labels.with_data((labels.data > 0).astype(np.uint8)), target)
    whole = f"bids::{place.folder.as_posix()}/anat/{place.stem}_space-orig_dseg.nii.gz"
    _json(
        _sidecar(target),
        {"Description": "Whole tumour", "Type": "Lesion", "SpatialReference": scan, "Sources": [whole]},
    )


def _sidecar(image: Path) -> Path:
    return image.with_name(image.name.replace(".nii.gz", ".json"))


def _json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _label_table() -> str:
    rows = ["\t".join(("index", "name", "abbreviation", "color"))]
    rows += ["\t".join((str(label.value), label.name, label.key, label.colour)) for label in PEDS.labels]
    return "\n".join(rows) + "\n"


def _description() -> dict[str, Any]:
    return {
        "Name": "Tumour parts by HOPE",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "HOPE", "Version": __version__, "Description": DISCLAIMER}],
    }


def _readme(cases: int) -> str:
    return (
        f"# Tumour parts by HOPE\n\nResults of {cases} case{'s' if cases != 1 else ''}. {DISCLAIMER}\n\n"
        "`*_dseg` holds 1 ET enhancing tumour, 2 NET non-enhancing tumour, 3 CC cystic component, 4 ED oedema, on the\n"
        "reference scan's own grid (`space-orig`) and in the SRI24 frame. `label-WT_mask` is the whole tumour.\n"
        "`hope/` holds of each subject every figure, caution and hash (`result.json`), the picture and the report.\n"
    )
