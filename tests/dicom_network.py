"""Archives for tests: studies of four sequences, a peer that sends them, and real Orthancs on this machine."""

from __future__ import annotations

import io
import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pynetdicom import AE
from tests.servers import dying_with_us, free_port, missing, running

from hope.dicomnet.dicomweb import parts_of
from hope.domain.grid import Grid
from hope.domain.sequence import MRSequence
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, read_series
from hope.stages.intake.intake import CaseSource, hash_volume
from hope.synthesis.raw import RawOptions, raw_case
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.head import HEAD_GRID, head_scan
from hope.testing.stored_results import labelled, write_stored_result

MR = "1.2.840.10008.5.1.4.1.1.4"
GRID = HEAD_GRID.with_spacing((3.0, 3.0, 7.0))
CONTRAST = {"ContrastBolusAgent": "Gadovist"}
FLAT = GRID.cropped((0, 0, 10), (*GRID.shape[:2], 14))
SEQUENCES = (("t1", 6, 1, CONTRAST), ("t2", 3, 2, {}), ("t1", 2, 1, {}), ("flair", 4, 3, {}))
"""Kind of series, its number, the seed of its texture, more tags."""


def write_study(folder: Path, study: str = "1", grid: Grid = GRID, most: int = 4) -> list[Path]:
    """Up to four series of a head, each in a directory of its own; the files of all."""
    files = []
    for kind, number, seed, tags in SEQUENCES[:most]:
        scan: Volume = head_scan(seed, grid=grid, enhanced=bool(tags))
        recipe = SeriesRecipe(number, kind, f"{kind} tra", study=study, tags=tags)
        files += write_series(scan, folder / str(number), recipe)
    return files


def raw_study(folder: Path, number: int) -> list[Path]:
    """A synthetic patient's raw scans as DICOM: oblique and thick-sliced, a tumour in them."""
    case = raw_case(7, number, RawOptions(kind="solid_enhancing"))
    kinds = {MRSequence.T1N: ("t1", {}), MRSequence.T1C: ("t1", CONTRAST), MRSequence.T2W: ("t2", {})}
    kinds[MRSequence.T2F] = ("flair", {})
    files = []
    for place, (sequence, (kind, tags)) in enumerate(kinds.items(), start=1):
        recipe = SeriesRecipe(place, kind, f"{kind} tra", study=f"raw-{number}", tags=tags)
        files += write_series(case.scans[sequence], folder / str(place), recipe)
    return files


def send(
    files: Sequence[Path], port: int, *, calling: str = "PACS", called: str = "HOPE", abort: bool = False
) -> list[int]:
    """Send files in one association, which is aborted after the last of them or released.

    Returns:
        the status of each, none if the association was refused.
    """
    entity = AE(ae_title=calling)
    entity.add_requested_context(MR, pydicom.uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return []
    statuses = [int(association.send_c_store(path).Status) for path in files]
    association.abort() if abort else association.release()
    return statuses


def short_segmenter(out: Path) -> Callable[[CaseSource], Path]:
    """In place of the pipeline: the result that a run would leave of the series with contrast, with boxes as labels."""

    def segment(source: CaseSource) -> Path:
        assert source.dicom is not None
        series = next(one for one in read_series(source.dicom) if one.number == 6)
        volume, _ = convert_series(series, out, "t1c")
        folder = out / source.case_id
        shutil.rmtree(folder, ignore_errors=True)
        mask = labelled(volume.grid)
        write_stored_result(folder, mask, case_id=source.case_id, scan_sha256=hash_volume(volume), from_dicom=True)
        return folder

    return segment


@dataclass
class Archive:
    """A C-STORE SCP that takes everything.

    Attributes:
        port: TCP port.
        objects: what it got.
        refusals: how many objects it will refuse, for want of room.
    """

    port: int = 0
    objects: list[pydicom.Dataset] = field(default_factory=list)
    refusals: int = 0


@contextmanager
def archive() -> Iterator[Archive]:
    """Run an archive of pynetdicom's on a free port."""
    from pynetdicom import AllStoragePresentationContexts, evt

    state, lock = Archive(), threading.Lock()

    def store(event: Any) -> int:
        received = event.dataset
        received.file_meta = event.file_meta
        with lock:
            if state.refusals:
                state.refusals -= 1
                return 0xA700
            state.objects.append(received)
        return 0

    entity = AE(ae_title="BACK")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    state.port = int(server.server_address[1])
    try:
        yield state
    finally:
        entity.shutdown()


@dataclass(frozen=True)
class Orthanc:
    """A real archive on this machine.

    Attributes:
        http: address of its REST interface.
        port: of DICOM.
        aet: its title.
    """

    http: str
    port: int
    aet: str

    def call(self, path: str, body: object = None) -> Any:
        """GET, or POST of JSON or bytes; the decoded answer."""
        if body is None:
            answer = httpx.get(f"{self.http}{path}", timeout=60)
        elif isinstance(body, bytes):
            answer = httpx.post(f"{self.http}{path}", content=body, timeout=60)
        else:
            answer = httpx.post(f"{self.http}{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def objects(self) -> dict[str, pydicom.Dataset]:
        """What it holds by SOP class, pixels included; the last one of each class."""
        return {str(one.SOPClassUID.name): one for one in self.every()}

    def every(self) -> list[pydicom.Dataset]:
        """All that it holds."""
        files = [f"{self.http}/instances/{identifier}/file" for identifier in self.call("/instances")]
        return [pydicom.dcmread(io.BytesIO(httpx.get(file, timeout=60).content)) for file in files]

    def stow(self, files: Sequence[Path]) -> None:
        """Store files by STOW-RS; the response lists failures even where there is none."""
        parts = (b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() for path in files)
        kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'}
        kind["Accept"] = "application/dicom+json"
        body = b"\r\n".join([*parts, b"--XX--\r\n"])
        said = httpx.post(f"{self.http}/dicom-web/studies", content=body, headers=kind, timeout=60).raise_for_status()
        assert len(said.json()["00081199"]["Value"]) == len(files) and not said.json().get("00081198", {}).get("Value")

    def wado(self, study: str) -> list[pydicom.Dataset]:
        """All objects of a study by WADO-RS."""
        kind = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        said = httpx.get(f"{self.http}/dicom-web/studies/{study}", headers=kind, timeout=60).raise_for_status()
        parts = parts_of(said.headers["Content-Type"], [said.content])
        return [pydicom.dcmread(io.BytesIO(part)) for part in parts]


@contextmanager
def orthanc(folder: Path, aet: str, modalities: dict[str, list[Any]] | None = None) -> Iterator[Orthanc]:
    """Run Orthanc with its DICOMweb plugin; what it stores goes below ``folder``."""
    program = shutil.which("Orthanc")
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if program is None or not plugin.exists():
        missing("Orthanc (Debian packages orthanc and orthanc-dicomweb)")
    folder.mkdir(parents=True)
    dicom = free_port()

    def command(port: int) -> list[str]:
        configuration = {
            "Name": aet,
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": port,
            "DicomPort": dicom,
            "DicomAet": aet,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": modalities or {},
            "DicomAlwaysAllowStore": True,
            "Plugins": [str(plugin)],
            "JobsHistorySize": 10,
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
        return [*dying_with_us(), str(program), str(folder / "orthanc.json")]

    def answers(port: int) -> bool:
        try:
            return bool(Orthanc(f"http://127.0.0.1:{port}", dicom, aet).call("/system"))
        except httpx.HTTPError:
            return False

    with running(command, answers, signal.SIGTERM) as port:
        yield Orthanc(f"http://127.0.0.1:{port}", dicom, aet)
