"""Post-processing on masks small enough to count by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from hope.commands.postprocess import postprocess
from hope.domain.errors import InputError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.labels import CC, ED, ET, NET
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, write_labels
from hope.stages.postprocess.postprocess import (
    DEFAULT_MINIMUM_WT_ML,
    apply_rules,
    count_voxels,
    default_cleanup,
    drop_unsure,
    redefine,
    remove_small_components,
    rename_small_parts,
)
from hope.stages.postprocess.postprocess_rules import PostprocessRules, built_in_rules

Mask = npt.NDArray[np.uint8]

GOOD = {
    "format": "hope-postprocess-rules",
    "format_version": 1,
    "name": "mine",
    "redefine_to": "NET",
    "order": ["ET", "CC", "ED"],
    "clusters": [{"minimum_voxels": {"ET": 5}, "redefine_below_share": {"ED": 0.25}}],
}


def empty(shape: tuple[int, int, int] = (20, 18, 16)) -> Mask:
    return np.zeros(shape, np.uint8)


def volume(labels: Mask, spacing_mm: float = 1.0) -> Volume:
    return Volume(labels, Grid(labels.shape, np.diag([-spacing_mm, spacing_mm, spacing_mm, 1.0])))


def test_a_component_of_exactly_the_minimum_stays() -> None:
    labels = empty()
    labels[2, 2, 2:7] = ET  # 5 voxels
    labels[10, 10, 2:6] = ET  # 4 voxels
    cleaned = remove_small_components(labels, {ET: 5})
    assert (cleaned[2, 2, 2:7] == ET).all()
    assert not cleaned[10, 10].any()
    assert labels[10, 10, 2] == ET, "the input must not change"


def test_voxels_that_share_a_corner_belong_together() -> None:
    labels = empty()
    labels[2:4, 2:4, 2:4] = ET
    labels[4, 4, 4] = ET
    assert np.array_equal(remove_small_components(labels, {ET: 9}), labels)


def test_labels_are_looked_at_one_by_one() -> None:
    labels = empty()
    labels[2, 2, 2:6] = ET
    labels[2, 2, 6:16] = ED  # touches, but does not carry the ET
    cleaned = remove_small_components(labels, {ET: 5, ED: 5})
    assert count_voxels(cleaned) == {"ET": 0, "NET": 0, "CC": 0, "ED": 10, "TC": 0, "WT": 10}


def test_a_mask_without_background_and_one_without_tumour() -> None:
    full = np.full((4, 4, 4), CC, np.uint8)
    assert np.array_equal(remove_small_components(full, {CC: 64}), full)
    assert not remove_small_components(full, {CC: 65}).any()
    assert not remove_small_components(empty(), {CC: 65}).any()


@pytest.mark.parametrize(("voxels", "renamed"), [(1, True), (2, False), (3, False)])
def test_a_share_equal_to_the_threshold_stays(voxels: int, renamed: bool) -> None:
    labels = empty()
    labels[0, 0, :8] = NET
    labels[0, 0, :voxels] = ED
    result = redefine(labels, {ED: 0.25}, NET, (ET, CC, ED))
    assert bool(result[0, 0, 0] == NET) is renamed
    assert np.count_nonzero(result) == 8


def test_shares_see_earlier_renamings() -> None:
    labels = empty()
    labels[0, 0, :1], labels[0, 0, 1:5], labels[0, 0, 5:10] = ET, CC, ED
    below = {ET: 0.2, CC: 0.45}
    first = redefine(labels, below, CC, (ET, CC, ED))
    assert (first[0, 0, :5] == CC).all(), "CC gained the ET and so stays"
    assert np.count_nonzero(redefine(labels, {ET: 0.2, CC: 0.45}, NET, (ET, CC)) == NET) == 5


def test_an_empty_tumour_is_left_alone() -> None:
    assert not redefine(empty(), {ET: 1.0, CC: 1.0, ED: 1.0}, NET, (ET, CC, ED)).any()


def test_rules_report_what_they_did_in_ml() -> None:
    labels = empty()
    labels[0, 0, :4] = ET  # too small: becomes background
    labels[5, :, :] = NET  # 288
    labels[6, 0, :16] = ED  # 16 of 304: renamed
    outcome = apply_rules(volume(labels, 2.0), PostprocessRules.from_json(GOOD), 0)
    assert outcome.changed
    assert outcome.before_ml == pytest.approx(
        {"ET": 0.032, "NET": 2.304, "CC": 0, "ED": 0.128, "TC": 2.336, "WT": 2.464}
    )
    assert outcome.after_ml == pytest.approx({"ET": 0, "NET": 2.432, "CC": 0, "ED": 0, "TC": 2.432, "WT": 2.432})
    assert outcome.to_json()["rules"] == "mine cluster 0"


def test_default_cleanup_counts_millilitres_of_the_whole_tumour() -> None:
    labels = empty()
    labels[0:5, 0:5, 0:2] = ET
    labels[0:5, 0:5, 2:4] = ED  # together 100 voxels = 0.1 ml: exactly the limit, stays
    labels[12:16, 12:16, 10:16] = NET  # 96 voxels
    outcome = default_cleanup(volume(labels))
    assert pytest.approx(0.1) == DEFAULT_MINIMUM_WT_ML
    assert outcome.after_voxels == {"ET": 50, "NET": 0, "CC": 0, "ED": 50, "TC": 50, "WT": 100}
    assert not default_cleanup(volume(labels, 2.0)).changed, "voxels of 8 mm3: both are large"
    assert not default_cleanup(volume(empty())).changed


def test_a_small_component_stays_only_where_the_model_is_sure() -> None:
    labels, sure = empty(), np.zeros(empty().shape)
    labels[0:6, 0:6, 0:6] = ET  # 0.216 ml, nowhere sure
    labels[10:16, 10:16, 10:16] = NET  # 0.216 ml, one sure voxel
    sure[labels > 0] = 0.9
    sure[12, 12, 12] = 0.99
    outcome = drop_unsure(volume(labels), sure)
    assert outcome.after_voxels["ET"] == 0
    assert outcome.after_voxels["NET"] == 216
    assert not drop_unsure(volume(labels, 4.0), sure).changed, "voxels of 64 mm3: both are large, no proof is asked"
    assert not drop_unsure(volume(empty()), sure).changed
    with pytest.raises(ValueError, match="shape"):
        drop_unsure(volume(labels), sure[:5])


def test_small_components_of_the_core_become_ed_and_of_its_enhancing_part_net() -> None:
    labels = empty()
    labels[0:18, 0:18, 0:18] = ED
    labels[0:4, 0:5, 0:5] = ET  # 100 voxels = 0.1 ml: exactly the limit, keeps its name
    labels[8:12, 8:12, 8:14] = NET  # 96 voxels of core in oedema
    labels[14:17, 0:18, 0:18] = CC
    labels[15, 3:6, 3:6] = ET  # a small piece in a large core
    renamed = rename_small_parts(volume(labels))
    assert (renamed[0:4, 0:5, 0:5] == ET).all()
    assert (renamed[8:12, 8:12, 8:14] == ED).all()
    assert (renamed[15, 3:6, 3:6] == NET).all()
    assert ((renamed > 0) == (labels > 0)).all(), "the whole tumour stays"
    assert (rename_small_parts(volume(labels, 4.0)) == labels).all(), "voxels of 64 mm3: all are large"
    assert not rename_small_parts(volume(empty())).any()
    lesion = empty()
    lesion[0:10, 0:10, 0:10] = ED  # 1 ml: its core is small because it is
    lesion[2:5, 2:5, 2:5] = ET
    assert (rename_small_parts(volume(lesion)) == lesion).all()
    assert (labels[15, 3:6, 3:6] == ET).all(), "what was given is not changed"


def test_published_rules_are_built_in() -> None:
    rules = PostprocessRules.by_name("hope-peds-2024")
    assert "hope-peds-2024" in built_in_rules()
    assert len(rules.clusters) == 9
    assert (rules.redefine_to, rules.order) == (NET, (ET, CC, ED))
    assert rules.for_cluster(8).minimum_voxels == {ET: 25, NET: 350, CC: 25}
    assert rules.for_cluster(1).redefine_below_share == {CC: 0.95, ED: 0.2}
    with pytest.raises(InputError, match="no cluster 9"):
        rules.for_cluster(9)
    with pytest.raises(InputError, match="hope-peds-2024"):
        PostprocessRules.by_name("nobody")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("format", "other", "not a post-processing rules file"),
        ("format_version", 2, "not a post-processing rules file"),
        ("scheme", "brats2021", "label scheme"),
        ("redefine_to", "XX", "unknown label"),
        ("order", ["ET", "ET"], "order"),
        ("order", ["ET"], "missing from order"),
        ("clusters", [], "clusters"),
        ("clusters", ["x"], "JSON object"),
        ("clusters", [{"minimum_voxels": {"ET": -1}}], "whole numbers"),
        ("clusters", [{"minimum_voxels": {"ET": 1.5}}], "whole numbers"),
        ("clusters", [{"redefine_below_share": {"ET": 1.5}}], "0 to 1"),
        ("clusters", [{"redefine_below_share": {"ET": True}}], "0 to 1"),
    ],
)
def test_wrong_rules_are_refused_by_name(field: str, value: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        PostprocessRules.from_json({**GOOD, field: value})


def test_rules_that_are_no_json_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not JSON"):
        PostprocessRules.load(str(tmp_path / "rules.json"))
    with pytest.raises(InputError, match="JSON object"):
        PostprocessRules.from_json([])


class TestCommand:
    def write(self, folder: Path, labels: Mask) -> Path:
        path = folder / "in.nii.gz"
        write_labels(Volume(labels, Grid(labels.shape, ATLAS_GRID.affine_ras_mm)), path)
        return path

    def run(self, *words: object) -> str:
        outcome = CliRunner().invoke(postprocess, [str(word) for word in words], catch_exceptions=False)
        assert outcome.exit_code == 0
        return outcome.output

    def test_writes_the_result_on_the_same_grid(self, tmp_path: Path) -> None:
        labels = empty()
        labels[0, 0, :10], labels[5, :, :] = ED, NET
        source, target = self.write(tmp_path, labels), tmp_path / "out.nii.gz"
        output = self.run(source, target, "--rules", "hope-peds-2024", "--cluster", 0)
        result = read_labels(target)
        assert result.grid.same_as(read_labels(source).grid)
        assert result.data.dtype == np.uint8
        assert count_voxels(result.data) == {"ET": 0, "NET": 288, "CC": 0, "ED": 0, "TC": 288, "WT": 288}
        assert "hope-peds-2024 cluster 0" in output
        assert "ED         0.010       0.000" in output
        self.run(source, target, "--rules", "hope-peds-2024", "--cluster", 0)  # may overwrite its own output

    def test_own_rules_of_one_cluster_need_no_cluster(self, tmp_path: Path) -> None:
        (tmp_path / "rules.json").write_text(json.dumps(GOOD), encoding="utf-8")
        labels = empty()
        labels[0, 0, :4] = ET
        source = self.write(tmp_path, labels)
        self.run(source, tmp_path / "out.nii", "--rules", tmp_path / "rules.json")
        assert not read_labels(tmp_path / "out.nii").data.any()

    def test_without_a_cluster_it_says_what_to_pass(self, tmp_path: Path) -> None:
        source = self.write(tmp_path, empty())
        with pytest.raises(InputError, match=r"--cluster 0\.\.8"):
            self.run(source, tmp_path / "out.nii.gz", "--rules", "hope-peds-2024")
        assert not (tmp_path / "out.nii.gz").exists()

    def test_refuses_to_write_over_its_input(self, tmp_path: Path) -> None:
        source = self.write(tmp_path, empty())
        (tmp_path / "link.nii.gz").symlink_to(source)
        for target in (source, tmp_path / "x" / ".." / "in.nii.gz", tmp_path / "link.nii.gz"):
            with pytest.raises(InputError, match="same file"):
                self.run(source, target, "--rules", "hope-peds-2024", "--cluster", 1)

    def test_refuses_labels_of_another_scheme(self, tmp_path: Path) -> None:
        labels = empty()
        labels[0, 0, 0] = 7
        with pytest.raises(InputError, match="got 7"):
            self.run(self.write(tmp_path, labels), tmp_path / "out.nii.gz", "--rules", "hope-peds-2024", "--cluster", 1)
