"""Settings and what is written about them: every variable named anywhere exists, the reference is current."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from tests.deployment import COMPOSE, DOCKERFILE, ENV_EXAMPLE, KUBERNETES, REPOSITORY, documents
from tests.unit.test_docs import check, load_tool

from hope.domain.limits import ReadingLimits
from hope.settings import (
    DicomSettings,
    EndpointSettings,
    FederatedSettings,
    PlatformSettings,
    SageMakerSettings,
    Settings,
)

KINDS = (
    (Settings, "HOPE_"),
    (SageMakerSettings, "HOPE_SAGEMAKER_"),
    (EndpointSettings, "HOPE_ENDPOINT_"),
    (FederatedSettings, "HOPE_FEDERATED_"),
    (PlatformSettings, "HOPE_"),
    (ReadingLimits, "HOPE_READING_"),
    (DicomSettings, "HOPE_"),
)
KNOWN = {
    f"{prefix}{entry.name.upper()}"
    for cls, prefix in KINDS
    for entry in fields(cls)
    if cls is not Settings or entry.name not in ("platform", "sagemaker", "endpoint", "reading", "dicom", "federated")
}
NAMING = sorted(
    {
        COMPOSE,
        DOCKERFILE,
        ENV_EXAMPLE,
        *(path for path in KUBERNETES.rglob("*") if path.is_file()),
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
    }
)
VARIABLE = re.compile(r"\bHOPE_[A-Z0-9_]*\*?")
HOW_TO = REPOSITORY / "docs" / "how-to"
METRIC = re.compile(r"\bhope_[a-z0-9_]+")


def unknown(text: str) -> list[str]:
    """Variables that no setting reads; ``HOPE_OIDC_*`` stands for those that begin so."""
    return [
        name
        for name in VARIABLE.findall(text)
        if not (any(k.startswith(name[:-1]) for k in KNOWN) if name.endswith("*") else name in KNOWN)
    ]


@pytest.mark.parametrize("path", NAMING, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_variable_named_exists(path: Path) -> None:
    assert not unknown(path.read_text(encoding="utf-8"))


def test_that_check_can_fail() -> None:
    assert unknown("HOPE_PORT HOPE_PORTS HOPE_OIDC_* HOPE_ODIC_*") == ["HOPE_PORTS", "HOPE_ODIC_*"]


def test_the_reference_is_current() -> None:
    tool = load_tool("make_settings_docs")
    assert tool.SETTINGS_PAGE.read_text(encoding="utf-8") == tool.render(), (
        "docs/reference/settings.md is old: make docs"
    )


def test_the_reference_lists_every_setting_with_its_meaning() -> None:
    page = (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(HOPE_\w+)` \| (?:[^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    assert set(rows) == KNOWN == set(Settings.from_environment({}).to_json())
    assert all(len(text) > 5 for text in rows.values())


def test_a_setting_without_words_or_default_stops_the_tool() -> None:
    tool = load_tool("make_settings_docs")
    assert tool.described(PlatformSettings)["oidc_issuer"] == tool.described(PlatformSettings)["oidc_client_id"]
    with pytest.raises(LookupError):
        tool.default_of("new_one", tool.MISSING)
    assert tool.default_of("a", 24.0) == "`24`"
    assert tool.default_of("a", "") == "none"


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", sorted(HOW_TO.glob("*.md")), ids=lambda path: path.name)
def test_commands_with_settings_in_front_are_understood(path: Path) -> None:
    for block in blocks(path, "sh"):
        for line in block.splitlines():
            words = re.sub(r"^(HOPE_\w+=\S+ )+", "", line)
            if words != line:
                check(words.split("  #")[0])


def expressions() -> list[str]:
    """Every Prometheus expression that we tell people to use."""
    page = HOW_TO / "deploy.md"
    found = [block.strip() for block in blocks(page, "promql")]
    for block in map(yaml.safe_load, blocks(page, "yaml")):
        found.extend(rule["expr"] for group in block.get("groups", []) for rule in group["rules"])
    for document in documents(KUBERNETES / "overlays" / "keda" / "scaling.yaml"):
        found.extend(trigger["metadata"]["query"] for trigger in document["spec"]["triggers"])
    return found


def test_the_scaling_query_is_the_documented_one() -> None:
    scaling = documents(KUBERNETES / "overlays" / "keda" / "scaling.yaml")
    queries = {trigger["metadata"]["query"] for document in scaling for trigger in document["spec"]["triggers"]}
    assert queries == {block.strip() for block in blocks(HOW_TO / "deploy.md", "promql")}


def test_metrics_in_alerts_and_scaling_exist(tmp_path: Path) -> None:
    from hope.adapters.cases_sql import SqlCaseStore
    from hope.web.middleware.metrics import Metrics

    store = SqlCaseStore(f"sqlite:///{tmp_path / 'hope.sqlite'}")
    try:
        metrics = Metrics(store)
        metrics.requests.labels("GET", "/", "200").inc()
        metrics.seconds.labels("GET", "/").observe(0.1)
        page = metrics.page().decode()
    finally:
        store.close()
    exposed = set(re.findall(r"^(\w+)[ {]", page, re.MULTILINE))
    named = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(named) >= 4
    assert named <= exposed
    states = {
        state for expression in expressions() for state in re.findall(r"[|\"](queued|running|failed)[|\"]", expression)
    }
    assert all(f'hope_cases{{state="{state}"}}' in page for state in states)
