"""`hope.testing.short_periods`: every constant is known, and what was divided is used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hope
from hope.testing.short_periods import LIMITS, PERIODS

PLATFORM = ("adapters", "commands", "jobs", "web")
ELSEWHERE = re.compile(
    r"hope\.(adapters\.(sagemaker_result|predict_sagemaker|s3_bucket|postgres_connection)|commands\.console)"
)
"""Of models, stores and connections that are far away, and of the terminal."""

_CONSTANT = re.compile(r"^(_?[A-Z][A-Z_]*_SECONDS)(?:: Final)? = [0-9]", re.MULTILINE)


def test_every_period_is_divided_or_named_as_a_limit() -> None:
    root = Path(hope.__file__).parent
    found = set()
    for path in (path for folder in PLATFORM for path in (root / folder).rglob("*.py")):
        module = ".".join(("hope", *path.relative_to(root).with_suffix("").parts))
        if not ELSEWHERE.fullmatch(module):
            found |= {(module, name) for name in _CONSTANT.findall(path.read_text(encoding="utf-8"))}
    known = {(module, name) for table in (PERIODS, LIMITS) for module, names in table.items() for name in names}
    assert found == known


def test_what_is_divided_reaches_who_uses_it() -> None:
    script = (
        "import inspect\n"
        "from hope.testing.short_periods import shorten\n"
        "shorten(36)\n"
        "from hope.jobs import maintenance, processes\n"
        "from hope.web import events\n"
        "from hope.adapters.cases_sql import database\n"
        "print(maintenance.LEAVE_SECONDS, maintenance.RENEWALS, maintenance.RECONCILE_SECONDS)\n"
        "print(inspect.signature(maintenance.MaintenanceLoop).parameters['pause'].default)\n"
        "print(inspect.signature(processes.StageProcesses).parameters['keep_seconds'].default)\n"
        "print(inspect.signature(events.EventHub).parameters['poll_seconds'].default)\n"
        "print(database.RECYCLE_SECONDS)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    leave, *others = done.stdout.split()
    assert float(leave) == 20 / 36
    assert others == ["180", "5.0", str(2 / 36), "25.0", "0.02", "50.0"]
