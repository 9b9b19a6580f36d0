"""What a user can send to whoever looks into a failed case: no voxels, no names, no id that opens anything."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import Field

from hope import __version__
from hope.contract.job import CaseEvent, CaseRecord
from hope.domain.ids import reference_of
from hope.ports import CaseStore
from hope.web.schemas import CaseOut, ResponseModel
from hope.web.serializers import case_out

_PACKAGES = ("numpy", "scipy", "torch", "SimpleITK", "nibabel", "picsl_greedy", "deepbet", "fastapi", "dbos")
_MOST_EVENTS = 2000
_PAGE = 500


class DiagnosticsOut(ResponseModel):
    """Facts about one case and the software."""

    reference: str = Field(description="a hash under which the audit log knows the case")
    software: dict[str, str] = Field(examples=[{"hope": "0.2.0", "python": "3.11.9"}])
    case: dict[str, Any] = Field(description="the case as GET /api/cases/{case_id} tells it, without id and name")
    events: list[dict[str, Any]] = Field(description="what happened, oldest first")


def diagnostics_of(case: CaseRecord, store: CaseStore) -> DiagnosticsOut:
    """Collect the facts. Blocks."""
    shown: CaseOut = case_out(case)
    return DiagnosticsOut(
        reference=reference_of(case.id),
        software=_software(),
        case=shown.model_dump(mode="json", exclude_unset=True, exclude={"id", "label"}),
        events=[
            {"number": event.number, "at": event.at, "kind": str(event.kind), **event.data}
            for event in _events(case.id, store)
        ],
    )


def _events(case_id: str, store: CaseStore) -> list[CaseEvent]:
    found: list[CaseEvent] = []
    while page := store.events([case_id], found[-1].number if found else 0, _PAGE):
        found += page
        if len(found) >= _MOST_EVENTS:
            break
    return found[-_MOST_EVENTS:]


@cache
def _software() -> dict[str, str]:
    found = {"hope": __version__, "python": platform.python_version(), "system": platform.system()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
