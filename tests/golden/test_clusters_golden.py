"""The published cluster model, case by case: scores and clusters as the original libraries gave them.

The vectors lie beside the repository (../shared/golden) and never in it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hope.stages.postprocess.clusters import ClusterModel

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "peds_cluster.npz"
CASES = 150

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not GOLDEN.is_file(), reason="the golden vectors (../shared/golden) are not on this machine"),
]


def test_every_case_gets_the_published_scores_and_cluster() -> None:
    with np.load(GOLDEN) as golden:
        names = [str(name) for name in golden["feature_names"]]
        model = ClusterModel.from_json(
            {
                "format": "hope-clusters/1",
                "name": "published",
                "features": names,
                "normalisation": {"kind": "l2"},
                "pca": {"mean": golden["pca_mean"].tolist(), "components": golden["pca_components"].tolist()},
                "centers": golden["kmeans_centers"].tolist(),
                "note": "",
            }
        )
        rows, scores, clusters, gaps = (golden[key] for key in ("test_X", "test_pca", "test_cluster", "test_gap"))
    assert len(rows) == CASES
    model = ClusterModel.from_json(json.loads(json.dumps(model.to_json())))
    for row, score, cluster, gap in zip(rows, scores, clusters, gaps, strict=True):
        features = dict(zip(names, row.tolist(), strict=True))
        place = model.place(features)
        projected = model.project(features)
        assert np.abs(projected - score).max() <= 1e-12 * np.abs(score).max()
        assert place.cluster == cluster
        assert place.runner_up_distance is not None
        assert place.runner_up_distance**2 - place.distance**2 == pytest.approx(gap, rel=1e-9, abs=1e-12)
