"""The volumes of a mask as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from hope.contract.report import VolumeMl
from hope.domain.labels import PEDS, REGION_NAMES


def volumes_csv(volumes_ml: Mapping[str, VolumeMl]) -> bytes:
    """One row for each label and region: its key, its name, ml, and the interval where one is known."""
    names = {label.key: label.name for label in PEDS.labels} | dict(REGION_NAMES)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["part", "name", "ml", "low_ml", "high_ml"])
    for key, volume in volumes_ml.items():
        table.writerow([key, names[key], volume.ml, volume.low_ml, volume.high_ml])
    return text.getvalue().encode()
