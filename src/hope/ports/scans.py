"""The part of the case store that keeps scans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from hope.contract.job import CaseRecord, SeriesRecord
from hope.contract.scans import SeriesChange
from hope.domain.case import MRSequence


class ScanStore(Protocol):
    """Scans of cases. All calls block and are safe from many threads and processes."""

    def put_series(
        self, case_id: str, scan: SeriesRecord, match: Collection[str] | None = None, upload: str = ""
    ) -> SeriesChange:
        """Store the scan of a sequence, in place of the one that is named, and append events; one transaction.

        The one that is named has a hash in ``match`` (``*``: has the sequence), or else the very key and sequence of
        the new scan; the new one then gets its key. If there is none the key is the scan's own, or the next one of its
        kind if that was given before. A scan that only had the sequence loses it and stays. The bytes of ``upload``
        count no more, since the scan's do from now on.

        Raises:
            GoneError: if the case is gone.
            ConflictError: while the case is queued or running.
            ChangedError: if ``match`` is given and no such scan is there.
        """
        ...

    def add_series(self, case_id: str, scans: Sequence[SeriesRecord], upload: str = "") -> SeriesChange:
        """Store scans beside those that are there, and append events; one transaction, and nothing is replaced.

        Their keys are wishes, as in `put_series`. A sequence that another scan has stays with that one. Of a scan whose
        very bytes are there already nothing is stored, and the answer names the one that is there.

        Raises:
            GoneError, ConflictError: as `put_series`.
        """
        ...

    def delete_series(self, case_id: str, key: str) -> SeriesRecord:
        """Forget the scan under a key, and nothing else; its key is not given again. Returns what it was.

        Raises:
            GoneError, ConflictError: as `put_series`.
            InputError: if the case has no scan under this key.
        """
        ...

    def assign_series(self, case_id: str, wanted: Mapping[MRSequence, str | None]) -> CaseRecord:
        """Say which scan is which sequence, all at once or not at all.

        Args:
            case_id: whose scans they are.
            wanted: the key of the scan that has a sequence from now on, None for no scan. Sequences that are left out
                stay as they are, unless their scan gets another one.

        Raises:
            GoneError, ConflictError: as `put_series`.
            InputError: if the case has no scan under one of the keys, or one is to be two sequences.
        """
        ...
