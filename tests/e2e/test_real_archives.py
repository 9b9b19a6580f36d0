"""Real archives (Orthanc, in processes of their own) around the loop; a short stage stands for the pipeline."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from tests.dicom_network import FLAT, Orthanc, orthanc, raw_study, short_segmenter, write_study
from tests.servers import free_port

from hope.cli import main
from hope.dicomnet.dicomweb import DicomWeb
from hope.dicomnet.hospital_loop import HospitalLoop, serve
from hope.dicomnet.listener import Listener, ListenerSettings
from hope.dicomnet.peers import Peer, send_objects
from hope.dicomnet.spool import Spool
from hope.export.dicom import export_objects
from hope.export.stored_result import read_result
from hope.stages.intake.case_finding import CaseSource, find_cases
from hope.testing.dicom_series import IDENTITY, PATIENT_ID

PORT = free_port()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"), grid=FLAT)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, study: list[Path]) -> Iterator[Orthanc]:
    """An archive that holds the study and knows us."""
    with orthanc(tmp_path_factory.mktemp("pacs") / "a", "PACS", {"hope": ["HOPE", "127.0.0.1", PORT]}) as server:
        for path in study:
            server.call("/instances", path.read_bytes())
        yield server


def test_a_study_goes_from_one_archive_to_another(tmp_path: Path, pacs: Orthanc, study: list[Path]) -> None:
    said: list[str] = []
    (tmp_path / "out").mkdir()
    originals = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, study)}
    spool = Spool(tmp_path / "spool", 1.0, 24.0, keep_free_mb=0)

    def segment(source: CaseSource) -> Path:
        assert source.dicom is not None
        came = [pydicom.dcmread(path) for path in source.dicom.iterdir()]
        assert len(came) == len(originals)
        assert all(one.PixelData == originals[one.SOPInstanceUID].PixelData for one in came)
        return short_segmenter(tmp_path / "out")(source)

    with (
        orthanc(tmp_path / "b", "BACK") as back,
        Listener(ListenerSettings("HOPE", ["PACS"], port=PORT), spool, said.append) as listener,
    ):
        out = partial(send_objects, peer=Peer("BACK", "127.0.0.1", back.port), aet="HOPE")
        (identifier,) = pacs.call("/studies")
        pacs.call("/modalities/hope/store", {"Resources": [identifier], "Synchronous": False})
        serve(listener, spool, HospitalLoop(spool, segment, out, said.append), said.append, studies=1)
        objects = back.objects()
    spool.close()
    assert set(objects) == {"Segmentation Storage", "Comprehensive SR Storage"}, said
    segmentation = objects["Segmentation Storage"]
    reference = next(one for one in originals.values() if int(one.SeriesNumber) == 6)
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == reference.SeriesInstanceUID
    assert all(one.StudyInstanceUID == reference.StudyInstanceUID for one in objects.values())
    assert int(np.count_nonzero(segmentation.pixel_array)) > 0
    assert IDENTITY.partition("^")[0] not in " ".join(said)
    assert not list(spool.root.glob("*/*"))


def test_a_study_is_found_and_pulled_by_dicomweb(
    tmp_path: Path, pacs: Orthanc, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_DICOMWEB_URL", f"{pacs.http}/dicom-web")
    run = CliRunner()
    found = run.invoke(
        main, ["dicom", "find", "--patient-id", "-", "--date", "20200101-20200131"], input=f"{PATIENT_ID}\n"
    )
    assert found.exit_code == 0 and found.stdout.split("\t")[1:] == ["20200102", "4 series", f"{len(study)} images\n"]
    assert run.invoke(main, ["dicom", "find", "--patient-id", "4712"]).stdout == ""
    uid = found.stdout.split("\t")[0]
    pulled = run.invoke(main, ["dicom", "pull", uid, "-o", str(tmp_path / "in")])
    assert pulled.exit_code == 0, pulled.stderr
    (folder,) = (tmp_path / "in").iterdir()
    assert pulled.stdout == f"{folder}\n" and folder.stat().st_mode & 0o077 == 0
    originals = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, study)}
    came = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert len(came) == len(originals)
    assert all(one.PixelData == originals[one.SOPInstanceUID].PixelData for one in came)
    (source,) = find_cases([folder], {})
    assert source.problem is None and len(source.series) == 4
    assert IDENTITY.partition("^")[0] not in found.output + pulled.output
    assert run.invoke(main, ["dicom", "pull", "1.2.3", "-o", str(tmp_path / "none")]).exit_code == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("way", ["STOW-RS", "C-STORE"])
def test_objects_come_back_from_an_archive_as_they_went(
    tmp_path: Path, pacs: Orthanc, study: list[Path], way: str
) -> None:
    (tmp_path / "out").mkdir()
    folder = study[0].parents[1]
    result = short_segmenter(tmp_path / "out")(CaseSource("case-1", {}, folder))
    sent = [pydicom.dcmread(path) for path in export_objects(read_result(result), folder, tmp_path / "objects").files]
    with orthanc(tmp_path / way, "BACK") as archive:
        if way == "C-STORE":
            send_objects(sorted((tmp_path / "objects").iterdir()), Peer("BACK", "127.0.0.1", archive.port), "HOPE")
        else:
            archive.stow(sorted((tmp_path / "objects").iterdir()))
        web = DicomWeb(f"{archive.http}/dicom-web")
        got = {one.SOPInstanceUID: one for one in archive.wado(sent[0].StudyInstanceUID)}
        assert not web.find(PATIENT_ID, "20200102"), "it holds no MR images"
    assert set(got) == {one.SOPInstanceUID for one in sent} and len(sent) == 2
    for one in sent:
        assert got[one.SOPInstanceUID] == one
        assert got[one.SOPInstanceUID].get("PixelData") == one.get("PixelData")


@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.environ.get("HOPE_INTEROP") != "long", reason="the long form: make interop")
def test_two_studies_go_round_through_the_real_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two synthetic patients from one archive to another through the command, its own process and the starter model."""
    monkeypatch.setenv("HOPE_SPOOL_DIR", str(tmp_path / "spool"))
    port = free_port()
    with (
        orthanc(tmp_path / "a", "PACS", {"hope": ["HOPE", "127.0.0.1", port]}) as source,
        orthanc(tmp_path / "b", "BACK") as back,
    ):
        for number in (1, 2):
            for path in raw_study(tmp_path / "in" / str(number), number):
                source.call("/instances", path.read_bytes())
        call = [
            sys.executable,
            "-m",
            "hope.cli",
            "dicom",
            "receive",
            "--run",
            "--send-to",
            f"BACK@127.0.0.1:{back.port}",
        ]
        call += ["--port", str(port), "--allow", "PACS", "--quiet-seconds", "2", "--studies", "2"]
        started = time.monotonic()
        with subprocess.Popen([*call, "-o", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            assert "listens on" in first, first
            source.call("/modalities/hope/store", {"Resources": source.call("/studies"), "Synchronous": False})
            _, said = process.communicate(timeout=1800)
        print(f"two studies, {time.monotonic() - started:.0f} s:\n{said}")  # noqa: T201 - the long form's figures
        assert process.returncode == 0, said
        studies = {one.StudyInstanceUID for one in back.every()}
        kinds = sorted(str(one.Modality) for one in back.every())
    assert len(studies) == 2 and kinds == ["SEG", "SEG", "SR", "SR"]
    assert IDENTITY.partition("^")[0] not in first + said
    assert not list((tmp_path / "spool").glob("*/*"))
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert IDENTITY.partition("^")[0].encode() not in path.read_bytes().upper(), path.name
