"""Writes what is derived from `hope.contract` and the REST interface: `make docs`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORT_SCHEMA = ROOT / "docs" / "reference" / "case-report.schema.json"


def report_schema() -> str:
    """The JSON Schema of result.json as text."""
    from hope.contract.report import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files."""
    REPORT_SCHEMA.write_text(report_schema(), encoding="utf-8")
    sys.stdout.write(f"wrote {REPORT_SCHEMA.name}\n")


if __name__ == "__main__":
    main()
