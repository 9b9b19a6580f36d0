"""What an image is by its voxels: right where it speaks, silent where the figures leave doubt."""

from __future__ import annotations

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import read_scan, write_scan
from hope.stages.intake import intake, voxel_check
from hope.stages.intake.case_finding import CaseSource
from hope.stages.intake.voxel_check import (
    MIN_SAMPLES,
    VoxelOpinion,
    check_sequences,
    judge,
    measured_table,
    pair_features,
    sample,
)
from hope.testing.head import HEAD_GRID, head_scan

T1N, T1C, T2W, T2F = SEQUENCES


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_typical_case_is_named_whatever_its_files_are_called(order: tuple[int, ...]) -> None:
    table = measured_table()
    opinion = judge(table.mean[np.ix_(order, order)], SEQUENCES, table)
    assert opinion.may_be == {SEQUENCES[i]: {SEQUENCES[order[i]]} for i in range(4)}
    assert opinion.disagrees == (order != (0, 1, 2, 3))


@pytest.mark.parametrize("named", [c for n in (2, 3) for c in combinations(SEQUENCES, n)])
def test_fewer_sequences_named_as_they_are_raise_no_doubt(named: tuple[MRSequence, ...]) -> None:
    table = measured_table()
    at = [SEQUENCES.index(s) for s in named]
    opinion = judge(table.mean[np.ix_(at, at)], named, table)
    assert opinion.margin == 0 and not opinion.disagrees and not opinion.misnamed


def test_what_an_image_is_instead_is_said_only_where_the_voxels_tell() -> None:
    both = frozenset({T1C, T2F})
    unsure = VoxelOpinion({T1N: frozenset({T2W}), T1C: both, T2W: frozenset({T1N, T1C}), T2F: both}, 30.0, 1.5)
    assert unsure.disagrees and unsure.misnamed == [T1N, T2W]
    assert unsure.message() == "t1n looks like t2w and t2w does not look like t2w"
    torn = VoxelOpinion({T1N: frozenset({T1N}), T1C: both, T2F: both}, 30.0, 1.5)
    assert torn.misnamed == [T1C, T2F] and torn.message() == "t1c, t2f are not all what they are called"


def test_without_a_t2_more_is_needed() -> None:
    swapped = {T1N: frozenset({T1N}), T1C: frozenset({T2F}), T2F: frozenset({T1C})}
    assert not VoxelOpinion(swapped, 20.0, 1.5).disagrees
    assert VoxelOpinion(swapped, 25.0, 1.5).disagrees
    assert VoxelOpinion({**swapped, T2W: frozenset({T2W})}, 20.0, 1.5).disagrees
    assert not VoxelOpinion(swapped, 10.0, 1.5).uncertain


@pytest.mark.parametrize(("margin", "fit", "warned"), [(7.9, 1.5, False), (8.1, 1.5, True), (8.1, 0.6, False)])
def test_less_is_enough_for_a_warning_than_for_a_question(margin: float, fit: float, warned: bool) -> None:
    swapped = VoxelOpinion({T1N: frozenset({T1C}), T1C: frozenset({T1N}), T2W: frozenset({T2W})}, margin, fit)
    assert swapped.uncertain == warned and not swapped.disagrees


@pytest.mark.parametrize("spreads", [3.0, 6.0])
def test_a_case_unlike_all_others_is_met_with_silence(spreads: float) -> None:
    table = measured_table()
    rng = np.random.default_rng(1)
    odd = table.mean + rng.choice([-1, 1], table.mean.shape) * spreads * table.spread
    assert not judge(odd[np.ix_([1, 0, 3, 2], [1, 0, 3, 2])], SEQUENCES, table).disagrees


def test_features_do_not_depend_on_scale_and_orientation() -> None:
    scans = [head_scan(seed, enhanced=seed == 2) for seed in (1, 2, 3)]
    plain = sample(scans)
    turned = sample(
        [scan.with_data(scan.data * 3 + 0).reoriented(o) for scan, o in zip(scans, ("RAS", "PIL", "ASR"), strict=True)]
    )
    assert plain is not None and turned is not None and plain.shape == turned.shape
    assert np.allclose(pair_features(plain), pair_features(turned), atol=1e-3)


