"""Writes docs/reference/settings.md from the settings' own docstrings and defaults: `make docs`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from hope.domain.limits import ReadingLimits
from hope.settings import (
    DicomSettings,
    EndpointSettings,
    FederatedSettings,
    PlatformSettings,
    SageMakerSettings,
    Settings,
)

SETTINGS_PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"

HEAD = """# Settings

<!-- Written by `make docs` from src/hope/settings.py. Change the docstrings there, not this page. -->

HOPE is set by environment variables alone, read once when a command starts; an empty one counts as not given.
`hope doctor` prints what is in force, with secrets masked.

| variable | default | what |
|---|---|---|
"""

TAIL = """
Credentials of the blob store are not HOPE's own: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_DEFAULT_REGION`, or
a role of the machine, as AWS's tools read them.
"""

# Defaults that are made from the environment and not written in the class.
COMPUTED = {
    "data_dir": "the user's data folder of this system",
    "models_dir": "`models` in the data folder",
    "device": "`auto`",
    "database_url": "`hope.sqlite` in the data folder",
    "blobs_url": "`blobs` in the data folder",
    "spool_dir": "`spool` in the data folder",
}

ENTRY = re.compile(r"^(\w+(?:, \w+)*): ")


def described(cls: type) -> dict[str, str]:
    """Give what the ``Attributes`` section of a class's docstring says of each field; a line may describe several."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:")[2]
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in (line.strip() for line in section.splitlines() if line.strip()):
        entry = ENTRY.match(line)
        if entry:
            names = entry[1].split(", ")
        for name in names:
            texts[name] = (
                f"{texts[name]} {line}" if name in texts and not entry else line[entry.end() if entry else 0 :]
            )
    return texts


def default_of(name: str, value: object) -> str:
    """Word a default for the table."""
    if name in COMPUTED:
        return COMPUTED[name]
    if value is MISSING:
        raise LookupError(f"the default of {name} is not written in the class: add it to COMPUTED")
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{text}`" if text else "none"


KINDS = (
    (Settings, "HOPE_"),
    (SageMakerSettings, "HOPE_SAGEMAKER_"),
    (EndpointSettings, "HOPE_ENDPOINT_"),
    (FederatedSettings, "HOPE_FEDERATED_"),
    (PlatformSettings, "HOPE_"),
    (ReadingLimits, "HOPE_READING_"),
    (DicomSettings, "HOPE_"),
)


def rows() -> Iterator[tuple[str, str, str]]:
    """Yield variable, default and meaning of every setting, in the classes' own order."""
    for cls, prefix in KINDS:
        texts = described(cls)
        for entry in fields(cls):
            nested = ("platform", "sagemaker", "endpoint", "reading", "dicom", "federated")
            if cls is not Settings or entry.name not in nested:
                yield f"{prefix}{entry.name.upper()}", default_of(entry.name, entry.default), texts[entry.name]


def render() -> str:
    """Give the page's Markdown text."""
    table = "".join(
        f"| `{name}` | {default} | {text.replace('``', '`').rstrip('.')} |\n" for name, default, text in rows()
    )
    return HEAD + table + TAIL


def main() -> None:
    """Write the page."""
    SETTINGS_PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {SETTINGS_PAGE.name}\n")


if __name__ == "__main__":
    main()
