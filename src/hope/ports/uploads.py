"""The part of the case store that counts uploads while they are under way."""

from __future__ import annotations

from typing import Protocol

from hope.contract.scans import SessionLimits


class UploadStore(Protocol):
    """Uploads that have not ended. All calls block and are safe from many threads and processes."""

    def begin_upload(self, case_id: str, executor: str, size: int, limits: SessionLimits, files: int = 1) -> str:
        """Count a new upload of so many bytes, and files that it will leave; returns its id.

        Raises:
            GoneError: if the case is gone.
            BusyError: if the session has as many uploads under way as it may.
            QuotaError: if the session would hold more bytes or files than it may.
        """
        ...

    def resize_upload(self, upload_id: str, case_id: str, size: int, limits: SessionLimits) -> None:
        """Say how many bytes an upload takes up now; more than before only if the session may hold them.

        Raises:
            GoneError: if the case is gone, or the upload has ended.
            QuotaError: if the session would hold more than it may.
        """
        ...

    def upload_bytes_left(self, upload_id: str, case_id: str, limits: SessionLimits) -> int:
        """How many bytes this upload may take up at most, with what the session holds and uploads besides.

        Raises:
            GoneError: if the case is gone.
        """
        ...

    def end_upload(self, upload_id: str) -> None:
        """Nothing of the upload lies in a scratch directory any more. Idempotent."""
        ...

    def open_uploads(self, identifier: str) -> int:
        """How many uploads of a session or a case have not ended, also of one that is deleted."""
        ...