def test_too_little_in_common_says_nothing() -> None:
    apart = np.array(HEAD_GRID.affine_ras_mm)
    apart[0, 3] += 400
    far = Volume(head_scan(2).data, Grid(HEAD_GRID.shape, apart))
    assert check_sequences({T1N: head_scan(1), T2W: far}) is None
    assert check_sequences({T1N: head_scan(1)}) is None
    assert MIN_SAMPLES > 100


@pytest.mark.parametrize("limit", [60, 90, 97])
def test_saturated_and_flat_images_give_figures_or_nothing(limit: int) -> None:
    scans = [head_scan(seed) for seed in (1, 2, 3)]
    cut = scans[0].with_data(np.minimum(scans[0].data, np.percentile(scans[0].data, limit)))
    values = sample([cut, *scans[1:]])
    assert values is None or bool(np.isfinite(pair_features(values)).all())
    assert check_sequences({T1N: scans[1], T2W: scans[2].with_data(np.ones_like(scans[2].data))}) is None


def _files(folder: Path) -> dict[MRSequence, Path]:
    files = {}
    for number, sequence in enumerate((T1N, T1C, T2W), start=1):
        files[sequence] = folder / f"{sequence}.nii"
        write_scan(head_scan(number, enhanced=sequence is T1C), files[sequence])
    return files


@pytest.mark.parametrize("by_name", [True, False])
def test_disagreement_is_asked_or_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_name: bool) -> None:
    opinion = VoxelOpinion({T1N: frozenset({T1N}), T1C: frozenset({T2W}), T2W: frozenset({T1C})}, 30.0, 1.5)
    monkeypatch.setattr(intake, "check_sequences", lambda scans: opinion)
    known = {"confidence": 0.95, "reason": "file name says so"}
    files = _files(tmp_path)
    source = CaseSource("case-1", files, sources=dict.fromkeys(files, known) if by_name else {})
    (tmp_path / "x").mkdir()
    if by_name:
        with pytest.raises(
            AmbiguousInputError, match=r"t1c looks like t2w and t2w looks like t1c.*--t1c FILE and --t2w"
        ):
            intake.load_case(source, preprocessed=None, scratch=tmp_path / "x")
        return
    case = intake.load_case(source, preprocessed=None, scratch=tmp_path / "x")
    assert [str(f.severity) for f in case.flags if f.code == "sequence_odd"] == ["warning"]


@pytest.mark.real
@pytest.mark.parametrize("swap", [(), (T1C, T2F), (T2W, T2F), (T1N, T2W)])
def test_real_cases(shared_data: Path, swap: tuple[MRSequence, ...]) -> None:
    for name in ("BraTS-SSA-00007-000", "BraTS-SSA-00047-000"):
        scans = {s: read_scan(shared_data / "dev" / name / f"{name}-{s}.nii.gz", s)[0] for s in SEQUENCES}
        if swap:
            scans[swap[0]], scans[swap[1]] = scans[swap[1]], scans[swap[0]]
        opinion = check_sequences(scans)
        assert opinion is not None
        assert opinion.disagrees == bool(swap)
        assert set(opinion.misnamed) == set(swap)


def test_ranks_quartiles_and_skewness_are_those_of_scipy() -> None:
    rng = np.random.default_rng(5)
    for values in (rng.gamma(2.0, size=999), rng.integers(0, 9, 400).astype(float), np.array([3.0, 1.0, 1.0, 2.0])):
        np.testing.assert_array_equal(voxel_check._ranks(values), stats.rankdata(values))
        assert voxel_check._middle_half(values) == pytest.approx(stats.iqr(values), rel=1e-12)
        assert voxel_check._skew(values) == pytest.approx(stats.skew(values), rel=1e-12)
