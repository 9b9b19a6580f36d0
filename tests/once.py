"""What several test files look at and none changes: made once for a run, whichever of pytest's workers comes first."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hope.synthesis.raw import RawCase


@dataclass(frozen=True)
class Once:
    """Folders below pytest's own temporary one, which all workers of a run share.

    Attributes:
        root: where they lie.
    """

    root: Path

    def folder(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder that ``make`` filled; it fills it now if nobody has done so, and others wait meanwhile."""
        place, half_made = self.root / name, self.root / f"{name}.half-made"
        with self._lock(name):
            if not place.exists():
                shutil.rmtree(half_made, ignore_errors=True)
                half_made.mkdir()
                make(half_made)
                half_made.rename(place)
        return place

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        self.root.mkdir(exist_ok=True)
        with (self.root / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, also by a death
            yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make folders that all workers look at."""
    own = tmp_path_factory.getbasetemp()
    return Once((own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "made-once")


@dataclass(frozen=True)
class SyntheticPatient:
    """A raw synthetic case, as a scanner would have made it: the head moved by up to 6 degrees and 8 mm between scans.

    Attributes:
        folder: what `hope synth` wrote; never changed.
        case: scans and truth, as they were before they were written.
    """

    folder: Path
    case: RawCase


@pytest.fixture(scope="session")
def synthetic_patient(once: Once) -> SyntheticPatient:
    """One such case; to draw it takes some twenty seconds."""
    folder = once.folder("synthetic-patient", _draw)
    with (folder / "case.pickle").open("rb") as file:
        return SyntheticPatient(folder / "synth-0001", pickle.load(file))  # noqa: S301 - our own


def _draw(folder: Path) -> None:
    from click.testing import CliRunner

    from hope.cli import main
    from hope.synthesis import raw

    drawn: list[RawCase] = []

    def kept(*arguments: object) -> RawCase:
        drawn.append(whole(*arguments))  # type: ignore[arg-type]
        return drawn[-1]

    whole = raw.raw_case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "raw_case", kept)
        words = ["synth", "1", "-o", str(folder), "--seed", "11", "--kind", "rim_enhancing", "--misaligned"]
        made = CliRunner().invoke(main, words)
    assert made.exit_code == 0, made.output
    (case,) = drawn
    with (folder / "case.pickle").open("wb") as file:
        pickle.dump(case, file)
