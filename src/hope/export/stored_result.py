"""The result of one case as it lies in a directory, for whoever hands it on in another form."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

FACTS = "result.json"


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


def _report(path: Path) -> CaseReport:
    with reading("result.json"):
        content = path.read_bytes()
    try:
        return CaseReport.stored(json.loads(content))
    except (ValueError, ValidationError, RecursionError) as error:
        raise InputError("result.json cannot be read", expected="a file that hope segment wrote") from error
