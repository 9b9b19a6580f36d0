"""The DICOMweb client before an archive that answers oddly: what it says, and that nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.dicomnet.dicomweb import DicomWeb, FoundStudy, parts_of
from hope.domain.errors import HopeError, InputError, OutputError, PeerError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.testing.dicom_series import SeriesRecipe, write_series

URL = "http://user:pass-mark@archive.test/dicom-web"
RELATED = 'multipart/related; type="application/dicom"; boundary=XX'


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    scan = Volume(np.zeros((8, 8, 3), np.float32), Grid((8, 8, 3), np.eye(4)))
    return [path.read_bytes() for path in write_series(scan, tmp_path_factory.mktemp("in"), SeriesRecipe(1, "t1"))]


def multipart(images: list[bytes], *, end: bool = True) -> bytes:
    parts = b"".join(b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in images)
    return parts + (b"--XX--\r\n" if end else b"")


def archive(body: bytes, series: str, count: int, kind: str = RELATED) -> DicomWeb:
    listed = [{"0020000E": {"vr": "UI", "Value": [series]}, "00201209": {"vr": "IS", "Value": [count]}}]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/series"):
            return httpx.Response(200, json=listed)
        return httpx.Response(200, content=body, headers={"Content-Type": kind})

    return DicomWeb(URL, httpx.MockTransport(answer))


def uids(image: bytes) -> tuple[str, str]:
    header = pydicom.dcmread(pydicom.filebase.DicomBytesIO(image))
    return str(header.StudyInstanceUID), str(header.SeriesInstanceUID)


def test_a_study_comes_whole(tmp_path: Path, images: list[bytes]) -> None:
    study, series = uids(images[0])
    folder = archive(multipart(images), series, 3).pull(study, tmp_path / "out")
    assert sorted(path.read_bytes() for path in folder.iterdir()) == sorted(images)
    with pytest.raises(OutputError, match="already"):
        archive(multipart(images), series, 3).pull(study, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda images: (multipart(images[:2]), 3, RELATED), "2 of 3 images"),
        (lambda images: (multipart(images, end=False), 3, RELATED), "ends early"),
        (lambda images: (multipart(images)[:-200], 3, RELATED), "ends early"),
        (lambda images: (multipart([b"\0" * 400]), 1, RELATED), "damaged"),
        (lambda _: (b"<html>", 3, "text/html"), "does not send DICOM"),
    ],
)
def test_what_comes_in_part_leaves_nothing(
    tmp_path: Path, images: list[bytes], change: Callable[[list[bytes]], tuple[bytes, int, str]], sentence: str
) -> None:
    body, count, kind = change(images)
    with pytest.raises(PeerError, match=sentence):
        archive(body, uids(images[0])[1], count, kind).pull(uids(images[0])[0], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_image_of_another_study_is_refused(tmp_path: Path, images: list[bytes]) -> None:
    with pytest.raises(PeerError, match="another series"):
        archive(multipart(images), uids(images[0])[1], 3).pull("1.2.3", tmp_path / "out")


@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
def test_parts_do_not_depend_on_how_the_body_is_cut(size: int) -> None:
    body = multipart([b"one\r\n--X", b"", b"two" * 50])
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    assert list(parts_of(RELATED, chunks)) == [b"one\r\n--X", b"", b"two" * 50]


def test_messages_tell_no_address_and_no_identity(tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"cannot reach {request.url}")

    calls: list[tuple[DicomWeb, str]] = [
        (DicomWeb(URL, httpx.MockTransport(refuse)), "does not answer"),
        (DicomWeb(URL, httpx.MockTransport(lambda _: httpx.Response(401))), "refuses us"),
        (DicomWeb(URL, httpx.MockTransport(lambda _: httpx.Response(500))), "answers 500"),
        (DicomWeb(URL, httpx.MockTransport(lambda _: httpx.Response(200, text="hello"))), "no DICOM JSON"),
    ]
    for web, sentence in calls:
        for call in (lambda web=web: web.find("4711MARK"), lambda web=web: web.pull("1.2.3", tmp_path / "out")):
            with pytest.raises(HopeError, match=sentence) as caught:
                call()
            assert not {"4711MARK", "pass-mark", "archive.test"} & set(str(caught.value).split())
            assert "MARK" not in str(caught.value)


@pytest.mark.parametrize(("count", "warned"), [(99, False), (100, True)])
def test_a_list_that_may_be_cut_says_so(count: int, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = [FoundStudy(f"1.2.{number}", "20260301", 4, 100) for number in range(count)]
    monkeypatch.setenv("HOPE_DICOMWEB_URL", URL)
    monkeypatch.setattr(DicomWeb, "find", lambda *_: studies)
    done = CliRunner().invoke(main, ["dicom", "find", "--date", "20260301"])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == count
    assert ("there may be more" in done.stderr) == warned


def test_what_cannot_be_asked_for() -> None:
    web = DicomWeb(URL)
    calls: list[Callable[[], object]] = [
        lambda: DicomWeb(""),
        lambda: DicomWeb("ftp://x"),
        lambda: web.find(),
        lambda: web.find("*"),
        lambda: web.find(date="2026"),
        lambda: web.pull("../etc", Path("x")),
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("odd", [{"0020000D": "1.2"}, {"00080020": None}, {"0020000D": {"Value": {"a": "1.2"}}}])
def test_an_answer_of_another_form_is_the_archives_fault(odd: dict[str, object]) -> None:
    with pytest.raises(PeerError, match="no DICOM JSON"):
        DicomWeb(URL, httpx.MockTransport(lambda _: httpx.Response(200, json=[odd]))).find("4711")


def test_what_an_archive_does_not_say_is_empty_and_a_count_beyond_reason_is_none() -> None:
    facts = {"0020000D": {"Value": ["1.2"]}, "00080020": {"Value": [None]}, "00201208": {"Value": ["9" * 5000]}}
    found = DicomWeb(URL, httpx.MockTransport(lambda _: httpx.Response(200, json=[facts]))).find("4711")
    assert [(one.uid, one.date, one.images) for one in found] == [("1.2", "", 0)]
