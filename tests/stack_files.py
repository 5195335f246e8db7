"""The files of the stack as data: compose, manifests as kustomize would build them, pins, the table of ports."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from stack_schemas import SAFE

ROOT = Path(__file__).parent.parent
KUBERNETES = ROOT / "cluster" / "kubernetes"
DOCKERFILES = [ROOT / "docker" / "Dockerfile", ROOT / "docker" / "Dockerfile.mlflow"]
OVERLAYS = ["base", "overlays/aws", "overlays/local"]
#: A secret's name in a setting; what ends in one of the suffixes names a place, not a value.
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|ACCESS_KEY|PRIVATE_KEY|CREDENTIAL", re.IGNORECASE)
PLACE = re.compile(r"(_FILE|_PATH)$|^/|^\$\{?SECRETS")

Document = dict[str, Any]


def pins() -> dict[str, str]:
    """Package to version, of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {name.lower(): version for name, version in (line.split("==") for line in lines)}


@cache
def _parsed(path: Path) -> list[Document]:
    return [each for each in yaml.load_all(path.read_text(encoding="utf-8"), Loader=SAFE) if each]


def _documents(path: Path) -> list[Document]:
    return copy.deepcopy(_parsed(path))


def compose() -> Document:
    """compose.yaml as written, variables unresolved."""
    return _documents(ROOT / "docker" / "compose.yaml")[0]


def build(folder: str) -> list[Document]:
    """The documents of a kustomization: its resources, with its patches applied."""
    here = KUBERNETES / folder
    (recipe,) = _documents(here / "kustomization.yaml")
    documents: list[Document] = []
    for resource in recipe["resources"]:
        path = (here / resource).resolve()
        if path.is_dir():
            documents += build(str(path.relative_to(KUBERNETES)))
        else:
            documents += _documents(path)
    for patch in recipe.get("patches", ()):
        changes = _documents(here / patch["path"])
        if target := patch.get("target"):
            _json_patch(find(documents, target["kind"], target["name"]), changes[0])
        else:
            for change in changes:
                _merge(find(documents, change["kind"], change["metadata"]["name"]), change)
    names = {image["name"]: image["newName"] for image in recipe.get("images", ())}
    for container in (each for document in documents for each in containers(document)):
        name, _, tag = container["image"].partition(":")
        container["image"] = f"{names.get(name, name)}:{tag}"
    for document in documents:
        if document["kind"] != "Namespace":
            document["metadata"]["namespace"] = recipe["namespace"]
    return documents


def find(documents: list[Document], kind: str, name: str) -> Document:
    """The one document of that kind and name."""
    (found,) = (each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def launcher() -> Document:
    """The cluster launcher's file, with Ray's defaults filled in."""
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(_documents(ROOT / "cluster" / "aws.yaml")[0])


def ray_documents() -> list[Document]:
    """Every RayCluster and RayJob; the RayJob is the last."""
    return [find(build(folder), "RayCluster", "ms2img") for folder in OVERLAYS] + build("job")


def pods(document: Document) -> Iterator[Document]:
    """Every pod template below a document: what has both `metadata` and `spec.containers`."""
    for value in _values(document):
        if isinstance(value, dict) and "containers" in (value.get("spec") or {}):
            yield value


def containers(document: Document) -> Iterator[Document]:
    """Every container of every pod template."""
    for pod in pods(document):
        yield from pod["spec"]["containers"]
        yield from pod["spec"].get("initContainers", ())


def settings(value: Any) -> Iterator[tuple[str, Any]]:
    """Every (name, value) below: mapping entries, and `name`/`value` pairs of a pod's environment."""
    if isinstance(value, dict):
        if set(value) == {"name", "value"}:
            yield value["name"], value["value"]
        for name, inner in value.items():
            yield str(name), inner
            yield from settings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from settings(inner)


def listed_ports() -> set[str]:
    """The ports of the table in SECURITY.md, a range as ``low-high``."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[0]] == ["service", "port", "protocol", "reachable from", "protection"]
    return {row[1].strip() for row in rows[2:]}


def ray_ports(text: str) -> dict[str, str]:
    """The port options of a ``ray start`` command, or of a group's rayStartParams."""
    return dict(re.findall(r"(?:^|--|\s)((?:[a-z]+-)*port)[=:]\s*\"?(\d+)", text, re.MULTILINE))


def _values(value: Any) -> Iterator[Any]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _values(each)


def _merge(document: Document, change: Document) -> None:
    for name, value in change.items():
        if isinstance(value, dict):
            _merge(document.setdefault(name, {}), value)
        else:
            document[name] = value


def _json_patch(document: Document, steps: list[Document]) -> None:
    for step in steps:
        *way, last = [part.replace("~1", "/") for part in step["path"].split("/")[1:]]
        place: Any = document
        for part in way:
            place = place[int(part) if isinstance(place, list) else part]
        key = int(last) if isinstance(place, list) else last
        if step["op"] == "test":
            assert place[key] == step["value"], step
        elif step["op"] == "remove":
            del place[key]
        else:
            assert step["op"] == "add" or key in place, f"nothing to replace: {step}"
            place[key] = step["value"]
