"""What others say of the stack's files: hadolint of the images, Kubernetes' own schemas of the manifests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
from stack_files import DOCKERFILES, OVERLAYS, Document, build, find

KUBERNETES_VERSION = "1.37"


def hadolint(dockerfile: Path) -> list[str]:
    """What hadolint finds, a line each."""
    program = Path(sys.executable).parent / "hadolint"
    return subprocess.run([program, "--no-color", dockerfile], capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say_and_something_of_a_spoilt_copy(path: Path, tmp_path: Path):
    assert hadolint(path) == []
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(path.read_text(encoding="utf-8") + "\nRUN cd /tmp && pip install numpy\n", encoding="utf-8")
    assert {"DL3003", "DL3013"} <= {line.split(" ")[1] for line in hadolint(spoilt)}


def invalid(documents: list[Document]) -> list[str]:
    """What Kubernetes itself would not take, unknown fields too; KubeRay's kinds have a test of their own."""
    found = []
    for document in documents:
        if not document["apiVersion"].startswith("ray.io/"):
            try:
                kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{document['kind']} {document['metadata']['name']}: {error.message}")
    return found


@pytest.mark.parametrize("folder", OVERLAYS)
def test_kubernetes_takes_every_manifest(folder: str):
    documents = build(folder)
    assert sum(not each["apiVersion"].startswith("ray.io/") for each in documents) > 10
    assert invalid(documents) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda deployment: deployment["spec"].update(replica=1),
        lambda deployment: deployment["spec"].update(replicas="one"),
        lambda deployment: deployment["spec"]["template"]["spec"]["containers"][0].pop("name"),
        lambda deployment: deployment["spec"].pop("selector"),
    ],
)
def test_kubernetes_takes_no_spoilt_one(spoil: Callable[[Document], object]):
    documents = build("base")
    spoil(find(documents, "Deployment", "mlflow"))
    assert len(invalid(documents)) == 1
