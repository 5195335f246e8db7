"""Jobs submitted to a real Ray head with token auth, from a folder outside the repository."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conversions import COMMAND, conversion, data_set, finish, hear_interrupts
from mgf_files import good
from ray_heads import RayHead, ray_head
from s3_servers import SECRET, S3Server

from cluster.job_server import MINIMUM_RAY

pytestmark = pytest.mark.ray
SECONDS = 300.0


@pytest.fixture(scope="module")
def head(rclone_process: S3Server) -> Iterator[RayHead]:
    """A head whose node has the store's keys and not its place, which jobs carry."""
    keys = {name: rclone_process.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    with ray_head({**keys, "AWS_EC2_METADATA_DISABLED": "true", "MS2IMG_S3_PATIENCE": "20"}) as running:
        yield running


@pytest.fixture
def variables(head: RayHead, s3: S3Server, tmp_path: Path) -> dict[str, str]:
    """What a user has: the cluster in a profile, the store in the environment, keys of their own as well."""
    (tmp_path / "profile.yaml").write_text(f"dashboard: {head.dashboard}\ntoken_path: {head.token_path}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    return {**kept, **s3.environment, "MS2IMG_PROFILE": str(tmp_path / "profile.yaml"), "OMP_NUM_THREADS": "1"}


@contextmanager
def started(folder: Path, variables: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """``ms2img`` in a folder; killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ms2img(folder: Path, variables: dict[str, str], *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``ms2img`` in a folder."""
    with started(folder, variables, *words) as process:
        out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def runs_in_bucket(folder: Path, s3: S3Server) -> Path:
    """A sheet, outside any bucket, of two good runs in one; beside it the same sheet of local files."""
    folder.mkdir()
    rows = {"cloud": ["sample_id,path"], "local": ["sample_id,path"]}
    for number in range(2):
        run = good(folder / f"run{number}.mgf", 300.0 + number)
        rows["cloud"].append(f"run{number},{s3.put(f'bucket/runs/{run.name}', run.read_bytes())}")
        rows["local"].append(f"run{number},{run.name}")
    for name, lines in rows.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder / "cloud.csv"


def test_a_conversion_from_elsewhere_is_the_local_one_and_its_secrets_are_nowhere(tmp_path, head, s3, variables):
    sheet = runs_in_bucket(tmp_path / "lab", s3)
    words = (
        "submit",
        "--json",
        "--submission-id",
        "first",
        "--",
        "convert",
        sheet.name,
        "s3://bucket/out",
        "--size=75x70",
    )
    status, out, err = ms2img(sheet.parent, variables, *words)
    assert status == 0, err
    assert json.loads(out) == {"submission_id": "first", "status": "SUCCEEDED", "exit_status": 0}
    assert "2 converted, 0 unchanged, 0 failed -> s3://bucket/out" in err
    with conversion(sheet.with_name("local.csv"), tmp_path / "out", RAY_ADDRESS="") as process:
        assert finish(process)[0] == 0
    expected = {name: content for name, content in data_set(tmp_path / "out").items() if name.startswith("images/")}
    assert len(expected) > 0
    for name, content in expected.items():
        assert s3.get(f"bucket/out/{name}") == content, name

    # What the cluster keeps of the job, and what its processes have written, is without a secret.
    status, told, _ = ms2img(tmp_path, variables, "jobs", "logs", "first", "--json")
    assert status == 0
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(head.dashboard, headers={"Authorization": f"Bearer {head.token}"})
    kept = client.get_job_info("first").model_dump_json()
    assert "inputs/cloud.csv" in kept
    files = [path for path in head.folder.rglob("*") if path.is_file() and path != head.token_path]
    assert any("job-driver-first" in path.name for path in files)
    texts = {"job": kept, "log": told, **{str(path): path.read_bytes().decode("utf-8", "replace") for path in files}}
    for where, text in texts.items():
        assert SECRET not in text, where
        assert head.token not in text, where


def test_the_exit_status_of_the_job_is_returned(tmp_path, s3, variables):
    sheet = runs_in_bucket(tmp_path / "lab", s3)
    sheet.write_text(f"{sheet.read_text()}gone,s3://bucket/runs/gone.mgf\n")
    words = ("convert", sheet.name, "s3://bucket/out", "--size=75x70", "--max-failures=0")
    status, out, err = ms2img(sheet.parent, variables, "submit", "--", *words)
    assert status == 3, err
    assert "2 converted, 0 unchanged, 1 failed" in out
    assert "failed with exit status 3" in err.splitlines()[-1]


@pytest.mark.slow  # half a minute
def test_a_job_that_refuses_and_one_without_a_tracking_server_end_with_2(tmp_path, s3, variables):
    s3.put("bucket/bad.csv", b"sample,path\na,a.mgf\n")
    status, out, err = ms2img(
        tmp_path, variables, "submit", "--num-cpus=1", "--", "convert", "s3://bucket/bad.csv", "s3://b/o"
    )
    assert status == 2, err
    assert "ms2img: s3://bucket/bad.csv: " in out
    sheet = runs_in_bucket(tmp_path / "lab", s3)
    words = ("study", "study.yaml", "--out=s3://bucket/study")
    (sheet.parent / "study.yaml").write_text(
        "name: s\ndata: {d: {samples: s3://bucket/sheet.csv}}\n"
        "tasks: {t: {data: d, assay: x}}\nmodels: {memo: [forest]}\n"
    )
    rows = [f"a{n},s3://bucket/runs/run{n % 2}.mgf,{n % 2}" for n in range(20)]
    s3.put("bucket/sheet.csv", "\n".join(["sample_id,path,x", *rows]).encode())
    status, out, err = ms2img(sheet.parent, variables, "submit", "--", *words)
    assert status == 2, out + err
    assert "ms2img: no tracking server; on a cluster set MLFLOW_TRACKING_URI to a server" in out


def test_what_the_cluster_refuses_is_one_line(tmp_path, head, variables):
    (tmp_path / "wrong").write_text("not-the-token")
    for more, told in (
        ({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}, f"the cluster refuses this token ({tmp_path / 'wrong'})"),
        ({"MS2IMG_PROFILE": "", "RAY_API_SERVER_ADDRESS": head.dashboard}, "the cluster asks for a token; set"),
        ({"MS2IMG_PROFILE": ""}, "no cluster is named: give --address"),
    ):
        status, out, err = ms2img(tmp_path, {**variables, **more}, "jobs", "list")
        assert (status, out, len(err.splitlines())) == (2, "", 1), err
        assert told in err
        assert "not-the-token" not in err
    status, out, err = ms2img(tmp_path, variables, "jobs", "logs", "nosuchjob")
    assert (status, out) == (2, "")
    assert err == f"ms2img: {head.dashboard}: no job nosuchjob; 'ms2img jobs list' shows those that there are\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:1", "no job server answers there"),
        ("ray://127.0.0.1:10001", "is no job server's address"),
        ("{s3}", "answers, but not as a Ray job server"),
    ],
)
def test_an_address_of_something_else_is_one_line(tmp_path, s3, variables, address, told):
    words = (
        "submit",
        "--address",
        address.format(s3=s3.endpoint),
        "--",
        "convert",
        "s3://bucket/a.csv",
        "s3://bucket/o",
    )
    status, _, err = ms2img(tmp_path, variables, *words)
    assert (status, len(err.splitlines())) == (2, 1), err
    assert told in err


