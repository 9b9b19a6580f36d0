"""`hope federate try` with FLARE's simulator: three sites, one of them broken; names planted in every path."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from click.testing import CliRunner
from tests.e2e.federated_bodies import BROKEN, GRID, KILLED, scores, tiny_bundle

from hope.cli import main
from hope.domain.extras import missing_packages
from hope.domain.volume import Volume
from hope.evaluation.evaluate import mean_scores
from hope.federated.averaging import GLOBAL, START
from hope.federated.outcome import POOLED
from hope.federated.responses import REASONS, Scores
from hope.federated.site import Request, respond
from hope.formats.nifti import write_labels, write_scan
from hope.models.registry import ModelRegistry
from hope.settings import FederatedSettings, Settings
from hope.training.rounds import weights_of

PLANTED = "Doe_Jane_1999"
SITES = {"a": (0, 1, 2), "b": (1, 1, 3), "broken": (1, 2, BROKEN)}

needs_flare = pytest.mark.skipif(
    bool(missing_packages("federated")) and not os.environ.get("CI"),
    reason="the extra [federated] is not installed; in CI this test runs",
)


def site_of(folder: Path, shifts: tuple[int, ...]) -> Path:
    for number, shift in enumerate(shifts):
        case = folder / f"{PLANTED}_{number}"
        case.mkdir(parents=True)
        for sequence in ("t1n", "t1c", "t2w", "t2f"):
            scan = Volume(np.full(GRID.shape, 1 + number, np.float32), GRID)
            write_scan(scan, case / f"{PLANTED}-{sequence}.nii.gz")
        write_labels(Volume(np.full(GRID.shape, shift, np.uint8), GRID), case / f"{PLANTED}-seg.nii.gz")
    return folder


@pytest.fixture
def temporary() -> Iterator[Path]:
    with TemporaryDirectory(prefix="hope-test-") as folder:
        yield Path(folder)


@pytest.fixture
def call(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    # Its path is short, unlike tmp_path: sockets lie in it.
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@needs_flare
@pytest.mark.slow
def test_sites_answer_or_fail_and_no_name_leaves(
    tmp_path: Path, temporary: Path, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_FEDERATED_BODIES", "tests.e2e.federated_bodies")
    monkeypatch.setenv("HOPE_FEDERATED_MIN_CASES", "3")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    folders = [site_of(tmp_path / PLANTED / name, shifts) for name, shifts in SITES.items()]
    call("federate", "export", "evaluate", "-o", tmp_path / "job", "--model", "starter", "--hours", "0.1")
    sites = [argument for folder in folders for argument in ("--sites", folder)]
    out, kept = tmp_path / "out", tmp_path / "kept"
    call("federate", "try", tmp_path / "job", *sites, "-o", out, "--keep", kept, "--at-once", 3)

    result = json.loads((out / "result.json").read_text())
    stated = {site["site"]: site.get("reason", site.get("n")) for site in result["sites"]}
    assert stated == {"site-1": 3, "site-2": 3, "site-3": REASONS["failed"]}
    for site, shifts in {"site-1": SITES["a"], "site-2": SITES["b"], POOLED: SITES["a"] + SITES["b"]}.items():
        means = mean_scores([scores(shift) for shift in shifts])
        rows = [row for row in result["rows"] if row["site"] == site]
        assert {row["n"] for row in rows} == {len(shifts)}
        for row in rows:
            assert row["mean"] == pytest.approx(means[row["region"]][row["metric"]], rel=1e-12)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "result.json", "table.csv"]

    files = [path for folder in (out, kept) for path in folder.rglob("*") if path.is_file()]
    assert any("log" in path.name for path in files)
    assert not [path for path in files if PLANTED.encode() in path.read_bytes() or PLANTED in path.name]
    assert not list(temporary.iterdir()), "something stayed behind"


@needs_flare
@pytest.mark.slow
def test_sites_train_one_model_and_no_name_leaves(
    tmp_path: Path, temporary: Path, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_FEDERATED_BODIES", "tests.e2e.federated_bodies")
    monkeypatch.setenv("HOPE_FEDERATED_MIN_CASES", "1")
    monkeypatch.setenv("HOPE_FEDERATED_JOBS", "train")
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    bundle = tiny_bundle(tmp_path / "models")
    folders = [site_of(tmp_path / PLANTED / name, shifts) for name, shifts in SITES.items()]
    options = ("--rounds", 1, "--steps", 2, "--rate", 0.01, "--not-alone", "--privacy", 10, 0.01, "--hours", 0.1)
    call("federate", "export", "train", "-o", tmp_path / "job", "--model", "tiny", "--id", "ours", *options)
    sites = [argument for folder in folders for argument in ("--sites", folder)]
    out, kept = tmp_path / "out", tmp_path / "kept"
    call("federate", "try", tmp_path / "job", *sites, "-o", out, "--keep", kept, "--at-once", 3)

    result = json.loads((out / "result.json").read_text())
    stated = [(site["site"], site["n"], site["rounds"], site.get("reason")) for site in result["sites"]]
    assert stated == [("site-1", 2, 1, None), ("site-2", 2, 1, None), ("site-3", 0, 0, REASONS["failed"])]
    assert [(one["sites"], one["n"]) for one in result["rounds"]] == [(2, 4)]
    assert {(row["model"], row["site"]) for row in result["rows"]} == {
        (model, site) for model in (START, GLOBAL) for site in ("site-1", "site-2")
    }
    made = ModelRegistry(tmp_path / "models").add(out / "bundle.zip")
    assert made.id == "ours" and made.manifest["training"]["federated"]["sites"] == result["sites"]
    before, after = weights_of(bundle), weights_of(made)
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    files = [path for folder in (out, kept) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if PLANTED.encode() in path.read_bytes() or PLANTED in path.name]
    # PyTorch makes a directory of its own here when the network is built in this process.
    assert not [*temporary.glob("hope*")], "something stayed behind"


long_form = pytest.mark.skipif(
    os.environ.get("HOPE_FEDERATED") != "long", reason="real processes take minutes; `make federated` runs them"
)


@needs_flare
@long_form
@pytest.mark.slow
@pytest.mark.parametrize(
    ("third", "reason"),
    [((1, 2, BROKEN), "failed"), ((1, KILLED, 2), "silent"), (None, "")],
    ids=["broken", "killed", "two"],
)
def test_real_processes_with_certificates(
    tmp_path: Path,
    temporary: Path,
    call: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    third: tuple[int, ...] | None,
    reason: str,
) -> None:
    monkeypatch.setenv("HOPE_FEDERATED_BODIES", "tests.e2e.federated_bodies")
    monkeypatch.setenv("HOPE_FEDERATED_MIN_CASES", "3")
    monkeypatch.setenv("HOPE_TEST_KILL", "yes")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    chosen = {"a": (0, 1, 2), "b": (1, 1, 2), **({"c": third} if third else {})}
    folders = [site_of(tmp_path / PLANTED / name, shifts) for name, shifts in chosen.items()]
    call("federate", "export", "evaluate", "-o", tmp_path / "job", "--model", "starter", "--hours", "0.03")
    sites = [argument for folder in folders for argument in ("--sites", folder)]
    out, kept = tmp_path / "out", tmp_path / "kept"
    call("federate", "try", tmp_path / "job", "--poc", *sites, "-o", out, "--keep", kept)

    result = json.loads((out / "result.json").read_text())
    stated = {site["site"]: site.get("reason", site.get("n")) for site in result["sites"]}
    assert stated == {"site-1": 3, "site-2": 3, **({"site-3": REASONS[reason]} if third else {})}
    for site, shifts in {"site-1": chosen["a"], "site-2": chosen["b"], POOLED: chosen["a"] + chosen["b"]}.items():
        means = mean_scores([scores(shift) for shift in shifts])
        rows = [row for row in result["rows"] if row["site"] == site]
        assert rows and {row["n"] for row in rows} == {len(shifts)}
        for row in rows:
            assert row["mean"] == pytest.approx(means[row["region"]][row["metric"]], rel=1e-12)
    assert "PRIVATE KEY" in (kept / "kits" / "hope" / "prod_00" / "site-1" / "startup" / "client.key").read_text()
    files = [path for folder in (out, kept) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if PLANTED.encode() in path.read_bytes() or PLANTED in path.name]
    assert not list(temporary.iterdir()), "something stayed behind"


@long_form
@pytest.mark.slow
def test_a_site_states_what_the_mlcube_form_gives(tmp_path: Path, call: Callable[..., str]) -> None:
    """`hope infer --data_path --output_path` is the form in which MedPerf calls the container."""
    cases, masks = tmp_path / "cases", tmp_path / "masks"
    call("synth", 2, "-o", cases, "--preprocessed", "--seed", 5)
    call("infer", "--data_path", cases, "--output_path", masks, "--model", "starter")
    call("evaluate", masks, cases, "--json", tmp_path / "scores.json")
    means = json.loads((tmp_path / "scores.json").read_text())["means"]
    chosen = FederatedSettings(data=str(cases), min_cases=1)
    models = ModelRegistry(tmp_path / "models")
    settings = Settings(tmp_path / "data", tmp_path / "models", "cpu", federated=chosen)
    request = Request(job="evaluate", site="s", model="starter", sha256=models.get("starter").sha256)
    given = respond(request, settings)
    assert isinstance(given, Scores) and given.n == 2
    stated = {region: {m: x and x.mean for m, x in row.items()} for region, row in given.regions.items()}
    assert stated == means
