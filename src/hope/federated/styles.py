"""A common style: histograms of the sites' healthy brains, summed over cases, and the percentiles of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from hope.domain.case import AlignedCase, HeadState
from hope.domain.errors import InputError
from hope.domain.sequence import SEQUENCES, MRSequence
from hope.domain.style import PERCENTILES, SequenceStyle, Style
from hope.domain.wording import counted
from hope.federated.evaluation import kind_of
from hope.federated.responses import BINS, HIGHEST, Histogram, Histograms
from hope.formats.private_directory import private_directory
from hope.ports import BrainExtractor
from hope.services import Services
from hope.stages.harmonize.lesion_prior import regions_of
from hope.stages.intake.case_finding import CaseSource
from hope.stages.intake.intake import load_case
from hope.stages.preprocess.preprocess import preprocess

Shares = npt.NDArray[np.float64]
_DIGITS = 9


def shares_of(values: npt.NDArray[np.float32]) -> Shares | None:
    """The share of voxels in each bin, in units of their median; None without a positive median.

    Args:
        values: (n,) intensities of the healthy brain in one sequence.

    Returns:
        (BINS,) numbers whose sum is 1; what is below 0 is in the first bin, what is above the highest in the last.
    """
    median = float(np.median(values)) if values.size else 0.0
    if median <= 0:
        return None
    inside = np.clip(values / median, 0, np.nextafter(HIGHEST, 0))
    counts, _ = np.histogram(inside, BINS, (0, HIGHEST))
    return np.asarray(counts / values.size)


def histograms_of(case: AlignedCase) -> dict[MRSequence, Shares]:
    """`shares_of` of each sequence that has a positive scale, outside whatever looks like a lesion."""
    healthy = regions_of(case).healthy
    found = {s: shares_of(image.data[healthy]) for s, image in case.images.items()}
    return {s: shares for s, shares in found.items() if shares is not None}


def collect_site(
    sources: Sequence[CaseSource], services: Services
) -> tuple[list[dict[MRSequence, Shares]], Counter[str]]:
    """The histograms of every case of a site, and how many failed, by kind."""
    found, failed = [], Counter[str]()
    brain = services.brain_extractor()
    for source in sources:
        try:
            found.append(_read(source, brain))
        except Exception as error:
            failed[kind_of(error)] += 1
    return found, failed


def _read(source: CaseSource, brain: BrainExtractor) -> dict[MRSequence, Shares]:
    with private_directory() as scratch:
        case = load_case(source, preprocessed=None, scratch=scratch)
        shares = histograms_of(preprocess(case, HeadState.BRAIN, brain))
    if not shares:
        raise InputError("no sequence has a positive scale")
    return shares


def sum_site(cases: Sequence[dict[MRSequence, Shares]], failed: Counter[str], least: int) -> Histograms:
    """Sum the histograms of a site's cases; a sequence that fewer than ``least`` of them have is left out."""
    sequences = {}
    for s in SEQUENCES:
        given = [case[s] for case in cases if s in case]
        if len(given) >= max(1, least):
            total = np.round(np.sum(given, axis=0), _DIGITS)
            sequences[str(s)] = Histogram(n=len(given), shares=[float(share) for share in total])
    return Histograms(n=len(cases), failed=dict(failed), sequences=sequences)


def pooled_style(name: str, sites: Iterable[Histograms]) -> Style | None:
    """The style of all sites' cases: percentiles of the sum of their histograms, 1 being the brain's median.

    Args:
        name: of the style.
        sites: what they gave.

    Returns:
        None if no sequence was given by any site.
    """
    given = list(sites)
    sequences = {}
    for s in SEQUENCES:
        parts = [site.sequences[str(s)] for site in given if str(s) in site.sequences]
        if parts:
            total = np.sum([part.shares for part in parts], axis=0)
            levels = np.concatenate([[0.0], np.cumsum(total)]) / total.sum()
            edges = np.linspace(0, HIGHEST, BINS + 1)
            values = np.interp(np.asarray(PERCENTILES) / 100, levels, edges)
            sequences[s] = SequenceStyle(PERCENTILES, tuple(float(value) for value in values))
    cases = sum(site.n for site in given)
    return (
        Style(name, sequences, note=f"{counted(cases, 'cases')} of {counted(len(given), 'sites')}")
        if sequences
        else None
    )
