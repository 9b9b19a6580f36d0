"""Progress on a console: one live line on a terminal, plain lines in a log file."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

BAR_WIDTH: Final = 24
REDRAW_SECONDS: Final = 0.1
CLEAR_LINE: Final = "\r\x1b[K"
COUNT: Final = re.compile(r"\b\d+ of \d+\b")


class ConsoleProgress:
    """Tells a person how far long work is; an instance is a ``hope.domain.progress.Progress``.

    On a terminal one line is redrawn in place: percentage, bar, elapsed seconds, what is being done. Elsewhere a line
    is written whenever the message changes; counting up ("tile 3 of 8") is no change. Everything goes to stderr, so
    that results on stdout can be piped.

    Args:
        stream: where to write; stderr if not given.
        prefix: written before every message, such as ``"case 2 of 5: "``.
        clock: seconds that only grow; replaced in tests.
    """

    def __init__(
        self, stream: TextIO | None = None, prefix: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._clock = clock
        self._start = clock()
        self._drawn_at = float("-inf")
        self._message = ""
        self._logged = ""
        self._on_screen = False
        self.prefix = prefix

    def __call__(self, message: str, share: float) -> None:
        """Say what is being done and which share (0 to 1) of the whole is behind us."""
        share = min(max(share, 0.0), 1.0)
        before, self._message = self._message, self.prefix + message
        changed = self._message != before
        if not self._live:
            if self.prefix + COUNT.sub("", message) != self._logged:
                self._logged = self.prefix + COUNT.sub("", message)
                self._write(f"{share:4.0%} {self._elapsed()} {self._message}\n")
            return
        now = self._clock()
        if changed or share >= 1.0 or now - self._drawn_at >= REDRAW_SECONDS:
            self._drawn_at = now
            self._draw(share)

    def line(self, text: str) -> None:
        """Write one lasting line; a live line makes room for it."""
        self.finish()
        self._write(text + "\n")

    def finish(self) -> None:
        """Take the live line away, so that what is printed next starts on an empty line."""
        if self._on_screen:
            self._write(CLEAR_LINE)
            self._on_screen = False
        self._message = self._logged = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def _draw(self, share: float) -> None:
        """Redraw the live line, cut to the terminal's width so that it never wraps."""
        done = round(share * BAR_WIDTH)
        text = f"{share:4.0%} [{'#' * done}{'.' * (BAR_WIDTH - done)}] {self._elapsed()} {self._message}"
        self._write(CLEAR_LINE + text[: shutil.get_terminal_size().columns - 1])
        self._on_screen = True

    def _elapsed(self) -> str:
        """Time since the start: ``7 s``, or ``2:07 min`` from a minute on."""
        seconds = int(self._clock() - self._start)
        text = f"{seconds} s" if seconds < 60 else f"{seconds // 60}:{seconds % 60:02d} min"
        return f"{text:>8}"

    def _write(self, text: str) -> None:
        """Write and flush: a buffered progress line tells nobody anything."""
        self._stream.write(text)
        self._stream.flush()
