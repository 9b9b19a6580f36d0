"""What else a synthetic case may show: look-alikes of tumour, cavities of operated children, children's own parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hope.domain.labels import CC, ED, NET
from hope.synthesis.anatomy import Anatomy
from hope.synthesis.cavities import with_cavity
from hope.synthesis.fields import FieldMaker
from hope.synthesis.lookalikes import (
    choroid_plexus,
    demyelination,
    flow_voids,
    frontal_edges,
    periventricular_change,
)
from hope.synthesis.tumours import KINDS

_MORE_WITHOUT_TUMOUR, _MOST = 4.0, 0.7
"""Look-alikes are so much more probable in a case without a tumour, and at most so probable."""

KIND_WEIGHTS: Mapping[str, float] = {
    "rim_enhancing": 0.24,
    "solid_enhancing": 0.16,
    "infiltrating": 0.22,
    "pontine": 0.10,
    "cystic_with_nodule": 0.18,
    "tiny": 0.10,
}
"""How often each kind of tumour is drawn: more cysts and cores without enhancement than in ``KINDS``."""


@dataclass(frozen=True)
class Variety:
    """Switches of the synthesis; each is a probability per case, and 0 turns it off.

    Attributes:
        tumour_free: no tumour at all; look-alikes are four times as probable then (at most 0.7).
        demyelination: ovoid white-matter lesions, some of them with an enhancing rim.
        periventricular: symmetric change along the ventricles.
        frontal_edges: bright or dark borders above the sinuses and the ears.
        flow_voids: dark vessels on T2 and FLAIR, bright or dark on T1.
        choroid_plexus: enhancing plexus in the ventricles.
        strong_bias: coil shading two to three times as strong as usual.
        cavities: a resection cavity with a thin enhancing or blood-bright rim, with or without tumour left.
        child_parts: cores are NET rather than CC inside a rim, and the rim of a pontine tumour is NET rather than ED.
        bright_cores: the core is brighter than white matter on T1.
    """

    tumour_free: float = 0.12
    demyelination: float = 0.12
    periventricular: float = 0.12
    frontal_edges: float = 0.15
    flow_voids: float = 0.2
    choroid_plexus: float = 0.15
    strong_bias: float = 0.15
    cavities: float = 0.1
    child_parts: float = 0.7
    bright_cores: float = 0.08

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def draw_kind(rng: np.random.Generator, variety: Variety) -> str:
    """Choose the kind of a case: a name of ``KINDS``, ``multifocal`` or ``none``."""
    if rng.random() < variety.tumour_free:
        return "none"
    if rng.random() < 0.15:
        return "multifocal"
    names = list(KINDS)
    weights = np.array([KIND_WEIGHTS[name] for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def with_variety(anatomy: Anatomy, fields: FieldMaker, variety: Variety) -> Anatomy:
    """Add what the switches draw to an anatomy.

    Args:
        anatomy: as ``make_anatomy`` gives it.
        fields: randomness and shape.
        variety: the switches.
    """
    anatomy = _child_parts(anatomy, fields, variety)
    more = 1.0 if anatomy.tumours else _MORE_WITHOUT_TUMOUR
    for probability, add in (
        (variety.demyelination, demyelination),
        (variety.periventricular, periventricular_change),
        (variety.choroid_plexus, choroid_plexus),
        (variety.flow_voids, flow_voids),
        (variety.frontal_edges, frontal_edges),
    ):
        if fields.chance(max(probability, min(_MOST, more * probability))):
            anatomy = add(anatomy, fields)
    if fields.chance(variety.cavities):
        anatomy = with_cavity(anatomy, fields)
    return anatomy


def _child_parts(anatomy: Anatomy, fields: FieldMaker, variety: Variety) -> Anatomy:
    """Name parts as experts do in children: a dark core within a rim is NET, and so is the rim of a pontine tumour."""
    kinds = {spec.kind for spec in anatomy.tumours}
    labels = anatomy.labels
    if "rim_enhancing" in kinds and fields.chance(variety.child_parts):
        labels = np.where(labels == CC, np.uint8(NET), labels)
    if "pontine" in kinds and fields.chance(variety.child_parts):
        labels = np.where(labels == ED, np.uint8(NET), labels)
    return replace(anatomy, labels=labels.astype(np.uint8))
