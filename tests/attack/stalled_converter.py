"""The gateway's real tasks, with a stand-in for dcm2niix that writes a part of its answer and then hangs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dcm2niix

from hope.domain.progress import Progress
from hope.jobs import tasks

LITTER = "VOXELS-OF-A-CONVERSION"

SCRIPT = f"""#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo {LITTER} > "$2/scan.nii"
echo {LITTER} > "$(mktemp)"
echo $$ > "$HOPE_TEST_CONVERTERS/$$.part"
mv "$HOPE_TEST_CONVERTERS/$$.part" "$HOPE_TEST_CONVERTERS/$$"
exec sleep 600
"""


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do a task; each converter leaves its process id as the name of a file in ``HOPE_TEST_CONVERTERS``."""
    script = Path(os.environ["HOPE_TEST_CONVERTERS"]).with_name("dcm2niix")
    if not script.exists():
        script.write_text(SCRIPT)
        script.chmod(0o700)
    dcm2niix.bin = str(script)
    return tasks.TASKS[str(job["do"])](job, progress)
