"""Where patches come from: synthetic cases made once on disk, and labelled cases of real patients."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

import numpy as np

from hope.domain.labels import CC, PEDS, label_set
from hope.formats.atomic import clear_partial_files
from hope.models.normalise import zscore_inside
from hope.synthesis.case import training_sample
from hope.synthesis.shapes import LesionShape
from hope.synthesis.variety import Variety
from hope.training.config import TrainingConfig
from hope.training.stored import NON_ENHANCING, RING, TUMOUR_FREE, Sample, read_sample, write_sample
from hope.training.transplant import transplant

_AHEAD = 12
"""Synthetic cases that are asked for before they are needed."""


def make_sample(seed: int, index: int, variety: Variety | None = None, lesion: LesionShape | None = None) -> Sample:
    """One synthetic case, normalised as at inference."""
    sample = training_sample(seed, index, variety=variety, lesion=lesion)
    mask = np.asarray((sample.images > 0).any(axis=0))
    return zscore_inside(sample.images, mask).astype(np.float16), PEDS.label_sets(sample.labels)


def _make_and_write(
    path: Path, seed: int, index: int, variety: Variety | None, shapes: Sequence[Path], share: float, spacing_mm: float
) -> None:
    """Make one case of a run's series on disk; a share of them has the shape of a real tumour."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, 78]))
    lesion = None
    if shapes and rng.random() < share:
        lesion = LesionShape(read_sample(shapes[int(rng.integers(len(shapes)))])[1], spacing_mm)
    write_sample(path, make_sample(seed, index, variety, lesion))


def _single_threaded() -> None:
    # One BLAS thread per worker: the training step wants the cores.
    os.nice(5)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


class CasePool:
    """Synthetic cases, made by worker processes ahead of need and kept on disk, and real cases that lie there already.

    Which cases a step sees depends on the step alone, never on timing, so a resumed run sees what an uninterrupted one
    would have seen. Memory holds one case at a time.

    Args:
        config: seed, window and rates.
        folder: where the synthetic cases are kept; runs with equal settings may share it.
        real: files of real cases per kind (``hope.training.stored``).
        workers: processes that make synthetic cases.
    """

    def __init__(
        self, config: TrainingConfig, folder: Path, real: Mapping[str, Sequence[Path]] | None = None, workers: int = 1
    ) -> None:
        self.config = config
        self.real = {kind: sorted(paths) for kind, paths in (real or {}).items() if paths}
        self._shapes = sorted(path for kind in (RING, NON_ENHANCING) for path in self.real.get(kind, ()))
        if config.shape_share <= 0:
            self._shapes = []
        self.folder = folder / self._name()
        self._coming: dict[int, Future[None]] = {}
        self._cysts: dict[int, bool] = {}
        self._executor = ProcessPoolExecutor(
            max_workers=workers, mp_context=get_context("spawn"), initializer=_single_threaded
        )

    def _name(self) -> str:
        """Of the folder of this series: cases of other settings lie elsewhere."""
        shapes = [path.name for path in self._shapes]
        facts = [self.config.seed, self.config.variety, self.config.shape_share if shapes else 0, shapes]
        return f"synthetic-{sha256(repr(facts).encode()).hexdigest()[:10]}"

    def __enter__(self) -> CasePool:
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_partial_files(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def span(self, step: int) -> tuple[int, int]:
        """First and one-past-last synthetic case that a step may draw from."""
        if self.real and self.config.synthetic_share <= 0:
            return 0, 0
        newest = self.config.first_cases + int(step * self.config.new_cases_per_step)
        newest = min(newest, self.config.most_cases)
        return max(0, newest - self.config.window), newest

    def draw(self, step: int, rng: np.random.Generator) -> Sample:
        """One case for a step, from the sources in the shares that the configuration states."""
        if not self.real:
            return self._synthetic(step, rng)
        chosen = rng.random()
        for share, source in (
            (self.config.real_share, self._labelled),
            (self.config.transplant_share, lambda rng: self._transplanted(step, rng)),
            (self.config.tumour_free_share, self._tumour_free),
        ):
            if chosen < share:
                return source(rng) or self._synthetic(step, rng)
            chosen -= share
        return self._synthetic(step, rng)

    def _labelled(self, rng: np.random.Generator) -> Sample | None:
        """A real case with a tumour; cores without enhancement come as often as rings."""
        kinds = [kind for kind in (RING, NON_ENHANCING) if kind in self.real]
        return self._one_of(str(rng.choice(kinds)), rng) if kinds else None

    def _tumour_free(self, rng: np.random.Generator) -> Sample | None:
        return self._one_of(TUMOUR_FREE, rng) if TUMOUR_FREE in self.real else None

    def _transplanted(self, step: int, rng: np.random.Generator) -> Sample | None:
        """A real tumour in another real brain, a tumour-free one or a synthetic one."""
        donor = self._labelled(rng)
        where = rng.random()
        host = self._synthetic(step, rng) if where < 0.5 else None
        if host is None and where < 0.75:
            host = self._tumour_free(rng)
        host = host or self._labelled(rng)
        return transplant(rng, donor, host) if donor and host else None

    def _one_of(self, kind: str, rng: np.random.Generator) -> Sample:
        paths = self.real[kind]
        return read_sample(paths[int(rng.integers(len(paths)))])

    def _synthetic(self, step: int, rng: np.random.Generator) -> Sample:
        """A synthetic case that the step may draw from; waits until it is made."""
        first, end = self.span(step)
        if end <= first:
            kind = next(kind for kind in (RING, NON_ENHANCING, TUMOUR_FREE) if kind in self.real)
            return self._one_of(kind, rng)
        self._request(first, min(end + _AHEAD, self.config.most_cases))
        index = first + int(rng.integers(end - first))
        if self.config.cyst_share and rng.random() < self.config.cyst_share:
            following = (*range(index, end), *range(first, index))
            index = next((other for other in following if self._has_cyst(other)), index)
        return self._sample(index)

    def _has_cyst(self, index: int) -> bool:
        if index not in self._cysts:
            self._cysts[index] = bool((self._sample(index)[1] == label_set(CC)).any())
        return self._cysts[index]

    def real_cases(self) -> list[Sample]:
        """Every real case once, without its turned copies."""
        whole = {path.name.split("-")[0]: path for paths in self.real.values() for path in reversed(paths)}
        return [read_sample(path) for _, path in sorted(whole.items())]

    def newest(self, step: int, count: int) -> list[Sample]:
        """The up to ``count`` newest synthetic cases that a step may draw from, oldest first."""
        first, end = self.span(step)
        self._request(max(first, end - count), end)
        return [self._sample(index) for index in range(max(first, end - count), end)]

    def others(self, seed: int, cases: int) -> Iterator[Sample]:
        """The first cases of another series, in order, in memory alone."""
        return self._executor.map(make_sample, [seed] * cases, range(cases))

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.npz"

    def _sample(self, index: int) -> Sample:
        if index in self._coming:
            self._coming.pop(index).result()
        return read_sample(self._path(index))

    def _request(self, first: int, end: int) -> None:
        for index in range(first, end):
            if index not in self._coming and not self._path(index).is_file():
                self._coming[index] = self._executor.submit(
                    _make_and_write,
                    self._path(index),
                    self.config.seed,
                    index,
                    self.config.variety,
                    self._shapes,
                    self.config.shape_share,
                    self.config.spacing_mm,
                )
        for index in [i for i, future in self._coming.items() if future.done()]:
            self._coming.pop(index).result()
