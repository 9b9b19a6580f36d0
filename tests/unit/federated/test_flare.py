"""What FLARE itself makes of the policy and the filter; skipped only where the extra is missing and it is not CI."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.federated_bodies import plain_average

from hope.domain.extras import missing_packages
from hope.federated.jobs import APP, META, job_files, kind_of_job, training_files, write_job
from hope.federated.plan import TrainingPlan
from hope.federated.policy import AUTHORIZATION, FILES, write_policy
from hope.federated.responses import Difference, Refusal
from hope.formats.private_directory import PREFIX, private_directory

pytestmark = pytest.mark.skipif(
    bool(missing_packages("federated")) and not os.environ.get("CI"),
    reason="the extra [federated] is not installed; in CI these tests run",
)


JOBS = {
    "evaluate": (job_files("evaluate", "starter", "0" * 64, 24), 3),
    "train": (training_files("starter", "0" * 64, TrainingPlan(id="ours", rounds=1, steps=1), 24), 4),
    "private": (
        training_files("starter", "0" * 64, TrainingPlan(id="x", rounds=1, steps=1, percentile=5, gamma=1), 24),
        5,
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_names_only_classes_that_the_policy_allows(tmp_path: Path, name: str) -> None:
    from nvflare.apis.fl_exception import UnsafeComponentError
    from nvflare.apis.workspace import Workspace
    from nvflare.app_common.widgets.component_path_authorizer import ComponentPathAuthorizer

    for folder in ("startup", "local"):
        (tmp_path / "site" / folder).mkdir(parents=True)
    write_policy(tmp_path / "site" / "local")
    files, classes = JOBS[name]
    write_job(tmp_path / "job", files)
    assert kind_of_job(tmp_path / "job") == ("evaluate" if name == "evaluate" else "train")
    assert "byoc" not in json.loads((tmp_path / "job" / META).read_text())
    assert {path.suffix for path in (tmp_path / "job").rglob("*") if path.is_file()} == {".json"}
    workspace, authorizer = Workspace(str(tmp_path / "site"), "site"), ComponentPathAuthorizer()
    configs = [json.loads(path.read_text()) for path in (tmp_path / "job" / APP / "config").iterdir()]
    named = [*paths(configs)]
    chains = [task for config in configs for chain in config["task_result_filters"] for task in chain["tasks"]]
    assert len(chains) == len(set(chains)), "FLARE takes one chain of filters for each task"
    assert len(named) == classes
    for path in named:
        authorizer.authorize_component_config({"path": path}, workspace=workspace)
    for path in ("subprocess.Popen", "nvflare.app_common.np.np_trainer.NPTrainer", "hope.python_api.segment"):
        with pytest.raises(UnsafeComponentError):
            authorizer.authorize_component_config({"path": path}, workspace=workspace)


def paths(value: object) -> list[str]:
    """Every class that a job's configuration names."""
    if isinstance(value, list):
        return [path for part in value for path in paths(part)]
    if isinstance(value, Mapping):
        own = [str(value["path"])] if "path" in value else []
        return own + [path for part in value.values() for path in paths(part)]
    return []


def test_flare_reads_the_privacy_policy_and_puts_the_filter_on_every_result(tmp_path: Path) -> None:
    from nvflare.apis.workspace import Workspace
    from nvflare.private.fed.app.fl_conf import create_privacy_manager

    for folder in ("startup", "local"):
        (tmp_path / folder).mkdir()
    write_policy(tmp_path / "local")
    manager = create_privacy_manager(Workspace(str(tmp_path), "site"), names_only=False)
    filters = manager.get_scope(None).task_result_filters
    assert [type(one).__name__ for one in filters["out"]] == ["AggregatesOnly"]


def test_nobody_brings_code_or_gets_a_shell() -> None:
    from nvflare.fuel.sec.authz import AuthzContext, Person, parse_policy_config
    from nvflare.security.security import COMMAND_CATEGORIES

    policy, wrong = parse_policy_config(dict(AUTHORIZATION), COMMAND_CATEGORIES)
    assert not wrong

    def may(role: str, right: str) -> bool:
        user = Person("u", "org", role)
        allowed, _ = policy.evaluate("org", AuthzContext(right, user, user))
        return bool(allowed)

    for role in AUTHORIZATION["permissions"]:
        assert not may(role, "byoc") and not may(role, "cat")
    assert may("lead", "submit_job") and not may("member", "submit_job") and not may("org_admin", "submit_job")


