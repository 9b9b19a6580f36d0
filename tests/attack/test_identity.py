"""Names that are planted wherever a file can carry one are found nowhere: not after any step, not in any file."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.unit.web.fakes import nifti

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.fleet import Fleet, SessionClient
from hope.testing.live_files import paths_below

pytestmark = pytest.mark.slow

MARK = "PLANTEDSURNAME"
BIRTH = "19610713"
NEEDLES = tuple(
    text.encode(coding)
    for text in (MARK, MARK.lower(), MARK.title(), BIRTH, "PLANTEDID4711")
    for coding in ("utf-8", "utf-16-le", "utf-16-be")
)


class Place:
    """A platform whose every file can be searched: data, logs, temporary and core files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "platform"
        (self.folder / "tmp").mkdir(parents=True)
        root = Path(__file__).parents[2]
        environment = {
            "HOPE_SHORT_SECONDS": "0.05",
            "HOPE_SHORT_DIR": str(self.folder),
            "HOPE_STAGE_TRIES": "1",
            "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "TMPDIR": str(self.folder / "tmp"),
        }
        self.fleet = Fleet(self.folder, environment, bodies="tests.attack.real_tasks")
        self.fleet.environment["HOPE_LEASE_SECONDS"] = "2"

    def found(self) -> list[str]:
        """Files, and names of files, that hold a needle; packed ones are looked into."""
        found = []
        for path in paths_below(self.folder):
            if any(needle in str(path).encode() for needle in NEEDLES):
                found.append(f"the name of {path}")
            if path.is_file() and (hits := {needle for needle in NEEDLES if needle in _content(path)}):
                found.append(f"{path}: {sorted(hits)}")
        return found

    def clean(self, step: str) -> None:
        """What the request held is gone a moment after it ended; nothing else may ever have been there."""
        deadline = time.monotonic() + 30
        while (found := self.found()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found == [], f"after {step}: {found}"


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return b""
    if raw[:2] == b"\x1f\x8b":
        return raw + gzip.decompress(raw)
    return raw


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.fleet.stop()


def named_study(folder: Path, *, overlay: bool) -> bytes:
    """A zip of two series with names in standard, private, nested and overlay places, in files named so too."""
    data = np.random.default_rng(5).integers(0, 900, (40, 40, 12)).astype(np.float32)
    volume = Volume(data, Grid(data.shape, np.diag([5.0, 5.0, 9.0, 1.0])))
    files = []
    for number, kind in ((1, "t2"), (2, "flair")):
        tags = {
            "PatientName": f"{MARK}^GIVEN", "PatientID": "PLANTEDID4711", "PatientBirthDate": BIRTH,
            "InstitutionName": f"Hospital {MARK}", "ReferringPhysicianName": MARK, "ImageComments": f"for {MARK}",
            "PatientComments": MARK, "OperatorsName": MARK, "StudyDescription": MARK.title(),
        }  # fmt: skip
        recipe = SeriesRecipe(number, kind, f"{kind} {MARK}", tags=tags)
        files += write_series(volume, folder / MARK / f"{MARK.lower()} {number}", recipe)
    for path in files:
        image = pydicom.dcmread(path)
        inner = Dataset()
        inner.PatientName, inner.RequestedProcedureDescription = MARK, f"of {MARK}"
        image.RequestAttributesSequence = Sequence([inner])
        block = image.private_block(0x0011, f"{MARK} PRIVATE", create=True)
        block.add_new(0x01, "LO", MARK)
        block.add_new(0x02, "OB", MARK.encode())
        image.add_new((0x6000, 0x0022), "LO", MARK)
        if overlay:
            image.add_new((0x6000, 0x0010), "US", 40)
            image.add_new((0x6000, 0x0011), "US", 40)
            image.add_new((0x6000, 0x3000), "OW", (MARK.encode() * 20)[:200])
        image.save_as(path)
    target = folder / "study.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = MARK.encode()
        for path in files:
            archive.write(path, path.relative_to(folder))
        archive.writestr(f"{MARK}.txt", f"letter about {MARK}")
    return target.read_bytes()


def named_scan(number: int) -> bytes:
    """A gzipped NIfTI with a name in every text field, an extension, behind the voxels, and in gzip's own header."""
    voxels = bytes((number + at) % 251 for at in range(240))
    image = nifti(text=MARK.encode(), offset=416, voxels=voxels) + MARK.encode()
    packed = gzip.compress(image, mtime=0)
    return packed[:3] + b"\x08" + packed[4:10] + MARK.encode() + b".nii\0" + packed[10:]


def named_mask() -> bytes:
    return nifti((4, 4, 4), datatype=2, itemsize=1, text=MARK.encode(), offset=416, spacing_mm=1.0, voxels=bytes(64))


def stray_calls(client: SessionClient, case: str) -> None:
    """Names where a client may put them by mistake: addresses, queries, headers, JSON, broken bodies."""
    http = client.http
    http.get(f"/api/cases/{case}/files/{MARK}.nii.gz")
    http.get(f"/api/cases/{case}?patient={MARK}", headers={"User-Agent": MARK, "Referer": f"http://127.0.0.1/{MARK}"})
    http.put(f"/api/cases/{case}/assignments", json={"t1n": MARK})
    http.put(f"/api/cases/{case}/assignments", json={MARK: "t1n"})
    http.post(f"/api/cases/{case}/run", json={"model": MARK})
    http.put(f"/api/cases/{case}/series/{MARK}", content=b"x")
    disposition = {"Content-Disposition": f'attachment; filename="{MARK}.zip"'}
    http.put(f"/api/cases/{case}/series/t1c", content=struct.pack("<i", 348) + MARK.encode() * 30, headers=disposition)
    http.put(f"/api/cases/{case}/dicom", content=b"PK\x03\x04" + MARK.encode() * 30, headers=disposition)


def test_a_planted_name_is_found_nowhere_after_any_step(place: Place, tmp_path: Path) -> None:
    fleet = place.fleet
    process = fleet.start("up")
    fleet.wait_ready()
    client = fleet.client()
    study, with_overlay = (named_study(tmp_path / str(kind), overlay=kind) for kind in (False, True))
    assert MARK.encode() in gzip.decompress(named_scan(1)), "the search would find nothing in any case"
    case = client.call("POST", "/api/cases")["id"]
    found = client.http.put(f"/api/cases/{case}/dicom", content=study)
    assert found.status_code == 200, found.text
    assert len(found.json()["series"]) == 2 and MARK not in found.text
    place.clean("a DICOM study")
    found = client.http.put(f"/api/cases/{case}/dicom", content=with_overlay)
    assert found.status_code == 200 and MARK not in found.text, found.text
    place.clean("a DICOM study with overlays")
    scan = client.http.put(f"/api/cases/{case}/series/t1c", content=named_scan(1))
    assert scan.status_code == 200, scan.text
    place.clean("a NIfTI scan")
    stray_calls(client, case)
    place.clean("calls that were refused")
    client.run(case)
    assert client.wait(case) == "done"
    place.clean("a run")
    client.http.put(f"/api/cases/{case}/segmentation", content=named_mask())
    place.clean("a correction")
    for file in client.call("GET", f"/api/cases/{case}/files")["files"]:
        content = client.http.get(f"/api/cases/{case}/files/{file['name']}").content
        packed = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert not any(needle in content or needle in packed for needle in NEEDLES), file["name"]
    assert MARK not in client.http.get(f"/api/cases/{case}/diagnostics").text
    fleet.kill(process)
    fleet.environment["HOPE_SHORT_FAIL"] = "segment:9"
    process = fleet.start("up")
    fleet.wait_ready()
    client.call("PUT", f"/api/cases/{case}/assignments", json={})
    client.run(case)
    assert client.wait(case) == "failed"
    place.clean("a failure")
    fleet.environment |= {"HOPE_SHORT_FAIL": "", "HOPE_SHORT_SECONDS": "preprocess:0.05,20"}
    fleet.kill(process)
    process = fleet.start("up")
    fleet.wait_ready()
    client.run(case)
    client.wait(case, 30, ("running",))
    fleet.kill(process)
    place.clean("kill -9 in the middle of a run")
    process = fleet.start("up")
    fleet.wait_ready()
    receipt = client.call("DELETE", "/api/session")
    assert receipt["unconfirmed"] == []
    place.clean("a deletion")
    assert case.encode() not in b"".join(p.read_bytes() for p in place.folder.rglob("*.sqlite*"))


def test_an_upload_that_is_killed_in_the_middle_leaves_its_name_until_the_next_start_and_no_longer(
    place: Place,
) -> None:
    """While it is under way the body lies in the scratch directory, with all it holds; a crash must not keep it."""
    fleet = place.fleet
    process = fleet.start("up")
    fleet.wait_ready()
    client = fleet.client()
    case = client.call("POST", "/api/cases")["id"]
    stop = threading.Event()

    def body() -> Iterator[bytes]:
        while not stop.wait(0.1):
            yield MARK.encode() * 1000 + bytes(2**18)

    def send() -> None:
        with contextlib.suppress(httpx.TransportError):
            client.http.put(f"/api/cases/{case}/dicom", content=body())

    sender = threading.Thread(target=send)
    sender.start()
    try:
        deadline = time.monotonic() + 20
        while not place.found():
            assert time.monotonic() < deadline, "the upload is not seen: the search looks in the wrong place"
            time.sleep(0.02)
        fleet.kill(process)
    finally:
        stop.set()
        sender.join()
    assert place.found()
    fleet.start("up")
    fleet.wait_ready()
    place.clean("the next start")
    client.call("DELETE", "/api/session")
