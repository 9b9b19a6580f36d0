"""Whether a mask's labels are of the scheme that it is said to be in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels
from hope.stages.postprocess.scheme_check import likelier_scheme, to_peds

Mask = npt.NDArray[np.uint8]
GRID = Grid((40, 40, 40), np.eye(4))
ADULTS = {"brats2023": {"core": 1, "oedema": 2, "rim": 3}, "brats2021": {"core": 1, "oedema": 2, "rim": 4}}
CHILD = {"core": 2, "oedema": 4, "rim": 1}


def ring(core: int, oedema: int, rim: int, *, off: int = 0) -> Mask:
    """A necrotic core in an enhancing rim in oedema; ``off`` moves the rim towards the edge of the oedema."""
    i, j, k = np.indices(GRID.shape) - 20
    far, near = np.sqrt(i**2 + j**2 + k**2), np.sqrt((i - off) ** 2 + j**2 + k**2)
    labels = np.where(far <= 15, oedema, 0)
    labels[near <= 9] = rim
    labels[near <= 6] = core
    return labels.astype(np.uint8)


@pytest.mark.parametrize("scheme", list(ADULTS))
@pytest.mark.parametrize("off", [0, 6])
def test_an_adult_mask_is_told_from_a_childs(scheme: str, off: int) -> None:
    mask = ring(**ADULTS[scheme], off=off)
    assert likelier_scheme(mask, "peds") == scheme
    assert likelier_scheme(mask, scheme) == ""
    renumbered, note = to_peds(Volume(mask, GRID), scheme, "MASK")
    assert np.array_equal(renumbered.data, ring(**CHILD, off=off)) and note == ""


def test_a_childs_mask_is_not_taken_for_an_adults() -> None:
    child = ring(**CHILD)
    assert likelier_scheme(child, "peds") == ""
    assert likelier_scheme(child, "brats2021") == "peds"
    with_cyst, solid = ring(3, 2, 1), ring(2, 2, 1)  # no oedema: a cyst in a rim, and a solid tumour
    assert likelier_scheme(with_cyst, "peds") == likelier_scheme(solid, "peds") == ""
    for mask in (np.zeros(GRID.shape, np.uint8), *(np.where(child > 0, v, 0).astype(np.uint8) for v in (1, 2, 3, 4))):
        assert likelier_scheme(mask, "peds") == "", "one label says nothing"


@pytest.mark.parametrize(
    ("cyst", "wall", "nodule", "at"), [(12, 2, 5, 9), (12, 1, 4, 9), (14, 2, 5, 12), (10, 3, 5, 7)]
)
def test_a_cyst_with_a_nodule_in_its_wall_is_a_childs(cyst: int, wall: int, nodule: int, at: int) -> None:
    """Its nodule lies in the cyst and that in its wall, as an adult's core in enhancement and that in oedema."""
    i, j, k = np.indices(GRID.shape) - 20
    middle, beside = np.sqrt(i**2 + j**2 + k**2), np.sqrt((i - at) ** 2 + j**2 + k**2)
    labels = np.where(middle <= cyst + wall, 2, 0)
    labels[middle <= cyst] = 3
    labels[(beside <= nodule) & (middle <= cyst)] = 1
    assert likelier_scheme(labels.astype(np.uint8), "peds") == ""


def test_values_of_no_or_of_another_scheme_are_refused() -> None:
    with pytest.raises(InputError, match=r"not of the brats2023 scheme.*got 1, 2, 4.*--scheme peds or brats2021"):
        to_peds(Volume(ring(**ADULTS["brats2021"]), GRID), "brats2023", "MASK")
    with pytest.raises(InputError, match=r"not of the peds scheme.*got 1, 2, 7\)$"):
        to_peds(Volume(ring(1, 2, 7), GRID), "peds", "MASK")


@pytest.mark.parametrize("scheme", list(ADULTS))
def test_measure_takes_a_scheme_and_asks_about_another(tmp_path: Path, scheme: str) -> None:
    write_labels(Volume(ring(**CHILD), GRID), tmp_path / "child.nii.gz")
    write_labels(Volume(ring(**ADULTS[scheme]), GRID), tmp_path / "adult.nii.gz")
    child = CliRunner().invoke(main, ["measure", str(tmp_path / "child.nii.gz"), "--region", "ET"])
    named = CliRunner().invoke(main, ["measure", str(tmp_path / "adult.nii.gz"), "--region", "ET", "--scheme", scheme])
    unnamed = CliRunner().invoke(main, ["measure", str(tmp_path / "adult.nii.gz"), "--region", "ET"])
    assert (child.exit_code, named.exit_code, unnamed.exit_code) == (0, 0, 0)
    assert named.stdout == child.stdout and named.stderr == child.stderr == ""
    assert unnamed.stdout != child.stdout and f"--scheme {scheme} if that is so" in unnamed.stderr
