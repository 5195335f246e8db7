"""Kubernetes manifests keep to KubeRay's schemas, to what its operator checks, and to each other.

Every rule is shown to fail by a changed copy: a rule that finds nothing would pass for ever.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest
import stack_rules as rules
import yaml
from stack_files import KUBERNETES, OVERLAYS, Document, build, containers, find, launcher, ray_documents
from stack_schemas import SAFE, ray_schema, violations


def secrets_made() -> dict[str, set[str]]:
    """The Kubernetes secrets, each with its keys, that cluster/kubernetes/make-secrets.sh makes."""
    text = (KUBERNETES / "make-secrets.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = re.findall(r"^secret ([\w-]+) (.+)$", text, re.MULTILINE)
    return {name: {pair.split("=")[0] for pair in pairs.split()} for name, pairs in calls}


def images(documents: list[Document]) -> list[str]:
    return [each["image"] for document in documents for each in containers(document)]


SCHEMA_MUTATIONS: list[Callable[[Document], object]] = [
    lambda s: s.update(backoffLimits=2),
    lambda s: s["rayClusterSpec"].pop("headGroupSpec"),
    lambda s: s["rayClusterSpec"]["authOptions"].update(mode="on"),
    lambda s: s["deletionStrategy"]["deletionRules"][0].update(policy="DeleteAll"),
    lambda s: s["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(service_account="x"),
    lambda s: s["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"),
    lambda s: s["rayClusterSpec"]["workerGroupSpecs"][0].update(maxReplicas="10"),
    lambda s: first_container(s)["ports"][0].update(containerPort="8265"),
    lambda s: first_container(s)["resources"]["limits"].update(memory="8 GB"),
    lambda s: first_container(s).pop("name"),
]


def first_container(spec: Document) -> Document:
    return spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("spoil", SCHEMA_MUTATIONS)
def test_ray_manifests_are_valid_and_no_spoilt_one_is(spoil):
    for document in ray_documents():
        assert list(violations(document, ray_schema(document["kind"]))) == []
    spoil(document["spec"])
    assert list(violations(document, ray_schema("RayJob")))


RAY_MUTATIONS: list[Callable[[Document], object]] = [
    lambda s: s.update(shutdownAfterJobFinishes=True),
    lambda s: s.update(ttlSecondsAfterFinished=60),
    lambda s: s["deletionStrategy"]["deletionRules"][0].update(policy="DeleteWorkers"),
    lambda s: s["rayClusterSpec"].update(rayVersion="2.59.0"),
    lambda s: s["rayClusterSpec"].pop("authOptions"),
    lambda s: s["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].pop("num-cpus"),
    lambda s: s["rayClusterSpec"]["headGroupSpec"]["labels"].update({"ray.io/market-type": "spot"}),
    lambda s: s["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(restartPolicy="Always"),
    lambda s: s["rayClusterSpec"]["workerGroupSpecs"].reverse(),
]


@pytest.mark.parametrize("spoil", RAY_MUTATIONS)
def test_the_operator_takes_the_ray_manifests_and_no_spoilt_one(spoil):
    for document in ray_documents():
        assert rules.operator_refuses(document) == []
    spoil(document["spec"])
    assert rules.operator_refuses(document)


def test_the_job_has_the_cluster_of_the_cluster():
    (job,) = build("job")
    cluster = find(build("base"), "RayCluster", "ms2img")["spec"]
    del cluster["gcsFaultToleranceOptions"]
    assert job["spec"]["rayClusterSpec"] == cluster


POD = {"spec": {"containers": [{"image": "a:1.0.0", "envFrom": [{"secretRef": {"name": "lost"}}]}]}, "metadata": {}}
KUBERNETES_RULES: list[tuple[Callable[[list[Document]], list[str]], Callable[[list[Document]], object]]] = [
    (lambda d: rules.broken_references(d, secrets_made()), lambda d: d.remove(find(d, "ConfigMap", "ray-settings"))),
    (lambda d: rules.broken_references(d, secrets_made()), lambda d: d.remove(find(d, "ServiceAccount", "ray-worker"))),
    (lambda d: rules.broken_references(d, secrets_made()), lambda d: d.remove(find(d, "Service", "valkey"))),
    (lambda d: rules.broken_references(d, secrets_made()), lambda d: d.remove(find(d, "Service", "mlflow"))),
    (lambda d: rules.broken_references(d, secrets_made()),
     lambda d: find(d, "Deployment", "mlflow")["spec"].update(template=POD)),
    (lambda d: rules.broken_references(d, {**secrets_made(), "valkey": set()}) if len(d) == 1 else [],
     lambda d: d.__setitem__(slice(None), [find(d, "RayCluster", "ms2img")])),
    (rules.unmatched_selectors, lambda d: find(d, "Service", "mlflow")["spec"].update(selector={"app": "mlflows"})),
    (rules.unmatched_selectors, lambda d: d.remove(find(d, "NetworkPolicy", "nothing-in"))),
    (rules.weak_pods, lambda d: find(d, "StatefulSet", "valkey")["spec"]["template"]["spec"].pop("securityContext")),
    (rules.weak_pods, lambda d: next(containers(find(d, "RayCluster", "ms2img"))).pop("resources")),
    (rules.weak_pods, lambda d: next(containers(find(d, "RayCluster", "ms2img"))).pop("readinessProbe")),
    (rules.weak_pods, lambda d: next(containers(find(d, "Job", "mlflow-user"))).pop("securityContext")),
    (rules.written_secrets, lambda d: find(d, "ConfigMap", "ray-settings")["data"].update({"API_TOKEN": "hunter2"})),
    (rules.written_secrets, lambda d: d.append({"kind": "Secret", "stringData": {"auth_token": "4f2a"}})),
    (lambda d: rules.loose_images(images(d)), lambda d: next(containers(d[-2])).update(image="ms2img:2.60.0")),
    (lambda d: rules.loose_images(images(d)), lambda d: next(containers(d[-2])).update(image="ms2img:latest")),
]  # fmt: skip


@pytest.mark.parametrize("folder", OVERLAYS)
@pytest.mark.parametrize(("rule", "spoil"), KUBERNETES_RULES)
def test_manifests_keep_to_the_rule_and_a_spoilt_copy_does_not(folder, rule, spoil):
    documents = build(folder)
    documents.append(documents.pop(next(n for n, each in enumerate(documents) if each["kind"] == "RayCluster")))
    documents.append({"kind": "ConfigMap", "metadata": {"name": "last"}})
    assert rule(documents) == []
    spoil(documents)
    assert rule(documents)


@pytest.mark.parametrize("folder", [*OVERLAYS, "job"])
def test_every_document_has_a_kind_of_its_version_and_a_name_of_its_own(folder):
    versions = {
        "apps/v1": {"Deployment", "StatefulSet"},
        "batch/v1": {"Job"},
        "networking.k8s.io/v1": {"NetworkPolicy"},
        "ray.io/v1": {"RayCluster", "RayJob"},
        "v1": {"ConfigMap", "Namespace", "Service", "ServiceAccount"},
    }
    documents = build(folder)
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for _, name in names)
    assert all(each["kind"] in versions[each["apiVersion"]] for each in documents)


@pytest.mark.parametrize("folder", [*OVERLAYS, "job"])
def test_kustomize_builds_the_same_where_it_is_installed(folder):
    if shutil.which("kubectl"):
        built = subprocess.run(
            ["kubectl", "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=True
        )
        names = {(each["kind"], each["metadata"]["name"]): each for each in yaml.load_all(built.stdout, Loader=SAFE)}
        assert names == {(each["kind"], each["metadata"]["name"]): each for each in build(folder)}


def test_only_gpu_workers_are_on_spot_nodes():
    spec = find(build("overlays/aws"), "RayCluster", "ms2img")["spec"]
    paid = [each["template"]["spec"]["nodeSelector"] for each in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
    assert [each["eks.amazonaws.com/capacityType"] for each in paid] == ["ON_DEMAND", "ON_DEMAND", "SPOT"]
    assert spec["workerGroupSpecs"][1]["labels"]["ray.io/market-type"] == "spot"
    types = launcher()["available_node_types"]
    assert {name for name, each in types.items() if "InstanceMarketOptions" in each["node_config"]} == {"gpu"}
    assert {name for name, each in types.items() if each["labels"]["ray.io/market-type"] == "spot"} == {"gpu"}
    assert types["head"]["resources"] == {"CPU": 0}
