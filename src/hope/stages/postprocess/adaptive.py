"""Adaptive post-processing: rules per cluster of cases, and the model that tells which cluster a case is of.

The file format (``hope-postprocess/1``), of a bundle's postprocess.json and of what `hope train postprocess` writes::

    {"format": "hope-postprocess/1", "rules": {..hope.stages.postprocess.postprocess_rules..},
     "clusters": null or {..hope.stages.postprocess.clusters..}}

Where the cluster cannot be told, no other one is taken in its place: the labels stay as they are, and the outcome says
why. The published system took its cluster 4 then, unsaid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError, StageError
from hope.domain.extras import require_extras
from hope.domain.progress import Progress, silent
from hope.domain.volume import Volume
from hope.stages.postprocess.clusters import ClusterModel, Placement
from hope.stages.postprocess.postprocess import PostprocessOutcome, apply_rules, count_voxels
from hope.stages.postprocess.postprocess_rules import PostprocessRules, built_in_rules, read_json

FORMAT = "hope-postprocess/1"


@dataclass(frozen=True)
class AdaptivePostprocess:
    """Rules, and how the cluster is told.

    Attributes:
        rules: thresholds per cluster.
        clusters: features to cluster; None where the rules have one cluster, or where nobody gave a model.

    Raises:
        InputError: if both do not have the same number of clusters.
    """

    rules: PostprocessRules
    clusters: ClusterModel | None = None

    def __post_init__(self) -> None:
        if self.clusters is not None and self.clusters.count != len(self.rules.clusters):
            raise InputError(
                f"the rules {self.rules.name} and the cluster model {self.clusters.name} do not belong together",
                expected=f"{len(self.rules.clusters)} clusters as in the rules",
                got=f"{self.clusters.count} centres",
            )

    @classmethod
    def from_json(cls, record: object) -> AdaptivePostprocess:
        """Make it from parsed JSON, checked field by field.

        Raises:
            InputError: naming the first field that is wrong.
        """
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            got = record.get("format") if isinstance(record, dict) else type(record).__name__
            raise InputError("this is not post-processing that this version reads", expected=FORMAT, got=repr(got))
        clusters = record.get("clusters")
        return cls(
            PostprocessRules.from_json(record.get("rules")),
            None if clusters is None else ClusterModel.from_json(clusters),
        )

    @classmethod
    def load(cls, name_or_file: str) -> AdaptivePostprocess:
        """Load built-in rules by name, or else a file of rules, with or without a cluster model.

        Raises:
            InputError: if it is neither.
        """
        path = Path(name_or_file)
        if name_or_file in built_in_rules() or not path.is_file():
            return cls(PostprocessRules.by_name(name_or_file))
        record = read_json(path)
        if isinstance(record, dict) and record.get("format") == FORMAT:
            return cls.from_json(record)
        return cls(PostprocessRules.from_json(record))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that ``from_json`` reads."""
        return {
            "format": FORMAT,
            "rules": self.rules.to_json(),
            "clusters": None if self.clusters is None else self.clusters.to_json(),
        }

    def apply(
        self, labels: Volume, images: Mapping[MRSequence, Volume], progress: Progress = silent
    ) -> PostprocessOutcome:
        """Find the case's cluster and apply its rules.

        Args:
            labels: uint8 peds labels on the atlas grid.
            images: preprocessed images on the same grid; looked at only where the cluster matters.
            progress: called with what is being computed.

        Returns:
            The outcome; its ``details`` hold the cluster, what chose it, and how near the next one was. Where the
            cluster cannot be told, the labels unchanged, with ``warning`` set: the caller then cleans up otherwise.
        """
        if not labels.data.any():
            counts = count_voxels(labels.data)
            details: dict[str, Any] = {"cluster": None, "chosen_by": "nobody: the mask holds no tumour"}
            return PostprocessOutcome(labels, self.rules.name, counts, counts, {}, {}, details)
        if len(self.rules.clusters) == 1:
            outcome = apply_rules(labels, self.rules, 0)
            return replace(outcome, details={"cluster": 0, "chosen_by": "the rules have one cluster"})
        try:
            placement = self._place(labels, images, progress)
        except StageError as error:
            return self._not_applied(labels, str(error))
        chosen_by = f"cluster model {self.clusters.name}" if self.clusters else ""
        details = {"cluster": placement.cluster, "chosen_by": chosen_by, **_nearness(placement)}
        return replace(apply_rules(labels, self.rules, placement.cluster), details=details)

    def _place(self, labels: Volume, images: Mapping[MRSequence, Volume], progress: Progress) -> Placement:
        # Imported late: only rules of several clusters need the features and the libraries behind them.
        require_extras(f"the choice of a cluster for the rules {self.rules.name}", "ensemble")
        from hope.stages.postprocess.radiomics import tumour_features

        if self.clusters is None:
            raise StageError("there is no cluster model")
        absent = [str(s) for s in SEQUENCES if s not in images]
        if absent:
            raise StageError(f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing")
        progress("postprocess: features of the tumour", 0.0)
        features = tumour_features(images, labels)
        progress("postprocess: cluster and rules", 0.9)
        return self.clusters.place(features)

    def _not_applied(self, labels: Volume, reason: str) -> PostprocessOutcome:
        counts = count_voxels(labels.data)
        warning = f"the adaptive rules {self.rules.name} were not applied, because the cluster is not known: {reason}"
        details = {"cluster": None, "chosen_by": "nobody: the cluster is not known", "reason": reason}
        return PostprocessOutcome(labels, "none", counts, counts, {}, {}, details, warning)


def _nearness(placement: Placement) -> dict[str, Any]:
    """How clear the choice was, for the reader: with a lead of nearly 0 the runner-up's rules fit as well."""
    if placement.runner_up is None or placement.lead is None:
        return {}
    return {"runner_up": placement.runner_up, "lead": round(placement.lead, 4)}
