"""DICOM objects over the REST interface: made of the current version, given back once, and kept nowhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.web.fakes import Gateway, nifti

from hope.web import dicom_objects

pytestmark = pytest.mark.anyio

ZIP = b"PK\x05\x06" + bytes(18)


@pytest.fixture
async def owner(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        token = (await client.post("/api/session")).json()["token"]
    async with gateway.client(token) as client:
        yield client


async def done_case(gateway: Gateway, client: httpx.AsyncClient) -> str:
    case_id: str = (await client.post("/api/cases")).json()["id"]
    await client.post(f"/api/cases/{case_id}/sample")
    await client.post(f"/api/cases/{case_id}/run")
    gateway.finish(gateway.store.case(case_id))
    return case_id


async def test_objects_come_as_a_zip_and_nothing_stays(gateway: Gateway, owner: httpx.AsyncClient) -> None:
    case_id = await done_case(gateway, owner)
    blobs = gateway.blob_files()
    answer = await owner.post(f"/api/cases/{case_id}/dicom-objects", content=ZIP)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="case-{case_id[:8]}-dicom.zip"'
    assert "no-store" in answer.headers["cache-control"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as made:
        assert made.namelist() == [f"case-{case_id[:8]}-sr.dcm"]
    assert gateway.blob_files() == blobs and gateway.scratch_files() == []
    assert [entry.action for entry in gateway.store.audit()][-1] == "dicom.export"


async def test_objects_are_of_the_current_mask(gateway: Gateway, owner: httpx.AsyncClient) -> None:
    case_id = await done_case(gateway, owner)
    seen: list[dict[str, Any]] = []
    usual = gateway.tasks.body

    def looking(job: dict[str, Any]) -> dict[str, Any]:
        if job["do"] == "dicom-objects":
            folder = Path(job["in"])
            facts = json.loads((folder / "result.json").read_bytes())
            seen.append({"files": sorted(p.name for p in folder.iterdir()), "corrected": facts.get("corrected")})
        if job["do"] == "segmentation":
            facts = json.loads((Path(job["in"]) / "result.json").read_bytes()) | {"corrected": True}
            (Path(job["out"]) / "result.json").write_text(json.dumps(facts))
        return usual(job)

    gateway.tasks.body = looking
    await owner.post(f"/api/cases/{case_id}/dicom-objects", content=ZIP)
    saved = await owner.put(f"/api/cases/{case_id}/segmentation", content=nifti((4, 4, 4), datatype=2, itemsize=1))
    assert saved.status_code == 200, saved.text
    answer = await owner.post(f"/api/cases/{case_id}/dicom-objects", content=ZIP)
    assert answer.status_code == 200, answer.text
    files = ["mask.nii.gz", "result.json", "upload.zip"]
    assert seen == [{"files": files, "corrected": None}, {"files": files, "corrected": True}]


@pytest.mark.parametrize("dicom", [True, False])
async def test_the_task_is_told_which_scans_were_given_as_dicom(
    gateway: Gateway, owner: httpx.AsyncClient, dicom: bool
) -> None:
    """Then another series on the same grid is refused."""
    seen: list[list[str]] = []
    usual = gateway.tasks.body

    def looking(job: dict[str, Any]) -> dict[str, Any]:
        done = usual(job)
        if job["do"] == "dicom-objects":
            seen.append(job["as_dicom"])
        for series in done["result"].get("series", []):
            series["dicom"] = dicom and series["key"] != "t2w"
        return done

    gateway.tasks.body = looking
    case_id = await done_case(gateway, owner)
    assert (await owner.post(f"/api/cases/{case_id}/dicom-objects", content=ZIP)).status_code == 200
    assert [sorted(sequences) for sequences in seen] == [["t1c", "t1n", "t2f"] if dicom else []]


async def test_what_cannot_be_exported_is_told_before_anything_is_read(
    gateway: Gateway, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    new: str = (await owner.post("/api/cases")).json()["id"]
    assert (await owner.post(f"/api/cases/{new}/dicom-objects", content=ZIP)).status_code == 409
    case_id = await done_case(gateway, owner)
    assert (await owner.post(f"/api/cases/{case_id}/dicom-objects", content=b"no zip")).status_code == 415
    assert (await owner.get("/api/vocabulary")).json()["features"] == ["dicom-objects"]
    monkeypatch.setattr(dicom_objects, "find_spec", lambda _name: None)
    refused = await owner.post(f"/api/cases/{case_id}/dicom-objects", content=ZIP)
    assert refused.status_code == 422 and "[dicom]" in refused.json()["detail"]
    assert (await owner.get("/api/vocabulary")).json()["features"] == []
    assert gateway.scratch_files() == []
    assert "dicom.export" not in [entry.action for entry in gateway.store.audit()]
