"""The whole stack as processes on this machine: it works together, refuses strangers, and leaves nothing behind."""

from __future__ import annotations

import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import pytest
from conversions import conversion, finish, study
from native_jobs import committed, committed_locally, job_environment, store

from cluster.native import Stack, native_cluster
from cluster.native.credentials import Credentials
from cluster.native.ports import answers
from cluster.native.s3 import ARTIFACTS_BUCKET, LAB_BUCKET
from ms2img.errors import UsageError

pytestmark = pytest.mark.ray
FAILURES = 3
RUNS = 4


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with native_cluster(tmp_path_factory.mktemp("cluster"), workers=1) as up:
        yield up


def test_the_job_server_wants_the_token(stack: Stack) -> None:
    url = f"{stack.environment()['RAY_API_SERVER_ADDRESS']}/api/jobs/"

    def status(token: str | None) -> int:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310 - http, our own
        try:
            return urllib.request.urlopen(request, timeout=30).status  # noqa: S310
        except urllib.error.HTTPError as refused:
            return refused.code

    assert (status(None), status("wrong")) == (401, 403)
    assert status(Path(stack.environment()["RAY_AUTH_TOKEN_PATH"]).read_text()) == 200


@pytest.mark.cluster  # Ray tries for 20 s
@pytest.mark.cluster  # 22 s: Ray tries for long
def test_a_driver_with_a_wrong_token_is_told_so_in_a_line(stack: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("wrong" * 8)
    sheet = study(tmp_path / "study", 1, peaks=5)
    variables = job_environment(stack, RAY_AUTH_TOKEN_PATH=str(wrong))
    with conversion(sheet, f"s3://{LAB_BUCKET}/refused", **variables) as process:
        status, lines = finish(process)
    assert status != 0
    assert "is the token its own" in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_from_bucket_to_bucket_through_the_cluster_is_the_local_data_set(stack: Stack, tmp_path: Path) -> None:
    sheet = study(tmp_path / "study", RUNS, peaks=10)
    with conversion(sheet, tmp_path / "out") as process:
        status, lines = finish(process)
        assert status == 3, lines
    store(stack).upload(sheet.parent, f"{LAB_BUCKET}/study")
    where = (f"s3://{LAB_BUCKET}/study/samples.csv", f"s3://{LAB_BUCKET}/out")
    with conversion(*where, **job_environment(stack)) as process:
        status, lines = finish(process)
    assert status == 3, lines
    assert committed(stack, "out") == committed_locally(tmp_path / "out")


def test_an_artefact_of_a_run_reaches_s3_through_the_server(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="not authenticated"):
        MlflowClient(stack.environment()["MLFLOW_TRACKING_URI"]).create_experiment("a stranger's")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, stack.environment()[name])
    client = MlflowClient(stack.environment()["MLFLOW_TRACKING_URI"])
    run = client.create_run(client.create_experiment("artefacts"))
    client.log_text(run.info.run_id, "kept", "note.txt")
    [key] = store(stack).keys(ARTIFACTS_BUCKET)
    assert key.endswith(f"{run.info.run_id}/artifacts/note.txt")
    assert store(stack).get(f"{ARTIFACTS_BUCKET}/{key}") == b"kept"


def test_secrets_are_private_files_and_nowhere_else(stack: Stack) -> None:
    folder = Path(stack.environment()["RAY_AUTH_TOKEN_PATH"]).parent
    own = Credentials.of(folder)
    values = [own.ray_token, own.redis_password, own.postgres_password, own.s3_key, own.s3_secret, own.mlflow_password]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    told = [path.read_text(errors="replace") for path in (folder.parent / "state.json", *folder.parent.glob("logs/*"))]
    assert not any(value in text for value in values for text in told)
    commands = {
        (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
        for pids in stack.processes().values()
        for pid in pids
    }
    # Ray's own programs are given Redis' password as an option: it has no other way.
    values.remove(own.redis_password)
    assert not any(value in command for value in values for command in commands)


def test_a_second_cluster_in_the_folder_is_refused_and_the_command_line_tells_of_the_first(stack: Stack) -> None:
    folder = Path(stack.environment()["RAY_AUTH_TOKEN_PATH"]).parent.parent
    with pytest.raises(UsageError, match="a cluster is up there"):
        Stack.up(folder)
    told = subprocess.run(
        [sys.executable, "-m", "cluster.native", "status", "--folder", str(folder)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1],
    ).stdout  # fmt: skip
    assert "2 Ray nodes alive" in told
    assert "ended" not in told


def test_after_the_end_no_process_and_no_port_is_left(stack: Stack) -> None:
    """The last one: it ends the module's cluster."""
    home = next(path for path in Path(gettempdir()).glob("ms2c-*") if str(path) in _commands())
    ports = [port for named in stack.ports.values() for port in named.values()]
    assert any(answers("127.0.0.1", port) for port in ports)
    stack.down()
    assert str(home) not in _commands()
    assert not home.exists()
    assert not [port for port in ports if answers("127.0.0.1", port)]


def _commands() -> str:
    """The command lines of all processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue  # has ended
    return "\n".join(found)


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs the program redis-server: apt-get install redis-server"):
        Stack.up(tmp_path / "cluster")
