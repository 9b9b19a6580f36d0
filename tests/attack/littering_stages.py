"""Short stages that leave temporary files to the side, as libraries and programs do that are killed in the middle."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hope.domain.progress import Progress
from hope.testing import short_stages

LITTER = b"VOXELS-IN-A-TEMPORARY-FILE"


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Litter, then do what `short_stages` does."""
    with tempfile.NamedTemporaryFile(suffix=".nii", delete=False) as file:
        file.write(LITTER)
    made = subprocess.run(["mktemp", "--suffix=.nii"], capture_output=True, text=True, check=True)
    Path(made.stdout.strip()).write_bytes(LITTER)
    return short_stages.run(job, progress)
