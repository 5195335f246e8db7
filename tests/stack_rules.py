"""What the files of the stack must keep to: a rule takes parsed documents and gives what breaks it, else nothing."""

from __future__ import annotations

import re
from typing import Any

from stack_files import PLACE, SECRET_NAME, Document, containers, pins, pods, settings

ONE_SHOT = {"buckets", "mlflow-user"}


def published_elsewhere(compose: Document) -> list[str]:
    """Ports that are published on more than loopback."""
    ports = [(name, port) for name, each in compose["services"].items() for port in each.get("ports", ())]
    return [f"{name}: {port}" for name, port in ports if not str(port).startswith("127.0.0.1:")]


def loose_images(images: list[str]) -> list[str]:
    """Images without a fixed tag, and ours with one that is not the version in constraints.txt."""
    found = []
    for image in images:
        name, _, tag = image.rpartition("/")[2].partition(":")
        wanted = {"ms2img": rf"{re.escape(pins()['ray'])}-(cpu|gpu)", "ms2img-mlflow": re.escape(pins()["mlflow"])}
        if not re.fullmatch(wanted.get(name, r"v?\d+\.\d+(\.\d+)?(-[a-z]+[\d.]*)?"), tag):
            found.append(image)
    return found


def weak_services(compose: Document) -> list[str]:
    """Services that are root, keep capabilities, have no limits, or do not say whether they are well."""
    found = []
    for name, each in compose["services"].items():
        limits = each.get("deploy", {}).get("resources", {}).get("limits", {})
        well = each.get("healthcheck") or "build" in each  # our images have their own
        user = str(each.get("user", "0"))
        broken = {
            "root": not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user),
            "capabilities": each.get("cap_drop") != ["ALL"] or "cap_add" in each or each.get("privileged", False),
            "privileges": "no-new-privileges:true" not in each.get("security_opt", ()),
            "limits": not {"cpus", "memory"} <= set(limits),
            "health": not well or (name not in ONE_SHOT and (each.get("healthcheck") or {}).get("disable", False)),
        }
        found += [f"{name}: {what}" for what, is_broken in broken.items() if is_broken]
    return found


def dangling_in_compose(compose: Document) -> list[str]:
    """Secrets, networks, volumes and services that are used and not there."""
    found = []
    for name, each in compose["services"].items():
        used = {
            "secrets": [secret if isinstance(secret, str) else secret["source"] for secret in each.get("secrets", ())],
            "networks": list(each.get("networks", ())),
            "volumes": [volume.split(":")[0] for volume in each.get("volumes", ()) if re.match(r"\w+:", volume)],
            "services": list(each.get("depends_on", ())),
        }
        found += [f"{name}: {kind} {one}" for kind, all_ in used.items() for one in all_ if one not in compose[kind]]
        for other, how in each.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            if how["condition"] != wanted:
                found.append(f"{name}: waits for {other} by {how['condition']}")
    return found


def written_secrets(document: Any) -> list[str]:
    """Values of settings that are called a secret, and addresses with a password in them."""
    found = []
    for name, value in settings(document):
        if not isinstance(value, str):
            continue
        if SECRET_NAME.search(name) and not PLACE.search(name) and not PLACE.search(value) and " " not in value:
            is_a_name = re.fullmatch(r"[a-z][a-z_.-]*", value) and re.fullmatch(r"secretName|\w+_credentials", name)
            found += [] if is_a_name else [f"{name}: {value}"]
        if re.search(r"://[^/\s:@]+:[^/\s@$]+@", value):
            found.append(f"{name}: {value}")
    return found


def broken_references(documents: list[Document], secrets: dict[str, set[str]]) -> list[str]:
    """ConfigMaps, secrets and their keys, accounts and services that a pod names and nobody makes."""
    names = {(each["kind"], each["metadata"]["name"]) for each in documents}
    found = []
    for document in documents:
        for pod in pods(document):
            account = pod["spec"].get("serviceAccountName")
            if account and ("ServiceAccount", account) not in names:
                found.append(f"account {account}")
        for name, value in settings(document):
            if name in ("configMapRef", "configMap", "configMapKeyRef") and ("ConfigMap", value["name"]) not in names:
                found.append(f"ConfigMap {value['name']}")
            if name in ("secret", "secretRef", "secretKeyRef"):
                secret = value.get("secretName") or value["name"]
                keys = {value["key"]} if "key" in value else {item["key"] for item in value.get("items", ())}
                if secret not in secrets or not keys <= secrets[secret]:
                    found.append(f"secret {secret} {sorted(keys)}")
            if name in ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "redisAddress"):
                host = re.sub(r"^\w+://", "", value).split(":")[0]
                if ("Service", host) not in names:
                    found.append(f"service {host}")
    return found


