from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hope import DISCLAIMER
from hope.contract.report import CaseReport
from hope.domain.errors import OutputError
from hope.domain.grid import ATLAS_GRID
from hope.stages.report.report import render_report, write_report

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PNG = b"\x89PNG\r\n\x1a\nnot a real picture"
VOID = {"meta", "img", "br", "hr", "link", "input"}


def result() -> dict[str, Any]:
    """A complete result as the pipeline writes it, t2f missing."""
    used = {"sha256": SHA, "grid": ATLAS_GRID.to_json(), "confidence": 0.9, "reason": "by its file name"}
    return {
        "format": "hope-result/1",
        "case_id": "case-7",
        "created_by": {"software": "hope", "version": "0.1.0"},
        "disclaimer": DISCLAIMER,
        "input": {
            "sequences": {"t1n": used, "t1c": used, "t2w": used},
            "missing": ["t2f"],
            "treated_as": "raw",
            "head_state": "full",
        },
        "model": {
            "id": "some-model",
            "version": "3",
            "sha256": SHA,
            "licence": "Apache-2.0",
            "label_schema": "peds",
            "device": "cpu",
            "head_state": "brain",
            "spacing_mm": [2.0, 2.0, 2.0],
            "note": "trained on synthetic cases",
        },
        "harmonizer": {"method": "none", "note": "switched off"},
        "brain_mask": {"method": "a method 1.0"},
        "qc": [
            {"code": "treated_as_raw", "severity": "info", "sequence": "", "reason": "two grids"},
            {"code": "thick_slices", "severity": "warning", "sequence": "t2w", "reason": "slices are 5.5 mm apart"},
        ],
        "volumes_ml": {
            key: {"ml": ml, "low_ml": ml * 0.8, "high_ml": ml * 1.2}
            for key, ml in {"ET": 6.4, "NET": 11.0, "CC": 0.0, "ED": 27.5, "TC": 17.4, "WT": 44.9}.items()
        },
        "interval_method": "between two probability thresholds",
        "tumour_found": True,
        "postprocess": {
            "rules": "small components",
            "before_ml": {"ET": 6.4, "NET": 10.0, "CC": 1.0, "ED": 27.5},
            "after_ml": {"ET": 6.4, "NET": 11.0, "CC": 0.0, "ED": 27.5},
            "removed_ml": {"CC": 1.0},
        },
        "transforms": {},
        "stages": [{"name": "intake", "seconds": 1.25}, {"name": "segment", "seconds": 20.0}],
        "files": [{"name": "case-7-seg.nii.gz", "kind": "segmentation", "bytes": 34211, "sha256": SHA}],
    }


def report() -> CaseReport:
    return CaseReport.stored(result())


