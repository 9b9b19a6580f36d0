"""All results of a session as one zip, made while it is sent: nothing of it is held in memory or on a disk."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hope.contract.job import Artifact, CaseRecord
from hope.contract.outputs import Role, Space
from hope.ports import BlobStore

TABLE = "cases.csv"
LONGEST_NAME = 60

_OF_THE_MODEL = (Role.REPORT, Role.PICTURE, Role.VOLUMES, Role.LESIONS, Role.FACTS)
_CORRECTED = (
    Role.CORRECTED_SEGMENTATION,
    Role.CORRECTED_REPORT,
    Role.CORRECTED_PICTURE,
    Role.CORRECTED_VOLUMES,
    Role.CORRECTED_FACTS,
)


@dataclass(frozen=True)
class ArchiveFile:
    """One file of the zip.

    Attributes:
        path: its name in the zip.
        size: its bytes.
        blob_key: what the store calls it.
        sha256: its hash.
    """

    path: str
    size: int
    blob_key: str
    sha256: str


def folder_name(case: CaseRecord) -> str:
    """What a case's folder is called: its number, and what of the user's name every file system takes."""
    clean = re.sub(r"[^\w.-]+", "_", case.label)[:LONGEST_NAME].strip("._-")
    return f"{case.number:03d}-{clean}" if clean else f"{case.number:03d}"


def files_of(case: CaseRecord, artifacts: Sequence[Artifact]) -> list[ArchiveFile]:
    """What of a finished case goes into the zip: the model's mask, and the current mask, report, picture and tables.

    Args:
        case: it is done.
        artifacts: its files that a user can download.
    """
    folder = folder_name(case)
    return [
        ArchiveFile(f"{folder}/{a.name}", a.bytes, a.blob_key, a.sha256)
        for a in artifacts
        if _is_wanted(a, case.version)
    ]


def _is_wanted(artifact: Artifact, version: int) -> bool:
    output = artifact.output
    if output is None:
        return False
    if output.role is Role.SEGMENTATION:
        return output.space is Space.NATIVE
    if version:
        return output.role in _CORRECTED and artifact.version == version
    return output.role in _OF_THE_MODEL


def zip_chunks(files: Sequence[ArchiveFile], table: str, blobs: BlobStore) -> Iterator[bytes]:
    """The zip, piece by piece; files are stored as they are, since masks and pictures are packed already. Blocks.

    Args:
        files: what goes into it.
        table: the CSV that lies at its top.
        blobs: where the bytes lie.

    Raises:
        DamagedError: if a file is missing or not what was stored; the zip then ends before its directory of entries, so
            that no program takes it for whole.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(_entry(TABLE, len(table.encode())), table)
        for file in files:
            with archive.open(_entry(file.path, file.size), "w") as entry:
                for chunk in blobs.read(file.blob_key, file.sha256):
                    entry.write(chunk)
                    if piece := sink.taken():  # an empty one would end the answer
                        yield piece
    yield sink.taken()


def _entry(path: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, time.gmtime()[:6])
    entry.file_size = size  # decides, before the first byte, whether the entry needs 64-bit sizes
    entry.external_attr = 0o644 << 16
    return entry


class _Sink(io.RawIOBase):
    """Takes what `zipfile` writes and hands it on; it cannot seek, so `zipfile` puts sizes behind each file."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Hold a piece until it is taken."""
        self._held.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._held = self._held, []
        return b"".join(pieces)
