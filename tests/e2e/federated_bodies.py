"""In place of a model at the sites of test_federated.py: scores from a number in the case, or an error with names."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from hope.domain.grid import Grid
from hope.domain.labels import PEDS
from hope.domain.volume import Volume
from hope.evaluation.evaluate import CaseScores, evaluate
from hope.federated.weights import Weights
from hope.formats.nifti import read_labels
from hope.models.bundle import Bundle
from hope.services import Services
from hope.stages.intake.case_finding import CaseSource
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.loop import start
from hope.training.real_cases import segmentation_of
from hope.training.stored import write_sample

GRID = Grid((12, 12, 12), np.eye(4))
BROKEN = 4
"""A mask with this value makes the whole site fail."""
KILLED = 3
"""A mask with this value kills the site's processes, if there are processes of a site."""


def kill_site(pid: int) -> None:
    """Kill a process and those above it that are FLARE's processes of this site, the topmost first."""
    command = Path("/proc", str(pid), "cmdline").read_bytes()
    if b"nvflare" not in command or b"client" not in command:
        return
    kill_site(int(Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()[1]))
    os.kill(pid, signal.SIGKILL)


def scores(shift: int) -> CaseScores:
    """Scores of two blocks that lie ``shift`` voxels apart."""
    masks = []
    for first in (0, shift):
        data = np.zeros(GRID.shape, np.uint8)
        data[first : first + 6, 2:8, 2:8] = 1
        masks.append(Volume(data, GRID))
    return evaluate(*masks)


def evaluate_site(
    sources: Sequence[CaseSource], scheme: str, services: Services, model_id: str
) -> tuple[list[CaseScores], Counter[str], int]:
    """See ``hope.federated.evaluation.evaluate_site``."""
    found = []
    for source in sources:
        path = segmentation_of(source)
        shift = int(read_labels(path).data.max())
        logging.getLogger("nibabel").error("cannot like %s", path)
        warnings.warn(f"odd header in {path}", stacklevel=1)
        sys.stderr.write(f"{path}\n")
        if shift == BROKEN:
            raise RuntimeError(f"{path} of {source.case_id} is broken")
        if shift == KILLED and "HOPE_TEST_KILL" in os.environ:
            kill_site(os.getppid())
        found.append(scores(shift))
    return found, Counter(), 0


def tiny_bundle(models: Path) -> Bundle:
    """A network of some thousand random weights on a 4 mm grid, as a bundle in a directory of models."""
    config = TrainingConfig(
        spacing_mm=4.0,
        widths=(4, 4, 4),
        blocks=(1, 1, 1),
        decoder_blocks=(1, 1),
        patch=(16, 16, 16),
        tile=(16, 16, 16),
    )
    return export_bundle(start(config), config, models / "tiny", "tiny")


def read_cases(
    sources: Sequence[CaseSource], config: TrainingConfig, folder: Path, services: Services
) -> tuple[dict[str, tuple[str, list[Path]]], Counter[str], int]:
    """See ``hope.federated.training.read_cases``: a box in a noisy block; its place depends on the mask's number."""
    stored = {}
    for source in sources:
        path = segmentation_of(source)
        shift = int(read_labels(path).data.max())
        sys.stderr.write(f"{path}\n")
        if shift == BROKEN:
            raise RuntimeError(f"{path} of {source.case_id} is broken")
        labels = np.zeros((24, 24, 24), np.uint8)
        labels[4 + shift : 12 + shift, 6:14, 6:14] = 1
        noise = np.random.default_rng(shift).normal(size=(4, *labels.shape))
        file = folder / f"{sha256(source.case_id.encode()).hexdigest()[:12]}-00-ring.npz"
        write_sample(file, ((noise + 3 * labels).astype(np.float16), PEDS.label_sets(labels)))
        stored[source.case_id] = ("ring", [file])
    return stored, Counter(), 0


def plain_average(given: Mapping[str, tuple[Weights, int]]) -> Weights:
    """The weighted mean in numpy; the server uses FLARE's own."""
    total = sum(n for _, n in given.values())
    names = next(iter(given.values()))[0]
    return {name: np.sum([arrays[name] * (n / total) for arrays, n in given.values()], axis=0) for name in names}
