"""Which group of similar cases a tumour belongs to: features, a projection, and the nearest of a few centres.

The file format (``hope-clusters/1``)::

    {"format": "hope-clusters/1", "name": "...", "features": ["wt_shape_Elongation", ...],
     "normalisation": {"kind": "l2"} or {"kind": "standard", "mean": [..], "scale": [..]},
     "pca": {"mean": [..], "components": [[..], ..]}, "centers": [[..], ..], "note": "..."}

A case's features, in the order of ``features``, are divided by their Euclidean norm (``l2``; of zeros alone nothing
is divided) or brought to zero mean and unit scale (``standard``), projected on the components after their mean is
taken off, without whitening, and given the number of the nearest centre. Published models arrive in this form by
import; nothing of one is shipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.errors import InputError, StageError

FORMAT = "hope-clusters/1"
FloatArray = npt.NDArray[np.float64]

_SHOWN = 3
"""So many missing features are named in an error; the rest are counted."""


@dataclass(frozen=True)
class Placement:
    """Where a case lies among the clusters.

    Attributes:
        cluster: number of the nearest centre; of two equally near ones the lower.
        distance: to that centre, in the projection's own units.
        runner_up: number of the second nearest centre; None where there is only one.
        runner_up_distance: to that one.
    """

    cluster: int
    distance: float
    runner_up: int | None = None
    runner_up_distance: float | None = None

    @property
    def lead(self) -> float | None:
        """How clear the choice is: 0 for a tie, 1 for a case on the centre itself; None without a runner-up."""
        if self.runner_up_distance is None:
            return None
        return 1.0 - self.distance / self.runner_up_distance if self.runner_up_distance > 0 else 0.0


@dataclass(frozen=True, eq=False)
class ClusterModel:
    """Features to cluster number.

    Attributes:
        name: what the result says chose the cluster.
        features: the n feature names in the model's order.
        pca_mean: (n,) taken off the normalised features.
        components: (m, n) rows of the projection.
        centers: (k, m) cluster centres.
        mean: (n,) of the ``standard`` normalisation; None for ``l2``.
        scale: (n,) likewise, all above 0.
        note: a sentence on where it comes from.
    """

    name: str
    features: tuple[str, ...]
    pca_mean: FloatArray
    components: FloatArray
    centers: FloatArray
    mean: FloatArray | None = None
    scale: FloatArray | None = None
    note: str = ""

    @property
    def count(self) -> int:
        """Number of clusters."""
        return int(self.centers.shape[0])

    @classmethod
    def from_json(cls, record: object) -> ClusterModel:
        """Make a model from parsed JSON, checked field by field.

        Raises:
            InputError: naming the first field that is wrong.
        """
        fields = _mapping(record, "the cluster model")
        if fields.get("format") != FORMAT:
            raise InputError(
                "this is not a cluster model that this version reads", expected=FORMAT, got=repr(fields.get("format"))
            )
        names = fields.get("features")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise InputError("features of the cluster model must be a list of names", got=type(names).__name__)
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError("features of the cluster model must differ", got=f"{twice} twice")
        count = len(names)
        mean, scale = _normalisation(fields.get("normalisation"), count)
        projection = _mapping(fields.get("pca"), "pca of the cluster model")
        components = _numbers(projection.get("components"), "pca.components", (None, count))
        return cls(
            name=str(fields.get("name") or "unnamed"),
            features=tuple(names),
            pca_mean=_numbers(projection.get("mean"), "pca.mean", (count,)),
            components=components,
            centers=_numbers(fields.get("centers"), "centers", (None, components.shape[0])),
            mean=mean,
            scale=scale,
            note=str(fields.get("note") or ""),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives an equal model back, to the last bit."""
        normalisation: dict[str, Any] = {"kind": "l2"}
        if self.mean is not None and self.scale is not None:
            normalisation = {"kind": "standard", "mean": self.mean.tolist(), "scale": self.scale.tolist()}
        return {
            "format": FORMAT,
            "name": self.name,
            "features": list(self.features),
            "normalisation": normalisation,
            "pca": {"mean": self.pca_mean.tolist(), "components": self.components.tolist()},
            "centers": self.centers.tolist(),
            "note": self.note,
        }

    def project(self, features: Mapping[str, float]) -> FloatArray:
        """Coordinates (m,) of a case among the centres.

        Args:
            features: value per name; names that the model does not use are passed over.

        Raises:
            StageError: naming the features that are missing or not finite.
        """
        x = self._vector(features)
        if self.mean is not None and self.scale is not None:
            x = (x - self.mean) / self.scale
        else:
            norm = math.sqrt(float(x @ x))
            x = x / norm if norm > 0 else x
        projected: FloatArray = (x - self.pca_mean) @ self.components.T
        return projected

    def place(self, features: Mapping[str, float]) -> Placement:
        """Nearest and second nearest centre, so that a near-tie can be told.

        Raises:
            StageError: as ``project``.
        """
        distances = np.linalg.norm(self.centers - self.project(features), axis=1)
        order = np.argsort(distances, kind="stable")
        first = int(order[0])
        if len(order) == 1:
            return Placement(first, float(distances[first]))
        second = int(order[1])
        return Placement(first, float(distances[first]), second, float(distances[second]))

    def assign(self, features: Mapping[str, float]) -> int:
        """Number of the nearest centre.

        Raises:
            StageError: as ``project``.
        """
        return self.place(features).cluster

    def _vector(self, features: Mapping[str, float]) -> FloatArray:
        absent = [name for name in self.features if name not in features]
        if absent:
            raise StageError(f"the cluster needs features that were not computed: {_listed(absent)}")
        x = np.array([float(features[name]) for name in self.features], dtype=np.float64)
        if not np.isfinite(x).all():
            odd = [name for name, value in zip(self.features, x, strict=True) if not math.isfinite(value)]
            raise StageError(f"the cluster cannot be told from features that are not finite: {_listed(odd)}")
        return x


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object", got=type(value).__name__)
    return value


