"""What the operating system says when it refuses to read, in one sentence without a path."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from hope.domain.errors import InputError

_FIXES = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENAMETOOLONG: "check the path",
    errno.ENOENT: "check the path",
}


def input_error(what: str, error: OSError) -> InputError:
    """Word the one sentence for an operating system error while reading ``what``, which names a role and no path."""
    got = error.strerror or "an input/output error"
    return InputError(f"{what} cannot be read", got=got, fix=_FIXES.get(error.errno or 0, "check the disk"))


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Let nothing but reading happen in the block.

    Raises:
        InputError: if the operating system refuses (no permission, a path that is too long, a failing disk).
    """
    try:
        yield
    except OSError as error:
        raise input_error(what, error) from error
