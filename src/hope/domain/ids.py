"""Ids, capabilities, and the hashes that may outlive them."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from hope.domain.errors import InputError

_CASE_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")


def new_id() -> str:
    """128 random bits as 26 lower-case letters and digits."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    number = secrets.randbits(128)
    return "".join(alphabet[(number >> (5 * place)) & 31] for place in range(26))


def new_token() -> str:
    """256 random bits for a capability: whoever knows it, may."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def reference_of(identifier: str) -> str:
    """What audit log and tombstones keep of an id: 32 hex digits that lead back to nothing."""
    return hashlib.sha256(f"hope-reference:{identifier}".encode()).hexdigest()[:32]


def check_case_name(name: str) -> None:
    """Refuse a case's name that is none of intake's: files are named after it.

    Raises:
        InputError: if it holds anything but letters, digits, points, hyphens and underscores, begins with one of the
            latter three, ends with a point, or has more than 100 characters.
    """
    if not _CASE_NAME.fullmatch(name):
        raise InputError(
            "case_id in result.json is no name of a case",
            expected="at most 100 letters, digits, points, hyphens and underscores, a letter or digit first",
            fix="give an unchanged result of hope segment",
        )
