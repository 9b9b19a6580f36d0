"""Bundles: what is damaged, missing or unknown is said; what is added comes out the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hope.domain.case import SEQUENCES, CleanUp, MRSequence
from hope.domain.errors import BundleError, InputError, OutputError
from hope.models.bundle import BUNDLED, DEFAULT_MODEL, MANIFEST, WEIGHTS, read_bundle
from hope.models.registry import ModelRegistry
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.loop import start

TINY = TrainingConfig(
    spacing_mm=4.0, patch=(16, 16, 16), tile=(16, 16, 16), widths=(4, 8), blocks=(1, 1), decoder_blocks=(1,)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    export_bundle(start(TINY), TINY, folder, "tiny")
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def test_a_bundle_reads_back_what_was_written(bundle: Path) -> None:
    read = read_bundle(bundle)
    read.verify()
    assert (read.id, read.architecture, read.patch) == ("tiny", "UNet", (16, 16, 16))
    assert read.sequences == SEQUENCES
    assert read.sha256 == read_bundle(bundle).sha256


def test_the_clean_up_is_stated_and_an_old_bundle_gets_what_it_got(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    assert manifest.pop("cleanup") == "drop-unsure"
    for value, read in (("drop-specks", CleanUp.SPECKS), ("drop-unsure", CleanUp.UNSURE), (None, CleanUp.UNSURE)):
        (bundle / MANIFEST).write_text(json.dumps(manifest | ({"cleanup": value} if value else {})))
        assert read_bundle(bundle).cleanup is read
    (bundle / MANIFEST).write_text(json.dumps(manifest | {"cleanup": "some day"}))
    with pytest.raises(BundleError, match="some day"):
        read_bundle(bundle)
    assert "cleanup" not in read_bundle(BUNDLED / "starter").manifest
    assert read_bundle(BUNDLED / "starter").cleanup is CleanUp.UNSURE


def test_one_flipped_bit_in_the_weights_is_found(bundle: Path) -> None:
    raw = bytearray((bundle / WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (bundle / WEIGHTS).write_bytes(bytes(raw))
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(bundle).verify()


def test_missing_weights_are_named(bundle: Path) -> None:
    (bundle / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=WEIGHTS):
        read_bundle(bundle).verify()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "hope-bundle/9"},
        {"input": {}},
        {"files": {"../../x": "0"}},
        {"files": {}},
        {"files": ["weights.safetensors"]},
        {"label_schema": "brats2023"},
        {"patch": [0, 16, 16]},
    ],
)
def test_unusable_manifests_are_refused(bundle: Path, change: dict) -> None:
    path = bundle / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError):
        read_bundle(bundle)


def test_a_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=MANIFEST):
        read_bundle(tmp_path)


def test_what_a_model_can_do_without(bundle: Path) -> None:
    read = replace(read_bundle(bundle), optional=frozenset(SEQUENCES) - {MRSequence.T2W}, max_missing=1)
    assert read.missing(SEQUENCES) == ()
    assert read.missing([s for s in SEQUENCES if s != MRSequence.T2F]) == (MRSequence.T2F,)
    with pytest.raises(InputError, match="--t2w"):
        read.missing([s for s in SEQUENCES if s != MRSequence.T2W])
    with pytest.raises(InputError):
        read.missing([MRSequence.T1C, MRSequence.T2W])
    with pytest.raises(InputError):
        read.missing([])


def test_a_model_trained_here_takes_any_sequence_alone_but_not_none(bundle: Path) -> None:
    read = read_bundle(bundle)
    for one in SEQUENCES:
        assert read.missing([one]) == tuple(s for s in SEQUENCES if s is not one)
    with pytest.raises(InputError, match="no sequence"):
        read.missing([])


def test_a_model_can_ask_for_one_of_several_sequences(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["input"]["at_least_one_of"] = ["t2f", "t2w"]
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    read = read_bundle(bundle)
    assert read.missing([MRSequence.T2F]) == (MRSequence.T1N, MRSequence.T1C, MRSequence.T2W)
    with pytest.raises(InputError, match=r"without t2w or t2f.*--t2w FILE or --t2f FILE"):
        read.missing([MRSequence.T1N, MRSequence.T1C])


def test_registry_adds_from_folder_and_zip_and_removes(bundle: Path, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models")
    before = read_bundle(bundle).sha256
    assert registry.add(bundle).sha256 == before
    with pytest.raises(InputError, match="already"):
        registry.add(bundle)
    registry.remove("tiny")
    assert "tiny" not in [b.id for b in registry.list()]
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle.parent, bundle.name)
    assert registry.add(Path(archive)).sha256 == before
    with pytest.raises(InputError, match="tiny"):
        registry.get("nonsense")


def test_a_damaged_bundle_is_not_added(bundle: Path, tmp_path: Path) -> None:
    (bundle / WEIGHTS).write_bytes(b"not weights")
    registry = ModelRegistry(tmp_path / "models")
    with pytest.raises(BundleError, match="damaged"):
        registry.add(bundle)
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())


def test_the_starter_comes_from_synthesis_alone() -> None:
    shipped = read_bundle(BUNDLED / "starter")
    shipped.verify()
    assert shipped.licence == "Apache-2.0"
    assert shipped.manifest["training"]["real_cases"] == 0
    with pytest.raises(InputError, match="ships"):
        ModelRegistry(Path("/nonexistent")).remove("starter")


def test_the_default_model_names_the_scans_that_it_learnt_from() -> None:
    shipped = read_bundle(BUNDLED / DEFAULT_MODEL)
    shipped.verify()
    assert "CC BY 4.0" in shipped.licence and "BraTS" in shipped.licence
    assert shipped.manifest["training"]["only_synthetic"] is False
    folds = json.loads((Path(__file__).parents[3] / "benchmarks" / "folds.json").read_bytes())["folds"]
    named = [case for source in shipped.manifest["trained_on"] for case in source["cases"]]
    assert sorted(named) == sorted(case for fold in folds for case in fold)
    assert all(source["licence"].startswith("CC BY") and source["source"] for source in shipped.manifest["trained_on"])
    assert sum(path.stat().st_size for path in shipped.folder.iterdir()) < 40 * 2**20
    with pytest.raises(InputError, match="ships"):
        ModelRegistry(Path("/nonexistent")).remove(DEFAULT_MODEL)


def test_a_users_bundle_never_takes_the_place_of_one_that_ships(bundle: Path, tmp_path: Path) -> None:
    """Such as one that was added before a version that ships a model of that name."""
    own = tmp_path / "models" / DEFAULT_MODEL
    shutil.copytree(bundle, own)
    manifest = json.loads((own / MANIFEST).read_bytes())
    (own / MANIFEST).write_text(json.dumps(manifest | {"id": DEFAULT_MODEL}))
    registry = ModelRegistry(tmp_path / "models")
    assert registry.get(DEFAULT_MODEL).folder == BUNDLED / DEFAULT_MODEL
    assert [found.folder for found in registry.list() if found.id == DEFAULT_MODEL] == [BUNDLED / DEFAULT_MODEL]
    assert "another id" in registry.problems()[DEFAULT_MODEL]
    registry.remove(DEFAULT_MODEL)
    assert not own.exists() and registry.get(DEFAULT_MODEL).folder == BUNDLED / DEFAULT_MODEL


def test_a_copy_never_takes_the_place_of_the_bundle_that_was_added(bundle: Path, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models")
    added = registry.add(bundle)
    copy = tmp_path / "models" / "a-copy"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / MANIFEST).read_bytes())
    (copy / MANIFEST).write_text(json.dumps(manifest | {"version": "other"}))
    assert registry.get("tiny").sha256 == added.sha256
    assert list(registry.problems()) == ["a-copy"] and "the model tiny" in registry.problems()["a-copy"]
    (added.folder / MANIFEST).write_text("{}")
    with pytest.raises(BundleError, match="model tiny"):
        registry.get("tiny")
    registry.remove("tiny")
    assert registry.get("tiny").version == "other" and not registry.problems(), "the only one of the id"
    registry.remove("tiny")
    assert not copy.exists()


def test_a_directory_named_after_another_model_hides_none(bundle: Path, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models")
    for name, model_id in (("tiny", "other"), ("a-copy", "tiny")):
        folder = tmp_path / "models" / name
        shutil.copytree(bundle, folder)
        manifest = json.loads((folder / MANIFEST).read_bytes())
        (folder / MANIFEST).write_text(json.dumps(manifest | {"id": model_id}))
    assert registry.get("tiny").folder.name == "a-copy" and registry.get("other").folder.name == "tiny"
    assert not registry.problems()
    registry.remove("tiny")
    with pytest.raises(InputError, match="tiny"):
        registry.remove("tiny")  # once more
    assert not (tmp_path / "models" / "a-copy").exists() and registry.get("other").folder.name == "tiny"
    registry.remove("other")
    assert not list((tmp_path / "models").iterdir())


def test_one_unusable_bundle_does_not_hide_the_others(bundle: Path, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models")
    registry.add(bundle)
    old = tmp_path / "models" / "old"
    old.mkdir()
    (old / MANIFEST).write_text('{"format": "hope-bundle/0"}')
    (tmp_path / "models" / ".adding-x").mkdir()
    assert "tiny" in [b.id for b in registry.list()]
    assert registry.get("tiny").id == "tiny"
    assert list(registry.problems()) == ["old"]
    with pytest.raises(BundleError, match="hope-bundle/0"):
        registry.get("old")
    registry.remove("old")
    assert not old.exists()


def test_a_models_directory_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        ModelRegistry(tmp_path / "file" / "models").add(bundle)
