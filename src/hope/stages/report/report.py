"""The report that a person reads: one HTML file that needs nothing else, made from result.json's values."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from hope import DISCLAIMER, __version__
from hope.contract.report import CaseReport, ModelFacts, Postprocess, ScanFacts, VolumeMl
from hope.domain.case import SEQUENCES
from hope.domain.errors import OutputError
from hope.domain.labels import PEDS, REGION_NAMES, REGIONS
from hope.domain.qc import worst_first
from hope.domain.wording import millilitres
from hope.formats.atomic import atomic_output
from hope.stages.report.lesion_section import lesion_section
from hope.stages.report.report_sections import (
    TIMES,
    Column,
    head_words,
    html_table,
    in_bytes,
    sequence_title,
    short_hash,
    signed,
    spacing_words,
)

NO_RULES: Final = "none"
VERDICT_CLASSES: Final = {"likely good": "good", "check": "check", "likely poor": "poor"}


def write_report(result: CaseReport, preview_png: Path, path: Path, lesions_png: bytes = b"") -> None:
    """Write the self-contained report of one case.

    Args:
        result: the report of the case; text in it may be anything, it is escaped.
        preview_png: the picture to embed.
        path: the HTML file to write.
        lesions_png: the lesions with their diameters, if there are any.

    Raises:
        OutputError: if the picture cannot be read or the report cannot be written.
    """
    try:
        picture = preview_png.read_bytes()
    except OSError as error:
        raise OutputError(f"cannot read the picture for the report: {error.strerror or error}") from error
    with atomic_output(path) as file:
        file.write(render_report(result, picture, lesions_png).encode("utf-8"))


def render_report(result: CaseReport, preview_png: bytes, lesions_png: bytes = b"") -> str:
    """Give the report's HTML text; no script, nothing fetched from elsewhere."""
    case_id = result.case_id
    sections = (
        _heading(result, case_id),
        _cautions(result),
        _picture(result, preview_png),
        _volumes(result),
        lesion_section(result.measurements, lesions_png),
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
        disclaimer=escape(result.disclaimer or DISCLAIMER),
        body="\n".join(section for section in sections if section),
        footer=f"Made by {_software(result)}. {escape(result.disclaimer or DISCLAIMER)}",
    )


def _ml(result: CaseReport, key: str) -> str:
    """A volume with its unit; what is not there is 0."""
    volume = result.volumes_ml.get(key)
    return f"{millilitres(volume.ml if volume else 0.0)} ml"


def _heading(result: CaseReport, case_id: str) -> str:
    """Name the case and say the result in one sentence."""
    if result.tumour_found:
        said = f"Tumour found: {_ml(result, 'WT')} in all, {_ml(result, 'TC')} of it tumour core."
    else:
        said = "No tumour found: no voxel was labelled. This is a result, not a proof of absence."
    missing = [sequence_title(name) for name in result.input.missing]
    line = ""
    if missing:
        listed = escape(", ".join(missing))
        line = f'<p><span class="missing">Missing: {listed}</span> The result was made without it.</p>'
    if result.corrected:
        line += "<p>The mask was corrected by hand; picture and volumes are of the corrected mask.</p>"
    lead = f'<h1>Tumour volumes of {escape(case_id)}</h1>\n<p class="lead">{escape(said)}</p>'
    return "\n".join(part for part in (lead, _expected_quality(result), line) if part)


def _expected_quality(result: CaseReport) -> str:
    """How good the result is expected to be; empty where the model cannot tell."""
    expected = result.expected_quality
    if expected is None:
        return ""
    figures = expected.figures()
    whose = " of the model's result" if result.corrected else ""
    return (
        f'<p class="verdict {VERDICT_CLASSES.get(expected.verdict, "check")}">'
        f"<strong>Expected quality{whose}: {escape(expected.verdict)}.</strong> "
        f"{escape(figures[:1].upper() + figures[1:])}. "
        f"Fitted on {escape(expected.fitted_on)}.</p>"
    )


def _picture(result: CaseReport, preview_png: bytes) -> str:
    """Embed the preview, with a description for those who cannot see it."""
    parts = ", ".join(f"{label.name} {_ml(result, label.key)}" for label in PEDS.labels)
    alt = f"Axial, coronal and sagittal slices, above without and below with coloured labels. {parts}."
    data = base64.b64encode(preview_png).decode("ascii")
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">\n'
        "<figcaption>Radiological view: the patient's left is on the right. "
        "Labels lie on the scan's own grid.</figcaption></figure>"
    )


