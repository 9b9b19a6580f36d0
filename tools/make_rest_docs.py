"""Writes docs/reference/rest.md from the OpenAPI description that the gateway serves: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

REST_PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "rest.md"

HEAD = """# REST

<!-- Written by `make docs` from the gateway's OpenAPI description. Change the routes' docstrings, not this page. -->

A running gateway describes itself at `/openapi.json`; this page lists the same calls. Errors are
`application/problem+json` ([errors](errors.md)). A session's token goes into `Authorization: Bearer`; the page uses a
cookie.
"""

METHODS = ("get", "post", "put", "patch", "delete")


def render(description: dict[str, Any]) -> str:
    """The page: one section a path, one table row an answer."""
    parts = [HEAD]
    for path, item in sorted(description["paths"].items()):
        for method in (m for m in METHODS if m in item):
            call = item[method]
            parts.append(f"\n## {method.upper()} {path}\n")
            text = " ".join((call.get("description") or call.get("summary") or "").split())
            parts.append(f"{text}\n" if text else "")
            if names := _parameters(call):
                parts.append(f"{names}\n")
            rows = [
                f"| {status} | {_cell(response['description'])} |" for status, response in call["responses"].items()
            ]
            parts.append("\n".join(["| answer | what |", "|---|---|", *rows]) + "\n")
    return "\n".join(part for part in parts if part)


def _parameters(call: dict[str, Any]) -> str:
    known = [f"`{p['name']}` ({p['in']})" for p in call.get("parameters", []) if p["in"] != "path"]
    return f"Parameters: {', '.join(known)}." if known else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    from make_contract import openapi  # the script beside this one

    REST_PAGE.write_text(render(openapi()), encoding="utf-8")
    sys.stdout.write(f"wrote {REST_PAGE.name}\n")
