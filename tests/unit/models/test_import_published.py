"""Published checkpoints become bundles: what is found, what is assumed, and what is refused by name."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tests import checkpoints

from hope.cli import main
from hope.domain.case import HeadState
from hope.domain.errors import BundleError, HopeError, InputError, OutputError
from hope.models.bundle import Bundle
from hope.models.ensemble.spec import Average, Method, Outside, Resampling, Tiles
from hope.models.importers.assemble import PUBLISHED_WEIGHTS
from hope.models.importers.checkpoint_parts import channels_of, classes_of
from hope.models.importers.choices import ImportChoices
from hope.models.networks import build_network, load_state
from hope.models.registry import ModelRegistry

Change = Callable[[dict[str, Any]], None]
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    checkpoints.make_nnunet_folder(folder / "nnunet" / MODEL, (0, 1), spacing=(1.0, 0.9, 0.8), transpose=(2, 0, 1))
    checkpoints.make_mednext_folder(folder / "mednext", (0, 1), spacing=(2.0, 1.0, 1.0))
    checkpoints.make_swinunetr_folder(folder / "swin", (0, 1))
    checkpoints.make_threshold_files(folder / "thresholds")
    checkpoints.make_cluster_pickle(folder / "PEDS_cluster.pkl", [f"feature {n}" for n in range(20)])
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models")


def left(registry: ModelRegistry) -> list[Path]:
    return list(registry.user_folder.iterdir()) if registry.user_folder.exists() else []


def refused(registry: ModelRegistry, source: Path, match: str, kind: type[HopeError] = BundleError) -> None:
    """Importing fails with one sentence, and leaves nothing."""
    with pytest.raises(kind, match=match) as caught:
        registry.add_published([source], "x")
    assert "\n" not in str(caught.value)
    assert str(source.parent) not in str(caught.value)
    assert left(registry) == []


def assumed(bundle: Bundle) -> str:
    return " | ".join(bundle.manifest["source"]["assumed"])


def test_the_whole_ensemble_on_the_command_line(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    archive = shutil.make_archive(str(tmp_path / "nnunet"), "zip", made / "nnunet")
    sources = [archive, *(str(made / n) for n in ("mednext", "swin", "thresholds", "PEDS_cluster.pkl"))]
    run = CliRunner().invoke(main, ["models", "add", *sources, "--id", "peds", "--licence", "CC-BY-NC-SA-4.0"])
    assert run.exit_code == 0, run.output
    assert "assumed: SwinUNETR: input channels are in the order t1n, t1c, t2w, t2f" in run.output
    bundle = ModelRegistry(tmp_path / "models").get("peds")
    bundle.verify()
    assert [g.name for g in bundle.groups] == ["nnunet", "mednext", "swinunetr"]
    assert {g.name: g.weight for g in bundle.groups} == PUBLISHED_WEIGHTS
    assert {g.fold_mean for g in bundle.groups} == {Average.PROBABILITIES}
    assert all(g.member_names == ("fold 0", "fold 1") for g in bundle.groups)
    assert (bundle.licence, bundle.head_state, bundle.manifest["input"]["max_missing"]) == (
        "CC-BY-NC-SA-4.0",
        HeadState.FULL,
        0,
    )
    post = bundle.postprocess()
    assert post is not None
    assert post["format"] == "hope-postprocess/1"
    assert post["rules"]["name"] == "hope-peds-2024"
    assert post["clusters"]["normalisation"] == {"kind": "l2"}
    listed = CliRunner().invoke(main, ["models", "list"]).output
    assert "nnunet x2 (weight 0.331) + mednext x2 (weight 0.338) + swinunetr x2 (weight 0.331)" in listed
    shown = json.loads(CliRunner().invoke(main, ["models", "show", "peds"]).output)
    assert shown["source"]["networks"][0]["files"][0]["name"] == "plans.json"
    assert str(tmp_path) not in json.dumps(shown)
    again = CliRunner().invoke(main, ["models", "add", *sources, "--id", "peds"])
    assert again.exit_code != 0
    assert "already there" in again.output
    assert len(list((tmp_path / "models").iterdir())) == 1


def test_what_each_architecture_says(made: Path, registry: ModelRegistry) -> None:
    bundle = registry.add_published([made / "nnunet", made / "mednext", made / "swin"], "x")
    nnunet, mednext, swin = bundle.groups
    prep = nnunet.preprocessing
    assert (prep.method, prep.axes, prep.transpose, prep.spacing_mm) == (
        Method.NNUNET,
        "zyx",
        (2, 0, 1),
        (1.0, 0.9, 0.8),
    )
    assert prep.normalise_first
    assert prep.schemes == ("ZScoreNormalization",) * 4
    assert prep.nonzero_only == (True,) * 4
    assert (prep.images, prep.outputs) == (Resampling(3, 0, None), Resampling(1, 0, None))
    assert (nnunet.tiling.mean, nnunet.tiling.step, nnunet.tiling.mirror_axes) == (Average.LOGITS, 0.5, (0, 1, 2))
    assert nnunet.outside is Outside.BACKGROUND
    assert not mednext.preprocessing.normalise_first
    assert mednext.preprocessing.spacing_mm == (2.0, 1.0, 1.0)
    assert mednext.preprocessing.schemes == ("ZScoreNormalization",) * 4
    assert (mednext.tiling.mean, mednext.outside) == (Average.PROBABILITIES, Outside.ZERO)
    assert mednext.tiling.mirror_axes == (0, 1, 2)
    assert (swin.preprocessing.method, swin.preprocessing.axes) == (Method.NONZERO_CHANNEL, "xyz")
    assert swin.preprocessing.spacing_mm == ()
    assert (swin.tiling.tiles, swin.tiling.patch, swin.tiling.mirror_axes) == (Tiles.MONAI, (32, 32, 32), ())
    assert swin.tiling.step == pytest.approx(0.375)
    assert swin.tiling.mean is Average.LOGITS
    for group in bundle.groups:
        network = build_network(group.architecture, group.arguments)
        for name in group.members:
            load_state(network, group.architecture, load_file(bundle.folder / name))
    assert bundle.postprocess() is None


def test_nnunet_weights_give_the_original_answer(made: Path, registry: ModelRegistry) -> None:
    bundle = registry.add_published([made / "nnunet"], "x")
    (group,) = bundle.groups
    assert group.fold_mean is Average.LOGITS
    batch = torch.randn(1, 4, 16, 16, 16)
    ours = build_network(group.architecture, group.arguments).eval()
    theirs = checkpoints.nnunet_network(checkpoints.nnunet_arguments((4, 8)), 4, 5).eval()
    for fold, name in enumerate(group.members):
        path = made / "nnunet" / MODEL / f"fold_{fold}" / "checkpoint_final.pth"
        theirs.load_state_dict(torch.load(path, weights_only=False)["network_weights"])
        load_state(ours, "nnunet", load_file(bundle.folder / name))
        with torch.no_grad():
            assert torch.equal(ours(batch), theirs(batch)[0])


def copied(made: Path, tmp_path: Path, name: str) -> Path:
    return Path(shutil.copytree(made / name, tmp_path / name))


def change_json(path: Path, change: Change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_checkpoint(path: Path, change: Change) -> None:
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def test_old_plans_and_inherited_ones_mean_the_same(tmp_path: Path, registry: ModelRegistry) -> None:
    groups = []
    for name, old in (("new", False), ("old", True), ("heir", False)):
        folder = checkpoints.make_nnunet_folder(tmp_path / name, (0,), features=(4, 8, 8), old=old)
        if name == "heir":

            def move(plans: dict[str, Any]) -> None:
                whole = plans["configurations"].pop("3d_fullres")
                plans["configurations"] = {
                    "base": {**whole, "patch_size": [8, 8, 8]},
                    "3d_fullres": {"inherits_from": "base", "patch_size": whole["patch_size"]},
                }

            change_json(folder / "plans.json", move)
        groups.append(registry.add_published([folder], name).groups[0])
    assert groups[0] == groups[1] == groups[2]


def test_residual_networks(tmp_path: Path, registry: ModelRegistry) -> None:
    checkpoints.make_nnunet_folder(tmp_path / "r", (0,), residual=True)
    group = registry.add_published([tmp_path / "r"], "x").groups[0]
    assert group.arguments["class_name"].endswith("ResidualEncoderUNet")


def in_configuration(**entries: Any) -> Change:
    return lambda plans: plans["configurations"]["3d_fullres"].update(entries)


def in_architecture(**entries: Any) -> Change:
    return lambda plans: plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(entries)


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        ("plans", in_configuration(resampling_fn_data="resample_torch_fornnunet"), "resample_torch_fornnunet"),
        ("plans", in_configuration(resampling_fn_probabilities="other"), "resampling_fn_probabilities other"),
        ("plans", in_configuration(resampling_fn_data_kwargs={"memefficient": 1}), "memefficient"),
        ("plans", in_configuration(normalization_schemes=["RGBTo01Normalization"] * 4), "RGBTo01Normalization"),
        ("plans", in_configuration(normalization_schemes=["ZScoreNormalization"]), "each of the 4 channels"),
        ("plans", in_configuration(preprocessor_name="OwnPreprocessor"), "OwnPreprocessor"),
        ("plans", in_configuration(previous_stage="3d_lowres"), "cascade"),
        ("plans", in_configuration(patch_size=[16, 16]), "only 3D networks"),
        ("plans", in_configuration(inherits_from="nowhere"), "no configuration nowhere"),
        ("plans", in_configuration(inherits_from="3d_fullres"), "inherits from itself"),
        ("plans", in_architecture(features_per_stage=[4, 10**9]), "features_per_stage"),
        ("plans", in_architecture(features_per_stage=[4, 16]), "other plans than plans.json"),
        ("plans", lambda plans: plans.update(image_reader_writer="NibabelIOWithReorient"), "NibabelIOWithReorient"),
        ("plans", lambda plans: plans.pop("transpose_forward"), "lacks transpose_forward"),
        ("plans", lambda plans: plans.pop("configurations"), "lacks configurations"),
        ("plans", in_configuration(resampling_fn_data_kwargs=[1]), "unexpected"),
        ("plans", in_configuration(architecture=3), "lacks network_class_name"),
        ("dataset", lambda d: d["labels"].update(ET=[1, 2]), "regions"),
        ("dataset", lambda d: d.update(labels={"background": 0, "liver": 1}), "liver"),
        ("dataset", lambda d: d["labels"].update(ED=7), "count up from 0"),
        ("dataset", lambda d: d.pop("labels"), "lacks labels"),
    ],
)
def test_plans_that_cannot_be_followed(
    file: str, change: Change, match: str, made: Path, tmp_path: Path, registry: ModelRegistry
) -> None:
    folder = copied(made, tmp_path, "nnunet")
    change_json(folder / MODEL / f"{file}.json", change)
    refused(registry, folder, match)


def test_names_in_plans_do_not_pick_code(made: Path, tmp_path: Path, registry: ModelRegistry) -> None:
    folder = copied(made, tmp_path, "nnunet")
    for fold in (0, 1):
        change_checkpoint(folder / MODEL / f"fold_{fold}" / "checkpoint_final.pth", lambda c: c.pop("init_args"))
    assert registry.add_published([folder], "good").manifest["source"]["networks"][0]["configuration"] == "3d_fullres"
    registry.remove("good")
    change_json(folder / MODEL / "plans.json", in_architecture(nonlin="os.system"))
    refused(registry, folder, r"nonlin names 'os\.system'")


def test_folds_that_disagree_or_are_missing(made: Path, tmp_path: Path, registry: ModelRegistry) -> None:
    folder = copied(made, tmp_path, "nnunet")
    second = folder / MODEL / "fold_1" / "checkpoint_final.pth"
    whole = second.read_bytes()
    change_checkpoint(second, lambda c: c.update(inference_allowed_mirroring_axes=(0,)))
    refused(registry, folder, "fold 1 was trained otherwise than fold 0: its mirror axes")
    second.write_bytes(whole)
    change_checkpoint(second, lambda c: c["init_args"]["plans"].update(transpose_forward=[0, 1, 2]))
    refused(registry, folder, "fold 1 was trained with other plans")
    second.write_bytes(whole)
    change_checkpoint(second, lambda c: c["network_weights"].pop("decoder.transpconvs.0.bias"))
    refused(registry, folder, r"nnunet fold 1: .*decoder\.transpconvs\.0\.bias")
    second.write_bytes(whole)
    change_checkpoint(second, lambda c: c["network_weights"].update(bogus=torch.zeros(2)))
    refused(registry, folder, "bogus")
    second.write_bytes(whole[:5000])
    refused(registry, folder, r"fold 1 \(fold_1/checkpoint_final\.pth\)")
    second.unlink()
    refused(registry, folder, r"fold_1 has no checkpoint_final\.pth")
    shutil.rmtree(second.parent)
    shutil.copytree(folder / MODEL / "fold_0", folder / MODEL / "fold_2")
    refused(registry, folder, "fold 1 is missing")


def test_a_fold_of_all_cases(tmp_path: Path, registry: ModelRegistry) -> None:
    checkpoints.make_nnunet_folder(tmp_path / MODEL, ("all",), mirror_axes=None)
    group = registry.add_published([tmp_path / MODEL], "x").groups[0]
    assert (group.members, group.tiling.mirror_axes) == (("nnunet-foldall.safetensors",), ())


def test_mednext_without_plans_and_with_plans_beside(tmp_path: Path, registry: ModelRegistry) -> None:
    folder = checkpoints.make_mednext_folder(tmp_path / "m", (0, 1), plans=False)
    bundle = registry.add_published([folder], "bare")
    assert bundle.groups[0].tiling.patch == (128, 128, 128)
    assert "no plans with its checkpoints" in assumed(bundle)
    assert bundle.groups[0].weight == 1.0
    plans = checkpoints.mednext_plans((16, 32, 16), 4, 5, (1.5, 1.0, 1.0), (1, 0, 2))
    (folder / "plans.pkl").write_bytes(pickle.dumps(plans))
    group = registry.add_published([folder], "beside").groups[0]
    assert (group.tiling.patch, group.preprocessing.spacing_mm) == ((16, 32, 16), (1.5, 1.0, 1.0))
    assert group.preprocessing.transpose == (1, 0, 2)
    (folder / "plans.pkl").unlink()
    three = {key: dict.fromkeys(range(3), plans[key][0]) for key in ("normalization_schemes", "use_mask_for_norm")}
    for match, change in (
        ("4 input channels, its plans say 3", {"num_modalities": 3, "modalities": {}, **three}),
        ("output classes, its plans 4", {"num_classes": 3}),
        ("Own", {"normalization_schemes": dict.fromkeys(range(4), "Own")}),
        ("plans_per_stage", {"plans_per_stage": 3}),
    ):
        (folder / "plans.pkl").write_bytes(pickle.dumps({**plans, **change}))
        with pytest.raises(BundleError, match=match):
            registry.add_published([folder], "wrong")


def test_mednext_files_that_are_missing(made: Path, tmp_path: Path, registry: ModelRegistry) -> None:
    folder = copied(made, tmp_path, "mednext")
    model = folder / "fold_1" / "model_final_checkpoint.model"
    shutil.copy(model, model.with_name("model_best.model"))
    assert len(registry.add_published([folder], "y").groups[0].members) == 2
    registry.remove("y")
    model.with_name("model_best.model").unlink()
    beside = model.with_name(f"{model.name}.pkl")
    whole = beside.read_bytes()
    beside.unlink()
    refused(registry, folder, r"fold 1: model_final_checkpoint\.model\.pkl is missing")
    beside.write_bytes(whole)
    change_checkpoint(model, lambda c: c["state_dict"].pop("down_2.conv3.weight"))
    refused(registry, folder, r"mednext fold 1: .*down_2\.conv3\.weight")
    model.unlink()
    refused(registry, folder, r"fold_1 has no \.model")


def test_swinunetr_variants(tmp_path: Path, registry: ModelRegistry) -> None:
    checkpoints.make_swinunetr_file(tmp_path / "a" / "best_f1.pt", wrapped=False, depths=(1, 1, 1, 1))
    checkpoints.make_swinunetr_file(tmp_path / "a" / "best_f2.pt", wrapped=False, depths=(1, 1, 1, 1), seed=5)
    bundle = registry.add_published([tmp_path / "a"], "x")
    assert bundle.groups[0].member_names == ("fold 1", "fold 2")
    assert bundle.groups[0].arguments["depths"] == [1, 1, 1, 1]
    assert "tiles of 128x128x128" in assumed(bundle)
    registry.remove("x")
    one = tmp_path / "a" / "best_f1.pt"
    refused(registry, checkpoints.make_swinunetr_file(tmp_path / "b" / "m.pt", classes=3), "3 output classes")
    refused(registry, checkpoints.make_swinunetr_file(tmp_path / "c" / "m.pt", roi=(30, 32, 32)), "multiples of 32")
    (tmp_path / "a" / "fold1").mkdir()
    shutil.copy(one, tmp_path / "a" / "fold1" / "m.pt")
    refused(registry, tmp_path / "a", "two files for fold 1")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    refused(registry, tmp_path / "other.pt", "no SwinUNETR checkpoint")


def test_what_a_person_says(made: Path, registry: ModelRegistry) -> None:
    choices = ImportChoices(
        sequences=("t1c", "t1n", "t2w", "t2f"),
        head_state=HeadState.BRAIN,
        licence="L",
        weights={"swinunetr": 3.0},
        title="T",
    )
    bundle = registry.add_published([made / "swin"], "x", choices)
    assert bundle.groups[0].channels == ("t1c", "t1n", "t2w", "t2f")
    assert (bundle.head_state, bundle.licence, bundle.manifest["title"]) == (HeadState.BRAIN, "L", "T")
    assert bundle.groups[0].weight == 3.0
    assert "order" not in assumed(bundle)
    with pytest.raises(InputError, match="order of the input channels"):
        registry.add_published([made / "nnunet"], "y", choices)
    with pytest.raises(InputError, match="weights do not fit"):
        registry.add_published([made / "swin"], "y", ImportChoices(weights={"nnunet": 1.0}))


@pytest.mark.parametrize(
    ("names", "expected", "says"),
    [
        (("T1", "T1ce", "T2", "FLAIR"), "t1n t1c t2w t2f", False),
        (("t2f", "T1-Gd", "T2w", "T1w"), "t2f t1c t2w t1n", False),
        (("0000", "0001", "0002", "0003"), "t1n t1c t2w t2f", True),
        (None, "t1n t1c t2w t2f", True),
        (("T2", "x", "y", "z"), None, False),
        (("T1", "T1", "T2", "FLAIR"), None, False),
    ],
)
def test_channel_names(names: tuple[str, ...] | None, expected: str | None, says: bool) -> None:
    if expected is None:
        with pytest.raises(InputError, match="--sequences"):
            channels_of("it", names, 4, None)
        return
    channels, said = channels_of("it", names, 4, None)
    assert " ".join(channels) == expected
    assert bool(said) is says


def test_three_channels_have_to_be_named() -> None:
    with pytest.raises(InputError, match="3 different"):
        channels_of("it", None, 3, None)
    assert channels_of("it", None, 3, ("t1c", "t2w", "t2f"))[0] == ("t1c", "t2w", "t2f")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "ET": 1, "NET": 2, "CC": 3, "ED": 4}, (0, 1, 2, 3, 4)),
        ({"background": 0, "edema": 1, "Enhancing tumour": 2, "cyst": 3, "non-enhancing": 4}, (0, 4, 1, 3, 2)),
        ({"background": 0, "label_1": 1, "label_2": 2, "label_3": 3, "label_4": 4}, (0, 1, 2, 3, 4)),
        ({"background": 0, "ET": 1, "NETC": [2], "ignore": 3}, (0, 1, 2)),
        ({"background": 0, "ET": 1, "NET": 2, "NCR": 3}, None),
        ({"background": 0, "1": 1, "2": 2}, None),
    ],
)
def test_label_names(labels: Mapping[str, Any], expected: tuple[int, ...] | None) -> None:
    if expected is None:
        with pytest.raises(BundleError):
            classes_of("it", labels)
        return
    assert classes_of("it", labels)[0] == expected


@pytest.mark.parametrize("name", ["nothing", "empty", "text.txt", "plans.json", "thresholds"])
def test_sources_without_networks(name: str, made: Path, tmp_path: Path, registry: ModelRegistry) -> None:
    (tmp_path / "empty").mkdir()
    for file in ("text.txt", "plans.json"):
        (tmp_path / file).write_text("{}")
    source = made / name if name == "thresholds" else tmp_path / name
    with pytest.raises(InputError):
        registry.add_published([source], "x")
    assert left(registry) == []


def test_a_hostile_zip_is_refused(tmp_path: Path, registry: ModelRegistry) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../outside/plans.json", "{}")
    refused(registry, tmp_path / "evil.zip", "outside", InputError)
    assert not (tmp_path / "outside").exists()


def test_taken_and_impossible_ids(made: Path, registry: ModelRegistry) -> None:
    for taken in ("starter", "../x", "A"):
        with pytest.raises(InputError):
            registry.add_published([made / "nnunet"], taken)
    assert left(registry) == []


def test_a_models_directory_that_cannot_be_written(made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        ModelRegistry(tmp_path / "file" / "models").add_published([made / "nnunet"], "x")


def test_a_full_disk_leaves_nothing(made: Path, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, raw: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        registry.add_published([made / "nnunet"], "x")
    assert left(registry) == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["SOURCE"], "give --id"),
        (["SOURCE", "--id", "x", "--sequences", "t1n,t9"], "t1n,t1c,t2w,t2f"),
        (["SOURCE", "--id", "x", "--weights", "nnunet"], "nnunet=0.33"),
        (["STARTER", "SOURCE", "--id", "x"], "a bundle already"),
    ],
)
def test_wrong_calls(
    arguments: list[str], match: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hope.models.bundle import BUNDLED

    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    places = {"SOURCE": str(made / "nnunet"), "STARTER": str(BUNDLED / "starter")}
    run = CliRunner().invoke(main, ["models", "add", *(places.get(a, a) for a in arguments)])
    assert run.exit_code != 0
    assert match in run.output


def test_values_nested_beyond_measure_are_refused_at_once(tmp_path: Path, registry: ModelRegistry) -> None:
    """Forty lines of "twice the one before" would fill any memory if they were written into a message."""
    nested: Any = ("a", "b")
    for _ in range(40):
        nested = (nested, nested)
    folder = checkpoints.make_nnunet_folder(tmp_path / MODEL, (0,))
    _change(folder, lambda content: content.update(inference_allowed_mirroring_axes=nested))
    refused(registry, folder, "mirroring axes")


def test_weights_that_are_not_finite_and_folds_given_twice(tmp_path: Path, registry: ModelRegistry) -> None:
    folder = checkpoints.make_nnunet_folder(tmp_path / MODEL, (0,))
    shutil.copytree(folder / "fold_0", folder / "fold_00")
    refused(registry, folder, "two folders for fold 0")
    shutil.rmtree(folder / "fold_00")

    def spoil(content: dict[str, Any]) -> None:
        next(iter(content["network_weights"].values())).fill_(float("nan"))

    _change(folder, spoil)
    refused(registry, folder, "not finite")


@pytest.mark.parametrize("patch", [[15, 16, 16], [float("nan"), 16, 16], [float("inf"), 16, 16], [2000, 16, 16]])
def test_tiles_that_the_network_cannot_see(patch: list[float], tmp_path: Path, registry: ModelRegistry) -> None:
    folder = checkpoints.make_nnunet_folder(tmp_path / MODEL, (0,))
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["patch_size"] = patch
    (folder / "plans.json").write_text(json.dumps(plans))
    refused(registry, folder, "patch_size")


def test_networks_that_would_fill_the_memory_are_not_built() -> None:
    with pytest.raises(BundleError, match="parameters"):
        build_network("mednext", {**_SMALL_MEDNEXT, "width": 4096})
    with pytest.raises(BundleError, match=r"far larger|unusable feature_size"):
        sizes = {"channels": 4, "classes": 5, "depths": [2] * 4, "heads": [3, 6, 12, 24], "window": 7}
        build_network("swinunetr", {**sizes, "feature_size": 12000})


_SMALL_MEDNEXT = {"channels": 4, "classes": 5, "expansion": [2] * 9, "blocks": [1] * 9, "kernel": 3}


def _change(folder: Path, change: Change) -> None:
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)
