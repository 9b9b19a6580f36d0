"""The end of a case's way through the stages."""

from __future__ import annotations

from dataclasses import dataclass

from hope.contract.report import CaseReport, Volumes
from hope.domain.volume import Volume


@dataclass(frozen=True)
class CaseResult:
    """Everything the user gets.

    Attributes:
        native_labels: uint8 peds labels on the reference scan's own grid.
        atlas_labels: the same on the atlas grid.
        report: all facts of result.json.
    """

    native_labels: Volume
    atlas_labels: Volume
    report: CaseReport

    @property
    def case_id(self) -> str:
        """A name that carries no identity."""
        return self.report.case_id

    @property
    def volumes_ml(self) -> Volumes:
        """Volume and interval in millilitres per label key and region."""
        return self.report.volumes_ml
