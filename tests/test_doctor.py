"""The doctor: green on a sound target, red with a name and a remedy on a broken one, and never hanging."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray_nodes import ray_nodes
from s3_servers import S3Server, free_port

from cluster.checks import machines, places
from cluster.checks.finding import State
from cluster.checks.nodes import Node, alive_nodes, on_each, within
from pipelines.command import Output
from pipelines.doctor import DoctorConfig, doctor

QUIET = Output(quiet=True, json=False)
CHECKS = ["address", "nodes", "driver", "versions", "clocks", "memory", "gpus", "storage", "tracking", "store"]


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_this_machine_without_a_cluster_is_checked_and_nothing_is_left(ray_session: None, s3: S3Server) -> None:
    result = doctor(DoctorConfig(out=s3.url("bucket/out")), QUIET)
    states = {each["check"]: each["state"] for each in result.values["checks"]}
    assert list(states) == CHECKS
    assert {states[name] for name in ("nodes", "driver", "versions", "clocks", "gpus")} == {"green"}
    assert (states["address"], states["tracking"], states["store"]) == ("grey", "grey", "grey")
    assert s3.keys("bucket") == []
    assert result.status == (0 if "red" not in states.values() else 1)
    assert result.values["ok"] is (result.status == 0)


def test_storage_is_red_where_keys_are_wrong_and_a_local_folder_is_left_as_it_was(
    ray_session: None, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = places.storage(alive_nodes(), str(tmp_path / "new"), seconds=60)
    assert found.state is State.GREEN, found
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    wrong = places.storage(alive_nodes(), s3.url("bucket/out"), seconds=60)
    assert wrong.state is State.RED
    assert wrong.remedy


def test_a_tracking_server_that_is_not_there_is_red_and_a_password_is_not_shown(ray_session: None) -> None:
    address = f"http://lab:hidden-word@127.0.0.1:{free_port()}"
    found = places.tracking(alive_nodes(), address, seconds=60)
    assert found.state is State.RED
    assert "127.0.0.1" in found.text
    assert "hidden-word" not in found.line()


def test_a_node_that_does_not_answer_in_time_is_named_and_given_up(ray_session: None) -> None:
    [node] = alive_nodes()
    started = time.monotonic()
    answer = on_each([node], time.sleep, 600, seconds=3)[node]
    assert answer.failed == "no answer in 3 s"
    assert time.monotonic() - started < 120
    with pytest.raises(TimeoutError):
        within(0.1, lambda: time.sleep(5))


def test_a_spot_driver_promised_gpus_and_other_versions_are_red(ray_session: None) -> None:
    [node] = alive_nodes()
    spot = Node(node.id, "10.0.0.9", {**node.resources, "GPU": 64.0}, {"ray.io/market-type": "spot"})
    assert machines.driver([spot], spot.id).state is State.RED
    found = machines.gpus([spot], seconds=120)
    assert found.state is State.RED
    assert "10.0.0.9: Ray promises 64 GPUs" in found.text
    assert machines.different({"ray": "2.50.0", "torch": "2.13.0"}, {"ray": "2.60.0", "torch": "2.13.0"}) == [
        "ray 2.50.0, here 2.60.0"
    ]


def test_the_clock_is_off_only_by_what_a_round_trip_cannot_explain() -> None:
    assert machines.skew(10.0, 11.0, 12.0) == 0
    assert machines.skew(10.0, 15.0, 12.0) == 3
    assert machines.skew(10.0, 7.0, 12.0) == 3


@pytest.mark.slow  # a minute and a half: a cluster starts, one of its nodes is stopped in its tracks
def test_a_cluster_from_a_node_and_through_its_job_server_and_one_whose_node_hangs(tmp_path: Path) -> None:
    with ray_nodes() as nodes:
        stuck = nodes.add("cpu", "on-demand")

        def examined(*arguments: str, **more: str) -> dict[str, str]:
            command = [str(Path(sys.executable).with_name("ms2img")), "doctor", "--json", "--quiet", *arguments]
            environment = {**nodes.environment, "MS2IMG_PROFILE": "", **more}
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, cwd=tmp_path)
            found = json.loads(ran.stdout)
            assert ran.returncode == (0 if found["ok"] else 1), ran.stderr
            return {each["check"]: f"{each['state']} {each['text']}" for each in found["checks"]}

        inside = examined("--out", str(tmp_path / "out"), RAY_ADDRESS=nodes.address)
        through = examined("--address", f"http://127.0.0.1:{nodes.dashboard}")
        for found in (inside, through):
            for check in ("address", "auth", "nodes", "versions", "clocks", "driver"):
                assert found[check].startswith("green"), (check, found[check])
            assert found["tracking"].startswith("red MLFLOW_TRACKING_URI is not set")
        assert inside["storage"].startswith("green")
        wrong = tmp_path / "wrong"
        wrong.write_text("0" * 64)
        refused = examined(RAY_ADDRESS=nodes.address, RAY_AUTH_TOKEN_PATH=str(wrong))
        assert "refuses our token" in refused["auth"]

        for process in stuck:
            process.send_signal(signal.SIGSTOP)
        hanging = examined("--time-limit", "10", RAY_ADDRESS=nodes.address)
        assert hanging["nodes"].startswith("red")
        assert "no answer in 10 s" in hanging["nodes"]


@pytest.mark.slow  # half a minute
def test_a_cluster_without_a_token_is_red(tmp_path: Path) -> None:
    from cluster.checks.access import ray_access, server_access

    with ray_nodes({"RAY_AUTH_MODE": "disabled"}) as nodes:
        address, auth = ray_access(nodes.address, seconds=60)
        assert (address.state, auth.state) == (State.GREEN, State.RED)
        address, auth = server_access(f"http://127.0.0.1:{nodes.dashboard}", seconds=60)
        assert (address.state, auth.state) == (State.GREEN, State.RED)
        assert "RAY_AUTH_MODE=token" in auth.remedy
