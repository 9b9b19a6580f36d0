"""The report that a person reads: one HTML file that needs nothing else, made from result.json's values."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

from hope import DISCLAIMER, __version__
from hope.domain.case import SEQUENCES
from hope.domain.errors import OutputError
from hope.domain.labels import PEDS, REGION_NAMES, REGIONS
from hope.formats.atomic import atomic_output

Json = Mapping[str, Any]

SHORT_HASH: Final = 12
TIMES: Final = " \u00d7 "
NOTHING: Final = '<span class="soft">none</span>'
HEAD_STATES: Final = {"full": "whole head", "defaced": "defaced head", "brain": "brain only"}


@dataclass(frozen=True)
class _Column:
    """A table's column: its heading and whether it holds figures."""

    heading: str
    number: bool = False


def write_report(result: Json, preview_png: Path, path: Path) -> None:
    """Write the self-contained report of one case.

    Args:
        result: the values of result.json (docs/reference/result-json.md); text in it may be anything, it is escaped.
        preview_png: the picture to embed.
        path: the HTML file to write.

    Raises:
        OutputError: if the picture cannot be read or the report cannot be written.
    """
    try:
        picture = preview_png.read_bytes()
    except OSError as error:
        raise OutputError(f"cannot read the picture for the report: {error.strerror or error}") from error
    with atomic_output(path) as file:
        file.write(render_report(result, picture).encode("utf-8"))


def render_report(result: Json, preview_png: bytes) -> str:
    """Give the report's HTML text; no script, nothing fetched from elsewhere."""
    case_id = str(result.get("case_id", "case"))
    sections = (
        _heading(result, case_id),
        _picture(result, preview_png),
        _volumes(result),
        _doubts(result),
        _inputs(result),
        _postprocess(result),
        _method(result),
        _stages(result),
        _files(result),
    )
    resources = files("hope.resources.report")
    return Template(resources.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{case_id}: tumour volumes"),
        style=resources.joinpath("style.css").read_text(encoding="utf-8"),
        disclaimer=escape(str(result.get("disclaimer") or DISCLAIMER)),
        body="\n".join(section for section in sections if section),
        footer=f"Made by {_software(result)}. {escape(str(result.get('disclaimer') or DISCLAIMER))}",
    )


def _heading(result: Json, case_id: str) -> str:
    """Name the case and say the result in one sentence."""
    volume = result.get("volumes_ml", {})
    if result.get("tumour_found"):
        said = f"Tumour found: {_ml(volume, 'WT')} in all, {_ml(volume, 'TC')} of it tumour core."
    else:
        said = "No tumour found: no voxel was labelled. This is a result, not a proof of absence."
    missing = [_title(name) for name in result.get("input", {}).get("missing", ())]
    line = ""
    if missing:
        listed = escape(", ".join(missing))
        line = f'<p><span class="missing">Missing: {listed}</span> The result was made without it.</p>'
    return f'<h1>Tumour volumes of {escape(case_id)}</h1>\n<p class="lead">{escape(said)}</p>\n{line}'


def _picture(result: Json, preview_png: bytes) -> str:
    """Embed the preview, with a description for those who cannot see it."""
    volume = result.get("volumes_ml", {})
    parts = ", ".join(f"{label.name} {_ml(volume, label.key)}" for label in PEDS.labels)
    alt = f"Axial, coronal and sagittal slices, above without and below with coloured labels. {parts}."
    data = base64.b64encode(preview_png).decode("ascii")
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">\n'
        "<figcaption>Radiological view: the patient's left is on the right. "
        "Labels lie on the scan's own grid.</figcaption></figure>"
    )


def _volumes(result: Json) -> str:
    """Tabulate every label, found or not, and the two regions."""
    volume = result.get("volumes_ml", {})
    rows = []
    for label in PEDS.labels:
        head = f'<span class="swatch" style="background:{label.colour}"></span>{label.key}'
        rows.append(_volume_row(head, label.name, volume.get(label.key, {}), ""))
    for key in ("TC", "WT"):
        parts = " + ".join(label.key for label in PEDS.labels if label.value in REGIONS[key])
        rows.append(_volume_row(key, f"{REGION_NAMES[key]} ({parts})", volume.get(key, {}), "region"))
    columns = (_Column("Label"), _Column("Meaning"), _Column("Volume", number=True), _Column("Interval", number=True))
    method = result.get("interval_method")
    note = f'<p class="soft">Interval: {escape(str(method))}</p>' if method else ""
    return "<h2>Volumes</h2>\n" + _table("Volumes on the scan's own grid", columns, rows) + note


