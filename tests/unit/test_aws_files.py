"""deploy/aws, containers/sagemaker, deploy/medperf: no cloud is at hand, so they are read closely.

Argument names were checked by hand against the bindings that are generated from the pinned provider's schema.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import hcl2
import pytest
import yaml
from tests.deployment import DOCKERFILE, REPOSITORY, in_build_context, inherited, instructions, last
from tests.unit.test_containers import IGNORE, problems
from tests.unit.test_docs import check

from hope import __version__
from hope.settings import Settings

AWS = REPOSITORY / "deploy" / "aws"
MEDPERF = REPOSITORY / "deploy" / "medperf"
ENDPOINT = REPOSITORY / "containers" / "sagemaker" / "Dockerfile"
PAGE = (REPOSITORY / "docs" / "how-to" / "run-on-sagemaker.md").read_text(encoding="utf-8")
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted(AWS.glob("*.tf")))
PLAIN = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)

WITHOUT_RESOURCE = {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"} | {
    f"ec2:Describe{what}" for what in ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
}
"""Actions for which AWS knows no resource: the only ones that may be allowed on ``*``."""

Block = dict[str, Any]


def tree(text: str) -> Block:
    """A module as its blocks: top-level kind -> list of them."""
    parsed: Block = hcl2.loads(text + "\n", serialization_options=PLAIN)
    return parsed


MODULE = tree(TEXT)


def of_type(kind: str, block_type: str, module: Block = MODULE) -> dict[str, Block]:
    """Name -> body of the resources (or data sources) of one type."""
    return {
        name: body
        for block in module.get(kind, [])
        for name, body in block.get(block_type, {}).items()
    }  # fmt: skip


def only(kind: str, block_type: str) -> Block:
    (body,) = of_type(kind, block_type).values()
    return body


def local_values(module: Block = MODULE) -> Block:
    return {name: value for block in module.get("locals", []) for name, value in block.items()}


def statements(module: Block = MODULE) -> Iterator[tuple[str, Block]]:
    for name, body in of_type("data", "aws_iam_policy_document", module).items():
        yield from ((name, statement) for statement in body["statement"])


def excess(module: Block) -> list[str]:
    """What policies allow beyond the named, in words."""
    found = []
    for name, one in statements(module):
        if one.get("effect") == "Deny":
            continue
        found += [f"{name}: action {action}" for action in one["actions"] if "*" in action]
        resources = one.get("resources", [])
        if ("*" if isinstance(resources, list) else '"*"') in resources:
            found += [f"{name}: {action} on everything" for action in one["actions"] if action not in WITHOUT_RESOURCE]
        if isinstance(resources, list):
            found += [f"{name}: {r} names nothing" for r in resources if r != "*" and re.match(r"[^$]*\*.*$", r)]
        who = [identifier for principal in one.get("principals", []) for identifier in principal["identifiers"]]
        found += [f"{name}: anybody may" for identifier in who if "*" in identifier]
        if "not_actions" in one or "not_resources" in one:
            found.append(f"{name}: everything but what is named")
    return found


def test_policies_name_what_they_allow() -> None:
    assert len(list(statements())) > 15
    assert excess(MODULE) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"kms:Decrypt"', '"kms:*"', "action kms:*"),
        ("resources = [local.proxy_keys]", 'resources = ["*"]', "s3:GetObject on everything"),
        ("resources = [local.endpoint_arn]", 'resources = ["arn:aws:sagemaker:*"]', "names nothing"),
        ('identifiers = ["sagemaker.amazonaws.com"]', 'identifiers = ["*"]', "anybody"),
    ],
)
def test_that_check_can_fail(old: str, new: str, said: str) -> None:
    assert old in TEXT
    assert any(said in problem for problem in excess(tree(TEXT.replace(old, new))))


def allowed(name: str) -> dict[str, set[str]]:
    """Action -> resources of one policy."""
    found: dict[str, set[str]] = {}
    for one in of_type("data", "aws_iam_policy_document")[name]["statement"]:
        for action in one["actions"]:
            resources = one["resources"] if isinstance(one["resources"], list) else [one["resources"]]
            found.setdefault(action, set()).update(resources)
    return found


def test_the_backend_may_invoke_this_endpoint_touch_the_prefix_read_models_and_no_more() -> None:
    may = allowed("backend")
    assert may["sagemaker:InvokeEndpointAsync"] == {"${local.endpoint_arn}"}
    assert {a for a in may if a.startswith("sagemaker:")} == {"sagemaker:InvokeEndpointAsync"}
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert may[action] == {"${local.proxy_keys}"}
    # `hope models pull` on a machine of the backend.
    assert may["s3:GetObject"] == {"${local.proxy_keys}", "${local.model_keys}"}
    assert may["s3:ListBucket"] == {"${aws_s3_bucket.proxy.arn}", "${aws_s3_bucket.models.arn}"}
    assert not {a for a in may if a.startswith(("iam:", "ecr:", "sns:", "s3:PutBucket", "s3:DeleteBucket"))}
    assert local_values()["proxy_keys"] == "${aws_s3_bucket.proxy.arn}/${var.proxy_prefix}/*"


def test_models_are_read_by_the_endpoint_and_deleted_by_nobody() -> None:
    assert allowed("endpoint")["s3:GetObject"] == {"${local.proxy_keys}", "${local.model_keys}"}
    assert allowed("endpoint")["s3:PutObject"] == {"${local.proxy_keys}"}
    assert allowed("publisher")["s3:PutObject"] == {"${local.model_keys}"}
    assert not {action for action in allowed("publisher") if "Delete" in action}


def test_only_sagemaker_of_this_account_becomes_the_endpoint() -> None:
    (one,) = of_type("data", "aws_iam_policy_document")["sagemaker_may_assume"]["statement"]
    assert one["principals"][0]["identifiers"] == ["sagemaker.amazonaws.com"]
    (condition,) = one["dynamic"]
    assert condition["condition"]["for_each"] == "${var.only_this_account ? [local.account] : []}"
    assert condition["condition"]["content"][0]["variable"] == "aws:SourceAccount"
    assert variables()["only_this_account"]["default"] is True


def test_the_endpoint_writes_metrics_of_its_own_kind_only() -> None:
    every = of_type("data", "aws_iam_policy_document")["endpoint"]["statement"]
    (one,) = (s for s in every if "cloudwatch:PutMetricData" in s["actions"])
    (condition,) = one["condition"]
    assert condition["variable"] == "cloudwatch:namespace"
    alarms = of_type("resource", "aws_cloudwatch_metric_alarm")
    assert {alarm["namespace"] for alarm in alarms.values()} <= set(condition["values"])


def test_every_way_to_fail_has_an_alarm_and_the_page_counts_them() -> None:
    alarms = of_type("resource", "aws_cloudwatch_metric_alarm")
    (errors,) = (block["errors"] for block in MODULE["locals"] if "errors" in block)
    assert {name: one["metric"] for name, one in errors.items()} == {
        "faults": "Invocation5XXErrors",
        "failures": "InvocationFailures",
    }
    assert alarms["errors"]["for_each"] == "${local.endpoints == 0 ? {} : local.errors}"
    assert alarms["errors"]["dimensions"]["VariantName"] == "${local.variant}"
    # Target tracking makes two of its own.
    number = len(alarms) - 1 + len(errors) + 2
    words = {4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
    assert f", {words[number]} alarms," in PAGE


def test_alarms_that_stand_already_are_kept_under_their_new_address() -> None:
    kept = {block["from"]: block["to"] for block in MODULE["moved"]}
    assert kept == {
        "${aws_cloudwatch_metric_alarm.faults[0]}": '${aws_cloudwatch_metric_alarm.errors["faults"]}',
        "${aws_cloudwatch_metric_alarm.failures[0]}": '${aws_cloudwatch_metric_alarm.errors["failures"]}',
    }


def test_the_page_names_the_grant_that_a_key_of_ones_own_needs() -> None:
    assert "kms:CreateGrant" in PAGE
    assert "aws:SourceAccount" in PAGE


def test_every_bucket_is_closed_encrypted_and_reached_by_tls_alone() -> None:
    buckets = local_values()["buckets"]
    assert buckets == {name: f"${{aws_s3_bucket.{name}}}" for name in of_type("resource", "aws_s3_bucket")}
    closed = only("resource", "aws_s3_bucket_public_access_block")
    kinds = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(closed[kind] is True for kind in kinds)
    rules = only("resource", "aws_s3_bucket_server_side_encryption_configuration")
    (default,) = rules["rule"][0]["apply_server_side_encryption_by_default"]
    assert default == {"sse_algorithm": "aws:kms", "kms_master_key_id": "${aws_kms_key.hope.arn}"}
    assert only("resource", "aws_kms_key")["enable_key_rotation"] is True
    policy = only("resource", "aws_s3_bucket_policy")
    owners = only("resource", "aws_s3_bucket_ownership_controls")
    assert owners["rule"][0]["object_ownership"] == "BucketOwnerEnforced"
    assert {part["for_each"] for part in (closed, rules, policy, owners)} == {"${local.buckets}"}
    denied = of_type("data", "aws_iam_policy_document")["bucket"]["statement"]
    tls = next(one for one in denied if one["condition"][0]["variable"] == "aws:SecureTransport")
    assert (tls["effect"], tls["actions"], tls["condition"][0]["values"]) == ("Deny", ["s3:*"], ["false"])


def test_what_passes_through_the_proxy_bucket_does_not_stay() -> None:
    versions = of_type("resource", "aws_s3_bucket_versioning")
    kept = {name: body["versioning_configuration"][0]["status"] for name, body in versions.items()}
    assert kept == {"proxy": "Disabled", "models": "Enabled"}
    rules = of_type("resource", "aws_s3_bucket_lifecycle_configuration")
    assert all(rule["status"] == "Enabled" for body in rules.values() for rule in body["rule"])
    (expiry,) = [rule for rule in rules["proxy"]["rule"] if "expiration" in rule]
    assert expiry["filter"] == [{"prefix": "${var.proxy_prefix}/"}]
    assert expiry["expiration"] == [{"days": "${var.proxy_days}"}]
    assert variables()["proxy_days"]["default"] == 1
    for body in rules.values():
        assert any("abort_incomplete_multipart_upload" in rule for rule in body["rule"])
    assert "expiration" not in str(rules["models"]), "a model is never deleted by itself"


def test_what_sagemaker_itself_writes_lies_where_it_expires() -> None:
    assert local_values()["proxy"] == "s3://${aws_s3_bucket.proxy.id}/${var.proxy_prefix}"
    (async_,) = only("resource", "aws_sagemaker_endpoint_configuration")["async_inference_config"]
    (output,) = async_["output_config"]
    assert output["s3_output_path"].startswith("${local.proxy}/")
    assert output["s3_failure_path"].startswith("${local.proxy}/")
    assert output["kms_key_id"] == "${aws_kms_key.hope.arn}"
    (reported,) = output["notification_config"]
    assert set(reported) == {"success_topic", "error_topic"}


def test_one_case_at_a_time_on_a_machine() -> None:
    (async_,) = only("resource", "aws_sagemaker_endpoint_configuration")["async_inference_config"]
    assert async_["client_config"] == [{"max_concurrent_invocations_per_instance": 1}]


def test_it_scales_to_zero_and_wakes_again() -> None:
    target = only("resource", "aws_appautoscaling_target")
    assert (target["min_capacity"], target["max_capacity"]) == (0, "${var.max_instances}")
    policies = of_type("resource", "aws_appautoscaling_policy")
    (metric,) = policies["backlog"]["target_tracking_scaling_policy_configuration"][0][
        "customized_metric_specification"
    ]
    assert metric["metric_name"] == "ApproximateBacklogSizePerInstance"
    assert metric["dimensions"][0]["name"] == "EndpointName"
    (step,) = policies["wake"]["step_scaling_policy_configuration"][0]["step_adjustment"]
    assert step["scaling_adjustment"] == 1
    alarm = of_type("resource", "aws_cloudwatch_metric_alarm")["wake"]
    assert alarm["metric_name"] == "HasBacklogWithoutCapacity"
    assert alarm["alarm_actions"] == ["${aws_appautoscaling_policy.wake[0].arn}"]


def test_the_container_reaches_s3() -> None:
    model = only("resource", "aws_sagemaker_model")
    assert model["enable_network_isolation"] is False
    assert model["primary_container"][0]["image"].endswith("@${var.image_digest}"), "a tag could be another image"
    assert only("resource", "aws_ecr_repository")["image_tag_mutability"] == "IMMUTABLE"


def test_notifications_reach_the_queue() -> None:
    assert set(of_type("resource", "aws_sns_topic")) == set(local_values()["topics"]) == {"success", "error"}
    subscription = only("resource", "aws_sns_topic_subscription")
    assert (subscription["for_each"], subscription["protocol"]) == ("${local.topics}", "sqs")
    assert only("resource", "aws_sqs_queue")["sqs_managed_sse_enabled"] is True


def variables() -> dict[str, Block]:
    return {name: body for block in MODULE["variable"] for name, body in block.items()}


@pytest.mark.parametrize("name", variables())
def test_every_variable_says_what_it_is(name: str) -> None:
    body = variables()[name]
    assert body["description"].endswith(".")
    assert body["type"]
    assert f"var.{name}" in TEXT.replace(f'variable "{name}"', ""), "nothing uses it"


def test_only_the_region_has_to_be_given() -> None:
    assert [name for name, body in variables().items() if "default" not in body] == ["region"]


def test_everything_named_is_there_and_used() -> None:
    code = re.sub(r"(?m)^\s*#.*$", "", TEXT)
    code = re.sub(r"(?m)^  from = .*$", "", code)  # of `moved`: what is no longer there
    there = {f"var.{name}" for name in variables()} | {f"local.{name}" for name in local_values()}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        there |= {f"{prefix}{t}.{name}" for block in MODULE[kind] for t, named in block.items() for name in named}
    pattern = r"(?<![\w.\"/-])(?:(?:var|local)\.\w+|(?:data\.)?aws_\w+\.\w+)"
    named = set(re.findall(pattern, code))
    assert named - there == set()
    assert {one for one in there - named if one.startswith(("var.", "local.", "data."))} == set()


def test_every_output_says_what_it_is() -> None:
    outputs = {name: body for block in MODULE["output"] for name, body in block.items()}
    assert all(body["description"].endswith(".") for body in outputs.values())
    assert outputs["settings"]["value"] == "${local.settings}"
    assert "local.settings" in outputs["environment"]["value"]


def test_the_outputs_are_settings_that_exist_and_are_understood() -> None:
    given = {name: str(value) for name, value in local_values()["settings"].items()}
    known = set(Settings.from_environment({}).to_json())
    assert set(given) - known == {"AWS_DEFAULT_REGION"}
    assert given["HOPE_STAGE_TIMEOUT_SECONDS"] == "${var.timeout_seconds + 600}"
    example = {**given, "HOPE_SAGEMAKER_TIMEOUT_SECONDS": "3600", "HOPE_STAGE_TIMEOUT_SECONDS": "4200"}
    assert given["HOPE_SAGEMAKER_BUCKET"] == "${local.proxy}"
    settings = Settings.from_environment(example)
    assert settings.predictor == "sagemaker"
    assert all(name in PAGE for name in given), "docs/how-to/run-on-sagemaker.md names every one"


def test_the_page_says_which_settings_differ_from_the_local_harness() -> None:
    from hope.localaws.aws_local import LocalAws, LocalOptions

    served = SimpleNamespace(aws_url="", queue_url="", runtime=SimpleNamespace(url=""), options=LocalOptions())
    harness = set(LocalAws.environment(cast("LocalAws", served)))
    rows = re.search(r"## What differs.*?\n(\|.*?)\n\n", PAGE, re.DOTALL)
    assert rows is not None
    named = set(re.findall(r"`((?:HOPE|AWS)_\w+)`", rows[1]))
    assert named == (harness - {"AWS_EC2_METADATA_DISABLED"}) | set(local_values()["settings"])


def test_the_provider_is_pinned_to_one_version() -> None:
    (block,) = MODULE["terraform"]
    (required,) = block["required_providers"]
    assert required["aws"]["source"] == "hashicorp/aws"
    assert re.fullmatch(r"\d+\.\d+\.\d+", required["aws"]["version"])


@pytest.fixture(scope="module")
def terraform() -> str:
    found = shutil.which("terraform") or shutil.which("tofu")
    if not found:
        pytest.skip("neither terraform nor tofu is on this machine: deploy/aws was read by our own checks only")
    return found


def test_terraform_reads_it(terraform: str) -> None:
    words = [terraform, "fmt", "-check", "-diff", str(AWS)]
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_terraform_finds_it_valid(terraform: str, tmp_path: Path) -> None:
    if not os.environ.get("TF_PLUGIN_CACHE_DIR"):
        pytest.skip("no provider on this machine (TF_PLUGIN_CACHE_DIR): `terraform validate` was not run")
    shutil.copytree(AWS, tmp_path / "aws")
    for words in ([terraform, "init", "-backend=false", "-input=false"], [terraform, "validate"]):
        done = subprocess.run(words, cwd=tmp_path / "aws", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# containers/sagemaker and deploy/medperf

STAGES = instructions(ENDPOINT.read_text(encoding="utf-8"))
SCRIPTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def test_the_endpoints_dockerfile_is_sound_but_for_the_user_that_sagemaker_wants() -> None:
    (problem,) = problems(ENDPOINT.read_text(encoding="utf-8"))
    assert "the user is not a number" in problem


def test_it_is_installed_as_a_workers_image_is() -> None:
    def commands(all_: list[Any], stage: str) -> set[str]:
        runs = [i.value for i in inherited(stage, all_) if i.name == "RUN"]
        return {command.strip() for run in runs for command in run.split("&&")}

    worker = instructions(DOCKERFILE.read_text(encoding="utf-8"))
    assert commands(STAGES, "install") == commands(worker, "wheel") | commands(worker, "install-worker")
    environment = " ".join(i.value for i in STAGES if i.stage == "install" and i.name == "ENV")
    assert "HOPE_SKIP_PAGE=1" in environment, "there is no page in it"
    assert "PIP_CONSTRAINT=/build/constraints.txt" in environment


def test_it_names_its_extras_and_those_who_build_it_name_the_same() -> None:
    (extras,) = (i.value.partition("=")[2] for i in STAGES if i.name == "ARG" and i.value.startswith("EXTRAS"))
    # hope endpoint needs the first and the last; imported bundles, which both callers may bring, the other.
    assert extras.split(",") == ["aws", "ensemble", "server"]
    cube = yaml.safe_load((MEDPERF / "mlcube.yaml").read_text(encoding="utf-8"))
    assert shlex.split(cube["docker"]["build_args"]) == ["--build-arg", f"EXTRAS={extras}"]
    config = (MEDPERF / "container_config.yaml").read_text(encoding="utf-8")
    assert f"extras {extras.replace(',', ', ')}" in config.partition("container_type")[0]


def test_what_it_copies_is_there_and_let_in() -> None:
    copies = [i.value.split() for i in STAGES if i.name == "COPY" and "--from=" not in i.value]
    sources = [source for words in copies for source in words[:-1]]
    assert "src" in sources
    assert [s for s in sources if not (REPOSITORY / s).exists() or not in_build_context(s, IGNORE)] == []


def test_it_serves_when_sagemaker_says_so() -> None:
    """SageMaker runs `docker run IMAGE serve`: the entry point starts the program of that name."""
    entry, command = last("ENTRYPOINT", STAGES), last("CMD", STAGES)
    assert entry is not None and command is not None
    assert entry.exec_form() == ["/usr/bin/env"]
    assert command.exec_form() == ["serve"]
    assert {"serve", "hope"} <= set(SCRIPTS)


def test_nobody_needs_a_home_or_a_folder_of_his_own() -> None:
    words = " ".join(i.value for i in STAGES if i.stage == "endpoint" and i.name == "ENV").split()
    given = dict(word.split("=", 1) for word in words)
    assert given["HOME"] == "/tmp"  # noqa: S108 - in the image
    assert given["HOPE_DATA_DIR"].startswith("/tmp/")  # noqa: S108
    assert last("VOLUME", STAGES) is None


def test_medperf_calls_what_exists() -> None:
    config = yaml.safe_load((MEDPERF / "container_config.yaml").read_text(encoding="utf-8"))
    assert config["container_type"] == "DockerImage"
    assert config["image"] == f"hope-endpoint:{__version__}"
    task = config["tasks"]["infer"]
    run = task["run_args"]
    assert set(run) <= {"shm_size", "gpus", "command", "entrypoint", "environment"}, "MedPerf allows no others"
    check(shlex.join([run["entrypoint"], *run["command"]]))
    mounts = {volume["mount_path"] for kind in ("input_volumes", "output_volumes") for volume in task[kind].values()}
    assert mounts == {word for word in run["command"] if word.startswith("/")}


def test_mlcube_calls_what_exists() -> None:
    cube = yaml.safe_load((MEDPERF / "mlcube.yaml").read_text(encoding="utf-8"))
    assert cube["docker"]["image"] == f"hope-endpoint:{__version__}"
    context = (MEDPERF / cube["docker"]["build_context"]).resolve()
    assert context / cube["docker"]["build_file"] == ENDPOINT
    task = cube["tasks"]["infer"]
    given = [f"--{name}=x" for kind in ("inputs", "outputs") for name in task["parameters"][kind]]
    check(shlex.join([*shlex.split(task["entrypoint"]), *given]))


def test_versions_are_this_version() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "run-on-medperf.md").read_text(encoding="utf-8")
    texts = (PAGE, page, ENDPOINT.read_text(encoding="utf-8"))
    assert {version for text in texts for version in re.findall(r"hope-endpoint:([\w.]*\w)", text)} == {__version__}