def _normalisation(value: object, count: int) -> tuple[FloatArray | None, FloatArray | None]:
    fields = _mapping(value, "normalisation of the cluster model")
    kind = fields.get("kind")
    if kind == "l2":
        return None, None
    if kind != "standard":
        raise InputError(
            "normalisation.kind of the cluster model is unknown", expected="l2 or standard", got=repr(kind)
        )
    mean = _numbers(fields.get("mean"), "normalisation.mean", (count,))
    scale = _numbers(fields.get("scale"), "normalisation.scale", (count,))
    if (scale <= 0).any():
        raise InputError("normalisation.scale of the cluster model must be above 0", got=f"{scale.min():g}")
    return mean, scale


def _numbers(value: object, where: str, shape: tuple[int | None, ...]) -> FloatArray:
    """A list of finite numbers, or a list of such lists; None in the shape stands for any length from 1."""
    wanted = " x ".join("n" if length is None else str(length) for length in shape)
    rows = value if isinstance(value, list) else []
    flat = [number for row in rows for number in (row if isinstance(row, list) else [None])] if len(shape) > 1 else rows
    plain = bool(flat) and all(isinstance(number, int | float) and not isinstance(number, bool) for number in flat)
    even = len(shape) == 1 or len({len(row) for row in rows if isinstance(row, list)}) == 1
    if not plain or not even:
        raise InputError(f"{where} of the cluster model must be numbers", expected=f"{wanted} of them", got="others")
    array: FloatArray = np.array(rows, dtype=np.float64)
    if any(length is not None and length != got for length, got in zip(shape, array.shape, strict=True)):
        got = " x ".join(map(str, array.shape))
        raise InputError(f"{where} of the cluster model has another size", expected=wanted, got=got)
    if not np.isfinite(array).all():
        raise InputError(f"{where} of the cluster model must be finite numbers")
    return array
