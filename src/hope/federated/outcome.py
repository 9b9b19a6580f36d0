"""From the answers of the sites to the files of a job's result."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hope.federated.report import render_evaluation
from hope.federated.responses import METRICS, REGIONS, Histograms, Refusal, Response, Scores
from hope.federated.styles import pooled_style
from hope.formats.atomic import atomic_output

FORMAT: Final = "hope-federated/1"
POOLED: Final = "(pooled)"
COLUMNS: Final = ("site", "region", "metric", "n", "mean", "p25", "p50", "p75")


@dataclass(frozen=True)
class Asked:
    """What the sites were asked: the kind of job, and the model by id and hash."""

    job: str
    model: str = ""
    sha256: str = ""


def write_outcome(asked: Asked, responses: Mapping[str, Response], folder: Path) -> None:
    """Write the result of a job.

    Args:
        asked: what the sites were asked.
        responses: of every site of the job, by its name.
        folder: made if need be; result.json, for an evaluation table.csv and report.html, and style.json for a style.

    Raises:
        OutputError: if a file cannot be written.
    """
    result = style_result(asked, responses) if asked.job == "style" else evaluation_result(asked, responses)
    contents = {"result.json": json.dumps(result, indent=1, allow_nan=False) + "\n"}
    if asked.job == "style":
        style = pooled_style("federated", (given for given in responses.values() if isinstance(given, Histograms)))
        contents |= {"style.json": style.to_json()} if style else {}
    else:
        contents |= {"table.csv": table_csv(result["rows"]), "report.html": render_evaluation(result)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with atomic_output(folder / name) as stream:
            stream.write(content.encode())


def evaluation_result(asked: Asked, responses: Mapping[str, Response]) -> dict[str, Any]:
    """One record of an evaluation: sites, rows of each site and the pooled rows, as plain JSON values."""
    scores = {site: given for site, given in sorted(responses.items()) if isinstance(given, Scores)}
    rows = [row for site, given in scores.items() for row in _rows_of(site, given)]
    return {
        "format": FORMAT,
        **asdict(asked),
        "sites": [_site(site, given) for site, given in sorted(responses.items())],
        "rows": rows + _pooled(rows),
    }


def style_result(asked: Asked, responses: Mapping[str, Response]) -> dict[str, Any]:
    """One record of a style: which sites gave histograms, and of how many cases; plain JSON values."""
    return {
        "format": FORMAT,
        **asdict(asked),
        "sites": [_site(site, given) for site, given in sorted(responses.items())],
    }


def _site(site: str, given: Response) -> dict[str, Any]:
    if isinstance(given, Histograms):
        sequences = {name: histogram.n for name, histogram in given.sequences.items()}
        return {"site": site, "responded": True, "n": given.n, "failed": given.failed, "sequences": sequences}
    if isinstance(given, Scores):
        return {"site": site, "responded": True, "n": given.n, "failed": given.failed, "unlabelled": given.unlabelled}
    code = given.code if isinstance(given, Refusal) else "unreadable"
    return {"site": site, "responded": False, "code": code, "reason": Refusal(code=code).message}


def _rows_of(site: str, given: Scores) -> Iterable[dict[str, Any]]:
    for region, metric in _in_order():
        found = given.regions.get(region, {}).get(metric)
        if found is not None:
            p25, p50, p75 = found.quantiles or (None, None, None)
            values = (site, region, metric, found.n, found.mean, p25, p50, p75)
            yield dict(zip(COLUMNS, values, strict=True))


def _pooled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per region and metric the cases of all sites that stated it, and the mean over these cases."""
    pooled = []
    for region, metric in _in_order():
        stated = [row for row in rows if (row["region"], row["metric"]) == (region, metric)]
        if stated:
            n = sum(row["n"] for row in stated)
            mean = sum(row["n"] * row["mean"] for row in stated) / n
            pooled.append(dict(zip(COLUMNS, (POOLED, region, metric, n, mean, None, None, None), strict=True)))
    return pooled


def _in_order() -> Iterable[tuple[str, str]]:
    return ((region, metric) for region in REGIONS for metric in METRICS)


def table_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as a table; what is not stated is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
