"""A federated training without FLARE: rounds, refusals, the table, the bundle, and what a site does in a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.federated_bodies import GRID, plain_average, tiny_bundle

from hope.domain.errors import InputError
from hope.domain.volume import Volume
from hope.federated import training as site_training
from hope.federated.averaging import GLOBAL, START, Asking, Reply, run_training
from hope.federated.plan import TrainingPlan, read_plan
from hope.federated.responses import REASONS, Difference, Measured, Refusal, Response, Scores, read_response
from hope.federated.site import CASES, DIFFERENCE, GIVEN, Request, respond
from hope.federated.training_outcome import base_of, write_training
from hope.federated.weights import Weights, fits, read_arrays, write_arrays
from hope.formats.nifti import write_labels, write_scan
from hope.models.bundle import Bundle
from hope.models.registry import ModelRegistry
from hope.settings import FederatedSettings, Settings
from hope.training.rounds import config_of_bundle, weights_of

PLANTED = "Doe_Jane_1999"
PLAN = TrainingPlan(id="ours", rounds=2, steps=2, rate=1e-3)
ZERO: Weights = {"a.b": np.zeros((2, 3), np.float32), "a.c": np.zeros(1, np.float32)}
CASES_OF = {"north": 10, "south": 30}


def moved(by: float, like: Weights = ZERO) -> dict[str, np.ndarray]:
    return {name: np.full(array.shape, by, np.float32) for name, array in like.items()}


def difference(n: int) -> Difference:
    return Difference(n=n, failed={}, unlabelled=0, loss=0.5)


def good(site: str, asking: Asking) -> Reply:
    if asking.task == "validate":
        mean = float(asking.weights["a.c"][0])
        return Reply(Scores(n=5, failed={}, unlabelled=0, regions={"WT": {"dice": Measured(n=5, mean=mean)}}))
    return Reply(difference(CASES_OF[site]), moved(1.0 if site == "north" else 5.0))


def asked(of: Mapping[str, Callable[[Asking], Reply | None]]) -> Callable[..., Mapping[str, Reply]]:
    """Sites that answer well, but for those given."""

    def ask(asking: Asking, sites: Sequence[str]) -> Mapping[str, Reply]:
        given = {site: of[site](asking) if site in of else good(site, asking) for site in sites}
        return {site: reply for site, reply in given.items() if reply is not None}

    return ask


def test_rounds_average_by_cases_and_every_model_is_measured_everywhere() -> None:
    training = run_training(PLAN, ZERO, list(CASES_OF), asked({}), plain_average)
    assert training.weights is not None
    assert training.weights["a.c"][0] == pytest.approx(2 * (10 * 1 + 30 * 5) / 40)
    assert [(r["sites"], r["n"]) for r in training.rounds] == [(2, 40), (2, 40)]
    assert {site: (p.n, p.rounds) for site, p in training.sites.items()} == {"north": (10, 2), "south": (30, 2)}
    means = {model: sites["south"].regions["WT"]["dice"] for model, sites in training.dice.items()}
    assert {model: found.mean for model, found in means.items() if found} == {
        START: 0.0, GLOBAL: 8.0, "north": 1.0, "south": 5.0
    }  # fmt: skip


WRONG_SHAPE = {**moved(1), "a.c": np.zeros(2, np.float32)}
BAD = {
    "NaN": {**moved(1), "a.c": np.array([np.nan], np.float32)},
    "infinite": {**moved(1), "a.c": np.array([np.inf], np.float32)},
    "huge": moved(1e9),
    "other shape": WRONG_SHAPE,
    "other name": {"a.b": moved(1)["a.b"], "a.d": np.zeros(1, np.float32)},
    "missing": {"a.b": moved(1)["a.b"]},
    "more": {**moved(1), "a.d": np.zeros(1, np.float32)},
    "other type": {**moved(1), "a.c": np.zeros(1, object)},
    "no arrays": ["a.b"],
    "nothing": None,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_weights_are_refused_by_name_and_the_others_go_on(name: str) -> None:
    def hostile(asking: Asking) -> Reply:
        return Reply(difference(1000), BAD[name])

    names = [*CASES_OF, "hostile"]
    training = run_training(PLAN, ZERO, names, asked({"hostile": hostile}), plain_average)
    assert training.weights is not None and training.weights["a.c"][0] == pytest.approx(8.0)
    assert training.sites["hostile"].refusal == Refusal(code="bad_weights")
    assert "hostile" not in {site for sites in training.dice.values() for site in sites} | set(training.dice)


def test_weights_that_grow_out_of_half_precision_are_no_model() -> None:
    def far(asking: Asking) -> Reply:
        return Reply(difference(10), moved(5e4))

    training = run_training(PLAN, ZERO, list(CASES_OF), asked(dict.fromkeys(CASES_OF, far)), plain_average)
    assert training.weights is None and len(training.rounds) == 1 and not training.dice


@pytest.mark.parametrize("more", [{"n": 10**40}, {"n": 10**400}, {"loss": 1e300}])
def test_figures_that_would_spoil_a_sum_are_no_answer(more: dict[str, float]) -> None:
    text = json.dumps({**difference(5).model_dump(), **more})
    with pytest.raises(InputError):
        read_response(text)
    with pytest.raises(InputError):
        read_response(json.dumps({**good("north", Asking("validate", ZERO)).response.model_dump(), "n": 10**40}))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (None, "silent"),
        (Reply(Refusal(code="too_few")), "too_few"),
        (Reply(Scores(n=5, failed={}, unlabelled=0, regions={})), "unreadable"),
    ],
)
def test_a_site_that_gives_nothing_is_named_and_a_round_of_one_site_is_not_averaged(
    reply: Reply | None, code: str, tmp_path: Path, tiny: Bundle
) -> None:
    training = run_training(PLAN, ZERO, list(CASES_OF), asked({"north": lambda _: reply}), plain_average)
    assert training.weights is None and not training.rounds
    plan = PLAN.model_copy(update={"least_sites": 1})
    assert run_training(plan, ZERO, list(CASES_OF), asked({"north": lambda _: reply}), plain_average).weights
    write_training(base_of(tiny.id, tiny.sha256, PLAN), PLAN, training, tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["bundle"] is None and result["sites"][0]["reason"] == REASONS[code]
    assert not (tmp_path / "out" / "bundle.zip").exists()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A network of some thousand weights on a 4 mm grid, in the registry."""
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    return tiny_bundle(tmp_path / "models")


