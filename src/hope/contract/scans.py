"""What becomes of the scans of a case when others are stored."""

from __future__ import annotations

from dataclasses import dataclass

from hope.contract.job import SeriesRecord
from hope.domain.errors import HopeError, InputError


class ChangedError(HopeError):
    """What the caller wanted to replace is not what is there now."""


@dataclass(frozen=True)
class SeriesChange:
    """What became of scans that were stored.

    Attributes:
        stored: the scans as they are in the case now, in the order in which they were given.
        replaced: what is not in the case any more.
        unassigned: keys of scans that are still there and lost their sequence to a new one.
        unused: blob keys that no row names: of the replaced, and of new ones whose very bytes were there already.
    """

    stored: tuple[SeriesRecord, ...]
    replaced: tuple[SeriesRecord, ...] = ()
    unassigned: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionLimits:
    """What a session may hold.

    Attributes:
        bytes: of stored scans, stored corrections and uploads under way, unpacked.
        files: of them.
        uploads: that are under way at once.
    """

    bytes: int
    files: int
    uploads: int


class QuotaError(InputError):
    """The session holds as many bytes or files as it may."""


class BusyError(HopeError):
    """The session has as much under way as it may; later there is room."""
