"""Published threshold files -> rules of adaptive post-processing in this project's own form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from hope.domain import json_text
from hope.domain.errors import BundleError
from hope.domain.labels import PEDS
from hope.formats.reading import reading

BUILT_IN = "hope-peds-2024"
RULES_FORMAT = "hope-postprocess-rules"
_MAX_BYTES = 4 * 2**20
_KEYS: Mapping[int, str] = {label.value: label.key for label in PEDS.labels}

Table = dict[int, dict[int, dict[str, float]]]
"""Cluster -> label -> entry, in the order of the file."""


def read_thresholds(path: Path) -> Table | None:
    """Read one file of the published form, of sizes or of redefinitions.

    Returns:
        Its entries; None if it is no such file.

    Raises:
        BundleError: if it is one, but damaged.
        InputError: if it cannot be read.
    """
    content = _json(path)
    if isinstance(content, Mapping) and len(content) == 1 and not _cluster(next(iter(content))):
        content = next(iter(content.values()))
    if not isinstance(content, Mapping) or not content or not all(_cluster(key) for key in content):
        return None
    table = {int(_cluster(key) or 0): _labels(entry, f"{key} of {path.name}") for key, entry in content.items()}
    if sorted(table) != list(range(len(table))):
        raise BundleError(f"{path.name}: the clusters should count up from cluster_0, got {sorted(table)}")
    return dict(sorted(table.items()))


def read_own_rules(path: Path) -> dict[str, Any] | None:
    """Read a rules file of this project's own form; None if it is none."""
    content = _json(path)
    return content if isinstance(content, dict) and content.get("format") == RULES_FORMAT else None


def built_in_rules() -> dict[str, Any]:
    """The published thresholds, as they ship with the package."""
    text = (resources.files("hope") / "resources" / "postprocess" / f"{BUILT_IN}.json").read_text(encoding="utf-8")
    rules: dict[str, Any] = json.loads(text)
    return rules


def is_redefinition(table: Table) -> bool:
    """Whether a file's entries rename labels; else they are smallest sizes."""
    return any("redefine_to" in entry for labels in table.values() for entry in labels.values())


def rules_of(sizes: Table | None, shares: Table | None, name: str) -> dict[str, Any]:
    """Put the two files together.

    Args:
        sizes: smallest components in voxels; None for none.
        shares: shares of the whole tumour below which a label is renamed; None for none.
        name: what results will call the rules, unless they are the built-in ones.

    Raises:
        BundleError: if they cannot be said in our form.
    """
    count = len(sizes or shares or {})
    if sizes and shares and len(sizes) != len(shares):
        raise BundleError(f"the threshold files have {len(sizes)} and {len(shares)} clusters; they should agree")
    targets = {
        entry["redefine_to"] for labels in (shares or {}).values() for entry in labels.values() if entry["th"] > 0
    }
    if len(targets) > 1:
        raise BundleError(f"the threshold file redefines to several labels {sorted(targets)}; only one can be used")
    target = int(next(iter(targets), 2))
    if target not in _KEYS:
        raise BundleError(f"the threshold file redefines to the label {target}, which is none of {list(_KEYS)}")
    clusters = [
        {
            "minimum_voxels": _sizes((sizes or {}).get(n, {})),
            "redefine_below_share": _shares((shares or {}).get(n, {}), target),
        }
        for n in range(count)
    ]
    rules = {
        "format": RULES_FORMAT,
        "format_version": 1,
        "name": name,
        "description": "Imported thresholds. Sizes count voxels of the 1 mm atlas grid.",
        "scheme": PEDS.name,
        "redefine_to": _KEYS[target],
        "order": _order(shares or {}, target),
        "clusters": clusters,
    }
    known = built_in_rules()
    same = all(known[key] == rules[key] for key in ("redefine_to", "order", "clusters"))
    return known if same else rules


def _json(path: Path) -> Any:
    with reading(path.name):
        if path.stat().st_size > _MAX_BYTES:
            return None
        raw = path.read_bytes()
    try:
        return json_text.loads(raw)
    except json_text.RepeatedKeyError as error:
        raise BundleError(f"{path.name} is not usable (expected each key once in an object, got {error})") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path.name} is not JSON") from error


def _cluster(key: object) -> str | None:
    match = re.fullmatch(r"cluster_(\d{1,4})", str(key))
    return match[1] if match else None


def _labels(entry: Any, where: str) -> dict[int, dict[str, float]]:
    labels = {}
    for key, threshold in entry.items() if isinstance(entry, Mapping) else ():
        match = re.fullmatch(r"label_([1-4])", str(key))
        fields = dict(threshold) if isinstance(threshold, Mapping) else {}
        numbers = all(type(value) in (int, float) and value >= 0 for value in fields.values())
        if not match or "th" not in fields or not numbers:
            raise BundleError(f'{where}: expected entries such as "label_1": {{"th": 0}}, got {str(key)[:40]}')
        labels[int(match[1])] = fields
    if not labels:
        raise BundleError(f"{where} has no thresholds")
    return labels


def _sizes(labels: Mapping[int, Mapping[str, float]]) -> dict[str, int]:
    for label, entry in labels.items():
        if entry["th"] != int(entry["th"]):
            raise BundleError(f"the smallest size of label {label} should be whole voxels, got {entry['th']:g}")
    return {_KEYS[label]: int(entry["th"]) for label, entry in sorted(labels.items()) if entry["th"]}


def _shares(labels: Mapping[int, Mapping[str, float]], target: int) -> dict[str, float]:
    found = {}
    for label, entry in labels.items():
        if entry["th"] and (label == target or entry["th"] > 1):
            raise BundleError(f"label {label} cannot be redefined to {target} below a share of {entry['th']:g}")
        if entry["th"]:
            found[_KEYS[label]] = float(entry["th"])
    return found


def _order(shares: Table, target: int) -> list[str]:
    """Labels in the order in which the file looks at them, which all its clusters must share."""
    orders = {tuple(label for label in labels if label != target) for labels in shares.values()}
    if len(orders) > 1:
        raise BundleError("the clusters of the threshold file list their labels in different orders")
    return [_KEYS[label] for label in next(iter(orders), ())]
