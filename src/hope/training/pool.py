"""Where patches come from: an endless, reproducible stream of synthetic cases, and the user's own labelled cases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from types import TracebackType

import numpy as np
import numpy.typing as npt

from hope.models.normalise import zscore_inside
from hope.synthesis.case import training_sample
from hope.training.config import TrainingConfig

Sample = tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]
"""Normalised images (4, i, j, k) and peds labels (i, j, k) on the model's grid."""


def make_sample(seed: int, index: int) -> Sample:
    """One synthetic case, normalised as at inference."""
    sample = training_sample(seed, index)
    mask = np.asarray((sample.images > 0).any(axis=0))
    return zscore_inside(sample.images, mask).astype(np.float16), sample.labels


def _single_threaded() -> None:
    # One BLAS thread per worker: the training step wants the cores.
    os.nice(5)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


class CasePool:
    """The newest synthetic cases, made by worker processes ahead of need.

    Which cases a step sees depends on the step alone, never on timing, so a resumed run sees what an uninterrupted one
    would have seen.

    Args:
        config: seed, window and rates.
        real: the user's own cases, always available.
        workers: processes that make synthetic cases.
    """

    def __init__(self, config: TrainingConfig, real: Sequence[Sample] = (), workers: int = 1) -> None:
        self.config, self.real = config, list(real)
        self._made: dict[int, Sample] = {}
        self._coming: dict[int, Future[Sample]] = {}
        self._executor = ProcessPoolExecutor(
            max_workers=workers, mp_context=get_context("spawn"), initializer=_single_threaded
        )

    def __enter__(self) -> CasePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def span(self, step: int) -> tuple[int, int]:
        """First and one-past-last synthetic case that a step may draw from."""
        if self.real and self.config.real_share >= 1:
            return 0, 0
        newest = self.config.first_cases + int(step * self.config.new_cases_per_step)
        return max(0, newest - self.config.window), newest

    def get(self, step: int, choice: int) -> Sample:
        """The synthetic case number ``choice`` modulo what the step may draw from; waits until it is made."""
        first, end = self.span(step)
        self._request(first, end + 12)
        sample = self._sample(first + choice % (end - first))
        for old in [i for i in self._made if i < first]:
            del self._made[old]
        return sample

    def newest(self, step: int, count: int) -> list[Sample]:
        """The up to ``count`` newest synthetic cases that a step may draw from, oldest first."""
        first, end = self.span(step)
        self._request(max(first, end - count), end)
        return [self._sample(index) for index in range(max(first, end - count), end)]

    def others(self, seed: int, cases: int) -> Iterator[Sample]:
        """The first cases of another series, in order. The run's own cases are let go of, to have the memory."""
        self._made.clear()
        return self._executor.map(make_sample, [seed] * cases, range(cases))

    def _sample(self, index: int) -> Sample:
        if index not in self._made:
            self._made[index] = self._coming.pop(index).result()
        return self._made[index]

    def _request(self, first: int, end: int) -> None:
        for index in range(first, end):
            if index not in self._made and index not in self._coming:
                self._coming[index] = self._executor.submit(make_sample, self.config.seed, index)
        for index in [i for i in self._coming if i < first]:
            self._coming.pop(index).cancel()
        for index in [i for i, future in self._coming.items() if future.done()]:
            self._made[index] = self._coming.pop(index).result()
