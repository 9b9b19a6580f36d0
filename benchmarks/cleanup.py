"""What clean-up of the whole tumour's components gains and costs, on answers whose truth is known.

    python benchmarks/quality.py collect OUT.jsonl ...
    python benchmarks/cleanup.py OUT.jsonl...

A rule is tried on every row: mean Dice of the whole tumour, millilitres that are left in brains without one, and how
many of the components that it takes away lay in a tumour. Rows of before "paired" was written count what lies opposite
in the same component, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from hope.stages.postprocess.postprocess import (
    DEFAULT_MINIMUM_WT_ML,
    MINIMUM_PART_ML,
    SMALL_WT_ML,
    SURE_PROBABILITY,
)
from hope.stages.postprocess.symmetric import PAIRED_MEAN, PAIRED_SHARE

Piece = Mapping[str, float]
Rule = Callable[[Piece], bool]
IN_TUMOUR = 0.3
"""Share of a component that lies in the truth, from which it counts as tumour."""
FALSE = 0.1
"""Share below which it counts as false."""


def specks(piece: Piece) -> bool:
    """Whether the size and the surest voxel take the component away."""
    small = piece["ml"] < SMALL_WT_ML and piece["peak"] < SURE_PROBABILITY
    return piece["ml"] < DEFAULT_MINIMUM_WT_ML or small


def pairs(share: float, mean: float) -> Rule:
    """Whether a component goes by size, or as one of a faint pair."""
    return lambda piece: specks(piece) or (piece.get("paired", piece["mirrored"]) > share and piece["mean"] < mean)


def score(rows: Sequence[Mapping[str, Any]], goes: Rule) -> tuple[float, list[float]]:
    """Mean Dice of WT, and the millilitres left where there is no tumour."""
    dice, free = [], []
    for row in rows:
        kept = [piece for piece in row["WT pieces"] if not goes(piece)]
        marked, true = sum(piece["ml"] for piece in kept), row["true_ml"]["WT"]
        common = sum(piece["ml"] * piece["true"] for piece in kept)
        dice.append(2 * common / (marked + true) if marked + true else 1.0)
        if not true:
            free.append(marked)
    return float(np.mean(dice)), free


def parts(rows: Sequence[Mapping[str, Any]], region: str, least_ml: float) -> str:
    """What becomes of a part when its components below a size take another name."""
    dice, gone, false = [], [], 0
    for row in rows:
        kept = [piece for piece in row[f"{region} pieces"] if piece["ml"] >= least_ml]
        gone += [piece for piece in row[f"{region} pieces"] if piece["ml"] < least_ml]
        false += sum(piece["true"] < FALSE for piece in kept)
        marked, true = sum(piece["ml"] for piece in kept), row["true_ml"][region]
        common = sum(piece["ml"] * piece["true"] for piece in kept)
        dice.append(2 * common / (marked + true) if marked + true else 1.0)
    real = sum(piece["true"] > IN_TUMOUR for piece in gone)
    return (
        f"{region} components below {least_ml:g} ml: {len(rows)} answers, mean Dice {np.mean(dice):.4f}, renamed "
        f"{len(gone)}, of them real {real}; false ones left an answer {false / len(rows):.1f}"
    )


def main() -> None:
    """Print a row a rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    found = [json.loads(line) for path in parser.parse_args().files for line in path.read_text("utf-8").splitlines()]
    rows = list({(row["patient"], tuple(row["without"])): row for row in found}.values())
    kinds = {
        "adults": [row for row in rows if row["kind"] != "synthetic child" and not row["without"]],
        "adults, reduced": [row for row in rows if row["kind"] != "synthetic child" and row["without"]],
        "children": [row for row in rows if row["kind"] == "synthetic child"],
    }
    tried: dict[str, Rule] = {"nothing": lambda piece: False, "size": specks}
    for share in (0.3, 0.5):
        tried |= {f"size, pairs {share} {mean}": pairs(share, mean) for mean in (0.8, 0.85, 0.9, 0.95)}
    chosen = pairs(PAIRED_SHARE, PAIRED_MEAN)
    for name, rule in tried.items():
        figures = {kind: score(some, rule) for kind, some in kinds.items() if some}
        print(
            f"{name}: "
            + "; ".join(
                f"{kind} WT {dice:.3f}, without a tumour {np.mean(free) if free else 0:.1f} ml on average"
                for kind, (dice, free) in figures.items()
            )
        )
    gone = [piece for row in rows for piece in row["WT pieces"] if chosen(piece) and not specks(piece)]
    real = [piece for piece in gone if piece["true"] > IN_TUMOUR]
    volumes = [sum(piece["ml"] for piece in some) for some in (gone, real)]
    print(
        f"the chosen pairs: {len(gone)} components, {volumes[0]:.0f} ml; in a tumour {len(real)}, {volumes[1]:.0f} ml"
    )
    for region in ("TC", "ET"):
        judged = [row for row in kinds["adults"] + kinds["children"] if row.get(f"{region} pieces") is not None]
        for least_ml in (0.0, 0.05, MINIMUM_PART_ML, 0.2, 0.5):
            print(parts([row for row in judged if "t1c" not in row["without"]], region, least_ml))
    print(machine())


if __name__ == "__main__":
    main()
