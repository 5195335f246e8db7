"""The files that run elsewhere keep to their schemas, to each other, to constraints.txt and to SECURITY.md.

Every rule is shown to fail by a changed copy: a rule that finds nothing would pass for ever.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import stack_rules as rules
from s3_servers import S3Server
from stack_files import (
    DOCKERFILES,
    KUBERNETES,
    OVERLAYS,
    ROOT,
    Document,
    build,
    compose,
    containers,
    find,
    launcher,
    listed_ports,
    ray_documents,
    ray_ports,
)
from stack_schemas import schemas

SLURM = ROOT / "cluster" / "slurm.sh"
SCRIPTS = [*(ROOT / "docker").glob("*.sh"), SLURM, KUBERNETES / "make-secrets.sh"]


# Compose


def test_compose_is_valid():
    validator = jsonschema.Draft7Validator(json.loads((schemas() / "compose-spec.json").read_text(encoding="utf-8")))
    assert not list(validator.iter_errors(compose()))
    changed = compose()
    changed["services"]["mlflow"]["helthcheck"] = {}
    assert list(validator.iter_errors(changed))


def test_env_example_has_every_variable_with_its_default():
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert not re.findall(r"(?<!\$)\$\{\w+\}", text), "a variable without a default"
    lines = (ROOT / "docker" / ".env.example").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("=") for line in lines if line and not line.startswith("#")) == used


COMPOSE_RULES: list[tuple[Callable[[Document], list[str]], Callable[[Document], object]]] = [
    (rules.published_elsewhere, lambda c: c["services"]["ray-head"].update(ports=["8265:8265"])),
    (rules.published_elsewhere, lambda c: c["services"]["postgres"].update(ports=["0.0.0.0:5432:5432"])),
    (rules.weak_services, lambda c: c["services"]["ray-worker"].update(user="0:0")),
    (rules.weak_services, lambda c: c["services"]["valkey"].pop("user")),
    (rules.weak_services, lambda c: c["services"]["s3"].update(cap_add=["NET_ADMIN"])),
    (rules.weak_services, lambda c: c["services"]["postgres"].pop("deploy")),
    (rules.weak_services, lambda c: c["services"]["seaweedfs"].pop("healthcheck")),
    (rules.weak_services, lambda c: c["services"]["mlflow"].update(security_opt=[])),
    (rules.dangling_in_compose, lambda c: c["secrets"].pop("ray_token")),
    (rules.dangling_in_compose, lambda c: c["networks"].pop("state")),
    (rules.dangling_in_compose, lambda c: c["services"]["mlflow"].update(depends_on={"postgres": {"condition": "x"}})),
    (rules.written_secrets, lambda c: c["services"]["postgres"]["environment"].update(ADMIN_PASSWORD="x1")),  # noqa: S106
    (rules.written_secrets, lambda c: c["services"]["mlflow"]["environment"].update(URI="postgresql://m:hunter2@db")),
    (lambda c: rules.loose_images([each["image"] for each in c["services"].values()]),
     lambda c: c["services"]["valkey"].update(image="valkey/valkey:latest")),
    (lambda c: rules.loose_images([each["image"] for each in c["services"].values()]),
     lambda c: c["services"]["ray-head"].update(image="ms2img:2.59.0-cpu")),
    (lambda c: rules.loose_images([each["image"] for each in c["services"].values()]),
     lambda c: c["services"]["postgres"].update(image="postgres")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "spoil"), COMPOSE_RULES)
def test_compose_keeps_to_the_rule_and_a_spoilt_copy_does_not(rule, spoil):
    document = compose()
    assert rule(document) == []
    spoil(document)
    assert rule(document)


# The other ways, and what all share


def test_the_launcher_file_is_rays():
    from ray.autoscaler._private.util import validate_config

    validate_config(launcher())
    for name, value in (("max_worker", 3), ("head_node_type", "nobody"), ("max_workers", "many")):
        with pytest.raises((ValueError, jsonschema.ValidationError)):
            validate_config({**launcher(), name: value})


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script: Path):
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & stat.S_IXUSR
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_keep_to_the_rules_and_spoilt_ones_do_not(path: Path):
    text = path.read_text(encoding="utf-8")
    assert rules.weak_dockerfile(text) == []
    spoilt = [
        text.replace("python:3.11.15-slim-bookworm", "python:latest"),
        re.sub(r"USER \d+:\d+", "USER root", text),
        text.replace("--constraint", "--upgrade"),
        text.replace("HEALTHCHECK", "# HEALTHCHECK"),
        text + "ENV MLFLOW_TRACKING_PASSWORD=hunter2\n",
        text + "RUN apt-get update && apt-get install -y curl\n",
        text + "ADD . /app\n",
    ]
    assert all(map(rules.weak_dockerfile, spoilt))


def test_what_the_images_copy_is_not_ignored_and_nothing_else_is_taken():
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in kept
    for path in DOCKERFILES:
        for line in re.findall(r"^COPY (?!--from)(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            for source in [word for word in line.split() if not word.startswith("--")][:-1]:
                assert f"!{source}" in kept
                assert (ROOT / source).exists()


def test_ray_has_the_same_ports_everywhere_and_all_are_listed():
    head = compose()["services"]["ray-head"]["command"][-1]
    ports = ray_ports(head)
    assert len(ports) == 11
    shared = {name: port for name, port in ports.items() if name not in ("port", "dashboard-port")}
    worker = ray_ports(compose()["services"]["ray-worker"]["command"][-1])
    assert worker.items() <= shared.items()
    assert len(worker) == 8
    for document in ray_documents():
        spec = document["spec"].get("rayClusterSpec", document["spec"])
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            given = {name: port for name, port in group["rayStartParams"].items() if name.endswith("port")}
            assert given == worker
    slurm, aws = SLURM.read_text(encoding="utf-8"), (ROOT / "cluster" / "aws.yaml").read_text(encoding="utf-8")
    assert worker.items() <= ray_ports(slurm).items() <= ports.items()
    assert ray_ports(aws) == ports
    listed = listed_ports()
    assert f"{ports['min-worker-port']}-{ports['max-worker-port']}" in listed
    assert {port for name, port in ports.items() if "worker" not in name} <= listed
    for document in (each for folder in OVERLAYS for each in build(folder)):
        for each in containers(document):
            assert {str(port["containerPort"]) for port in each.get("ports", ())} <= listed


def test_the_relay_is_the_same_on_kubernetes():
    relay = find(build("overlays/local"), "ConfigMap", "s3-relay")["data"]["haproxy.cfg"]
    assert relay.rstrip() == (ROOT / "docker" / "haproxy.cfg").read_text(encoding="utf-8").rstrip()
    server = compose()["services"]["seaweedfs"]["command"]
    inner = next(containers(find(build("overlays/local"), "StatefulSet", "s3")))["args"]
    places = [[word.split("/")[-1] for word in words if "config" in word] for words in (server, inner)]
    assert places[0] == places[1]
    assert [word for word in server if "config" not in word] == [word for word in inner if "config" not in word]
    assert {"-ip.bind=127.0.0.1", "-ip=127.0.0.1"} <= set(server)
    assert not any(word.startswith("-s3.ip.bind") for word in server)


@pytest.mark.parametrize("name", ["s3-policy.json", "ec2-policy.json"])
def test_policies_grant_no_more_than_named_actions(name: str):
    policy = json.loads((ROOT / "cluster" / name).read_text(encoding="utf-8"))
    allowed = [each for each in policy["Statement"] if each["Effect"] == "Allow"]
    actions = [
        action
        for each in allowed
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    ]
    assert not any("*" in action for action in actions)
    if name == "s3-policy.json":
        assert all(each["Resource"].startswith("arn:aws:s3:::example-lab-ms2img") for each in allowed)
    bare = [each for each in allowed if each["Resource"] == "*" and "Condition" not in each]
    assert all(action.startswith("ec2:Describe") for each in bare for action in each["Action"])


# What runs here


def test_secrets_are_drawn_once_and_closed_to_others(tmp_path: Path):
    folder = tmp_path / "secrets"
    script = [ROOT / "docker" / "make-secrets.sh", folder]
    subprocess.run(script, check=True, capture_output=True)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    subprocess.run(script, check=True, capture_output=True)
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    wanted = {Path(each["file"]).name for each in compose()["secrets"].values()}
    assert set(drawn) == wanted
    made = (KUBERNETES / "make-secrets.sh").read_text(encoding="utf-8")
    assert set(re.findall(r"\b[\w-]+(?:\.\w+)?=([\w.]+)", made.partition("secret ray-token")[2])) <= wanted
    plain = [value for name, value in drawn.items() if re.fullmatch(r"[0-9a-f]+", value)]
    assert len(set(plain)) == len(plain) == 5
    assert all(len(value) == 64 for value in plain)
    identities = {each["name"]: each for each in json.loads(drawn["s3_identities.json"])["identities"]}
    assert set(identities) == {"admin", "jobs", "mlflow"}
    for name, each in identities.items():
        (key,) = each["credentials"]
        lines = f"aws_access_key_id = {key['accessKey']}\naws_secret_access_key = {key['secretKey']}"
        assert lines in drawn[f"s3_{name}_credentials"]
    assert all(action.endswith(":ms2img") for action in identities["jobs"]["actions"])
    assert drawn["valkey_password"] in drawn["valkey.conf"]


def test_buckets_are_made_once(s3: S3Server):
    command = [sys.executable, ROOT / "docker" / "bootstrap.py", "buckets", "ms2img", "mlflow"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (first.stdout.split("\n")[:2], again.stdout) == (["made bucket ms2img", "made bucket mlflow"], "")
    assert {"ms2img", "mlflow"} <= {each["Name"] for each in s3.client().list_buckets()["Buckets"]}
