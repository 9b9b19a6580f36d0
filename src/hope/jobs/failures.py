"""What an error of an attempt at a stage means: whether a disk is full, and what is said of it."""

from __future__ import annotations

from hope.contract.job import DamagedError
from hope.domain.errors import FullError, HopeError
from hope.formats.atomic import FULL


def is_full(error: Exception) -> bool:
    """Whether a disk or a quota is used up."""
    return isinstance(error, FullError) or (isinstance(error, OSError) and error.errno in FULL)


def message_of(error: Exception) -> str:
    """Word our own fault without paths, which may hold ids."""
    if isinstance(error, DamagedError):
        return f"a stored file is damaged: {error}"
    if isinstance(error, ConnectionError):
        return "the platform's database or file store does not answer"
    if isinstance(error, OSError) and not isinstance(error, HopeError):
        return f"the worker's machine refused: {error.strerror or 'input/output error'}"
    if isinstance(error, HopeError):
        return str(error)
    return type(error).__name__
