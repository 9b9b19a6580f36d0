"""Federated evaluation without FLARE: a site's row, the pooled rows, what is refused, and what never leaves."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hope.domain.errors import InputError, StageError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.evaluation.evaluate import CaseScores, evaluate, mean_scores
from hope.federated import evaluation
from hope.federated.outcome import POOLED, Asked, evaluation_result, write_outcome
from hope.federated.responses import REASONS, Refusal, Response, Scores, read_response
from hope.federated.site import AUDIT, Request, respond
from hope.formats.nifti import write_labels, write_scan
from hope.models.bundle import DEFAULT_MODEL
from hope.models.registry import ModelRegistry
from hope.settings import FederatedSettings, Settings
from hope.stages.intake.case_finding import CaseSource

GRID = Grid((12, 12, 12), np.diag([1.0, 1.0, 2.0, 1.0]))
PLANTED = "Doe_Jane_1999"
SHA256 = ModelRegistry(Path("none")).get(DEFAULT_MODEL).sha256


def scores_of(seed: int) -> CaseScores:
    """Scores of two random blocks; one seed in five has no enhancing part in the truth."""
    rng = np.random.default_rng(seed)
    masks = []
    for number in range(2):
        data = np.zeros(GRID.shape, np.uint8)
        start = rng.integers(1, 4, 3)
        data[tuple(slice(s, s + 6) for s in start)] = 2
        if seed % 5 or number:
            data[tuple(slice(s + 1, s + 4) for s in start)] = 1
        masks.append(Volume(data, GRID))
    return evaluate(*masks)


def site_response(seeds: range, least: int = 1) -> Scores:
    return evaluation.summarize([scores_of(seed) for seed in seeds], Counter(stage=1), 2, least)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A site with three labelled cases under a planted name, whose scoring is replaced."""
    for number in range(3):
        folder = tmp_path / "cases" / f"{PLANTED}_{number}"
        folder.mkdir(parents=True)
        for sequence in ("t1n", "t1c", "t2w", "t2f"):
            write_scan(
                Volume(np.full(GRID.shape, 7 + number, np.float32), GRID), folder / f"{PLANTED}-{sequence}.nii.gz"
            )
        write_labels(Volume(np.zeros(GRID.shape, np.uint8), GRID), folder / f"{PLANTED}-seg.nii.gz")
    seeds = iter(range(100))
    monkeypatch.setattr(evaluation, "score_case", lambda *_: scores_of(next(seeds)))
    monkeypatch.setattr("hope.adapters.predict_local.LocalPredictor.prepare", lambda *_: None)
    chosen = FederatedSettings(data=str(tmp_path / "cases"), min_cases=3)
    return Settings(tmp_path / "data", tmp_path / "models", "cpu", federated=chosen)


def asked(**changes: str) -> Request:
    return Request(**{"job": "evaluate", "site": "site-1", "model": DEFAULT_MODEL, "sha256": SHA256, **changes})


def code(given: Response) -> str:
    assert isinstance(given, Refusal), given
    return given.code


def test_a_site_answers_the_means_of_hope_evaluate() -> None:
    given = site_response(range(12))
    means = mean_scores([scores_of(seed) for seed in range(12)])
    stated = {region: {m: x and x.mean for m, x in row.items()} for region, row in given.regions.items()}
    assert stated == means
    dice = [scores_of(seed)["regions"]["WT"]["dice"] for seed in range(12)]
    found = given.regions["WT"]["dice"]
    assert found and found.quantiles == tuple(np.percentile(dice, (25, 50, 75)))


def test_pooled_n_and_means_equal_the_central_run() -> None:
    responses: dict[str, Response] = {"site-1": site_response(range(4)), "site-2": site_response(range(4, 15))}
    result = evaluation_result(Asked("evaluate", "m", "s"), responses)
    central = mean_scores([scores_of(seed) for seed in range(15)])
    pooled = {(row["region"], row["metric"]): row for row in result["rows"] if row["site"] == POOLED}
    for region, row in central.items():
        for metric, mean in row.items():
            assert (region, metric) in pooled if mean is not None else (region, metric) not in pooled
            if mean is not None:
                assert pooled[region, metric]["mean"] == pytest.approx(mean, rel=1e-12)
    assert pooled["WT", "dice"]["n"] == 15


