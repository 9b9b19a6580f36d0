"""Cluster models and threshold files: the same clusters as scikit-learn gives, the same rules as are built in."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from tests import checkpoints

from hope.domain.errors import BundleError
from hope.domain.feature_names import FEATURE_NAMES
from hope.models.importers import thresholds
from hope.models.importers.clusters import read_clusters
from hope.models.registry import ModelRegistry

NAMES = [f"feature {n}" for n in range(12)]


def assign(record: dict[str, Any], values: np.ndarray) -> np.ndarray:
    """Cluster of each row, by the plain formula."""
    kind = record["normalisation"]
    if kind["kind"] == "l2":
        length = np.linalg.norm(values, axis=1, keepdims=True)
        values = values / np.where(length, length, 1)
    else:
        values = (values - kind["mean"]) / kind["scale"]
    scores = (values - record["pca"]["mean"]) @ np.array(record["pca"]["components"]).T
    distances = ((scores[:, None] - np.array(record["centers"])[None]) ** 2).sum(-1)
    return distances.argmin(1)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickled_model_assigns_as_scikit_learn_does(protocol: int, tmp_path: Path) -> None:
    parts = checkpoints.make_cluster_pickle(tmp_path / "c.pkl", NAMES, 4, 5, protocol=protocol)
    record, assumed = read_clusters(tmp_path / "c.pkl")
    assert (record["name"], record["features"], assumed) == ("c", NAMES, [])
    theirs = parts["kmeans"].predict(parts["pca"].transform(parts["normaliser"].transform(parts["values"])))
    assert assign(record, parts["values"]).tolist() == theirs.tolist()
    json.dumps(record)


@pytest.mark.parametrize("whiten", [False, True])
def test_a_pipeline_with_a_scaler(whiten: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(3, 2, (60, 12))
    line = make_pipeline(StandardScaler(), PCA(4, whiten=whiten), KMeans(3, n_init=1, random_state=0)).fit(values)
    (tmp_path / "c.pkl").write_bytes(pickle.dumps((line, np.array(NAMES, dtype=object))))
    record, _ = read_clusters(tmp_path / "c.pkl")
    assert record["normalisation"]["kind"] == "standard"
    assert record["features"] == NAMES
    assert assign(record, values).tolist() == line.predict(values).tolist()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.pop("pca"), "one fitted PCA, it holds 0"),
        (lambda c: c.update(more=KMeans(2, n_init=1).fit(np.eye(3))), "one fitted k-means, it holds 2"),
        (lambda c: c.pop("normalizer"), "one Normalizer or one StandardScaler"),
        (lambda c: c.update(normalizer=Normalizer("l1")), "'l1'"),
        (lambda c: c.pop("feature_names"), "does not name its 12 features"),
        (lambda c: c.update(other=NAMES[::-1]), "2 different lists"),
        (lambda c: c["kmeans"].__dict__.update(cluster_centers_=np.eye(7)), "do not fit each other"),
        (lambda c: c["pca"].__dict__.update(mean_=np.full(12, np.nan)), "not finite"),
        (lambda c: c["pca"].__dict__.update(mean_=np.array([{}], dtype=object)), "numbers"),
    ],
)
def test_pickles_that_are_no_cluster_model(change: Any, match: str, tmp_path: Path) -> None:
    checkpoints.make_cluster_pickle(tmp_path / "c.pkl", NAMES, 4, 5)
    content = pickle.loads((tmp_path / "c.pkl").read_bytes())  # noqa: S301
    change(content)
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(BundleError, match=match):
        read_clusters(tmp_path / "c.pkl")


def test_the_published_order_is_used_where_names_are_missing(tmp_path: Path) -> None:
    parts = checkpoints.cluster_parts()
    (tmp_path / "c.pkl").write_bytes(pickle.dumps([parts["normaliser"], parts["pca"], parts["kmeans"]]))
    record, assumed = read_clusters(tmp_path / "c.pkl")
    assert record["features"] == list(FEATURE_NAMES)
    assert "published order" in assumed[0]


def test_an_npz_with_objects_is_never_unpickled(tmp_path: Path) -> None:
    arrays = {"pca_mean": np.zeros(2), "pca_components": np.eye(2), "kmeans_centers": np.eye(2)}
    np.savez(tmp_path / "c.npz", **{**arrays, "pca_mean": np.array([{}], dtype=object)})
    with pytest.raises(BundleError, match="never read"):
        read_clusters(tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", **arrays, feature_names=np.array(["a", "b"]))
    record, assumed = read_clusters(tmp_path / "c.npz")
    assert record["features"] == ["a", "b"]
    assert "L2" in assumed[0]


def test_the_golden_cluster_model_and_the_order_of_its_features(repository: Path) -> None:
    golden = repository.parent / "shared" / "golden"
    if not golden.is_dir():
        pytest.skip("the golden vectors (../shared/golden) are not on this machine")
    record, assumed = read_clusters(golden / "peds_cluster.npz")
    assert assumed == []
    with np.load(golden / "peds_cluster.npz", allow_pickle=False) as content:
        assert record["features"] == content["feature_names"].tolist()
        assert assign(record, content["test_X"]).tolist() == content["test_cluster"].tolist()
    names = json.loads((golden / "feature_names_in_order.json").read_text())
    assert list(FEATURE_NAMES) == names
    shapes = json.loads((golden / "segmenter_state_dicts.json").read_text())["mednext"]
    size = {k: v for k, v in checkpoints.MEDNEXT_SIZE.items() if k != "patch"}
    assert checkpoints.mednext_shapes(4, 5, **size) == {key: tuple(shape) for key, (shape, _) in shapes.items()}


def test_published_thresholds_are_the_built_in_rules(tmp_path: Path) -> None:
    sizes, shares = (thresholds.read_thresholds(p) for p in checkpoints.make_threshold_files(tmp_path))
    assert sizes is not None
    assert shares is not None
    assert not thresholds.is_redefinition(sizes)
    assert thresholds.is_redefinition(shares)
    made = thresholds.rules_of(sizes, shares, "mine")
    assert made == thresholds.built_in_rules()
    shares[8][4]["th"] = 0.06
    other = thresholds.rules_of(sizes, shares, "mine")
    assert other["name"] == "mine"
    assert other["clusters"][8]["redefine_below_share"] == {"ED": 0.06}
    assert thresholds.rules_of(sizes, None, "mine")["order"] == []


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"X": {"cluster_0": {"label_9": {"th": 1}}}}, "label_9"),
        ({"X": {"cluster_0": {"label_1": {"x": 1}}}}, "label_1"),
        ({"X": {"cluster_0": {"label_1": {"th": "1"}}}}, "label_1"),
        ({"cluster_1": {"label_1": {"th": 1}}}, "count up"),
        ({"cluster_0": {}}, "no thresholds"),
    ],
)
def test_damaged_thresholds(content: dict[str, Any], match: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=match):
        thresholds.read_thresholds(tmp_path / "t.json")


def test_what_comes_with_the_networks(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models")
    model = checkpoints.make_nnunet_folder(tmp_path / "m", (0,))
    nine, five = tmp_path / "nine.pkl", tmp_path / "five.pkl"
    checkpoints.make_cluster_pickle(nine, NAMES, 4, 9)
    checkpoints.make_cluster_pickle(five, NAMES, 4, 5)
    bundle = registry.add_published([model, nine], "nine")
    post = bundle.postprocess()
    assert post is not None
    assert post["rules"] == thresholds.built_in_rules()
    assert any("published ones" in said for said in bundle.manifest["source"]["assumed"])
    with pytest.raises(BundleError, match="5 clusters"):
        registry.add_published([model, five], "five")
    checkpoints.make_threshold_files(tmp_path / "t", clusters=5)
    post = registry.add_published([model, five, tmp_path / "t"], "five").postprocess()
    assert post is not None
    assert len(post["rules"]["clusters"]) == len(post["clusters"]["centers"]) == 5
    post = registry.add_published([model, tmp_path / "t" / "thresholds_cc.json"], "rules").postprocess()
    assert post is not None
    assert post["clusters"] is None
    with pytest.raises(BundleError, match="several files may be the cluster model"):
        registry.add_published([model, five, nine], "two")
