"""Ids, capabilities, and the hashes that may outlive them."""

from __future__ import annotations

import hashlib
import secrets


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
