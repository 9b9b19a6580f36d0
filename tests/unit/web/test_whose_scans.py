"""Scans of two patients in one case: the platform says what the command line says, and keeps no patient's name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.web.fakes import Gateway

from hope.domain.sequence import MRSequence
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.jobs import bodies
from hope.stages.intake.case_finding import find_cases
from hope.stages.intake.intake import load_case
from hope.testing.dicom_series import IDENTITY, PATIENT_ID, SeriesRecipe, write_series
from hope.testing.head import HEAD_GRID, head_scan

pytestmark = pytest.mark.anyio
FIRST = {"PatientID": "NUMBERMARK"}
AGENT = {"ContrastBolusAgent": "Gadovist"}
NO_NUMBER: dict[str, object] = {"PatientID": None}


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A session whose tasks are the real ones."""
    gateway.tasks.body = lambda job: bodies.run(job, lambda *_: None)
    async with gateway.client() as opener:
        token = (await opener.post("/api/session")).json()["token"]
    async with gateway.client(token) as client:
        yield client


def _study(folder: Path, recipe: SeriesRecipe, scan: Volume) -> bytes:
    write_series(scan, folder, recipe)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
    return packed.getvalue()


def _remarks(flags: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(flag["code"], flag["severity"], flag["reason"]) for flag in flags if "different" in flag["code"]]


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (FIRST, {"PatientID": "OTHERMARK"}, "different_patients"),
        (NO_NUMBER, {**NO_NUMBER, "PatientName": "OTHERMARK^NAME"}, "different_patients"),
        (FIRST, {**FIRST, "StudyDate": "20210203"}, "different_examinations"),
        (FIRST, {**FIRST, "StudyInstanceUID": "1.2.3.471147114711"}, "different_examinations"),
        (FIRST, FIRST, ""),
        (FIRST, {**FIRST, "PatientID": "number mark"}, ""),
    ],
)
async def test_two_zips_in_one_case_get_the_remark_of_the_command_line(
    gateway: Gateway,
    client: httpx.AsyncClient,
    tmp_path: Path,
    before: dict[str, object],
    after: dict[str, object],
    code: str,
) -> None:
    case_id = (await client.post("/api/cases")).json()["id"]
    one, two = SeriesRecipe(1, "t1", "t1", tags=before), SeriesRecipe(2, "t1", "t1 km", tags={**AGENT, **after})
    scans = (head_scan(1, grid=HEAD_GRID), head_scan(1, enhanced=True, grid=HEAD_GRID))
    answers = []
    for name, recipe, scan in zip(("one", "two"), (one, two), scans, strict=True):
        content = _study(tmp_path / name, recipe, scan)
        answers.append(await client.put(f"/api/cases/{case_id}/dicom", content=content))
        assert answers[-1].status_code == 200, answers[-1].text
    keys = {series["reason"].partition(",")[2][:9]: series["key"] for a in answers for series in a.json()["series"]}
    assigned = dict(zip(("t1n", "t1c"), keys.values(), strict=True))
    await client.put(f"/api/cases/{case_id}/assignments", json=assigned)
    checked = (await client.get(f"/api/cases/{case_id}/checks")).json()

    (source,) = find_cases([], {MRSequence.T1N: tmp_path / "one", MRSequence.T1C: tmp_path / "two"})
    (tmp_path / "scratch").mkdir()
    by_command = [f.to_json() for f in load_case(source, preprocessed=None, scratch=tmp_path / "scratch").flags]
    assert _remarks(checked["remarks"]) == _remarks(by_command)
    assert [found for found, _, _ in _remarks(by_command)] == ([code] if code else [])

    # No name, number or day is kept or shown, nor anything by which cases could be compared.
    kept = b"".join(path.read_bytes() for path in gateway.folder.rglob("*") if path.is_file())
    shown = json.dumps([answer.json() for answer in answers]) + json.dumps(checked)
    shown += (await client.get(f"/api/cases/{case_id}")).text
    for word in (*IDENTITY.split("^"), PATIENT_ID, "NUMBERMARK", "OTHERMARK", "471147114711", "20200102", "20210203"):
        assert word.encode() not in kept and word not in shown, word
    assert "whose" not in shown
    record = gateway.store.case(case_id)
    marks = [series.facts["whose"] for series in record.series]
    assert all(len(mark) <= 4 for said in marks for mark in said.values())
    other = (await client.post("/api/cases")).json()["id"]
    again = await client.put(f"/api/cases/{other}/dicom", content=_study(tmp_path / "again", one, scans[0]))
    assert again.status_code == 200
    assert gateway.store.case(other).series[0].facts["whose"] != marks[0], "marks of two cases cannot be compared"


def test_marks_of_a_stored_scan_reach_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_scan(head_scan(1, grid=HEAD_GRID), folder / "t1n.nii")
    write_scan(head_scan(1, enhanced=True, grid=HEAD_GRID), folder / "t1c.nii")
    sources = {"t1n": {"whose": {"patient": "0a1b"}}, "t1c": {"whose": {"patient": "ffff"}}}
    job = {"do": "checks", "case": "case-1", "in": str(folder), "scratch": str(tmp_path), "sources": sources}
    remarks = bodies.run(job, lambda *_: None)["result"]["remarks"]
    assert [flag["code"] for flag in remarks if "different" in flag["code"]] == ["different_patients"]
