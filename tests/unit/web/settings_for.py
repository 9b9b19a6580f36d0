"""Settings for tests of the gateway's guards."""

from __future__ import annotations

from pathlib import Path

from hope.settings import Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - an address to be refused


def settings_for(data_dir: Path, **platform: object) -> Settings:
    """As the environment would give them: ``host="0.0.0.0"`` is HOPE_HOST and so on."""
    environment = {f"HOPE_{name.upper()}": str(value) for name, value in platform.items()}
    return Settings.from_environment({"HOPE_DATA_DIR": str(data_dir), **environment})
