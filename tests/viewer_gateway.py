"""A small stand-in for the gateway, for tests of the viewer: finished cases whose files the test chooses.

The page is the built one with its real policy; what it uploads can be looked at as bytes. The real gateway has its
own tests: here the grid of a case, its orientation and its files matter, and no pipeline could make them to order.
"""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from tests.browser import missing
from tests.servers import free_port

from hope import DISCLAIMER
from hope.contract.job import Artifact
from hope.contract.outputs import OutputFile
from hope.domain.labels import PEDS, REGIONS
from hope.web.middleware.security import CONTENT_SECURITY_POLICY
from hope.web.page import BUILT, page_router
from hope.web.schemas import FilesOut
from hope.web.serializers import file_out
from hope.web.vocabulary import Feature, vocabulary

Affine = npt.NDArray[np.float64]


def built_page() -> Path:
    """The page's bundle: the package's own, or the directory that HOPE_TEST_PAGE names."""
    folder = Path(os.environ.get("HOPE_TEST_PAGE", BUILT))
    if not (folder / "index.html").is_file():
        missing(f"the page is not built in {folder}: `cd viewer && npm ci --ignore-scripts && npm run build`")
    return folder


def nifti_bytes(voxels: npt.NDArray[Any], affine: Affine) -> bytes:
    """A .nii.gz file."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 1)


def read_nifti(packed: bytes) -> tuple[npt.NDArray[np.uint8], Affine]:
    """Labels and affine of a .nii.gz file."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(packed))
    return np.asarray(image.dataobj), image.affine


def volumes_ml(labels: npt.NDArray[Any], affine: Affine) -> dict[str, dict[str, float]]:
    """As the gateway counts them: every label and region, absent ones as 0."""
    voxel = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    values = {label.key: (label.value,) for label in PEDS.labels} | dict(REGIONS)
    return {key: {"ml": round(float(np.isin(labels, parts).sum() * voxel), 3)} for key, parts in values.items()}


@dataclass
class ViewedCase:
    """A finished case.

    Attributes:
        id: its id; the page's address is ``/#/case/ID``.
        labels: the model's mask, file order.
        affine: of the mask and of all views, RAS+ mm.
        files: name -> (bytes, kind, version).
        missing: sequences that the run had to do without.
        saved: what the page has sent, as it came.
        harmonization: what brightness matching did, as in result.json; None if it was not asked for.
        facts: more of what ``GET /api/cases/{id}`` answers, such as remarks.
        series: the zips of the original series that the page has sent.
        compared: the answer to a comparison, a zip; None if there is none to be had.
        asked: what the page has asked to compare with: a request, or the zip of an earlier result.
    """

    id: str
    labels: npt.NDArray[np.uint8]
    affine: Affine
    files: dict[str, tuple[bytes, str, int]]
    missing: tuple[str, ...] = ()
    saved: list[bytes] = field(default_factory=list)
    harmonization: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    series: list[bytes] = field(default_factory=list)
    compared: bytes | None = None
    asked: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What its files begin with."""
        return f"case-{self.id[:8]}"

    def json(self) -> dict[str, Any]:
        """As ``GET /api/cases/{id}`` answers."""
        before = {key: volume["ml"] for key, volume in volumes_ml(self.labels, self.affine).items()}
        return {
            "id": self.id, "number": 1, "label": "", "state": "done", "created_at": time.time(), "run": 1, "choice": {},
            "stages": [], "series": [], "volumes_ml": self.versions()[-1]["volumes_ml"], "qc": [],
            "version": len(self.saved),
            "tumour_found": bool(self.labels.any()), "missing": list(self.missing), "disclaimer": DISCLAIMER,
            "reference": "t1c", "postprocess": {"changed": True, "before_ml": before, "after_ml": before},
            "harmonization": self.harmonization, **self.facts,
        }  # fmt: skip

    def with_intervals(self) -> dict[str, dict[str, float]]:
        """Volumes of the model's mask."""
        volumes = volumes_ml(self.labels, self.affine)
        for volume in volumes.values():
            if volume["ml"]:
                volume |= {"low_ml": round(0.8 * volume["ml"], 3), "high_ml": round(1.2 * volume["ml"], 3)}
        return volumes

    def versions(self) -> list[dict[str, Any]]:
        """As ``GET /api/cases/{id}/segmentations`` answers."""
        masks = [(version, name, data) for name, (data, kind, version) in self.files.items() if "-seg" in name]
        masks = [mask for mask in masks if "model" not in mask[1] and "atlas" not in mask[1]]
        return [
            {
                "version": version,
                "name": name,
                "made_by": "user" if version else "model",
                "volumes_ml": volumes_ml(*read_nifti(data)) if version else self.with_intervals(),
            }
            for version, name, data in sorted(masks)
        ]


