"""What machine a figure was measured on. Importing this pauses a background training run until the process ends."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def machine() -> str:
    """Processor, cores and memory in words."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {pages:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def _pause_background_training() -> None:
    """Every figure is measured without a training run beside it; see tools/background_training.sh."""
    script = Path(__file__).resolve().parents[1] / "tools" / "background_training.sh"
    subprocess.run([str(script), "pause", str(os.getpid())], check=True)


_pause_background_training()
