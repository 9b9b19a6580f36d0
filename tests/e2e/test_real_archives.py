"""Real archives (Orthanc, in processes of their own) around the loop; a short stage stands for the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from tests.dicom_network import FLAT, Orthanc, orthanc, short_segmenter, write_study
from tests.servers import free_port

from hope.cli import main
from hope.dicomnet.hospital_loop import HospitalLoop, serve
from hope.dicomnet.listener import Listener, ListenerSettings
from hope.dicomnet.peers import Peer, send_objects
from hope.dicomnet.spool import Spool
from hope.stages.intake.case_finding import CaseSource, find_cases
from hope.testing.dicom_series import IDENTITY

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
    found = run.invoke(main, ["dicom", "find", "--patient-id", "-", "--date", "20200101-20200131"], input="4711\n")
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
