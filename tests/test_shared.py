"""On more than one node, an output must be seen by all of them, and tracking must be a server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from ray_heads import RayHead, ray_head

from cluster.shared import require_shared
from ms2img.errors import UsageError

pytestmark = pytest.mark.ray
PROBE = """
import os, sys
from cluster.connect import connected
from ms2img.errors import UsageError
for folder in sys.argv[1:]:
    try:
        with connected(writes=[folder], is_tracked=bool(os.environ.get("TRACKED"))):
            print("shared", folder)
    except UsageError as error:
        print("refused", error)
"""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head() as running:
        yield running


def probe(head: RayHead, *folders: object, **more: str) -> list[str]:
    """What a driver on the cluster says to each folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    variables = {**kept, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(head.token_path), "RAY_ADDRESS": head.gcs}
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, folders)], env={**variables, **more}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_one_machine_needs_no_shared_place(ray_session, tmp_path, monkeypatch):
    monkeypatch.delenv("MS2IMG_SUBMITTED", raising=False)
    require_shared([str(tmp_path)], "")
    require_shared([str(tmp_path)], "sqlite:///x.db")
    monkeypatch.setenv("MS2IMG_SUBMITTED", "1")
    with pytest.raises(UsageError, match="no tracking server; on a cluster set MLFLOW_TRACKING_URI to a server"):
        require_shared([], "")
    require_shared([str(tmp_path)], "http://mlflow:5000")
    require_shared([str(tmp_path)], None)


@pytest.mark.slow  # half a minute; `unshare` gives a node a disk of its own
def test_a_folder_that_another_node_does_not_see_is_refused_and_a_shared_one_passes(head, tmp_path):
    own, common = tmp_path / "own", tmp_path / "common"
    own.mkdir()
    common.mkdir()
    with head.worker(hidden=own):
        told = probe(head, own, common, own / "new" / "out", "s3://lab/out")
        assert [line.split()[0] for line in told] == ["refused", "shared", "refused", "shared"]
        assert f"{own}: 1 of 2 nodes do not see it (" in told[0]
        assert not list(own.iterdir())
        assert not list(common.iterdir())
        [refused] = probe(head, common, TRACKED="1", MLFLOW_TRACKING_URI="sqlite:///x.db")
        assert "MLFLOW_TRACKING_URI=sqlite:///x.db: is of one machine; on a cluster set" in refused
        [refused] = probe(head, common, TRACKED="1")
        assert "no tracking server; on a cluster set MLFLOW_TRACKING_URI to a server" in refused
        assert probe(head, common, TRACKED="1", MLFLOW_TRACKING_URI="http://mlflow:5000") == [f"shared {common}"]