def unmatched_selectors(documents: list[Document]) -> list[str]:
    """Services and network policies that choose no pod, and pods that no policy lets anything into."""
    labels = [pod["metadata"]["labels"] for document in documents for pod in pods(document)]
    found = []
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "Service":
            wanted = document["spec"]["selector"]
        elif document["kind"] == "NetworkPolicy":
            wanted = document["spec"]["podSelector"].get("matchLabels", {})
        else:
            continue
        if not any(wanted.items() <= each.items() for each in labels):
            found.append(name)
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    if not any(each["spec"]["podSelector"] == {} and "ingress" not in each["spec"] for each in policies):
        found.append("no policy denies by default")
    return found


def weak_pods(documents: list[Document]) -> list[str]:
    """Pods that may be root, containers that may gain privileges or know no limit, long-lived ones without probes."""
    found = []
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        for pod in pods(document):
            security = pod["spec"].get("securityContext", {})
            if not (security.get("runAsNonRoot") and security.get("runAsUser") and security.get("seccompProfile")):
                found.append(f"{where}: pod")
        for each in containers(document):
            security = each.get("securityContext", {})
            if security.get("allowPrivilegeEscalation") is not False or security.get("capabilities") != {
                "drop": ["ALL"]
            }:
                found.append(f"{where}: {each['name']}: privileges")
            if not {"cpu", "memory"} <= set(each.get("resources", {}).get("limits", {})):
                found.append(f"{where}: {each['name']}: limits")
            if document["kind"] != "Job" and "readinessProbe" not in each:
                found.append(f"{where}: {each['name']}: probe")
    return found


def operator_refuses(ray: Document) -> list[str]:
    """What KubeRay's operator checks beyond the schema, and who may be where."""
    spec = ray["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    broken = {
        "rules exclude shutdownAfterJobFinishes": bool(rules) and spec.get("shutdownAfterJobFinishes", False),
        "a time to live needs shutdownAfterJobFinishes": bool(spec.get("ttlSecondsAfterFinished"))
        and not spec.get("shutdownAfterJobFinishes"),
        "the autoscaler deletes workers": cluster.get("enableInTreeAutoscaling", False)
        and any(rule["policy"] == "DeleteWorkers" for rule in rules),
        "a head restarts by itself": any("restartPolicy" in group["template"]["spec"] for group in groups),
        "labels stand in the group": any("labels" in group["rayStartParams"] for group in groups),
        "no token": cluster.get("authOptions", {}).get("mode") != "token",
        "another Ray": cluster["rayVersion"] != pins()["ray"],
        "tasks on the head": cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0",
        "a driver on a spot node": cluster["headGroupSpec"]["labels"].get("ray.io/market-type") != "on-demand",
        "roles": [group["labels"].get("ms2img.io/role") for group in groups] != ["head", "cpu", "gpu"][: len(groups)],
    }
    return [what for what, is_broken in broken.items() if is_broken]


def weak_dockerfile(text: str) -> list[str]:
    """What hadolint would say of these, and: a base without a version, root at the end, unpinned packages, secrets."""
    text = re.sub(r"^#.*\n", "", re.sub(r"\\\n\s*", " ", text), flags=re.MULTILINE)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    stages = {line.split()[3] for line in lines if line.startswith("FROM ")}
    final = text.rpartition("\nFROM ")[2]
    found = []
    for line in lines:
        base = line.split()[1] if line.startswith("FROM ") else ""
        if base and base not in stages and not re.search(r":\d+\.\d+\.\d+-", base):
            found.append(f"base {base}")
        if line.startswith("ADD "):
            found.append("ADD")
        installs = re.findall(r"pip (?:install|wheel) [^&;]*", line)
        found += [each for each in installs if not re.search(r"--no-cache-dir .*--(constraint|no-deps)", each)]
        if re.search(r"apt(-get)? install", line):
            found.append("apt without versions")
        if re.match(r"(ARG|ENV) ", line) and re.search(r"\w*(PASSWORD|TOKEN|SECRET)\w*=(?!token\b)\S+", line):
            found.append(f"secret: {line}")
    if not re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE):
        found.append("root")
    if "HEALTHCHECK" not in text:
        found.append("no health check")
    return found
