"""Whether the engine is of the version whose private functions are known here."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Final

TESTED: Final = "3.4.0"
"""constraints.txt pins it; a plain install may have a later one."""

log = logging.getLogger(__name__)


def is_tested() -> bool:
    """Whether functions that are private to the engine may be replaced; in another version they may do other work."""
    found = version("dbos")
    if found != TESTED:
        log.info("dbos %s is not %s, so it polls and keeps all threads: an idle process costs more", found, TESTED)
    return found == TESTED