def detached(folder: Path, variables: dict[str, str], job: str) -> None:
    """A job that takes minutes, submitted and left alone."""
    place = str(folder / "study")
    words = (
        "submit",
        "--detach",
        f"--shared={folder}",
        f"--submission-id={job}",
        "--",
        "simulate",
        place,
        "--accessions=3000",
    )
    status, out, err = ms2img(folder, variables, *words)
    assert status == 0, err
    assert f"follow it: ms2img jobs logs {job} --follow" in out


@pytest.mark.slow  # a minute
def test_a_detached_job_is_listed_shown_followed_left_and_stopped(tmp_path, variables):
    detached(tmp_path, variables, "long")
    deadline = time.monotonic() + SECONDS
    while "RUNNING" not in ms2img(tmp_path, variables, "jobs", "list", "--json")[1]:
        assert time.monotonic() < deadline
    listed = json.loads(ms2img(tmp_path, variables, "jobs", "list", "--json")[1])["jobs"]
    [row] = [row for row in listed if row["submission_id"] == "long"]
    assert row["command"].startswith("ms2img simulate ")
    assert row["exit_status"] is None

    with started(tmp_path, variables, "jobs", "logs", "long", "--follow") as following:
        assert following.stdout is not None
        while "simulate: " not in following.stdout.readline():  # live: the job is far from its end
            assert following.poll() is None
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=SECONDS)
    assert following.returncode == 130
    assert "long goes on without you" in err
    assert "RUNNING" in ms2img(tmp_path, variables, "jobs", "list", "--json")[1]

    status, out, _ = ms2img(tmp_path, variables, "jobs", "stop", "long")
    assert (status, out) == (0, "long stopped; the same command goes on from what is done\n")
    status, out, _ = ms2img(tmp_path, variables, "jobs", "logs", "long")
    assert status == 0
    assert "terminated; run the same command again to go on" in out
    assert ms2img(tmp_path, variables, "jobs", "logs", "long", "--follow")[0] == 143
    assert "had ended before: stopped" in ms2img(tmp_path, variables, "jobs", "stop", "long")[1]


class CutLine:
    """A line to the job server that can be cut: everything on it ends at once, and nothing new comes through."""

    def __init__(self, port: int) -> None:
        self.is_cut = False
        self._port = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.is_cut = True
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self.is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
            target.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow  # half a minute
def test_a_connection_that_drops_is_taken_up_where_the_log_stood(tmp_path, head, variables):
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(head.dashboard, headers={"Authorization": f"Bearer {head.token}"})
    count = "for n in $(seq 30); do echo line $n; sleep 0.5; done; exit 7"
    client.submit_job(entrypoint=count, submission_id="counting")
    line = CutLine(int(head.dashboard.rpartition(":")[2]))
    words = ("jobs", "logs", "counting", "--follow", "--address", line.address)
    with started(tmp_path, variables, *words) as following:
        assert following.stdout is not None
        before = []
        while not before or before[-1] != "line 5":
            before.append(following.stdout.readline().rstrip())
            assert following.poll() is None
        line.cut()
        time.sleep(5)
        line.is_cut = False
        out = following.stdout.read()  # `communicate` would miss what was read ahead
        assert following.stderr is not None
        err = following.stderr.read()
        following.wait(SECONDS)
    told = [each for each in [*before, *out.splitlines()] if each.startswith("line ")]
    assert told == [f"line {number}" for number in range(1, 31)]
    assert following.returncode == 7
    assert err.count("the job goes on, and so does this once it is back") == 1
    assert err.count("the job server is back") == 1


def test_the_least_version_of_ray_is_that_of_the_package():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    least = ".".join(map(str, MINIMUM_RAY))
    assert any(f">={least}" in each for each in project["optional-dependencies"]["cluster"] if each.startswith("ray"))
