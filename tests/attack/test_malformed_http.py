"""The campaign of malformed calls, short; `make attack` runs the long form."""

from __future__ import annotations

import os
import random

import malformed_http
from tests.attack.conftest import LONG

from hope.testing.fleet import Fleet

TRIES = 10_000 if LONG else 120
SEED = int(os.environ.get("HOPE_ATTACK_SEED", "7"))
MOST_MIB = 64.0


def test_malformed_calls_break_nothing_and_leave_nothing(platform: Fleet) -> None:
    outcome = malformed_http.run(platform, TRIES, SEED)
    assert outcome.alive, platform.logs()
    for name, kind in outcome.kinds.items():
        assert kind.failures == 0 and kind.statuses["late"] == 0, (name, kind.statuses, platform.logs())
        refused = sum(count for status, count in kind.statuses.items() if status.startswith("4"))
        assert refused > kind.tries / 3, (name, kind.statuses)
    assert outcome.files_left == []
    assert outcome.grown_mib < MOST_MIB
    assert outcome.log_kib < 256


def test_the_same_seed_makes_the_same_calls() -> None:
    def calls(seed: int) -> list[bytes]:
        choose = random.Random(seed)
        return [maker(choose, "token", "case") for maker in malformed_http.MAKERS.values() for _ in range(40)]

    assert calls(3) == calls(3) != calls(4)
