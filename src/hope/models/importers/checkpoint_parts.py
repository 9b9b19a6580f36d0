"""What every importer hands over, and the small questions that all of them ask of foreign facts."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hope.domain.case import SEQUENCES
from hope.domain.errors import BundleError, InputError
from hope.domain.labels import PEDS
from hope.models.ensemble.spec import Group

PEDS_CLASSES = (0, *PEDS.values)

_CHANNEL_NAMES: Mapping[str, tuple[str, ...]] = {
    "t1n": ("t1", "t1n", "t1w", "t1native", "t1pre", "t1precontrast"),
    "t1c": ("t1c", "t1ce", "t1gd", "t1cw", "t1wce", "t1wgd", "t1contrast", "t1post", "t1postcontrast", "ce", "t1km"),
    "t2w": ("t2", "t2w"),
    "t2f": ("t2f", "flair", "t2flair", "fla", "t2wflair"),
}
_LABEL_NAMES: Mapping[int, tuple[str, ...]] = {
    1: ("et", "enhancing", "enhancingtumor", "enhancingtumour"),
    2: (
        *("net", "netc", "nonenhancing", "nonenhancingtumor", "nonenhancingtumour", "nonenhancingtumorcore"),
        *("nonenhancingtumourcore", "nonenhancingcomponent", "ncr", "necroticcore", "necrotictumorcore"),
    ),
    3: ("cc", "cyst", "cystic", "cysticcomponent"),
    4: (
        *("ed", "edema", "oedema", "peritumoraledema", "peritumouraloedema", "peritumoraloedema", "snfh"),
        "peritumouraledema",
    ),
}


@dataclass(frozen=True)
class Fold:
    """One trained network of an architecture.

    Attributes:
        name: as messages call it, such as "fold 0".
        files: those it came from.
        read: loads its tensors under their published names.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class CheckpointPart:
    """One architecture, ready to be written.

    Attributes:
        kind: what the files are, for people.
        group: its facts; weight, fold mean and members are filled in when the bundle is put together.
        folds: its networks, by fold.
        origin: facts worth keeping of where it came from.
        assumed: one sentence for every fact that the files did not give.
    """

    kind: str
    group: Group
    folds: tuple[Fold, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()


def short(path: Path) -> str:
    """A file as messages and manifests call it: its name, with the fold's folder in front; never a whole path."""
    return f"{path.parent.name}/{path.name}" if path.parent.name.lower().startswith("fold") else path.name


def brief(value: object) -> str:
    """A foreign value for a message: its first parts, in a time that does not grow with how it is nested."""
    return value[:60] if isinstance(value, str) else reprlib.repr(value)[:80]


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def channels_of(
    who: str, names: Sequence[str] | None, count: int, chosen: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[str]]:
    """Which sequence each input channel is, and what had to be assumed for that.

    Args:
        who: the architecture, for messages.
        names: what its own files call the channels; None if they do not.
        count: number of channels.
        chosen: what the user says.

    Raises:
        InputError: if the names are not understood and nothing was said, or names and user disagree.
    """
    known = [next((s for s, other in _CHANNEL_NAMES.items() if _bare(n) in other), None) for n in names or ()]
    asked = InputError(
        f"{who}: the order of the input channels is not clear",
        expected=f"{count} different of {', '.join(SEQUENCES)}",
        got=", ".join(chosen or names or ()) or "no names",
        fix="say it with --sequences, for example --sequences t1n,t1c,t2w,t2f",
    )
    wanted = chosen or (tuple(map(str, SEQUENCES)) if None in known or not known else tuple(n for n in known if n))
    if len(wanted) != count or len(set(wanted)) != count or not set(wanted) <= set(map(str, SEQUENCES)):
        raise asked
    if known and (len(known) != count or any(k not in (None, w) for k, w in zip(known, wanted, strict=True))):
        raise asked
    if chosen or (known and None not in known):
        return wanted, []
    return wanted, [f"{who}: input channels are in the order {', '.join(wanted)} (its files do not name them)"]


def classes_of(who: str, labels: Mapping[str, Any]) -> tuple[tuple[int, ...], list[str]]:
    """Peds value of each output channel from nnU-Net's labels (name to value), and what had to be assumed.

    Raises:
        BundleError: for regions, unknown names, or values that do not count up from 0.
    """
    values: dict[int, str] = {}
    for name, value in labels.items():
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, list | tuple):
            raise BundleError(
                f"{who} was trained on regions ({name} = {list(value)}), but only networks of single labels can be used"
            )
        if name != "ignore":
            try:
                values[int(value)] = str(name)
            except (TypeError, ValueError) as error:
                raise BundleError(f"{who}: the label {name} has no number") from error
    if sorted(values) != list(range(len(labels) - ("ignore" in labels))) or len(values) < 2:
        raise BundleError(f"{who}: the labels must count up from 0 (got {sorted(values)})")
    names = [_bare(values[n]) for n in range(1, len(values))]
    known = [next((peds for peds, other in _LABEL_NAMES.items() if n in other), None) for n in names]
    if None not in known and len(set(known)) == len(known):
        return (0, *(n for n in known if n)), []
    numbered = all(re.fullmatch(r"(label|class|l)?0*" + str(n), name) for n, name in enumerate(names, start=1))
    if numbered and len(values) == len(PEDS_CLASSES):
        return PEDS_CLASSES, [f"{who}: labels 1 to 4 mean ET, NET, CC, ED (its files only number them)"]
    raise BundleError(
        f"{who}: the labels {', '.join(values[n] for n in range(1, len(values)))} are not understood;"
        " expected different ones of ET, NET, CC, ED, or the numbers 1 to 4"
    )


