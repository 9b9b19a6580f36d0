"""Cluster models of adaptive post-processing: pickled scikit-learn objects, or the same numbers as an .npz."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.errors import BundleError
from hope.domain.feature_names import FEATURE_NAMES
from hope.formats.reading import reading
from hope.formats.zip_directory import check_entry_count
from hope.models.importers.checkpoint_parts import brief
from hope.models.importers.pickle_stubs import Array, PickleStub, RefusedError
from hope.models.importers.pickles import load, walk

FORMAT = "hope-clusters/1"
_MOST = 10_000
"""Most features, components or clusters."""

_MAX_ENTRIES = 1000
_MAX_ARRAY_BYTES = 256 * 2**20
_NPZ = ("pca_mean", "pca_components", "kmeans_centers")


def read_clusters(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a cluster model.

    Args:
        path: a pickle with one normaliser or scaler, one PCA and one k-means in it, however nested; or an .npz with
            pca_mean, pca_components, kmeans_centers and, if it has them, feature_names.

    Returns:
        The model as ``hope-clusters/1``, and what had to be assumed.

    Raises:
        BundleError: if it holds something else, is damaged, or asks for what it may not have.
        InputError: if it cannot be read.
    """
    found = _from_npz(path) if path.suffix.lower() == ".npz" else _from_pickle(path)
    normalisation, mean, components, centers, lists = found
    features = components.shape[1]
    names, assumed = _names(lists, features, path.name)
    if normalisation is None:
        normalisation = {"kind": "l2"}
        assumed.append(f"clusters: feature vectors are scaled to length 1 (L2), for {path.name} does not say")
    record = {
        "format": FORMAT,
        "name": path.stem,
        "features": names,
        "normalisation": normalisation,
        "pca": {"mean": mean.tolist(), "components": components.tolist()},
        "centers": centers.tolist(),
        "note": f"imported from {path.name}",
    }
    _check(mean, components, centers, normalisation, path.name)
    return record, assumed


_Parts = tuple[
    dict[str, Any] | None, npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], list[list[str]]
]


def _from_npz(path: Path) -> _Parts:
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with reading(path.name):
            with path.open("rb") as file:
                check_entry_count(file, _MAX_ENTRIES)
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MAX_ARRAY_BYTES:
                    raise BundleError(f"{path.name} is far larger than a cluster model")
            with np.load(path, allow_pickle=False) as content:
                for name in (*_NPZ, "feature_names", "normalizer_norm"):
                    if name in content.files:
                        arrays[name] = content[name]
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise BundleError(f"{path.name} is damaged, or holds Python objects, which are never read") from error
    for name in _NPZ:
        if name not in arrays:
            raise BundleError(f"{path.name} lacks {name}; a cluster model has {', '.join(_NPZ)}")
    normalisation: dict[str, Any] | None = None
    if "normalizer_norm" in arrays:
        normalisation = _norm(str(arrays["normalizer_norm"].item()) if arrays["normalizer_norm"].size == 1 else "?")
    lists = [[str(n) for n in arrays["feature_names"].ravel()]] if "feature_names" in arrays else []
    mean, components, centers = (_floats(arrays[name], path.name) for name in _NPZ)
    return normalisation, mean, components, centers, lists


def _norm(norm: object) -> dict[str, Any]:
    if norm != "l2":
        raise BundleError(f"the cluster model normalises by {brief(norm)!r}; only l2 or a standard scaler is known")
    return {"kind": "l2"}