def test_the_bundle_lists_sites_rounds_and_cases_and_holds_the_mean(tmp_path: Path, tiny: Bundle) -> None:
    base = base_of(tiny.id, tiny.sha256, PLAN)
    by = {name: moved(value, base.weights) for name, value in {"north": 0.125, "south": 0.5}.items()}

    def ask(asking: Asking, sites: Sequence[str]) -> Mapping[str, Reply]:
        if asking.task == "train":
            return {site: Reply(difference(CASES_OF[site]), by[site]) for site in sites}
        dice = {"WT": {"dice": Measured(n=5, mean=0.75)}, "TC": {"dice": None}}
        return {site: Reply(Scores(n=5, failed={}, unlabelled=0, regions=dice)) for site in sites}

    training = run_training(PLAN, base.weights, list(CASES_OF), ask, plain_average)
    write_training(base, PLAN, training, tmp_path / "out")
    bundle = ModelRegistry(tmp_path / "models").add(tmp_path / "out" / "bundle.zip")
    stated = bundle.manifest["training"]
    assert stated["federated"]["sites"] == [{"site": s, "n": n, "rounds": 2} for s, n in CASES_OF.items()]
    assert (len(stated["federated"]["rounds"]), stated["real_cases"], stated["synthetic_cases"]) == (2, 40, 0)
    assert stated["started_from"] == f"tiny {tiny.sha256}" and not stated["only_synthetic"]
    assert bundle.licence != "Apache-2.0"
    mean = 2 * (0.125 * 10 + 0.5 * 30) / 40
    for name, array in weights_of(bundle).items():
        assert array == pytest.approx(base.weights[name] + mean, abs=2e-3)
    table = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert table[:2] == ["model,site,region,n,dice", "(start),north,WT,5,0.75"] and len(table) == 9
    with pytest.raises(InputError, match="another one"):
        base_of(tiny.id, "0" * 64, PLAN)


def test_only_a_bundle_of_hope_train_can_be_started_from(tiny: Bundle) -> None:
    for manifest in ({}, {"training": {"config": {}}}, {"training": {"config": {"widths": "x"}}}):
        with pytest.raises(InputError, match="training cannot start from the model tiny"):
            config_of_bundle(replace(tiny, manifest={**manifest}), 10, 1e-3, 1)


@pytest.mark.parametrize(
    "changes", [{"rounds": 0}, {"rate": 0}, {"percentile": 10}, {"more": 1}, {"steps": "x"}, {"rate": float("nan")}]
)
def test_a_plan_that_is_none_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="the plan of the training is not usable"):
        read_plan({**PLAN.model_dump(), **changes})


