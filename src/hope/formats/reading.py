"""What the operating system says when it refuses to read, in one sentence without a path."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hope.domain.errors import InputError

_FIXES = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENAMETOOLONG: "check the path",
    errno.ENOENT: "check the path",
}


NOT_FETCHED = "links to content that was not fetched (DataLad, git-annex or Git LFS)"

_POINTER_BYTES = 1024
_POINTERS = (b"/annex/objects/", b"version https://git-lfs.github.com/")


def missing_content(path: Path) -> str:
    """`NOT_FETCHED` if a path is a link to nothing or a pointer file of git-annex or Git LFS, else an empty string."""
    if path.is_symlink() and not path.exists():
        return NOT_FETCHED
    try:
        if path.is_file() and path.stat().st_size <= _POINTER_BYTES:
            with path.open("rb") as file:
                return NOT_FETCHED if file.read(64).startswith(_POINTERS) else ""
    except OSError:
        return ""  # whoever reads the file says what the operating system says
    return ""


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
