"""Exit statuses of ``hope``, one table for all commands."""

from __future__ import annotations

OUR_FAULT = 1
INPUT_WRONG = 2
SOME_FAILED = 3
