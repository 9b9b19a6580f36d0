"""The report of a federated evaluation: which sites answered, forest plots, the whole table. No script, no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from hope import DISCLAIMER
from hope.domain.labels import REGION_NAMES
from hope.federated.responses import FAILURES
from hope.stages.report.report_sections import NOTHING, Column, html_table, short_hash

TITLES: Final = {
    "dice": "Dice",
    "lw_dice": "Lesion-wise Dice",
    "hd95_mm": "HD95, mm",
    "lw_hd95_mm": "Lesion-wise HD95, mm",
}
"""The metrics that are drawn; the table has all of them."""

_WIDTH, _LEFT, _RIGHT, _LINE = 720.0, 180.0, 130.0, 26.0
_INK, _SOFT = "#00507a", "#4a5462"

Row = Mapping[str, Any]


def render_evaluation(result: Mapping[str, Any]) -> str:
    """The report's HTML text; nothing in it is fetched from elsewhere.

    Args:
        result: what ``outcome.evaluation_result`` made.
    """
    rows: Sequence[Row] = result["rows"]
    responded = [site for site in result["sites"] if site["responded"]]
    body = [
        "<h1>Federated evaluation</h1>",
        f"<p>Model <strong>{escape(result['model'])}</strong>, {short_hash(result['sha256'])}. "
        f"{len(responded)} of {len(result['sites'])} sites answered, with {sum(s['n'] for s in responded)} cases.</p>",
        _sites(result["sites"]),
        "<h2>Means of the sites</h2>",
        "<p>A square is the mean of a site, its size grows with the number of cases; the line is the middle half of "
        "the cases, where the site has ten or more. The diamond is the mean over the cases of all sites.</p>",
    ]
    for region in REGION_NAMES:
        for metric in TITLES:
            if stated := [row for row in rows if (row["region"], row["metric"]) == (region, metric)]:
                body.append(forest_plot(f"{REGION_NAMES[region]}: {TITLES[metric]}", stated, metric.endswith("dice")))
    body += ["<h2>All figures</h2>", _table(rows)]
    resources = files("hope.resources.report")
    return Template(resources.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title="Federated evaluation",
        style=resources.joinpath("style.css").read_text(encoding="utf-8"),
        disclaimer=escape(DISCLAIMER),
        body="\n".join(body),
        footer="Figures of each site were computed there; no case left it.",
    )


def forest_plot(title: str, rows: Sequence[Row], share: bool) -> str:
    """One line a site and one for all, as inline SVG.

    Args:
        title: what is drawn.
        rows: of one region and metric, the pooled one last.
        share: the values go from 0 to 1; else from 0 to the largest.
    """
    values = [row[name] for row in rows for name in ("mean", "p75") if row[name] is not None]
    top = 1.0 if share else max(1.0, *values)
    most = max(row["n"] for row in rows)
    height = _LINE * (len(rows) + 2)

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / top

    parts = []
    for number, row in enumerate(rows):
        y, mean = _LINE * (number + 0.7), x(row["mean"])
        pooled = number == len(rows) - 1
        digits = 3 if share else 1
        parts.append(f'<text x="0" y="{y + 5:.1f}">{escape(str(row["site"]))}</text>')
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 12:.1f}" y="{y + 5:.1f}">{row["mean"]:.{digits}f} (n {row["n"]})</text>'
        )
        if row["p25"] is not None:
            ends = f'x1="{x(row["p25"]):.1f}" x2="{x(row["p75"]):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'<line {ends} stroke="{_INK}" stroke-width="2"/>')
        half = 4 + 4 * (row["n"] / most) ** 0.5
        if pooled:
            points = f"{mean - 9:.1f},{y:.1f} {mean:.1f},{y - 7:.1f} {mean + 9:.1f},{y:.1f} {mean:.1f},{y + 7:.1f}"
            parts.append(f'<polygon points="{points}" fill="{_INK}"/>')
        else:
            square = f'x="{mean - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" height="{2 * half:.1f}"'
            parts.append(f'<rect {square} fill="{_INK}"/>')
    base = _LINE * len(rows) + 8
    parts.append(f'<line x1="{x(0):.1f}" x2="{x(top):.1f}" y1="{base:.1f}" y2="{base:.1f}" stroke="{_SOFT}"/>')
    parts += [
        f'<text x="{x(top * tick):.1f}" y="{base + 18:.1f}" text-anchor="middle" fill="{_SOFT}">{top * tick:g}</text>'
        for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    name = escape(title)
    return (
        f'<figure><figcaption>{name}</figcaption><svg role="img" aria-label="{name}" '
        f'viewBox="0 0 {_WIDTH:g} {height:g}" font-size="14" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg></figure>'
    )


def _sites(sites: Sequence[Mapping[str, Any]]) -> str:
    columns = [Column("Site"), Column("Cases", number=True), Column("Without a mask", number=True), Column("Remarks")]
    rows = []
    for site in sites:
        failed = "; ".join(f"{count} failed: {FAILURES[kind]}" for kind, count in site.get("failed", {}).items())
        said = escape(failed or "none") if site["responded"] else escape(str(site["reason"]))
        figures = [str(site["n"]), str(site["unlabelled"])] if site["responded"] else [NOTHING, NOTHING]
        numbers = "".join(f'<td class="number">{text}</td>' for text in figures)
        rows.append(f'<tr><th scope="row">{escape(site["site"])}</th>{numbers}<td>{said}</td></tr>')
    return html_table("Sites", columns, rows)


def _table(rows: Sequence[Row]) -> str:
    names = ("n", "mean", "p25", "p50", "p75")
    columns = [Column("Site"), Column("Region"), Column("Metric"), *(Column(name, number=True) for name in names)]
    body = []
    for row in rows:
        words = "".join(f"<td>{escape(str(row[name]))}</td>" for name in ("site", "region", "metric"))
        body.append(f"<tr>{words}{''.join(_cell(row[name]) for name in names)}</tr>")
    return html_table("All figures", columns, body)


def _cell(value: float | None) -> str:
    text = "" if value is None else f"{value:d}" if isinstance(value, int) else f"{value:.3f}"
    return f'<td class="number">{text}</td>'