def _volumes(result: CaseReport) -> str:
    """Tabulate every label, found or not, and the two regions."""
    rows = []
    for label in PEDS.labels:
        head = f'<span class="swatch" style="background:{label.colour}"></span>{label.key}'
        rows.append(_volume_row(head, label.name, result.volumes_ml.get(label.key), ""))
    for key in ("TC", "WT"):
        parts = " + ".join(label.key for label in PEDS.labels if label.value in REGIONS[key])
        rows.append(_volume_row(key, f"{REGION_NAMES[key]} ({parts})", result.volumes_ml.get(key), "region"))
    columns = (Column("Label"), Column("Meaning"), Column("Volume", number=True), Column("Interval", number=True))
    method = result.interval_method
    note = f'<p class="soft">Interval: {escape(method)}</p>' if method else ""
    return "<h2>Volumes</h2>\n" + html_table("Volumes on the scan's own grid", columns, rows) + note


def _volume_row(head: str, name: str, volume: VolumeMl | None, kind: str) -> str:
    """One label or region; ``head`` is HTML already."""
    ml, low, high = (volume.ml, volume.low_ml, volume.high_ml) if volume else (0.0, None, None)
    interval = "" if low is None or high is None else f"{millilitres(low)} to {millilitres(high)} ml"
    classes = " ".join(word for word in (kind, "absent" if ml == 0 else "") if word)
    return (
        f'<tr class="{classes}"><th scope="row">{head}</th><td>{escape(name)}</td>'
        f'<td class="number">{millilitres(ml)} ml</td><td class="number">{interval}</td></tr>'
    )


def _cautions(result: CaseReport) -> str:
    """List the quality-control flags, the gravest first."""
    if not result.qc:
        return "<h2>Quality control</h2>\n<p>There are no remarks on the input or the result.</p>"
    items = []
    for flag in worst_first(result.qc):
        severity = flag.severity if flag.severity in ("warning", "caution") else "info"
        sequence, reason = flag.sequence or "", flag.reason
        where = f"{sequence_title(sequence)}: " if sequence and sequence not in reason else ""
        word = {"warning": "Warning", "caution": "Caution"}.get(severity, "Note")
        items.append(
            f'<li class="{severity}"><strong>{word}.</strong> {escape(where + reason)} '
            f"<code>{escape(flag.code)}</code></li>"
        )
    return '<h2>Quality control</h2>\n<ul class="flags">\n' + "\n".join(items) + "\n</ul>"


def _inputs(result: CaseReport) -> str:
    """Say which sequences were used, how each was identified, and which were missing."""
    given = result.input
    missing = set(given.missing)
    rows = []
    for sequence in SEQUENCES:
        facts = given.sequences.get(sequence.value)
        if facts is None:
            word = "missing" if sequence.value in missing else "not given"
            cells = f'<td colspan="4"><span class="missing">{word}</span></td>'
        else:
            cells = _input_cells(facts)
        rows.append(f'<tr><th scope="row">{sequence.value}</th><td>{escape(sequence.title)}</td>{cells}</tr>')
    columns = tuple(map(Column, ("Sequence", "Meaning", "Grid", "Spacing", "Identified by", "SHA-256")))
    treated = escape(given.treated_as or "not recorded")
    table = html_table("Sequences (hashes are of voxels and grid, never of a file name)", columns, rows)
    shown = head_words(given.head_state)
    return f"<h2>Input</h2>\n<p>Treated as {treated}; the scans show the {shown}.</p>\n{table}"


def _input_cells(facts: ScanFacts) -> str:
    """Grid, spacing, reason and hash of one sequence."""
    grid = facts.grid
    shape = TIMES.join(str(n) for n in grid.shape) if grid else ""
    spacing = TIMES.join(f"{s:.2f}" for s in grid.spacing_mm) if grid else ""
    reason = escape(facts.reason or "")
    if facts.confidence is not None:
        reason += f" ({facts.confidence:.0%})"
    return (
        f'<td class="nowrap">{escape(shape)} {escape(grid.orientation if grid else "")}</td>'
        f'<td class="nowrap">{escape(spacing)} mm</td><td class="words">{reason}</td>'
        f"<td>{short_hash(facts.sha256)}</td>"
    )


