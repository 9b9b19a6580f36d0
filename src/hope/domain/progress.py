"""How long work says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called as ``progress("preprocess: register t2w", 0.4)``: what is being done, and the share done from 0 to 1."""


def silent(message: str, share: float) -> None:
    """A listener that does nothing."""
