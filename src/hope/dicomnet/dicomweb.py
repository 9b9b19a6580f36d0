"""A client of an archive's DICOMweb services: search by QIDO-RS, and one study's MR images by WADO-RS."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hope.dicomnet.instance import instance_of, study_key
from hope.domain.errors import InputError, OutputError, PeerError
from hope.formats.atomic import atomic_directory
from hope.formats.budget import Budget, reading_within

if TYPE_CHECKING:
    import httpx

_UID: Final = r"[0-9]+(?:\.[0-9]+)*"
_SECONDS: Final = 60.0
MOST_FOUND: Final = 100
"""A search asks for so many studies at most."""

_MOST_BYTES: Final = 2 * 2**30
_STUDY, _SERIES = "0020000D", "0020000E"
_STUDY_DATE: Final = "00080020"
_STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES = "00201206", "00201208", "00201209"
_NO_JSON: Final = "the archive's answer is no DICOM JSON; check HOPE_DICOMWEB_URL"
_LONGEST_COUNT: Final = 9
_JSON: Final = {"Accept": "application/dicom+json"}
_DICOM: Final = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


@dataclass(frozen=True)
class FoundStudy:
    """What a search says of one study; no name.

    Attributes:
        uid: StudyInstanceUID.
        date: YYYYMMDD, empty if the archive does not say.
        series: how many it has, 0 if the archive does not say.
        images: the same of images.
    """

    uid: str
    date: str
    series: int
    images: int


class DicomWeb:
    """One archive.

    Args:
        url: HOPE_DICOMWEB_URL: where ``/studies`` lies below, with user and password if it wants them.
        transport: in place of the network, for tests.

    Raises:
        InputError: if it is empty or no address.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                "HOPE_DICOMWEB_URL is not usable" if url else "HOPE_DICOMWEB_URL is not set",
                expected="the address of the archive's DICOMweb services, such as https://pacs.example.org/dicom-web",
            )
        self._url, self._transport = url.rstrip("/"), transport

    def find(self, patient_id: str = "", date: str = "") -> list[FoundStudy]:
        """Search for MR studies, at most a hundred.

        Args:
            patient_id: PatientID as it is, without wildcards.
            date: YYYYMMDD, or YYYYMMDD-YYYYMMDD for all between.

        Raises:
            InputError: if neither is given, or one is not usable.
            PeerError: if the archive does not answer or refuses.
        """
        if not (patient_id or date):
            raise InputError("a search needs a patient or a date", fix="give --patient-id or --date")
        if re.search(r"[*?\\]", patient_id):
            raise InputError("--patient-id is not usable", expected="one patient's id, without * and ?")
        if date and not re.fullmatch(r"\d{8}(-\d{8})?", date):
            raise InputError("--date is not usable", expected="YYYYMMDD or YYYYMMDD-YYYYMMDD", got=date)
        asked = {"PatientID": patient_id, "StudyDate": date, "ModalitiesInStudy": "MR", "limit": str(MOST_FOUND)}
        query = [(name, value) for name, value in asked.items() if value]
        query += [("includefield", tag) for tag in (_STUDY_DATE, _STUDY_SERIES, _STUDY_INSTANCES)]
        found = [
            FoundStudy(
                _text(one, _STUDY), _text(one, _STUDY_DATE), _count(one, _STUDY_SERIES), _count(one, _STUDY_INSTANCES)
            )
            for one in self._search("/studies", query)
        ]
        return sorted(found, key=lambda study: (study.date, study.uid))

    def pull(self, uid: str, out: Path) -> Path:
        """Fetch the MR series of one study into ``out/study-...``, which appears whole or not at all.

        Args:
            uid: StudyInstanceUID.
            out: is made if it is missing; the study's directory is closed to other accounts.

        Returns:
            the study's directory.

        Raises:
            InputError: if the UID is none, or the archive has no MR series of it.
            PeerError: if the archive does not answer, refuses, or sends other images than it lists.
            OutputError: if the files cannot be written, or the study is there already.
        """
        if len(uid) > 64 or not re.fullmatch(_UID, uid):
            raise InputError(
                "STUDY_UID is no StudyInstanceUID", expected="digits and dots", fix="find it: hope dicom find"
            )
        fields = [("Modality", "MR"), ("includefield", _SERIES_INSTANCES)]
        series = {
            _text(one, _SERIES): _count(one, _SERIES_INSTANCES)
            for one in self._search(f"/studies/{uid}/series", fields)
        }
        if not series:
            raise InputError("the archive has no MR series of this study", fix="check STUDY_UID")
        target = out / study_key(uid)
        if target.exists():
            raise OutputError(f"{target.name} is in the output directory already; delete it, or choose another -o")
        with atomic_directory(target, mode=0o700) as folder:
            for one, count in series.items():
                if not re.fullmatch(_UID, one):
                    raise PeerError("the archive names a series by what is no UID")
                self._fetch(uid, one, count, folder)
        return target

    def _fetch(self, study: str, series: str, count: int, folder: Path) -> None:
        """Fetch one series; all images that the archive lists must come."""
        came = set()
        with (
            self._asking() as client,
            client.stream("GET", self._address(f"/studies/{study}/series/{series}"), headers=_DICOM) as response,
        ):
            _check(response)
            for content in parts_of(response.headers.get("content-type", ""), response.iter_bytes()):
                try:
                    with reading_within(Budget()):
                        instance = instance_of(content)
                except InputError as error:
                    raise PeerError("the archive sent a damaged image") from error
                if (instance.study, instance.series) != (study, series):
                    raise PeerError("the archive sent an image of another series")
                (folder / instance.file_name).write_bytes(content)
                came.add(instance.uid)
        if count and len(came) != count:
            raise PeerError(f"the archive sent {len(came)} of {count} images of a series; try again")

    def _search(self, path: str, query: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        with self._asking() as client:
            response = client.get(self._address(path), params=tuple(query), headers=_JSON)
            if response.status_code in (204, 404):
                return []
            _check(response)
            try:
                listed = response.json()
            except ValueError as error:
                raise PeerError(_NO_JSON) from error
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise PeerError(_NO_JSON)
        return listed

    def _address(self, path: str) -> str:
        return self._url + path

    @contextmanager
    def _asking(self) -> Iterator[httpx.Client]:
        """A client; whatever it raises becomes one sentence without an address, which holds UIDs and patients' ids.

        Raises:
            PeerError: if the archive does not answer.
        """
        import httpx

        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            with httpx.Client(timeout=_SECONDS, transport=self._transport) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise PeerError(
                f"the archive at HOPE_DICOMWEB_URL does not answer ({type(error).__name__}); check its address"
            ) from None


def parts_of(content_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of a ``multipart/related`` answer, one in memory at a time.

    Args:
        content_type: of the answer, which names the boundary.
        chunks: its body.

    Raises:
        PeerError: if it is no such answer, ends early, or a part is larger than 2 GiB.
    """
    named = re.search(r'boundary="?([^";]+)"?', content_type)
    if not content_type.lower().startswith("multipart/related") or not named:
        raise PeerError("the archive does not send DICOM files; check HOPE_DICOMWEB_URL")
    mark = b"\r\n--" + named[1].encode()
    # The first boundary need not follow a line break; with one before it, all are alike.
    buffer, seen, first = bytearray(b"\r\n"), 0, True
    for chunk in chunks:
        buffer += chunk
        while (place := buffer.find(mark, max(0, seen - len(mark)))) >= 0:
            part = bytes(buffer[:place])
            del buffer[: place + len(mark)]
            seen = 0
            if not first:
                yield part[part.index(b"\r\n\r\n") + 4 :] if b"\r\n\r\n" in part else b""
            first = False
            if bytes(buffer[:2]) == b"--":
                return
        seen = len(buffer)
        if seen > _MOST_BYTES:
            raise PeerError("the archive sends an image of more than 2 GiB")
    if bytes(buffer[:2]) != b"--":
        raise PeerError("the archive's answer ends early; try again")


def _check(response: httpx.Response) -> None:
    if response.status_code in (401, 403):
        raise PeerError("the archive refuses us; check user and password in HOPE_DICOMWEB_URL")
    if response.status_code != 200:
        raise PeerError(f"the archive answers {response.status_code}; check HOPE_DICOMWEB_URL")


def _text(one: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute as text; empty if it has none. Raises PeerError if that is no DICOM JSON."""
    try:
        values = one.get(tag, {}).get("Value") or [""]
        first = values[0]
    except (AttributeError, LookupError, TypeError):
        raise PeerError(_NO_JSON) from None
    return "" if first is None else str(first)


def _count(one: Mapping[str, Any], tag: str) -> int:
    text = _text(one, tag)
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_COUNT else 0