def _from_pickle(path: Path) -> _Parts:
    with reading(path.name), path.open("rb") as stream:
        content = load(stream, path.name)
    pcas, kmeans, scalers, norms, lists = [], [], [], [], []
    try:
        for item in walk(content):
            names = item.state if isinstance(item, PickleStub) and isinstance(item.state, dict) else {}
            if {"mean_", "components_"} <= set(names):
                pcas.append(names)
            elif "cluster_centers_" in names:
                kmeans.append(names)
            elif {"mean_", "scale_"} <= set(names):
                scalers.append(names)
            elif "norm" in names and isinstance(item, PickleStub) and item.origin.endswith(".Normalizer"):
                norms.append(names)
            if isinstance(item, list | tuple | Array):
                lists.append(_texts(item))
        for what, some in (("PCA", pcas), ("k-means", kmeans)):
            if len(some) != 1:
                raise BundleError(f"{path.name} should hold one fitted {what}, it holds {len(some)}")
        if len(norms) + len(scalers) != 1:
            found = f"{len(norms)} and {len(scalers)}"
            raise BundleError(f"{path.name} should hold one Normalizer or one StandardScaler, it holds {found}")
        mean, components = (_array(pcas[0][key], path.name) for key in ("mean_", "components_"))
        if pcas[0].get("whiten") not in (None, False):
            variance = _array(pcas[0].get("explained_variance_"), path.name)
            # Whitening divides every score by its deviation, which the components can carry just as well.
            components = components / np.sqrt(variance)[:, None]
        normalisation = _norm(norms[0]["norm"]) if norms else _standard(scalers[0], path.name)
        centers = _array(kmeans[0]["cluster_centers_"], path.name)
    except RefusedError as error:
        raise BundleError(f"{path.name} {error}") from error
    return normalisation, mean, components, centers, [names for names in lists if names]


def _standard(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    # A scaler that does not centre, or does not scale, keeps None there.
    mean, scale = state.get("mean_"), state.get("scale_")
    if mean is None or scale is None:
        raise BundleError(f"{name}: the scaler should both centre and scale")
    return {"kind": "standard", "mean": _array(mean, name).tolist(), "scale": _array(scale, name).tolist()}


def _texts(item: Any) -> list[str]:
    if isinstance(item, Array):
        real = item.real()
        item = real.ravel().tolist() if real.dtype.kind in "OU" and real.size <= _MOST else []
    texts = item if 0 < len(item) <= _MOST and all(isinstance(n, str) for n in item) else []
    return list(texts)


def _array(value: Any, name: str) -> npt.NDArray[np.float64]:
    if not isinstance(value, Array):
        raise BundleError(f"{name}: a fitted number is missing or is no array")
    return _floats(value.real(), name)


def _floats(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiu" or max(array.shape, default=0) > _MOST:
        raise BundleError(f"{name}: the cluster model's arrays should be numbers, of a sensible size")
    numbers: npt.NDArray[np.float64] = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise BundleError(f"{name}: the cluster model holds numbers that are not finite")
    return numbers


def _names(lists: list[list[str]], features: int, name: str) -> tuple[list[str], list[str]]:
    fitting = {tuple(names) for names in lists if len(names) == features and len(set(names)) == features}
    if len(fitting) == 1:
        return list(next(iter(fitting))), []
    if len(fitting) > 1:
        raise BundleError(f"{name} holds {len(fitting)} different lists of {features} feature names")
    published = FEATURE_NAMES
    if features != len(published):
        raise BundleError(f"{name} does not name its {features} features, and only {len(published)} are published")
    return list(published), [
        f"clusters: the {features} features are in the published order ({name} does not name them)"
    ]


def _check(
    mean: npt.NDArray[np.float64],
    components: npt.NDArray[np.float64],
    centers: npt.NDArray[np.float64],
    normalisation: Mapping[str, Any],
    name: str,
) -> None:
    parts, features = components.shape if components.ndim == 2 else (0, 0)
    fits = parts and mean.shape == (features,) and centers.ndim == 2 and centers.shape[1] == parts and len(centers)
    if normalisation["kind"] == "standard":
        fits = fits and len(normalisation["mean"]) == len(normalisation["scale"]) == features
        fits = fits and all(scale > 0 for scale in normalisation["scale"])
    if not fits:
        raise BundleError(
            f"{name}: the parts of the cluster model do not fit each other (PCA mean {mean.shape},"
            f" components {components.shape}, centres {centers.shape})"
        )
