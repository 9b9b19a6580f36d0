"""From a clean file to both stores: blob first, row last, all or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hope.contract.job import Artifact, CaseRecord, SeriesRecord
from hope.contract.scans import SeriesChange
from hope.domain.case import MRSequence
from hope.domain.errors import HopeError
from hope.formats.nifti_clean import CleanScan
from hope.web.context import WebContext
from hope.web.errors import log_failure


@dataclass(frozen=True)
class NewScan:
    """A scan that was cleaned and is not stored yet.

    Attributes:
        path: the clean file; it may be moved away.
        clean: what is known of it.
        key: the key that it should get; the store decides.
        sequence: which of the four, or None.
        facts: confidence, reason, and whether it was given as DICOM, of what came in an archive.
    """

    path: Path
    clean: CleanScan
    key: str
    sequence: MRSequence | None
    facts: Mapping[str, object] = field(default_factory=dict)

    def record(self, blob_key: str, warnings: Sequence[str]) -> SeriesRecord:
        """The row of the scan, with more warnings."""
        known = {k: v for k, v in {**self.clean.facts(), **self.facts}.items() if v is not None}
        facts = {**known, "warnings": [*known["warnings"], *warnings]}
        return SeriesRecord(self.sequence, self.key, blob_key, self.clean.bytes, self.clean.sha256, facts)


class ScanStorage:
    """Puts scans and corrected masks into both stores.

    Args:
        context: the stores.
    """

    def __init__(self, context: WebContext) -> None:
        self._context = context

    def store_scans(
        self, case: CaseRecord, scans: Sequence[NewScan], commit: Callable[[list[SeriesRecord]], SeriesChange]
    ) -> SeriesChange:
        """Put clean scans into both stores, all or none; what they replace is deleted. Blocks.

        Args:
            case: which case.
            scans: files that may be moved away.
            commit: writes the rows, in one transaction.

        Raises:
            GoneError, ConflictError, ChangedError: if the case may not take them any more; nothing stays behind then.
            OutputError: if the blob store refuses.
        """
        with self._blobs_of_rows() as folders:
            records = []
            for scan in scans:
                # A folder for each blob, because that is what the store can delete.
                folder = folders.add(f"cases/{case.id}/series/{secrets.token_hex(8)}/")
                records.append(scan.record(f"{folder}scan.nii", _same_bytes(case, scan)))
                self._context.blobs.put_file(records[-1].blob_key, scan.path, scan.clean.sha256)
            with folders.committing():
                change = commit(records)
        self.drop(change.unused)
        return change

    def drop(self, blob_keys: Sequence[str]) -> None:
        """Delete scans that no row names any more. Blocks. The maintenance loop finds what cannot be deleted now."""
        for key in blob_keys:
            try:
                self._context.blobs.delete_prefix(key.removesuffix("scan.nii"))
            except (HopeError, OSError) as error:
                log_failure("a scan that was replaced could not be deleted yet", error)

    def store_segmentation(
        self,
        case: CaseRecord,
        files: Sequence[tuple[Path, Artifact]],
        result: Mapping[str, object],
        upload: str,
        newest_known: int | None = None,
    ) -> Artifact:
        """Put a corrected mask and what was made of it into both stores. Blocks; raises as `store_scans`."""
        with self._blobs_of_rows() as folders:
            for path, artifact in files:
                folders.add(artifact.blob_key.rpartition("/")[0] + "/")
                self._context.blobs.put_file(artifact.blob_key, path, artifact.sha256)
            artifacts = [artifact for _, artifact in files]
            with folders.committing():
                return self._context.store.add_segmentation(case.id, artifacts, result, case.run, upload, newest_known)

    @contextmanager
    def _blobs_of_rows(self) -> Iterator[_Folders]:
        """Blob first, row last: a row never names bytes that are not there, and a refused row leaves no bytes."""
        folders = _Folders()
        try:
            yield folders
        except BaseException:
            for folder in () if folders.unknown else folders.written:
                self._context.blobs.delete_prefix(folder)
            raise


@dataclass
class _Folders:
    """Folders that are written before their rows.

    Attributes:
        written: which.
        unknown: whether nobody knows if the rows are there.
    """

    written: list[str] = field(default_factory=list)
    unknown: bool = False

    def add(self, folder: str) -> str:
        """Note a folder, and return it."""
        self.written.append(folder)
        return folder

    @contextmanager
    def committing(self) -> Iterator[None]:
        """The block writes the rows. A connection that breaks in it may have broken after the commit.

        The bytes have to stay then, since rows may name them; if none does, the maintenance loop finds them.
        """
        try:
            yield
        except ConnectionError:
            self.unknown = True
            raise


def _same_bytes(case: CaseRecord, scan: NewScan) -> list[str]:
    same = [s.key for s in case.series if s.sha256 == scan.clean.sha256 and s.sequence != scan.sequence]
    return [f"{scan.key} is the same image as {same[0]}; give each sequence its own scan."] if same else []
