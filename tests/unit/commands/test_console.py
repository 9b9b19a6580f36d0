from __future__ import annotations

import io

from hope.commands.console import CLEAR_LINE, ConsoleProgress
from hope.domain.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_one_line_per_message() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = ConsoleProgress(stream, clock=clock)
    for step in range(1000):
        clock.now = step / 10
        progress("preprocess: register t2w" if step < 700 else "segment", step / 1000)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert [line[14:] for line in lines] == ["preprocess: register t2w", "segment"]
    assert lines[0].startswith("  0%") and lines[1].startswith(" 70%")
    assert "\r" not in stream.getvalue()


def test_counting_up_does_not_flood_a_log() -> None:
    stream = io.StringIO()
    progress = ConsoleProgress(stream)
    for case in (1, 2):
        progress.prefix = f"case {case} of 2: "
        for tile in range(1, 100):
            progress(f"segment: tile {tile} of 99", tile / 99)
    lines = stream.getvalue().splitlines()
    assert [line[14:] for line in lines] == [f"case {case} of 2: segment: tile 1 of 99" for case in (1, 2)]


def test_a_terminal_gets_one_live_line_that_goes_away() -> None:
    stream, clock = Terminal(), Clock()
    with ConsoleProgress(stream, prefix="case 1 of 2: ", clock=clock) as progress:
        progress("intake", 0.0)
        clock.now = 125.0
        progress("segment", 0.5)
    written = stream.getvalue()
    assert "\n" not in written
    assert "case 1 of 2: segment" in written and " 50%" in written and "2:05 min" in written
    assert "############............" in written
    assert written.endswith(CLEAR_LINE)


def test_a_terminal_is_not_flooded() -> None:
    stream, clock = Terminal(), Clock()
    progress = ConsoleProgress(stream, clock=clock)
    for step in range(1000):
        clock.now = step / 1000
        progress("segment", step / 1000)
    assert stream.getvalue().count(CLEAR_LINE) <= 12


def test_a_live_line_never_wraps(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "50")
    stream = Terminal()
    ConsoleProgress(stream)("a message that is much longer than the terminal is wide" * 3, 0.1)
    assert len(stream.getvalue().removeprefix(CLEAR_LINE)) < 50


def test_a_lasting_line_follows_an_erased_live_line() -> None:
    stream = Terminal()
    progress = ConsoleProgress(stream)
    progress("segment", 0.5)
    progress.line("case-1: done")
    assert stream.getvalue().endswith(CLEAR_LINE + "case-1: done\n")


def test_shares_outside_0_to_1_are_bounded() -> None:
    stream = io.StringIO()
    progress = ConsoleProgress(stream)
    progress("before", -1.0)
    progress("after", 7.0)
    assert [line[:4] for line in stream.getvalue().splitlines()] == ["  0%", "100%"]


def test_it_is_a_progress() -> None:
    listener: Progress = ConsoleProgress(io.StringIO())
    listener("intake", 0.1)
