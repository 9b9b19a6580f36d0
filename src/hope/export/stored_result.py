"""The result of one case as it lies in a directory, for whoever hands it on in another form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport, FileFacts
from hope.domain.errors import InputError
from hope.domain.volume import Volume
from hope.formats.hashing import sha256_of
from hope.formats.nifti import read_labels
from hope.formats.reading import reading
from hope.stages.report.made_from import MadeFrom

FACTS = "result.json"

_CORRECTED_FACTS = "result-v*.json"
_BESIDE = f"corrections by hand ({_CORRECTED_FACTS}): the figures are those of the runs, from {FACTS}"


@dataclass(frozen=True)
class StoredResult:
    """One result.

    Attributes:
        folder: where its files lie.
        report: what its result.json says.
    """

    folder: Path
    report: CaseReport

    @property
    def case_id(self) -> str:
        """The name of the case, which carries no identity."""
        return self.report.case_id

    @property
    def reference_from_dicom(self) -> bool:
        """Whether the report says of its reference scan that it was a series of a DICOM study; others may have been."""
        rows = (self.report.series_selection or {}).get("series")
        listed = rows if isinstance(rows, list) else []
        return any(isinstance(row, Mapping) and row.get("taken_as") == self.report.input.reference for row in listed)

    @property
    def correction_note(self) -> str:
        """A sentence where a correction of the page lies in the folder, which is not what is read here; else empty."""
        if not any(self.folder.glob(_CORRECTED_FACTS)):
            return ""
        return f"{self.case_id} was corrected by hand ({_CORRECTED_FACTS}), but the run ({FACTS}) is taken"

    @property
    def made_from(self) -> MadeFrom:
        """The scans that the result was made on; a result that names none stands for itself."""
        scans = {name: scan.sha256 for name, scan in self.report.input.sequences.items() if scan.sha256}
        return MadeFrom("sequences", scans or {FACTS: sha256_of(self.folder / FACTS)})

    def files(self) -> list[tuple[OutputFile, Path, FileFacts]]:
        """Every listed file that is there: what it is, its path, and what result.json says of it."""
        found = []
        for facts in self.report.files:
            if Path(facts.name).name != facts.name:
                raise InputError("result.json names a file outside of its directory", fix="give an unchanged result")
            output = OutputFile.from_json(facts.model_dump()) or OutputFile.of_name(facts.name)
            if output is not None and (self.folder / facts.name).is_file():
                found.append((output, self.folder / facts.name, facts))
        return found

    def path_of(self, role: Role, space: Space | None = None, sequence: str = "") -> Path:
        """The file of a role.

        Raises:
            InputError: if it is not there, or is not the file that result.json describes any more.
        """
        for output, path, facts in self.files():
            if (output.role, output.space, output.sequence) == (role, space, sequence):
                with reading(f"the {output.kind}"):
                    if facts.sha256 and sha256_of(path) != facts.sha256:
                        raise InputError(
                            f"the {output.kind} was changed since it was measured",
                            expected="the file that result.json describes",
                            fix="correct masks on the page, which measures them anew, or run hope segment again",
                        )
                return path
        raise InputError(f"the result of {self.case_id} lacks its {role.value}", fix="give a whole result directory")

    def check_mask(self) -> None:
        """Refuse a result whose mask was changed since its figures were measured; where it was left out they stand.

        Raises:
            InputError: as `path_of`.
        """
        mask = OutputFile(Role.SEGMENTATION, space=Space.NATIVE)
        if any(output == mask for output, _, _ in self.files()):
            self.path_of(mask.role, mask.space)

    def labels(self, space: Space = Space.NATIVE) -> Volume:
        """The mask in peds labels (uint8), on the reference scan's own grid or on the atlas grid; RAS+ mm.

        Raises:
            InputError: if it is missing, damaged, or changed since result.json was written.
        """
        return read_labels(self.path_of(Role.SEGMENTATION, space), f"mask of {self.case_id}")


def read_result(folder: Path) -> StoredResult:
    """Read the one result that lies in a directory, or in a directory in it.

    Raises:
        InputError: if there is none, several, or result.json is damaged or names its case as no case is named.
    """
    results = read_results(folder)
    if len(results) > 1:
        raise InputError(
            "RESULT holds several results",
            expected="the result of one case",
            got=f"{len(results)}",
            fix="give the directory of one case",
        )
    return results[0]


def read_results(folder: Path) -> list[StoredResult]:
    """Read all results in a directory, by case: its own, or those of the directories in it.

    Raises:
        InputError: if there is none, two are of one case, or a result.json is damaged or names its case as no case is
            named.
    """
    with reading("RESULT"):
        if (folder / FACTS).is_file():
            places = [folder]
        elif folder.is_dir():
            # A name that begins with a dot is a result that is being written.
            inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
            places = [p for p in inside if p.is_dir() and (p / FACTS).is_file()]
        else:
            places = []
    if not places:
        raise InputError("RESULT holds no result", expected="a directory that hope segment wrote, with result.json")
    results = [StoredResult(place, _report(place / FACTS)) for place in places]
    names = [result.case_id for result in results]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"RESULT holds case {name} twice", fix="keep one of its results")
    return results


def volumes_of_case(results: Path, case: str, regions: Sequence[str]) -> dict[str, float]:
    """Volumes in ml of the run in ``results/case``; no message shows the case. A correction beside it is not looked at.

    Raises:
        InputError: if there is none, it is of another case, lacks a region, or its mask was changed since.
    """
    plain = case and "/" not in case and "\\" not in case and case not in (".", "..")
    if not plain or not (results / case / FACTS).is_file():
        raise InputError("there is no result of this case", expected=f"RESULTS/<case_id>/{FACTS}")
    result = read_result(results / case)
    if result.case_id.casefold() != case.casefold():
        raise InputError("the directory of this case holds the result of another one", fix="name it as its case")
    result.check_mask()
    volumes = result.report.volumes_ml
    if missing := [region for region in regions if region not in volumes]:
        raise InputError(f"the result of this case has no volume of {missing[0]}", fix="run hope segment again")
    return {region: volumes[region].ml for region in regions}


def left_out(folder: Path) -> dict[str, int]:
    """What `read_results` passes over in a directory of results: in words, and how many."""
    with reading("RESULT"):
        if not folder.is_dir():
            return {}
        if (folder / FACTS).is_file():
            return {_BESIDE: count} if (count := len(list(folder.glob(_CORRECTED_FACTS)))) else {}
        inside = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
        without = [p for p in inside if not (p / FACTS).is_file()]
        corrected = [p for p in without if any(p.glob(_CORRECTED_FACTS))]
        beside = sum(len(list(p.glob(_CORRECTED_FACTS))) for p in inside if p not in without)
    counts = {
        _BESIDE: beside,
        f"directories that hold a correction without its run ({_CORRECTED_FACTS}, but no {FACTS})": len(corrected),
        f"directories without a {FACTS}": len(without) - len(corrected),
    }
    return {reason: count for reason, count in counts.items() if count}


def _report(path: Path) -> CaseReport:
    with reading("result.json"):
        content = path.read_bytes()
    try:
        return CaseReport.stored(json.loads(content))
    except (ValueError, ValidationError, RecursionError) as error:
        raise InputError("result.json cannot be read", expected="a file that hope segment wrote") from error
