"""Clusters of similar cases, learned from features: normalisation, projection, k-means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from hope.domain.errors import InputError
from hope.domain.wording import counted
from hope.stages.postprocess.clusters import ClusterModel

Normalisation = Literal["l2", "standard"]

MOST_COMPONENTS: Final = 9
"""As many as the published model has; fewer where there are few cases."""

CASES_PER_CLUSTER: Final = 2
"""So many have to be there for every cluster that is asked for."""

STARTS: Final = 10
"""k-means is started so often, and the tightest result is kept."""


def fit_clusters(
    features: Sequence[Mapping[str, float]], count: int, normalisation: Normalisation, seed: int, name: str
) -> ClusterModel:
    """Learn a cluster model; equal input and seed give an equal model.

    Args:
        features: per case value per name; every case has the same names.
        count: number of clusters.
        normalisation: ``l2`` divides each case by its norm, so that the largest features decide, as in the published
            model; ``standard`` gives every feature one weight.
        seed: of the starts.
        name: of the model.

    Raises:
        InputError: if there are fewer than two cases per cluster, or a feature is not finite.
    """
    least = CASES_PER_CLUSTER * count
    if len(features) < least:
        raise InputError(
            f"{count} clusters need more cases", expected=f"at least {least}", got=f"{len(features)} with features"
        )
    names = tuple(features[0])
    x = np.array([[float(case[key]) for key in names] for case in features], dtype=np.float64)
    if not np.isfinite(x).all():
        odd = names[int(np.flatnonzero(~np.isfinite(x).all(axis=0))[0])]
        raise InputError("a feature is not finite in every case", got=odd)
    mean = scale = None
    if normalisation == "standard":
        mean, scale = x.mean(axis=0), x.std(axis=0)
        # A feature that never varies says nothing, whatever it is divided by.
        scale[scale <= 1e-12 * np.maximum(np.abs(mean), 1.0)] = 1.0
        x = (x - mean) / scale
    else:
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        x = x / np.where(norm > 0, norm, 1.0)
    pca = PCA(n_components=min(MOST_COMPONENTS, len(x) - 1, x.shape[1]), svd_solver="full")
    projected = pca.fit_transform(x)
    centres = KMeans(n_clusters=count, n_init=STARTS, random_state=seed).fit(projected).cluster_centers_
    note = f"Learned from {counted(len(features), 'cases')} by `hope train postprocess`; k-means with seed {seed}."
    return ClusterModel(
        name=name,
        features=names,
        pca_mean=np.asarray(pca.mean_, dtype=np.float64),
        components=np.asarray(pca.components_, dtype=np.float64),
        centers=np.asarray(centres, dtype=np.float64),
        mean=mean,
        scale=scale,
        note=note,
    )
