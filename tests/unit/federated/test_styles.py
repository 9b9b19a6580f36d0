"""A style of several sites: histograms of each, their sum, and percentiles that equal those of all voxels."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from hope.domain.case import SEQUENCES, AlignedCase
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.sequence import MRSequence
from hope.domain.style import PERCENTILES, Style
from hope.domain.volume import Volume
from hope.federated import styles
from hope.federated.outcome import Asked, write_outcome
from hope.federated.responses import BINS, HIGHEST, Histograms, Refusal, Response, read_response
from hope.federated.site import Request, respond
from hope.formats.nifti import write_scan
from hope.settings import FederatedSettings, Settings
from hope.stages.harmonize.harmonize import harmonize
from hope.stages.harmonize.histogram import HistogramHarmonizer
from hope.stages.harmonize.lesion_prior import regions_of

WIDTH = HIGHEST / BINS


def brain(seed: int) -> np.ndarray:
    """Intensities with a scale of their own."""
    rng = np.random.default_rng(seed)
    return (rng.gamma(9, 1, 20_000) * (50 + 10 * seed)).astype(np.float32)


def site_of(seeds: range, least: int = 1) -> Histograms:
    shares = [styles.shares_of(brain(seed)) for seed in seeds]
    return styles.sum_site([{MRSequence.T2W: one} for one in shares if one is not None], Counter(), least)


def test_pooled_percentiles_equal_those_of_all_voxels(tmp_path: Path) -> None:
    sites: dict[str, Response] = {"a": site_of(range(3)), "b": site_of(range(3, 8)), "c": Refusal(code="too_few")}
    sites = {name: read_response(given.model_dump_json()) for name, given in sites.items()}
    write_outcome(Asked("style"), sites, tmp_path / "out")
    style = Style.from_json((tmp_path / "out" / "style.json").read_bytes())
    everything = np.concatenate([brain(seed) / np.median(brain(seed)) for seed in range(8)])
    expected = np.percentile(everything, PERCENTILES)
    assert style.sequences[MRSequence.T2W].values == pytest.approx(expected, abs=WIDTH)
    assert style.note == "8 cases of 2 sites"
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [site["responded"] for site in result["sites"]] == [True, True, False]


def test_what_few_cases_have_and_what_has_no_scale_is_left_out(tmp_path: Path) -> None:
    assert site_of(range(2), least=3).sequences == {}
    assert styles.shares_of(np.zeros(5, np.float32)) is None
    write_outcome(Asked("style"), {"a": site_of(range(2), least=3)}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_bright_and_negative_voxels_stay_in_the_outer_bins() -> None:
    shares = styles.shares_of(np.array([-5, 1, 1, 1, 99], np.float32))
    assert shares is not None
    assert (shares[0], shares[-1], shares.sum()) == (0.2, 0.2, pytest.approx(1))


def test_a_site_gives_sums_and_counts_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        folder = tmp_path / "cases" / f"sub-{number}"
        folder.mkdir(parents=True)
        scan = Volume(np.full((4, 4, 4), 1 + number, np.float32), Grid((4, 4, 4), np.eye(4)))
        write_scan(scan, folder / f"sub-{number}-t2w.nii.gz")
    seeds = iter(range(100))

    def read(*_: object) -> dict[MRSequence, styles.Shares]:
        if (seed := next(seeds)) == 2:
            raise InputError("Doe_Jane is broken")
        shares = styles.shares_of(brain(seed))
        assert shares is not None
        return {MRSequence.T2W: shares}

    monkeypatch.setattr(styles, "_read", read)
    chosen = FederatedSettings(data=str(tmp_path / "cases"), min_cases=3)
    settings = Settings(tmp_path / "data", tmp_path / "models", "cpu", federated=chosen)
    given = respond(Request(job="style", site="site-1"), settings)
    assert isinstance(given, Histograms)
    assert (given.n, given.failed, given.sequences["t2w"].n) == (3, {"scans": 1}, 3)
    fewer = replace(settings, federated=replace(chosen, min_cases=5))
    refused = respond(Request(job="style", site="site-1"), fewer)
    assert isinstance(refused, Refusal) and refused.code == "too_few"


def as_case(images: np.ndarray, mask: np.ndarray, grid: Grid) -> AlignedCase:
    volumes = {s: Volume(np.asarray(image, np.float32), grid) for s, image in zip(SEQUENCES, images, strict=True)}
    return AlignedCase.in_place("pair", volumes, Volume(mask, grid))


def landmarks(image: Volume, healthy: np.ndarray) -> np.ndarray:
    values = image.data[healthy]
    return np.percentile(values / np.median(values), PERCENTILES)


def test_hope_harmonize_brings_a_case_to_the_style_of_the_sites() -> None:
    noise = np.random.default_rng(5).normal(size=(4, 40, 40, 40))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3, 3))
    images = 1 + 0.3 * smooth / smooth.std()
    inside, grid = np.ones(images.shape[1:], bool), Grid(images.shape[1:], np.diag([2.0, 2.0, 2.0, 1.0]))
    source = as_case(np.maximum(images, 0.05), inside, grid)
    target = as_case(300 * np.maximum(images, 0.05) ** 0.6, inside, grid)
    sites = [styles.sum_site([styles.histograms_of(target)], Counter(), 1)] * 2
    style = styles.pooled_style("federated", sites)
    assert style is not None
    done = harmonize(source, HistogramHarmonizer(), Style.from_json(style.to_json()))
    healthy, before, after = regions_of(source).healthy, [], []
    for s in SEQUENCES:
        wanted = np.asarray(style.sequences[s].values)
        before.append(np.abs(landmarks(source.images[s], healthy) - wanted).mean())
        after.append(np.abs(landmarks(done.images[s], healthy) - wanted).mean())
        assert np.median(done.images[s].data[healthy]) == pytest.approx(1, abs=0.2)
    assert np.mean(after) < 0.6 * np.mean(before), (before, after)
