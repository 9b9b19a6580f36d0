"""From a study that comes in to SEG and SR in an archive, each study once, with a short stage for the pipeline."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from tests.dicom_network import FLAT, Archive, archive, send, short_segmenter, write_study
from tests.servers import free_port

from hope.cli import main
from hope.dicomnet.hospital_loop import HospitalLoop, serve
from hope.dicomnet.listener import Listener, ListenerSettings
from hope.dicomnet.peers import Peer, send_objects
from hope.dicomnet.spool import Spool
from hope.domain.grid import Grid
from hope.stages.intake.case_finding import CaseSource, find_cases
from hope.testing.dicom_series import IDENTITY, PATIENT_ID
from hope.testing.stored_results import labelled, write_stored_result

SURNAME, GIVEN = IDENTITY.split("^")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"), grid=FLAT)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 0.3, 24.0, keep_free_mb=0)
    yield spool
    spool.close()


def said_nothing_of_anybody(said: list[str], *folders: Path) -> None:
    """The planted name stands in no message and in no file."""
    assert SURNAME not in " ".join(said) and PATIENT_ID not in " ".join(said)
    for folder in folders:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            content = path.read_bytes().upper()
            assert SURNAME.encode() not in content and GIVEN.encode() not in content, path.name


def test_a_study_goes_round(tmp_path: Path, spool: Spool, study: list[Path]) -> None:
    said: list[str] = []
    with archive() as back, Listener(ListenerSettings("HOPE", ["PACS"], port=0), spool, said.append) as listener:
        back.refusals = 1
        (tmp_path / "out").mkdir()
        out = partial(send_objects, peer=Peer("BACK", "127.0.0.1", back.port), aet="HOPE")
        loop = HospitalLoop(spool, short_segmenter(tmp_path / "out"), out, said.append, retry_seconds=0.5)
        send(study, listener.port)
        serve(listener, spool, loop, said.append, studies=1)
    check_objects(back, study)
    assert any("waits to be sent" in text for text in said), "the archive was full for a while"
    said_nothing_of_anybody(said, tmp_path / "out")
    assert not list(spool.root.glob("*/*")), "nothing stays in the spool"


def check_objects(back: Archive, study: list[Path]) -> None:
    kinds = {str(one.Modality): one for one in back.objects}
    assert set(kinds) == {"SEG", "SR"}
    reference = next(one for one in map(pydicom.dcmread, study) if int(one.SeriesNumber) == 6)
    assert kinds["SEG"].ReferencedSeriesSequence[0].SeriesInstanceUID == reference.SeriesInstanceUID
    for one in kinds.values():
        assert one.StudyInstanceUID == reference.StudyInstanceUID and str(one.PatientName) == IDENTITY


def test_twenty_studies_at_once_are_done_once_each(tmp_path: Path, spool: Spool) -> None:
    seen: list[str] = []
    said: list[str] = []
    folders = [write_study(tmp_path / "in" / str(number), str(number), FLAT, most=2) for number in range(20)]
    (tmp_path / "out").mkdir()

    def segment(source: CaseSource) -> Path:
        seen.append(source.case_id)
        mask = labelled(Grid((12, 12, 12), np.eye(4)))
        write_stored_result(tmp_path / "out" / source.case_id, mask, case_id=source.case_id)
        return tmp_path / "out" / source.case_id

    settings = ListenerSettings("HOPE", ["PACS"], port=0, associations=40)
    with Listener(settings, spool, said.append) as listener, ThreadPoolExecutor(20) as senders:
        sent = [senders.submit(send, files, listener.port) for files in folders]
        loop = HospitalLoop(spool, segment, None, said.append)
        serve(listener, spool, loop, said.append, studies=20)
        assert all(set(one.result()) == {0} for one in sent)
    assert len(seen) == len(set(seen)) == 20, said
    assert not list(spool.root.glob("*/*"))


def test_a_study_that_cannot_be_used_is_kept_and_the_next_goes_on(
    tmp_path: Path, spool: Spool, study: list[Path]
) -> None:
    said: list[str] = []
    (tmp_path / "out").mkdir()
    (spool.outgoing("study-earlier") / "seg.dcm").write_bytes(b"of a run that sent")
    one = [path for path in write_study(tmp_path / "in", "other", FLAT) if path.parent.name == "2"]
    with Listener(ListenerSettings("HOPE", ["PACS"], port=0), spool, said.append) as listener:
        send(one, listener.port)
        send(study, listener.port)
        loop = HospitalLoop(spool, short_segmenter(tmp_path / "out"), None, said.append)
        serve(listener, spool, loop, said.append, studies=2)
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert len(list(spool.root.glob("failed/*"))) == 1 and any("cannot be used" in text for text in said)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--send-to", "A@b:1"), "add --run"),
        (("--allow", "A\\B"), "--allow is not usable"),
        (("--tls-cert", "x"), "TLS needs three files"),
        (("--send-tls",), "--send-tls needs --send-to"),
        (("--run", "--send-to", "nobody"), "AET@HOST:PORT"),
        (("--host", "192.0.2.1"), "cannot use this address"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_DATA_DIR", str(tmp_path / "data"))
    call = ["dicom", "receive", "--allow", "PACS", "--port", str(free_port()), "-o", str(tmp_path / "out"), *arguments]
    run = CliRunner().invoke(main, call)
    assert run.exit_code == 2 and sentence in run.stderr


def test_the_command_hands_studies_out_and_names_nobody(tmp_path: Path, study: list[Path]) -> None:
    port = free_port()
    options = ["--port", str(port), "--allow", "PACS", "--quiet-seconds", "0.5", "--studies", "1"]
    call = [sys.executable, "-m", "hope.cli", "dicom", "receive", "-o", str(tmp_path / "out"), *options]
    with subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "listens on 127.0.0.1" in first, first
        assert send(study, port) == [0] * len(study)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    said_nothing_of_anybody([first, out, err])
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.name.startswith("study-"))
    assert folder.stat().st_mode & 0o077 == 0 and len(list(folder.iterdir())) == len(study)
    (source,) = find_cases([folder], {})
    assert source.problem is None and len(source.series) == 4
