"""API tokens: sign-in for programs. A file holds names and hashes; the tokens themselves are kept nowhere."""

from __future__ import annotations

import hmac
import logging
import os
import re
import stat
import threading
from pathlib import Path

from hope.domain.errors import InputError
from hope.domain.ids import new_token, token_hash

PREFIX = "hope_"
"""Tells an API token from a session's token."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_REFUSED = ((stat.S_IRWXO, "open to every user of this machine"), (stat.S_IWGRP, "writable for its whole group"))

log = logging.getLogger(__name__)


def new_api_token(name: str) -> tuple[str, str]:
    """A fresh token and the line for the tokens file.

    Raises:
        InputError: for a name that could not stand in the file.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "the token's name is not usable", expected="1 to 64 letters, digits, dots, dashes or underscores", got=name
        )
    token = PREFIX + new_token()
    return token, f"{name} {token_hash(token)}"


def append_line(path: Path, line: str) -> None:
    """Append a line to the tokens file; a new file is readable by its owner only.

    Raises:
        InputError: if everybody may read, or others than its owner write, the file that is there.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as file:
        _check_mode(os.fstat(file.fileno()).st_mode)
        text = file.read()
        file.write(("\n" if text and not text.endswith("\n") else "") + line + "\n")


def read_tokens(path: Path, *, may_be_empty: bool = False) -> tuple[tuple[str, str], ...]:
    """Names and hashes in a tokens file.

    Args:
        path: the file.
        may_be_empty: there is another way to sign in; a file without a token, or none at all, then means no tokens.

    Raises:
        InputError: if it cannot be read, is open to everybody or writable for its group, holds no token, or a line is
            not ``NAME SHA256``.
    """
    try:
        _check_mode(path.stat().st_mode)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        if may_be_empty and isinstance(error, FileNotFoundError):
            return ()
        raise _unreadable(path, error) from None
    tokens = tuple(_entry(line, number) for number, line in enumerate(lines, 1) if line.split("#")[0].strip())
    if not tokens and not may_be_empty:
        raise InputError(
            "the API tokens file holds no token",
            expected="at least one line `NAME SHA256-OF-TOKEN`, or sign-in by OpenID Connect (HOPE_OIDC_ISSUER)",
            fix="add one with `hope token NAME --file FILE`",
        )
    return tokens


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InputError:
    """What to say of a file that cannot be read: for one of another user, whose it is and its mode."""
    reason = getattr(error, "strerror", None) or "not text in UTF-8"
    fix = "make one with `hope token NAME --file FILE`"
    if isinstance(error, PermissionError) and os.name == "posix":
        user = os.geteuid()
        try:
            facts = path.stat()
        except OSError:
            reason += f"; the server runs as user {user} and may not look into the file's directory"
            fix = f"let user {user} pass the directory (chmod +x), or put the file elsewhere"
        else:
            reason += (
                f"; it is owned by user {facts.st_uid}, group {facts.st_gid}, mode {stat.S_IMODE(facts.st_mode):04o}"
            )
            reason += f"; the server runs as user {user}"
            fix = f"chown {user} it and chmod 600 it, or let a group of the server read it (chmod 640)"
    return InputError(
        "the API tokens file cannot be read",
        expected="a text file that the server's user may read, named by HOPE_API_TOKENS_FILE",
        got=reason,
        fix=fix,
    )


def _entry(line: str, number: int) -> tuple[str, str]:
    words = line.split("#")[0].split()
    if len(words) == 2 and _NAME.fullmatch(words[0]) and _HASH.fullmatch(words[1].lower()):
        return words[0], words[1].lower()
    # The line is not shown: somebody may have written the token itself into it.
    raise InputError(
        f"line {number} of the API tokens file is not usable",
        expected="`NAME SHA256-OF-TOKEN`, the hash as 64 hex digits",
        fix="make the line with `hope token NAME`",
    )


def _check_mode(mode: int) -> None:
    for bits, what in _REFUSED:
        if os.name == "posix" and mode & bits:
            raise InputError(
                f"the API tokens file is {what}",
                expected="a file that its owner alone may write, and at most its group read",
                got=f"mode {stat.S_IMODE(mode):04o}",
                fix="chmod 600 it (in Kubernetes: defaultMode 0440 with fsGroup)",
            )


class ApiTokens:
    """Knows the tokens of a file, and reads it again when it changes.

    A file that becomes unreadable or wrong while the server runs lets nobody in until it is mended.

    Args:
        path: the tokens file.
        may_be_empty: people sign in otherwise, so that a file without tokens is no fault.
    """

    def __init__(self, path: Path, *, may_be_empty: bool = False) -> None:
        self._path, self._may_be_empty = path, may_be_empty
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._tokens: tuple[tuple[str, str], ...] = ()

    def name_of(self, token: str) -> str | None:
        """The name under which a token stands in the file; None if it does not.

        Every entry is compared, in constant time each, so that the answer's time tells nothing.
        """
        presented, found = token_hash(token), None
        for name, known in self._current():
            if hmac.compare_digest(presented, known):
                found = name
        return found if token.startswith(PREFIX) else None

    def __bool__(self) -> bool:
        """Whether the file holds any token now."""
        return bool(self._current())

    def _current(self) -> tuple[tuple[str, str], ...]:
        with self._lock:
            try:
                facts = self._path.stat()
                stamp: tuple[int, ...] = (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino)
            except OSError:
                stamp = ()
            if stamp != self._stamp:
                try:
                    self._tokens = read_tokens(self._path, may_be_empty=self._may_be_empty)
                except InputError as error:
                    log.error("no API token is accepted: %s", error)
                    self._tokens = ()
                self._stamp = stamp
            return self._tokens