def _volume_row(head: str, name: str, volume: Json, kind: str) -> str:
    """One label or region; ``head`` is HTML already."""
    ml = float(volume.get("ml", 0.0))
    low, high = volume.get("low_ml"), volume.get("high_ml")
    interval = "" if low is None or high is None else f"{float(low):.1f} to {float(high):.1f} ml"
    classes = " ".join(word for word in (kind, "absent" if ml == 0 else "") if word)
    return (
        f'<tr class="{classes}"><th scope="row">{head}</th><td>{escape(name)}</td>'
        f'<td class="number">{ml:.1f} ml</td><td class="number">{interval}</td></tr>'
    )


def _doubts(result: Json) -> str:
    """List the quality-control flags, warnings first."""
    flags: Sequence[Json] = result.get("qc", ())
    if not flags:
        return "<h2>Quality control</h2>\n<p>No doubts were raised about the input or the result.</p>"
    items = []
    for flag in sorted(flags, key=lambda f: f.get("severity") != "warning"):
        severity = "warning" if flag.get("severity") == "warning" else "info"
        sequence, reason = str(flag.get("sequence") or ""), str(flag.get("reason", ""))
        where = f"{_title(sequence)}: " if sequence and sequence not in reason else ""
        word = "Warning" if severity == "warning" else "Note"
        items.append(
            f'<li class="{severity}"><strong>{word}.</strong> {escape(where + reason)} '
            f"<code>{escape(str(flag.get('code', '')))}</code></li>"
        )
    return '<h2>Quality control</h2>\n<ul class="flags">\n' + "\n".join(items) + "\n</ul>"


def _inputs(result: Json) -> str:
    """Say which sequences were used, how each was identified, and which were missing."""
    given: Json = result.get("input", {})
    used: Json = given.get("sequences", {})
    missing = set(given.get("missing", ()))
    rows = []
    for sequence in SEQUENCES:
        facts = used.get(sequence.value)
        if facts is None:
            word = "missing" if sequence.value in missing else "not given"
            cells = f'<td colspan="4"><span class="missing">{word}</span></td>'
        else:
            cells = _input_cells(facts)
        rows.append(f'<tr><th scope="row">{sequence.value}</th><td>{escape(sequence.title)}</td>{cells}</tr>')
    columns = tuple(map(_Column, ("Sequence", "Meaning", "Grid", "Spacing", "Identified by", "SHA-256")))
    treated = escape(str(given.get("treated_as", "not recorded")))
    table = _table("Sequences (hashes are of voxels and grid, never of a file name)", columns, rows)
    return f"<h2>Input</h2>\n<p>Treated as {treated}; the scans show the {_head(given.get('head_state'))}.</p>\n{table}"


def _input_cells(facts: Json) -> str:
    """Grid, spacing, reason and hash of one sequence."""
    grid: Json = facts.get("grid", {})
    shape = TIMES.join(str(n) for n in grid.get("shape", ()))
    spacing = TIMES.join(f"{float(s):.2f}" for s in grid.get("spacing_mm", ()))
    reason = escape(str(facts.get("reason", "")))
    confidence = facts.get("confidence")
    if isinstance(confidence, (int, float)) and not isinstance(confidence, bool):
        reason += f" ({confidence:.0%})"
    elif confidence:
        reason += f" ({escape(str(confidence))})"
    return (
        f'<td class="nowrap">{escape(shape)} {escape(str(grid.get("orientation", "")))}</td>'
        f'<td class="nowrap">{escape(spacing)} mm</td><td class="words">{reason}</td>'
        f"<td>{_short(facts.get('sha256'))}</td>"
    )


def _postprocess(result: Json) -> str:
    """Show what post-processing changed, so that nothing vanishes unseen."""
    facts: Json = result.get("postprocess", {})
    rules = facts.get("rules")
    if not rules:
        return "<h2>Post-processing</h2>\n<p>None was applied: the labels are the model's own.</p>"
    before, after = facts.get("before_ml", {}), facts.get("after_ml", {})
    rows = []
    for label in PEDS.labels:
        was, now = float(before.get(label.key, 0.0)), float(after.get(label.key, 0.0))
        rows.append(
            f'<tr><th scope="row">{label.key}</th><td class="number">{was:.2f} ml</td>'
            f'<td class="number">{now:.2f} ml</td><td class="number">{_signed(now - was)} ml</td></tr>'
        )
    columns = (_Column("Label"), *(_Column(word, number=True) for word in ("Before", "After", "Change")))
    table = _table("Volumes before and after, on the atlas grid", columns, rows)
    return f"<h2>Post-processing</h2>\n<p>Rules: {escape(str(rules))}</p>\n{table}"


