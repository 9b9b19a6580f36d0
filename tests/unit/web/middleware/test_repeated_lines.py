"""Log lines that repeat are counted."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from hope.web.middleware.logs import JsonLines
from hope.web.middleware.repeated_lines import BURST, MOST_KINDS, WINDOW_SECONDS, CountingHandler


class Clock:
    """Seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A logger with the handler, and what it wrote."""

    def __init__(self) -> None:
        self.clock, self.stream = Clock(), io.StringIO()
        self.handler = CountingHandler(self.stream, self.clock)
        self.handler.setFormatter(JsonLines())
        self.logger = logging.Logger("test", logging.DEBUG)
        self.logger.addHandler(self.handler)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Log:
    return Log()


def test_lines_that_differ_in_numbers_only_are_counted(log: Log) -> None:
    for number in range(1000):
        log.logger.warning("the socket %d at 0x%x is not usable", number, 17 * number)
    assert len(log.lines()) == BURST
    log.clock.now += WINDOW_SECONDS
    log.logger.warning("something else")
    *_, counted, other = log.lines()
    assert counted["repeated"] == 1000 - BURST and counted["event"].startswith("the socket")
    assert other["event"] == "something else" and "repeated" not in other


def test_a_new_window_writes_again(log: Log) -> None:
    for _ in range(3):
        for _ in range(BURST + 5):
            log.logger.error("no answer")
        log.clock.now += WINDOW_SECONDS
    log.handler.close()
    lines = log.lines()
    assert [line.get("repeated", 0) for line in lines] == 3 * [*[0] * BURST, 5]


def test_different_lines_are_all_written(log: Log) -> None:
    for name in ("a", "b", "c"):
        for _ in range(BURST):
            log.logger.warning("line %s", name)
            log.logger.error("line %s", name)
            log.logger.info("request", extra={"status": 404, "route": name, "method": "GET"})
    assert len(log.lines()) == 3 * 3 * BURST


def test_answered_calls_are_always_written_and_refused_ones_counted(log: Log) -> None:
    for status in (200, 429):
        for _ in range(100):
            log.logger.info("request", extra={"status": status, "route": "/api/cases", "method": "GET"})
    log.handler.close()
    lines = log.lines()
    assert sum(line["status"] == 200 for line in lines) == 100
    refused = [line for line in lines if line["status"] == 429]
    assert len(refused) == BURST + 1 and refused[-1]["repeated"] == 100 - BURST


def test_exceptions_are_told_apart_by_type(log: Log) -> None:
    for error in (OSError("a"), OSError("b"), ValueError("a")):
        for _ in range(BURST):
            try:
                raise error
            except Exception:
                log.logger.exception("it failed")
    assert [line["error"] for line in log.lines()].count("OSError") == BURST
    assert [line["error"] for line in log.lines()].count("ValueError") == BURST


def test_memory_is_bounded_and_nothing_is_lost_from_the_count(log: Log) -> None:
    for letter in range(MOST_KINDS + 50):
        name = "".join(chr(97 + int(digit)) for digit in str(letter))
        for _ in range(BURST + 1):
            log.logger.warning("line %s", name)
    assert sum(line.get("repeated", 0) for line in log.lines()) == 50
    log.handler.close()
    assert sum(line.get("repeated", 0) for line in log.lines()) == MOST_KINDS + 50
