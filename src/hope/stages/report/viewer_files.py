"""What the web page needs beside the command line's files: views, meshes, uncertainty, brain, uncleaned mask, table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.result import CaseResult
from hope.domain.case import SEQUENCES, HarmonizedCase, MRSequence, UploadedCase
from hope.domain.labels import PEDS
from hope.domain.progress import Progress
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output
from hope.formats.nifti import write_labels
from hope.stages.preprocess.preprocess import to_native
from hope.stages.report.meshes import label_mesh, write_mz3
from hope.stages.report.native_views import between_scans, brain_view, native_view, write_view
from hope.stages.report.quick_look import write_quick_look
from hope.stages.report.volumes_table import volumes_csv

_UNCERTAINTY_STEPS = 128
"""Uncertainty is shown in so many steps: what is finer cannot be seen, and what is below half a step is 0."""

_THREADS = 4
"""Views and meshes are made side by side: interpolation and compression leave the interpreter free."""


@dataclass(frozen=True)
class ViewerCase:
    """What the files show.

    Attributes:
        uploaded: the scans on their own grids.
        harmonized: the aligned images, before and after harmonisation.
        labels: the model's labels on the atlas grid, before cleaning.
        uncertainty: how little those labels are supported, on the atlas grid, float32 0 to 1, and what the values mean.
    """

    uploaded: UploadedCase
    harmonized: HarmonizedCase
    labels: Volume
    uncertainty: tuple[Volume, str]


def write_viewer_files(
    folder: Path, case: ViewerCase, result: CaseResult, scale: tuple[float, float], progress: Progress
) -> list[OutputFile]:
    """Write all of them beside the delivered result.

    Args:
        folder: where the result lies.
        case: what led to the result.
        result: labels and volumes.
        scale: slope and intercept of the file of the reference scan.
        progress: called for each file.

    Returns:
        What was written.

    Raises:
        OutputError: if a file cannot be written.
    """
    writer = _Writer(folder, case, result, scale)
    work = writer.jobs()
    written: list[OutputFile] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, found in enumerate(pool.map(lambda job: job(), work)):
            progress("report: files for the viewer", (number + 1) / len(work))
            written += found
    return sorted(written, key=lambda output: output.name(result.case_id))


class _Writer:
    def __init__(self, folder: Path, case: ViewerCase, result: CaseResult, scale: tuple[float, float]) -> None:
        self._folder, self._case, self._result, self._scale = folder, case, result, scale
        self._aligned = case.harmonized.aligned

    def jobs(self) -> list[Callable[[], list[OutputFile]]]:
        """What can be done in any order, the longest first."""
        views = [lambda s=s: self._view(s) for s in SEQUENCES if s in self._case.uploaded.scans]
        meshes = [lambda label=label: self._mesh(label.value, label.key) for label in PEDS.labels]
        others = [self._uncertainty, self._model_mask, *meshes, self._table, self._quick_look]
        brain = to_native(self._aligned.brain_mask, self._aligned)
        return [*views, *self._harmonized_views(brain), partial(self._brain_view, brain), *others]

    def _path(self, output: OutputFile) -> Path:
        return self._folder / output.name(self._result.case_id)

    def _view(self, sequence: MRSequence) -> list[OutputFile]:
        aligned = self._aligned
        is_reference = sequence is aligned.reference
        output = OutputFile.of(Role.VIEW, sequence=str(sequence))
        to_scan = between_scans(dict(aligned.atlas_to_native), aligned.reference, sequence)
        view = native_view(self._case.uploaded.scans[sequence], aligned.native_grid, to_scan)
        write_view(view, self._path(output), scale=self._scale if is_reference else (1.0, 0.0), exact=is_reference)
        return [output]

    def _harmonized_views(self, brain: Volume) -> list[Callable[[], list[OutputFile]]]:
        """One for each image that harmonisation changed: what was passed on is the aligned case's own object."""
        images, aligned = self._case.harmonized.images, self._aligned
        changed = {s: image for s, image in images.items() if image is not aligned.images[s]}
        return [partial(self._harmonized_view, s, image, brain) for s, image in changed.items()]

    def _harmonized_view(self, sequence: MRSequence, image: Volume, brain: Volume) -> list[OutputFile]:
        output = OutputFile.of(Role.HARMONIZED_VIEW, sequence=str(sequence))
        to_atlas = self._aligned.atlas_to_native[self._aligned.reference].inverse()
        write_view(brain_view(image, brain, to_atlas), self._path(output), exact=False)
        return [output]

    def _brain_view(self, brain: Volume) -> list[OutputFile]:
        """The brain as the run found it, so that the page can keep a brush inside it."""
        output = OutputFile.of(Role.BRAIN_VIEW)
        write_labels(brain, self._path(output))
        return [output]

    def _uncertainty(self) -> list[OutputFile]:
        values, meaning = self._case.uncertainty
        output = OutputFile.of(Role.UNCERTAINTY_VIEW, detail=meaning)
        to_atlas = self._aligned.atlas_to_native[self._aligned.reference].inverse()
        view = native_view(values, self._aligned.native_grid, to_atlas)
        stepped = view.with_data(np.rint(view.data * _UNCERTAINTY_STEPS) / np.float32(_UNCERTAINTY_STEPS))
        write_view(stepped, self._path(output), scale=(1 / _UNCERTAINTY_STEPS, 0.0), exact=True)
        return [output]

    def _model_mask(self) -> list[OutputFile]:
        """The mask before cleaning, which most often is the mask after it."""
        output = OutputFile.of(Role.MODEL_SEGMENTATION)
        labels = self._case.labels
        if np.array_equal(labels.data, self._result.atlas_labels.data):
            shutil.copyfile(self._path(OutputFile(Role.SEGMENTATION, space=Space.NATIVE)), self._path(output))
        else:
            write_labels(to_native(labels, self._aligned), self._path(output))
        return [output]

    def _mesh(self, value: int, key: str) -> list[OutputFile]:
        """Drawn from the atlas mask, whose voxels are cubes, and placed on the scan."""
        if not (self._result.native_labels.data == value).any():
            return []
        to_native_world: Transform = self._aligned.atlas_to_native[self._aligned.reference]
        mesh = label_mesh(self._result.atlas_labels, value, to_native_world)
        if mesh is None:
            return []
        output = OutputFile.of(Role.MESH, label=key)
        write_mz3(mesh, self._path(output))
        return [output]

    def _quick_look(self) -> list[OutputFile]:
        output = OutputFile.of(Role.QUICK_LOOK)
        write_quick_look(self._path(OutputFile.of(Role.PICTURE)), self._path(output))
        return [output]

    def _table(self) -> list[OutputFile]:
        output = OutputFile.of(Role.VOLUMES)
        with atomic_output(self._path(output)) as stream:
            stream.write(volumes_csv(self._result.volumes_ml))
        return [output]