def _method(result: Json) -> str:
    """Say with what the result was made."""
    model: Json = result.get("model", {})
    harmonizer: Json = result.get("harmonizer", {})
    named = " ".join(str(model[key]) for key in ("id", "version") if model.get(key))
    method = str(harmonizer.get("method") or "none")
    pairs = (
        ("Model", f"{escape(named)} {_short(model.get('sha256'))}"),
        ("Model's licence", escape(str(model.get("licence") or ""))),
        ("Model wants", f"{_head(model.get('head_state'))}, {_spacing(model.get('spacing_mm'))}"),
        ("About the model", escape(str(model.get("note") or ""))),
        ("Device", escape(str(model.get("device") or ""))),
        ("Brain mask", escape(str(result.get("brain_mask", {}).get("method") or "not recorded"))),
        ("Harmonisation", escape(method + (f": {harmonizer['note']}" if harmonizer.get("note") else ""))),
        ("Software", _software(result)),
    )
    items = "\n".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in pairs if text)
    return f"<h2>How it was made</h2>\n<dl>\n{items}\n</dl>"


def _stages(result: Json) -> str:
    """Tabulate each stage's seconds."""
    stages: Sequence[Json] = result.get("stages", ())
    if not stages:
        return ""
    rows = [_stage_row(str(stage.get("name", "")), float(stage.get("seconds", 0.0)), "") for stage in stages]
    rows.append(_stage_row("Total", sum(float(stage.get("seconds", 0.0)) for stage in stages), "region"))
    columns = (_Column("Stage"), _Column("Time", number=True))
    return "<h2>Stages</h2>\n" + _table("What was done, in order", columns, rows)


def _stage_row(name: str, seconds: float, kind: str) -> str:
    """One stage."""
    head = f'<th scope="row" class="flush">{escape(name)}</th>'
    return f'<tr class="{kind}">{head}<td class="number">{seconds:.1f} s</td></tr>'


def _files(result: Json) -> str:
    """Tabulate the files that lie beside this report."""
    rows = [
        f'<tr><th scope="row" class="breakable">{escape(str(file.get("name", "")))}</th>'
        f"<td>{escape(str(file.get('kind', '')))}</td>"
        f'<td class="number">{_size(int(file.get("bytes", 0)))}</td><td>{_short(file.get("sha256"))}</td></tr>'
        for file in result.get("files", ())
    ]
    if not rows:
        return ""
    columns = (_Column("File"), _Column("Kind"), _Column("Size", number=True), _Column("SHA-256"))
    note = "<p class='soft'>Full hashes, transforms and every figure are in result.json.</p>"
    return "<h2>Files</h2>\n" + _table("Files beside this report", columns, rows) + note


def _table(caption: str, columns: Iterable[_Column], rows: Iterable[str]) -> str:
    """Build a table that scrolls by itself on a narrow screen; ``rows`` are HTML already."""
    heads = "".join(
        f'<th scope="col"{" class=" + chr(34) + "number" + chr(34) if column.number else ""}>'
        f"{escape(column.heading)}</th>"
        for column in columns
    )
    name = escape(caption)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table>\n<caption>{name}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def _ml(volumes: Json, key: str) -> str:
    """Write a volume with its unit."""
    return f"{float(volumes.get(key, {}).get('ml', 0.0)):.1f} ml"


def _signed(value: float) -> str:
    """Write a change with its sign; what rounds to nothing has none."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "\u2212")


def _short(sha256: object) -> str:
    """Start of a hash, the whole of it on hover."""
    text = escape(str(sha256 or ""))
    return f'<code title="{text}">{text[:SHORT_HASH]}</code>' if text else NOTHING


def _size(size_bytes: int) -> str:
    """Bytes for a person."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"


def _spacing(spacing_mm: object) -> str:
    """Spacing for a person: one number where the voxels are cubes."""
    if isinstance(spacing_mm, (int, float)):
        return f"{spacing_mm:g} mm voxels"
    if isinstance(spacing_mm, Sequence) and not isinstance(spacing_mm, str) and spacing_mm:
        sides = [f"{float(side):g}" for side in spacing_mm]
        return (sides[0] if len(set(sides)) == 1 else TIMES.join(sides)) + " mm voxels"
    return "spacing not recorded"


def _head(state: object) -> str:
    """Say in words what of the head is shown."""
    return escape(HEAD_STATES.get(str(state), str(state or "head state not recorded")))


def _title(name: str) -> str:
    """Name a sequence for a person; unknown names as they are."""
    return next((f"{s.value} ({s.title})" for s in SEQUENCES if s.value == name), name)


def _software(result: Json) -> str:
    """Name and version of what made the result."""
    by: Json = result.get("created_by", {})
    return escape(f"{by.get('software', 'hope')} {by.get('version', __version__)}")