@pytest.fixture
def site(tmp_path: Path, tiny: Bundle) -> Settings:
    for number in range(5):
        folder = tmp_path / "cases" / f"{PLANTED}_{number}"
        folder.mkdir(parents=True)
        scan = Volume(np.full(GRID.shape, 1 + number, np.float32), GRID)
        write_scan(scan, folder / f"{PLANTED}-t2w.nii.gz")
        write_labels(Volume(np.ones(GRID.shape, np.uint8), GRID), folder / f"{PLANTED}-seg.nii.gz")
    chosen = FederatedSettings(
        data=str(tmp_path / "cases"), min_cases=2, jobs="train", bodies="tests.e2e.federated_bodies"
    )
    return Settings(tmp_path / "data", tmp_path / "models", "cpu", federated=chosen)


def task(tiny: Bundle, **changes: object) -> Request:
    facts = {"job": "train", "site": "s", "model": tiny.id, "sha256": tiny.sha256, "task": "train", "plan": PLAN}
    return Request.model_validate({**facts, "last": 2, **changes})


def files_of(folder: Path, weights: Weights) -> Path:
    (folder / CASES).mkdir(parents=True)
    write_arrays(folder / GIVEN, weights)
    return folder


def code(given: Response) -> str:
    assert isinstance(given, Refusal), given
    return given.code


def test_a_site_trains_gives_the_difference_and_measures(site: Settings, tiny: Bundle, tmp_path: Path) -> None:
    files = files_of(tmp_path / "files", weights_of(tiny))
    given = respond(task(tiny), site, files)
    assert isinstance(given, Difference) and given.n == 3
    arrays = read_arrays(files / DIFFERENCE)
    assert fits(arrays, weights_of(tiny)) and any(np.abs(array).max() > 0 for array in arrays.values())
    (files / DIFFERENCE).unlink()
    again = respond(task(tiny), site, files)
    assert again == given and all(np.array_equal(read_arrays(files / DIFFERENCE)[n], a) for n, a in arrays.items())
    scores = respond(task(tiny, task="validate"), site, files)
    assert isinstance(scores, Scores) and scores.n == 2
    assert PLANTED not in given.model_dump_json() + scores.model_dump_json()
    assert PLANTED not in (site.data_dir / "federated-audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("settings", "changes", "expected"),
    [
        ({"min_cases": 3}, {}, "too_few"),
        ({"jobs": "evaluate,style"}, {}, "not_allowed"),
        ({}, {"sha256": "0" * 64}, "other_model"),
        ({}, {"plan": None}, "failed"),
        ({}, {"last": PLAN.all_steps + 1}, "failed"),
        ({}, {"first": 2}, "failed"),
        ({}, {"first": -1}, "failed"),
    ],
)
def test_a_site_refuses(
    site: Settings, tiny: Bundle, tmp_path: Path, settings: dict, changes: dict, expected: str
) -> None:
    chosen = replace(site, federated=replace(site.federated, **settings))
    files = files_of(tmp_path / "files", weights_of(tiny))
    assert code(respond(task(tiny, **changes), chosen, files)) == expected
    assert not (files / DIFFERENCE).exists()


def test_a_site_refuses_other_weights_and_keeps_what_diverged(
    site: Settings, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of(tiny)
    name = next(iter(weights))
    other = {**weights, name: np.full(weights[name].shape, np.nan, np.float32)}
    assert code(respond(task(tiny), site, files_of(tmp_path / "a", other))) == "bad_weights"
    monkeypatch.setattr(site_training, "train_site", lambda *_: (other, 1.0))
    files = files_of(tmp_path / "b", weights)
    assert code(respond(task(tiny), site, files)) == "diverged" and not (files / DIFFERENCE).exists()


def test_the_cases_kept_aside_stay_the_same_when_one_more_comes() -> None:
    stored = {f"case-{number}": ("ring", []) for number in range(41)}
    learn, aside = site_training.split(stored, 5)
    assert len(aside) == 10 and not set(learn) & set(aside) and {**learn, **aside} == stored
    _, more = site_training.split({**stored, "case-x": ("ring", [])}, 5)
    assert len(set(aside) & set(more)) >= 9
    assert len(site_training.split(dict(list(stored.items())[:8]), 5)[1]) == 5


def test_the_starter_can_be_started_from() -> None:
    bundle = ModelRegistry(Path("none")).get("starter")
    config = config_of_bundle(bundle, 400, 5e-4, 3, "brats2023")
    assert (config.steps, config.scheme, config.spacing_mm) == (400, "brats2023", bundle.spacing_mm)
    assert config.synthetic_share == 0
