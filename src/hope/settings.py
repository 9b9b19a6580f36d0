"""Settings from the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from hope.domain.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """What the environment chose.

    Attributes:
        data_dir: the platform's own data.
        models_dir: bundles that the user added.
        device: auto, cpu or cuda.
    """

    data_dir: Path
    models_dir: Path
    device: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read HOPE_DATA_DIR, HOPE_MODELS_DIR and HOPE_DEVICE.

        Raises:
            InputError: for a device that does not exist.
        """
        given = os.environ if environment is None else environment
        data_dir = Path(given.get("HOPE_DATA_DIR") or user_data_path("hope", appauthor=False))
        device = given.get("HOPE_DEVICE") or "auto"
        if device not in DEVICES:
            raise InputError("HOPE_DEVICE is not usable", expected=f"one of {', '.join(DEVICES)}", got=device)
        return cls(data_dir, Path(given.get("HOPE_MODELS_DIR") or data_dir / "models"), device)

    def to_json(self) -> dict[str, str]:
        """Names as in the environment, for `hope doctor`."""
        return {
            "HOPE_DATA_DIR": str(self.data_dir),
            "HOPE_MODELS_DIR": str(self.models_dir),
            "HOPE_DEVICE": self.device,
        }