def need(facts: Any, key: str, where: str) -> Any:
    """One entry of a table.

    Raises:
        BundleError: if it is not there.
    """
    if not isinstance(facts, Mapping) or key not in facts:
        raise BundleError(f"{where} lacks {key}")
    return facts[key]


def three_ints(value: Any, what: str, least: int = 1, most: int = 1024) -> tuple[int, int, int]:
    """Three whole numbers.

    Raises:
        BundleError: if they are not, or lie out of bounds.
    """
    numbers = three(value, what)
    if any(not least <= n <= most or n != int(n) for n in numbers):
        raise BundleError(f"{what} should be three whole numbers from {least} to {most}, got {brief(value)}")
    x, y, z = (int(n) for n in numbers)
    return x, y, z


def three(value: Any, what: str) -> tuple[float, float, float]:
    """Three numbers.

    Raises:
        BundleError: if they are not.
    """
    if not isinstance(value, list | tuple) or len(value) != 3 or any(type(n) not in (int, float) for n in value):
        raise BundleError(f"{what} should be three numbers, got {brief(value)}; only 3D networks can be used")
    x, y, z = (float(n) for n in value)
    return x, y, z


def per_channel(value: Any, count: int, what: str) -> list[Any]:
    """A list, or a table by channel number, with one entry for each channel.

    Raises:
        BundleError: if it has another number of entries.
    """
    if isinstance(value, Mapping):
        value = [value.get(str(n)) for n in range(len(value))]
    if not isinstance(value, list | tuple) or len(value) != count or None in value:
        raise BundleError(f"{what} should have one entry for each of the {count} channels, got {brief(value)}")
    return list(value)


def in_order(folds: Mapping[int, Path], who: str, one_based: bool = False) -> list[tuple[str, Path]]:
    """Folds by number, with their names; they count from 0, or from 1 where that is usual (``one_based``).

    Raises:
        BundleError: naming a fold that is missing in between.
    """
    numbers = sorted(folds)
    for expected, number in enumerate(numbers, start=min(numbers[0], int(one_based))):
        if number != expected:
            raise BundleError(
                f"{who}: fold {expected} is missing (found {', '.join(map(str, numbers))});"
                " add it, or number the folders without a gap if it is to be left out"
            )
    return [(f"fold {number}", folds[number]) for number in numbers]