def viewed_case(
    case_id: str, labels: npt.NDArray[np.uint8], affine: Affine, views: dict[str, npt.NDArray[Any]], **more: Any
) -> ViewedCase:
    """A case with these masks and pictures.

    `more` may hold ``before`` (labels before post-processing), ``preview``, ``quick`` (the small picture),
    ``uncertainty`` (float32, 0 to 1), ``brain`` (uint8, not 0 inside), ``matched`` (pictures after brightness
    matching) and what it did: ``harmonization``; ``facts`` that the case answers beside.
    """
    case = ViewedCase(case_id, labels, affine, {}, more.get("missing", ()))
    case.files[f"{case.name}-seg.nii.gz"] = (nifti_bytes(labels, affine), "segmentation on the scan's own grid", 0)
    for key, voxels in views.items():
        case.files[f"{case.name}-{key}-view.nii.gz"] = (nifti_bytes(voxels, affine), "view", 0)
    for key, voxels in more.get("matched", {}).items():
        data = nifti_bytes(voxels, affine)
        case.files[f"{case.name}-{key}-harmonized-view.nii.gz"] = (data, "view after harmonisation", 0)
    case.harmonization = more.get("harmonization")
    case.facts = more.get("facts", {})
    if "before" in more:
        data = nifti_bytes(more["before"], affine)
        case.files[f"{case.name}-seg-model.nii.gz"] = (data, "segmentation before post-processing", 0)
    if "uncertainty" in more:
        kind = "view of the uncertainty, 0 to 1: 1 minus the probability of what the mask says"
        case.files[f"{case.name}-uncertainty-view.nii.gz"] = (nifti_bytes(more["uncertainty"], affine), kind, 0)
    if "brain" in more:
        case.files[f"{case.name}-brain-view.nii.gz"] = (nifti_bytes(more["brain"], affine), "mask of the brain", 0)
    if "quick" in more:
        case.files["quick-look.webp"] = (more["quick"], "quick look", 0)
    if "preview" in more:
        case.files["preview.png"] = (more["preview"], "picture", 0)
    return case


def _app(cases: dict[str, ViewedCase]) -> FastAPI:
    app = FastAPI(docs_url=None)
    app.include_router(page_router(built_page()))
    _session_routes(app, cases)
    _case_routes(app, cases)
    _comparison_routes(app, cases)

    @app.middleware("http")
    async def policy(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        answer.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return answer

    return app


def _session_routes(app: FastAPI, cases: dict[str, ViewedCase]) -> None:
    @app.get("/api/vocabulary")
    def table() -> Any:
        return vocabulary(24, (), features=[Feature.DICOM_OBJECTS])

    @app.get("/api/whoami")
    def whoami() -> Any:
        return {"authenticated": True, "method": "loopback"}

    @app.get("/api/models")
    def models() -> Any:
        return {"models": []}

    @app.get("/api/session")
    def session() -> Any:
        now = time.time()
        limits = {"max_upload_bytes": 1 << 30, "max_cases_in_work": 10, "session_hours": 24}
        facts = {"id": "one", "created_at": now, "expires_at": now + 86400, "close_with_page": False, "notify": {}}
        return {**facts, "limits": limits, "cases": [case.json() for case in cases.values()]}

    @app.post("/api/session/leave", status_code=204)
    def leave() -> None:
        """Nothing to delete here."""


def _case_routes(app: FastAPI, cases: dict[str, ViewedCase]) -> None:
    def found(case_id: str) -> ViewedCase:
        if case_id not in cases:
            raise HTTPException(404)
        return cases[case_id]

    @app.get("/api/cases/{case_id}")
    def case(case_id: str) -> Any:
        return found(case_id).json()

    @app.get("/api/cases/{case_id}/files")
    def files(case_id: str) -> Any:
        listed = found(case_id).files.items()
        stored = [
            Artifact(name, kind, "", len(data), sha256(data).hexdigest(), None, version, True, OutputFile.of_name(name))
            for name, (data, kind, version) in listed
        ]
        return FilesOut(files=[file_out(entry) for entry in stored]).model_dump(mode="json", exclude_unset=True)

    @app.get("/api/cases/{case_id}/files/{name}")
    def file(case_id: str, name: str) -> Response:
        if name not in found(case_id).files:
            raise HTTPException(404)
        return Response(found(case_id).files[name][0], media_type="application/octet-stream")

    @app.get("/api/cases/{case_id}/segmentations")
    def segmentations(case_id: str) -> Any:
        return {"versions": found(case_id).versions()}

    @app.put("/api/cases/{case_id}/segmentation")
    async def save(case_id: str, request: Request, newest_known: int) -> Any:
        case, data = found(case_id), await request.body()
        if newest_known != len(case.saved):
            raise HTTPException(409, "the mask was corrected elsewhere meanwhile")
        case.saved.append(data)
        version, name = len(case.saved), f"{case.name}-seg-v{len(case.saved)}.nii.gz"
        case.files[name] = (data, "corrected segmentation", version)
        return {"version": version, "name": name, "volumes_ml": volumes_ml(*read_nifti(data)), "warnings": []}

    @app.post("/api/cases/{case_id}/dicom-objects")
    async def objects(case_id: str, request: Request) -> Response:
        found(case_id).series.append(await request.body())
        return Response(b"PK a stand-in", media_type="application/zip")


def _comparison_routes(app: FastAPI, cases: dict[str, ViewedCase]) -> None:
    def comparison(case_id: str, asked: Any) -> Response:
        case = cases[case_id]
        case.asked.append(asked)
        if case.compared is None:
            raise HTTPException(422, "the earlier result lacks its mask on the scan's own grid")
        return Response(case.compared, media_type="application/zip")

    @app.post("/api/cases/{case_id}/comparison")
    async def compare(case_id: str, request: Request) -> Response:
        return comparison(case_id, await request.json())

    @app.post("/api/cases/{case_id}/comparison/upload")
    async def compare_upload(case_id: str, request: Request) -> Response:
        return comparison(case_id, (request.query_params.get("days"), await request.body()))


@contextmanager
def serving(*cases: ViewedCase) -> Iterator[str]:
    """Serve the page and these cases on a free port; gives the address."""
    port = free_port()
    app = _app({case.id: case for case in cases})
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        patience = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive() and time.monotonic() < patience, "the stand-in for the gateway did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