def test_the_filter_blocks_whatever_is_no_aggregate() -> None:
    from nvflare.apis.dxo import DXO, DataKind
    from nvflare.apis.filter import ContentBlockedException
    from nvflare.apis.fl_context import FLContext

    from hope.federated.flare import AggregatesOnly

    text = Refusal(code="too_few").model_dump_json()
    passed = AggregatesOnly().process(DXO(DataKind.STATISTICS, {"response": text}).to_shareable(), FLContext())
    assert passed["DXO"]["data"] == {"response": text}
    blocked = (
        DXO(DataKind.WEIGHTS, {"response": text}),
        DXO(DataKind.STATISTICS, {"response": text, "image": np.zeros(3)}),
        DXO(DataKind.STATISTICS, {"response": '{"kind": "scores", "case": "Doe_Jane"}'}),
    )
    for dxo in blocked:
        with pytest.raises(ContentBlockedException) as refused:
            AggregatesOnly().process(dxo.to_shareable(), FLContext())
        assert "Doe" not in str(refused.value)


def trained(arrays: object, **meta: object) -> Any:
    from nvflare.apis.dxo import DXO, DataKind

    text = Difference(n=5, failed={}, unlabelled=0, loss=0.5).model_dump_json()
    return DXO(DataKind.WEIGHT_DIFF, arrays, {"response": text, **meta})


ARRAYS = {"stem.0.weight": np.ones((4, 4), np.float32)}


def test_the_filter_lets_differences_pass_where_the_site_allows_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from nvflare.apis.filter import ContentBlockedException
    from nvflare.apis.fl_context import FLContext

    from hope.federated.flare import AggregatesOnly

    def passes(dxo: Any) -> bool:
        try:
            return bool(AggregatesOnly().process(dxo.to_shareable(), FLContext()))
        except ContentBlockedException:
            return False

    assert not passes(trained(ARRAYS))
    monkeypatch.setenv("HOPE_FEDERATED_JOBS", "evaluate, train")
    assert passes(trained(ARRAYS))
    for arrays in (
        {"Doe_Jane/scan.weight": np.ones(3, np.float32)},
        {"weight": np.ones(3, np.float32)},
        {"stem.weight": np.array([np.nan], np.float32)},
        {"stem.weight": np.ones(3)},
        {"stem.weight": "Doe_Jane"},
    ):
        assert not passes(trained(arrays))
    assert not passes(trained(ARRAYS, case="Doe_Jane"))
    assert not passes(trained(ARRAYS, response=Refusal(code="too_few").model_dump_json()))


def test_flares_filter_keeps_small_changes_back_and_our_filter_still_knows_the_answer() -> None:
    from nvflare.apis.dxo import from_shareable
    from nvflare.apis.fl_context import FLContext
    from nvflare.app_common.filters.percentile_privacy import PercentilePrivacy

    from hope.federated.flare import read_dxo

    arrays = {"stem.0.weight": np.arange(-10, 11, dtype=np.float32)}
    dxo = trained(arrays, NUM_STEPS_CURRENT_ROUND=2)
    passed = from_shareable(PercentilePrivacy(50, 3.0).process(dxo.to_shareable(), FLContext()))
    kept = passed.data["stem.0.weight"]
    assert kept.dtype == np.float32 and (kept[6:15] == 0).all() and (kept[-1], kept[0]) == (6, -6)
    assert isinstance(read_dxo(passed), Difference)


def test_flares_average_is_weighted_by_cases() -> None:
    from hope.federated.flare_training import flare_average

    rng = np.random.default_rng(1)
    given = {site: ({"a.b": rng.normal(size=(3, 2)).astype(np.float32)}, n) for site, n in (("a", 10), ("b", 30))}
    assert flare_average(given)["a.b"] == pytest.approx(plain_average(given)["a.b"], abs=1e-6)
    assert flare_average(given)["a.b"].dtype == np.float32


def test_cases_of_a_client_that_was_killed_go_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nvflare.apis.dxo import DXO, DataKind
    from nvflare.apis.event_type import EventType
    from nvflare.apis.fl_context import FLContext
    from nvflare.apis.signal import Signal

    from hope.federated import flare_training
    from hope.federated.averaging import TASKS

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    given: list[Path] = []

    def train(_request: object, _weights: object, cases: Path, _stopped: object) -> tuple[Refusal, None]:
        (cases / "scan.nii.gz").write_bytes(b"a scan")
        given.append(cases)
        return Refusal(code="too_few"), None

    monkeypatch.setattr(flare_training, "train", train)
    plan = TrainingPlan(id="ours", rounds=1, steps=1).model_dump()
    executor = flare_training.TrainingExecutor("starter", "0" * 64, plan)
    for _ in range(2):
        executor.execute(TASKS[0], DXO(DataKind.WEIGHTS, data={}).to_shareable(), FLContext(), Signal())
    assert given[0] == given[1], "the cases are read once a job"
    dead = tmp_path / f"{PREFIX}abcdefgh"
    dead.mkdir()
    with private_directory():
        assert not dead.exists() and given[0].exists(), "only what a living process has stays"
    executor.handle_event(EventType.END_RUN, FLContext())
    assert not list(tmp_path.iterdir())


def test_the_how_to_names_every_file_of_the_policy(repository: Path) -> None:
    page = (repository / "docs" / "how-to" / "federated.md").read_text()
    assert all(f"`{name}`" in page for name in FILES)
