"""The gateway's real tasks, which read what users send, beside short stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hope.domain.progress import Progress
from hope.jobs import tasks
from hope.testing import short_stages


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A task for real, a stage for show."""
    name = str(job["do"])
    return tasks.TASKS[name](job, progress) if name in ("dicom", "segmentation") else short_stages.run(job, progress)
