"""Rules of adaptive post-processing, as data: our own JSON format, and the rules that are built in by name.

The file format (``hope-postprocess-rules`` version 1)::

    {"format": "hope-postprocess-rules", "format_version": 1, "name": "...", "description": "...",
     "scheme": "peds", "redefine_to": "NET", "order": ["ET", "CC", "ED"],
     "clusters": [{"minimum_voxels": {"ED": 175}, "redefine_below_share": {"CC": 0.15}}, ...]}

Labels are named by their keys. A label that a cluster does not mention has the threshold 0, which never fires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from hope.domain import json_text
from hope.domain.errors import InputError
from hope.domain.labels import PEDS

FORMAT = "hope-postprocess-rules"
FORMAT_VERSION = 1

_VALUE_OF_KEY: Mapping[str, int] = {label.key: label.value for label in PEDS.labels}


@dataclass(frozen=True)
class ClusterRules:
    """The thresholds of one cluster of cases, by peds label value.

    Attributes:
        minimum_voxels: components of a label with fewer voxels than this become background.
        redefine_below_share: a label whose share of the whole tumour is below this (0 to 1) is renamed.
    """

    minimum_voxels: Mapping[int, int]
    redefine_below_share: Mapping[int, float]


@dataclass(frozen=True)
class PostprocessRules:
    """A named set of rules.

    Attributes:
        name: what the result says was applied.
        clusters: the rules of cluster 0, 1, 2, ...
        redefine_to: peds value that renamed labels take.
        order: peds values in the order in which shares are looked at; later shares see earlier renamings.
        description: one or two sentences for a person.
    """

    name: str
    clusters: tuple[ClusterRules, ...]
    redefine_to: int
    order: tuple[int, ...]
    description: str = ""

    @classmethod
    def by_name(cls, name: str) -> PostprocessRules:
        """Load the rules built in under ``name``.

        Raises:
            InputError: if there are none of that name.
        """
        if name not in built_in_rules():
            raise InputError(
                f"no post-processing rules are built in under the name {name!r}",
                expected=f"one of {', '.join(built_in_rules())}, or a JSON file",
            )
        text = (resources.files("hope") / "resources" / "postprocess" / f"{name}.json").read_text(encoding="utf-8")
        return cls.from_json(json.loads(text))

    @classmethod
    def from_file(cls, path: Path) -> PostprocessRules:
        """Load the rules in a JSON file.

        Raises:
            InputError: if the file cannot be read or is not a rules file.
        """
        return cls.from_json(read_json(path))

    @classmethod
    def load(cls, name_or_file: str) -> PostprocessRules:
        """Load built-in rules by name, or else the rules of a file.

        Raises:
            InputError: if it is neither.
        """
        if name_or_file not in built_in_rules() and Path(name_or_file).is_file():
            return cls.from_file(Path(name_or_file))
        return cls.by_name(name_or_file)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that ``from_json`` reads; thresholds of 0, which never fire, are left out."""
        key_of_value = {value: key for key, value in _VALUE_OF_KEY.items()}
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "description": self.description,
            "scheme": PEDS.name,
            "redefine_to": key_of_value[self.redefine_to],
            "order": [key_of_value[value] for value in self.order],
            "clusters": [
                {
                    "minimum_voxels": {key_of_value[v]: n for v, n in cluster.minimum_voxels.items() if n},
                    "redefine_below_share": {key_of_value[v]: t for v, t in cluster.redefine_below_share.items() if t},
                }
                for cluster in self.clusters
            ],
        }

    @classmethod
    def from_json(cls, record: object) -> PostprocessRules:
        """Make rules from parsed JSON, checked field by field.

        Raises:
            InputError: naming the first field that is wrong.
        """
        fields = _mapping(record, "the rules file")
        if fields.get("format") != FORMAT or fields.get("format_version") != FORMAT_VERSION:
            raise InputError(
                "this is not a post-processing rules file that this version reads",
                expected=f'"format": "{FORMAT}", "format_version": {FORMAT_VERSION}',
                got=f'"format": {fields.get("format")!r}, "format_version": {fields.get("format_version")!r}',
            )
        if fields.get("scheme", PEDS.name) != PEDS.name:
            raise InputError("rules use an unknown label scheme", expected=PEDS.name, got=repr(fields["scheme"]))
        clusters, order = fields.get("clusters"), fields.get("order")
        if not isinstance(clusters, list) or not clusters:
            raise InputError("rules need a non-empty list of clusters", got=repr(clusters))
        if not isinstance(order, list) or len(set(map(str, order))) != len(order):
            raise InputError("rules need an order: a list of different label keys", got=repr(order))
        rules = cls(
            name=str(fields.get("name") or "unnamed"),
            clusters=tuple(_cluster(item, number) for number, item in enumerate(clusters)),
            redefine_to=_label_value(fields.get("redefine_to"), "redefine_to"),
            order=tuple(_label_value(key, "order") for key in order),
            description=str(fields.get("description", "")),
        )
        rules.check_order()
        return rules

    def check_order(self) -> None:
        """See that every label with a share threshold has its place in the order.

        Raises:
            InputError: naming the cluster.
        """
        for number, cluster in enumerate(self.clusters):
            if not set(cluster.redefine_below_share) <= set(self.order):
                raise InputError(f"cluster {number} of the rules has a share threshold for a label missing from order")

    def for_cluster(self, cluster: int) -> ClusterRules:
        """Return the thresholds of one cluster.

        Raises:
            InputError: if the rules have no such cluster.
        """
        if not 0 <= cluster < len(self.clusters):
            raise InputError(
                f"rules {self.name} have no cluster {cluster}", expected=f"a number from 0 to {len(self.clusters) - 1}"
            )
        return self.clusters[cluster]


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        InputError: if the file cannot be read, is not JSON or names a key twice.
    """
    try:
        return json_text.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("the rules file cannot be read", got=error.strerror or "an I/O error") from error
    except json_text.RepeatedKeyError as error:
        raise error.input_error("the rules file is not usable") from error
    except ValueError as error:  # both broken JSON and broken UTF-8
        raise InputError("the rules file is not JSON text", got=str(error)) from error


def built_in_rules() -> tuple[str, ...]:
    """Names of the rules that ship with the package."""
    folder = resources.files("hope") / "resources" / "postprocess"
    return tuple(sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json")))


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object", got=type(value).__name__)
    return value


def _label_value(key: object, where: str) -> int:
    if not isinstance(key, str) or key not in _VALUE_OF_KEY:
        raise InputError(f"{where} of the rules names an unknown label", expected="ET, NET, CC or ED", got=repr(key))
    return _VALUE_OF_KEY[key]


def _cluster(item: object, number: int) -> ClusterRules:
    where = f"cluster {number} of the rules"
    fields = _mapping(item, where)
    sizes: dict[int, int] = {}
    for key, size in _mapping(fields.get("minimum_voxels", {}), f"minimum_voxels of {where}").items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InputError(f"minimum_voxels of {where} must be whole numbers from 0", got=repr(size))
        sizes[_label_value(key, "minimum_voxels")] = size
    shares: dict[int, float] = {}
    for key, share in _mapping(fields.get("redefine_below_share", {}), f"redefine_below_share of {where}").items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise InputError(f"redefine_below_share of {where} must be numbers from 0 to 1", got=repr(share))
        shares[_label_value(key, "redefine_below_share")] = float(share)
    return ClusterRules(sizes, shares)