def test_quantiles_come_from_ten_cases_on_and_few_values_are_kept_back() -> None:
    nine = site_response(range(9), least=5).regions["WT"]["dice"]
    assert nine and nine.quantiles is None
    assert evaluation.measured([0.1, 0.2], least=3) is None


def test_result_names_the_sites_that_gave_nothing(tmp_path: Path) -> None:
    responses: dict[str, Response] = {"site-1": site_response(range(12)), "<b>": Refusal(code="silent")}
    write_outcome(Asked("evaluate", "m", "s"), responses, tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [(site["site"], site["responded"]) for site in result["sites"]] == [("<b>", False), ("site-1", True)]
    assert result["sites"][0]["reason"] == REASONS["silent"]
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("<svg") == 12 and "<b>" not in report and REASONS["silent"] in report
    assert (tmp_path / "out" / "table.csv").read_text().startswith("site,region,metric,n,mean,p25,p50,p75\nsite-1,ET,")


def test_a_site_with_enough_cases_answers_and_writes_audit_lines(site: Settings) -> None:
    given = respond(asked(), site)
    assert isinstance(given, Scores) and given.n == 3
    assert read_response(given.model_dump_json()) == given
    lines = [json.loads(line) for line in (site.data_dir / AUDIT).read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["asked", "scores"]


@pytest.mark.parametrize(
    ("changes", "settings", "expected"),
    [
        ({"sha256": "0" * 64}, {}, "other_model"),
        ({"model": "absent"}, {}, "no_model"),
        ({"job": "images"}, {}, "not_allowed"),
        ({}, {"jobs": "style"}, "not_allowed"),
        ({}, {"min_cases": 4}, "too_few"),
        ({}, {"data": ""}, "no_data"),
        ({"site": "../cases"}, {"data": "{site}"}, "no_data"),
        ({}, {"scheme": "mine"}, "settings"),
    ],
)
def test_refusals(site: Settings, changes: dict[str, str], settings: dict[str, object], expected: str) -> None:
    chosen = replace(site, federated=replace(site.federated, **settings))  # type: ignore[arg-type]
    assert code(respond(asked(**changes), chosen)) == expected


def test_no_audit_line_no_answer(site: Settings) -> None:
    site.data_dir.write_text("in the way")
    assert code(respond(asked(), site)) == "no_audit"


@pytest.mark.parametrize("error", [InputError, StageError, OSError, RuntimeError])
def test_names_in_errors_stay_at_the_site(
    site: Settings, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    calls = []

    def fail(source: CaseSource, truth: Path, *_: object) -> CaseScores:
        calls.append(source)
        if len(calls) == 1:
            raise error(f"{truth} of {PLANTED}")
        return scores_of(len(calls))

    monkeypatch.setattr(evaluation, "score_case", fail)
    chosen = replace(site, federated=replace(site.federated, min_cases=2))
    given = respond(asked(), chosen)
    assert isinstance(given, Scores) and given.n == 2 and sum(given.failed.values()) == 1
    monkeypatch.setattr(
        evaluation, "summarize", lambda *_: fail(calls[0], Path("x")) if calls.clear() is None else None
    )
    assert code(respond(asked(), chosen)) == "failed"
    assert PLANTED not in given.model_dump_json() + (site.data_dir / AUDIT).read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"case": PLANTED},
        {"failed": {PLANTED: 1}},
        {"regions": {PLANTED: {}}},
        {"regions": {"WT": {PLANTED: None}}},
        {"n": "3"},
        {"kind": "refusal", "code": PLANTED},
    ],
)
def test_an_answer_holds_aggregates_and_nothing_else(changes: dict[str, object]) -> None:
    facts = json.loads(site_response(range(3)).model_dump_json())
    with pytest.raises(InputError) as refused:
        read_response(json.dumps({**facts, **changes}))
    assert PLANTED not in str(refused.value) and refused.value.__cause__ is None