class Page(HTMLParser):
    """Reads a page strictly: every tag closed in order; collects what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def row(page: Page, first: str) -> list[str]:
    return next(cells for cells in page.rows if cells and cells[0].strip() == first)


def test_it_is_whole_and_fetches_nothing() -> None:
    html = render_report(report(), PNG)
    page = Page(html)
    assert "http:" not in html and "https:" not in html and "@import" not in html
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 1 and (sources[0] or "").startswith("data:image/png;base64,")


def test_it_can_be_read_without_eyes() -> None:
    page = Page(render_report(report(), PNG))
    assert ("html", {"lang": "en"}) in page.tags
    levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3"}]
    assert levels[0] == 1 and levels.count(1) == 1 and set(levels) == {1, 2}
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert [tag for tag, _ in page.tags].count("table") == [tag for tag, _ in page.tags].count("caption")
    alt = next(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    assert alt and "Enhancing tumour 6.4 ml" in alt


def test_the_disclaimer_comes_first() -> None:
    body = render_report(report(), PNG).split("<body>")[1]
    assert body.index(DISCLAIMER) < body.index("<h1>")


def test_all_labels_are_shown_also_absent_ones() -> None:
    page = Page(render_report(report(), PNG))
    assert row(page, "ET") == ["ET", "Enhancing tumour", "6.4 ml", "5.1 to 7.7 ml"]
    assert row(page, "CC")[2] == "0.0 ml"
    assert row(page, "WT")[2] == "44.9 ml"
    assert row(page, "TC")[1] == "Tumour core (ET + NET + CC)"


def test_a_small_label_does_not_read_as_an_absent_one() -> None:
    values = result()
    values["volumes_ml"]["ET"] = {"ml": 0.031, "low_ml": 0.0, "high_ml": 0.046}
    page = Page(render_report(CaseReport.stored(values), PNG))
    assert row(page, "ET")[2:] == ["0.03 ml", "0.0 to 0.05 ml"]


def test_absent_labels_need_no_entry() -> None:
    values = result()
    values["volumes_ml"] = {}
    values["tumour_found"] = False
    page = Page(render_report(CaseReport.stored(values), PNG))
    assert [row(page, key)[2] for key in ("ET", "NET", "CC", "ED", "TC", "WT")] == ["0.0 ml"] * 6
    assert "No tumour found" in page.text


def test_missing_sequences_are_marked() -> None:
    page = Page(render_report(report(), PNG))
    assert row(page, "t2f")[-1] == "missing"
    assert "Missing: t2f (T2 FLAIR)" in page.text


def test_warnings_stand_before_notes() -> None:
    text = Page(render_report(report(), PNG)).text
    assert text.index("slices are 5.5 mm apart") < text.index("two grids")


def test_a_doubt_names_its_sequence_once() -> None:
    values = result()
    values["qc"] = [
        {"code": "a", "severity": "warning", "sequence": "t2w", "reason": "slices are thick"},
        {"code": "b", "severity": "warning", "sequence": "t2f", "reason": "t2f may not lie on t1c"},
    ]
    text = Page(render_report(CaseReport.stored(values), PNG)).text
    assert "t2w (T2): slices are thick" in text
    assert "Warning. t2f may not lie on t1c" in text


def test_before_and_after_post_processing() -> None:
    page = Page(render_report(report(), PNG))
    changes = {cells[0]: cells[1:] for cells in page.rows if len(cells) == 4 and cells[1].endswith(" ml")}
    assert changes["CC"] == ["1.00 ml", "0.00 ml", "\u22121.00 ml"]
    assert changes["NET"][-1] == "+1.00 ml"
    assert changes["ET"][-1] == "0.00 ml"


def test_no_post_processing_is_said() -> None:
    values = result()
    for none in (None, "none"):
        values["postprocess"] = {"rules": none, "before_ml": {}, "after_ml": {}, "removed_ml": {}}
        assert "None was applied" in Page(render_report(CaseReport.stored(values), PNG)).text


def test_adaptive_rules_tell_cluster_and_what_became_of_each_label() -> None:
    values = result()
    values["postprocess"] |= {
        "rules": "some-rules cluster 4",
        "renamed_ml": {"ET": 0.25},
        "cluster": 4,
        "chosen_by": "cluster model <some>",
        "runner_up": 7,
        "lead": 0.031,
    }
    page = Page(render_report(CaseReport.stored(values), PNG))
    assert "Cluster chosen by: cluster model <some>; next is cluster 7, lead 3% (0% is a tie" in page.text
    assert "Nothing is left of CC." in page.text
    changes = {cells[0]: cells[1:] for cells in page.rows if len(cells) == 6 and cells[1].endswith(" ml")}
    assert changes["CC"] == ["1.00 ml", "0.00 ml", "\u22121.00 ml", "1.00 ml", "0.00 ml"]
    assert changes["ET"][-2:] == ["0.00 ml", "0.25 ml"]


def test_rules_that_were_not_applied_are_said() -> None:
    values = result()
    values["postprocess"] |= {"cluster": None, "chosen_by": "nobody: the cluster is not known", "reason": "t2f < 1"}
    text = Page(render_report(CaseReport.stored(values), PNG)).text
    assert "Warning. The model's own rules were not applied: t2f < 1. These stood in." in text
    assert "Cluster chosen by" not in text


def test_how_an_ensembles_networks_ran() -> None:
    values = result()
    assert "Networks" not in Page(render_report(CaseReport.stored(values), PNG)).text
    values["model"] |= {"members": 15, "precision": "bf16", "backend": "torch", "mirroring": False, "remark": "odd"}
    assert "15, in bf16 by torch, without mirroring; odd" in Page(render_report(CaseReport.stored(values), PNG)).text


def test_what_it_was_made_with() -> None:
    text = Page(render_report(report(), PNG)).text
    for fact in (
        "some-model 3",
        SHA[:12],
        "a method 1.0",
        "none: switched off",
        "hope 0.1.0",
        "brain only",
        "2 mm voxels",
    ):
        assert fact in text
    assert row(Page(render_report(report(), PNG)), "Total")[1] == "21.2 s"


def poisoned(value: Any, poison: str) -> Any:
    """The same structure with the poison behind every text; the keys stay."""
    if isinstance(value, dict):
        return {key: poisoned(inner, poison) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, poison) for inner in value]
    return value + poison if isinstance(value, str) else value


@pytest.mark.parametrize("poison", ["<script>alert(1)</script>", "\" onload='x' ", "</style>&amp;", "$title ${body}"])
def test_everything_is_escaped(poison: str) -> None:
    # Reading refuses a poisoned case_id; the report does not lean on that.
    clean, dirty = (
        Page(render_report(CaseReport.model_validate(values), PNG)) for values in (result(), poisoned(result(), poison))
    )
    known = {name for _, attributes in clean.tags for name in attributes}
    assert {tag for tag, _ in dirty.tags} == {tag for tag, _ in clean.tags}
    assert {name for _, attributes in dirty.tags for name in attributes} == known
    assert f"case-7{poison}".strip() in " ".join(dirty.text.split("\n"))


def test_an_early_result_with_little_in_it_is_still_a_page() -> None:
    page = Page(render_report(CaseReport(case_id="case-1"), PNG))
    assert "case-1" in page.text


def test_writing(tmp_path: Path) -> None:
    picture = tmp_path / "preview.png"
    picture.write_bytes(PNG)
    write_report(report(), picture, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render_report(report(), PNG)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["preview.png", "report.html"]
    with pytest.raises(OutputError):
        write_report(report(), tmp_path / "none.png", tmp_path / "other.html")
    with pytest.raises(OutputError):
        write_report(report(), picture, tmp_path / "no-such-folder" / "report.html")
