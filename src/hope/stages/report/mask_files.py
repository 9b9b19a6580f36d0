"""Masks alone, one file a case: each says in its header which scans it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hope.contract.result import CaseResult
from hope.domain.sequence import MRSequence
from hope.formats.nifti import write_labels
from hope.stages.report.made_from import MadeFrom, mask_facts, refuse_other_file
from hope.stages.report.result_folder import Destination


@dataclass(frozen=True)
class MaskDestination(Destination):
    """Where the masks of several cases go.

    Attributes:
        out: a directory for all other files of the results.
        replace: a file at a mask's place is replaced whatever it is.
        masks: the masks go here.
    """

    masks: Path = Path()

    def path_of(self, case_id: str) -> Path:
        """The mask of a case."""
        return self.masks / f"{case_id}.nii.gz"

    def refuse_other_scans(self, case_id: str, sha256: Mapping[MRSequence, str]) -> None:
        """Refuse, before any work, if a mask of other scans, or what is no mask of ours, lies at the mask's place.

        Raises:
            OutputError: if so, and it must not be replaced.
        """
        refuse_other_file(self.path_of(case_id), MadeFrom.scans(sha256), replace=self.replace)

    def write(self, result: CaseResult) -> Path:
        """Write the mask on the scan's own grid; an earlier one of the same scans is replaced.

        Raises:
            OutputError: as `refuse_other_scans`, or if it cannot be written; an earlier mask is whole then.
        """
        scans = result.report.input.sequences
        made_from = MadeFrom.scans({MRSequence(name): scan.sha256 for name, scan in scans.items() if scan.sha256})
        refuse_other_file(self.path_of(result.case_id), made_from, replace=self.replace)
        write_labels(result.native_labels, self.path_of(result.case_id), mask_facts(made_from))
        return self.path_of(result.case_id)
