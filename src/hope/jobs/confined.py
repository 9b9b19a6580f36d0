"""What a child that reads foreign bytes may take: set for one job, and lifted after it."""

from __future__ import annotations

import errno
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hope.domain.limits import MIB, ReadingLimits
from hope.formats.budget import Budget, reading_within, too_much_memory


@contextmanager
def confined(job: Mapping[str, Any]) -> Iterator[None]:
    """Hold the block to the limits that a job states; to none if it states none.

    Args:
        job: may have ``limits`` (fields of `ReadingLimits`), ``upload_bytes``, and ``called``: how a message names what
            is read, and what can be done.

    Raises:
        InputError: if the block needs more memory than it may have.
    """
    if "limits" not in job:
        yield
        return
    limits = ReadingLimits(**dict(job["limits"]))
    size = job.get("upload_bytes")
    most = {resource.RLIMIT_FSIZE: limits.written_mb * MIB, resource.RLIMIT_CORE: 0}
    if used := _address_space():
        most[resource.RLIMIT_AS] = used + limits.memory_mb * MIB
    before = {kind: resource.getrlimit(kind) for kind in most}
    try:
        for kind, value in most.items():
            hard = before[kind][1]
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        with reading_within(Budget(limits, None if size is None else int(size))):
            yield
    except MemoryError as error:
        raise too_much_memory(limits, *job.get("called", ())) from error
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise too_much_memory(limits, *job.get("called", ())) from error
    finally:
        for kind, old in before.items():
            resource.setrlimit(kind, old)


def _address_space() -> int:
    """What this process has mapped now; 0 where the system does not say, and cannot limit it well."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