def _postprocess(result: CaseReport) -> str:
    """Show what post-processing changed, so that nothing vanishes unseen."""
    facts = result.postprocess
    rules = facts.rules
    if rules in (None, "", NO_RULES):
        return "<h2>Post-processing</h2>\n<p>None was applied: the labels are the model's own.</p>"
    # Adaptive rules tell what they removed and what they renamed; others only remove.
    kinds = [] if facts.renamed_ml is None else [facts.removed_ml or {}, facts.renamed_ml]
    rows, gone = [], []
    for label in PEDS.labels:
        was, now = facts.before_ml.get(label.key, 0.0), facts.after_ml.get(label.key, 0.0)
        if was and not now:
            gone.append(label.key)
        cells = (f"{was:.2f}", f"{now:.2f}", signed(now - was), *(f"{kind.get(label.key, 0.0):.2f}" for kind in kinds))
        numbers = "".join(f'<td class="number">{cell} ml</td>' for cell in cells)
        rows.append(f'<tr><th scope="row">{label.key}</th>{numbers}</tr>')
    words = ("Before", "After", "Change", *(("Of it removed", "Of it renamed") if kinds else ()))
    columns = (Column("Label"), *(Column(word, number=True) for word in words))
    table = html_table("Volumes before and after, on the atlas grid", columns, rows)
    lost = f"<p><strong>Nothing is left of {', '.join(gone)}.</strong></p>\n" if gone else ""
    return f"<h2>Post-processing</h2>\n<p>Rules: {escape(str(rules))}</p>\n{_cluster(facts)}{lost}{table}"


def _cluster(facts: Postprocess) -> str:
    """Say what chose the adaptive rules' cluster and how clearly, or why the model's own rules were not applied."""
    if facts.reason:
        return (
            '<ul class="flags"><li class="warning"><strong>Warning.</strong> The model\'s own rules were not applied: '
            f"{escape(facts.reason)}. These stood in.</li></ul>\n"
        )
    if facts.cluster is None:
        return ""
    said = f"Cluster chosen by: {facts.chosen_by or 'not recorded'}"
    if facts.lead is not None:
        said += (
            f"; next is cluster {facts.runner_up}, lead {facts.lead:.0%} "
            "(0% is a tie, 100% a case in the very centre of its cluster)"
        )
    return f"<p>{escape(said)}</p>\n"


def _method(result: CaseReport) -> str:
    """Say with what the result was made."""
    model, harmonizer = result.model, result.harmonizer
    named = " ".join(part for part in (model.id, model.version) if part)
    method = harmonizer.method + (f": {harmonizer.note}" if harmonizer.note else "")
    brain_mask = result.brain_mask.method if result.brain_mask else "not recorded"
    pairs = (
        ("Model", f"{escape(named)} {short_hash(model.sha256)}"),
        ("Model's licence", escape(model.licence or "")),
        ("Model wants", f"{head_words(model.head_state)}, {spacing_words(model.spacing_mm)}"),
        ("About the model", escape(model.note or "")),
        ("Device", escape(model.device or "")),
        ("Networks", escape(_networks(model))),
        ("Brain mask", escape(brain_mask)),
        ("Harmonisation", escape(method)),
        ("Software", _software(result)),
    )
    items = "\n".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in pairs if text)
    return f"<h2>How it was made</h2>\n<dl>\n{items}\n</dl>"


def _networks(model: ModelFacts) -> str:
    """How an ensemble's networks ran; empty for a single one."""
    if not model.members:
        return ""
    mirrored = "with" if model.mirroring else "without"
    said = f"{model.members}, in {model.precision} by {model.backend}, {mirrored} mirroring"
    return f"{said}; {model.remark}" if model.remark else said


def _stages(result: CaseReport) -> str:
    """Tabulate each stage's seconds."""
    if not result.stages:
        return ""
    rows = [_stage_row(stage.name, stage.seconds, "") for stage in result.stages]
    rows.append(_stage_row("Total", sum(stage.seconds for stage in result.stages), "region"))
    columns = (Column("Stage"), Column("Time", number=True))
    return "<h2>Stages</h2>\n" + html_table("What was done, in order", columns, rows)


def _stage_row(name: str, seconds: float, kind: str) -> str:
    """One stage."""
    head = f'<th scope="row" class="flush">{escape(name)}</th>'
    return f'<tr class="{kind}">{head}<td class="number">{seconds:.1f} s</td></tr>'


def _files(result: CaseReport) -> str:
    """Tabulate the files that lie beside this report."""
    rows = [
        f'<tr><th scope="row" class="breakable">{escape(file.name)}</th>'
        f"<td>{escape(file.kind)}</td>"
        f'<td class="number">{in_bytes(file.bytes)}</td><td>{short_hash(file.sha256)}</td></tr>'
        for file in result.files
    ]
    if not rows:
        return ""
    columns = (Column("File"), Column("Kind"), Column("Size", number=True), Column("SHA-256"))
    note = "<p class='soft'>Full hashes, transforms and every figure are in result.json.</p>"
    return "<h2>Files</h2>\n" + html_table("Files beside this report", columns, rows) + note


def _software(result: CaseReport) -> str:
    """Name and version of what made the result."""
    by = result.created_by
    return escape(f"{by.software} {by.version or __version__}")
