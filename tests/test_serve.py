"""``ms2img serve``: MLflow's own server answers what ``ms2img predict`` writes, and ends with all it has started."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from bundle_samples import RENDER, make_bundle, write_mgf
from conversions import below, finish, running

from ms2img.errors import UsageError
from ms2img.io.dataset.process import birth
from ms2img.ms2toimg.bundle import load_bundle
from ms2img.tracking import serving
from ms2img.tracking.registry import register
from ms2img.tracking.runs import track_cross_validation
from ms2img.tracking.store import open_store
from pipelines import cli
from pipelines.serve import ServeConfig

SECRET = "a-password-that-no-command-line-may-hold"  # noqa: S105


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Served:
    """A served model that was pulled from a registry."""

    address: str
    bundle: Path
    process: Any

    def ask(self, place: str, frame: Any = None) -> tuple[int, Any]:
        """Status and content of an answer."""
        body = None if frame is None else json.dumps({"dataframe_split": frame}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{place}", data=body, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def predictions(self, **columns: list[Any]) -> pd.DataFrame:
        """Scored rows; JSON with a NaN in it is refused here as by any strict reader."""
        frame = {"columns": list(columns), "data": [list(row) for row in zip(*columns.values(), strict=True)]}
        status, content = self.ask("/invocations", frame)
        assert status == 200, content

        def no_constant(name: str) -> None:
            raise AssertionError(f"{name} is no JSON")

        return pd.DataFrame(json.loads(content, parse_constant=no_constant)["predictions"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = tmp_path_factory.mktemp("serve")
    write_mgf(base / "run1.mgf", seed=1)
    (base / "bad.mgf").write_text("BEGIN IONS\nPEPMASS=\nEND IONS\n")
    bundle = make_bundle(base / "bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{base / 'mlflow.db'}")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
        store = open_store()
        with track_cross_validation(store, name="x", config={}, tags={}) as run:
            register(store, bundle, run_id=run.run_id)
        port = free_port()
        words = ["serve", "models:/ms2img-dpph@champion", "--port", str(port), "--quiet"]
        with running(words, {}) as process:
            server = Served(f"http://127.0.0.1:{port}", base, process)
            deadline = time.monotonic() + 180
            while True:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline
                try:
                    assert server.ask("/ping")[0] == 200
                    break
                except urllib.error.URLError:
                    time.sleep(0.2)
            yield server


def test_it_answers_what_predict_says(served: Served) -> None:
    base = served.bundle
    paths = [str(base / name) for name in ("run1.mgf", "bad.mgf", "gone.mgf")]
    frame = pd.DataFrame({"sample_id": ["a", "b", "c"], "path": paths})
    expected = load_bundle(base / "bundle").predict(frame)
    found = served.predictions(sample_id=["a", "b", "c"], path=paths)
    assert found["probability"].isna().tolist() == [False, True, True]
    pd.testing.assert_frame_equal(found.astype({"probability": "float64"}), expected, check_exact=True)
    assert served.ask("/version")[1] == mlflow.__version__


def test_images_are_scored_as_lists_and_as_base64(served: Served) -> None:
    image = np.random.default_rng(0).integers(0, 256, (RENDER.height, RENDER.width), dtype=np.uint8)
    text = base64.b64encode(image.tobytes()).decode()
    expected = load_bundle(served.bundle / "bundle").predict(pd.DataFrame({"image": [image]}))["probability"][0]
    found = served.predictions(image=[image.tolist(), text, text[:-8], "no base64!", [[1, 2]]])
    assert found["probability"].tolist()[:2] == [expected, expected]
    assert found["error"].str.partition(":")[0].tolist() == ["", "", *["bad-value"] * 3]
    assert "base64 of 834 bytes; this model needs 30 x 28 = 840" in found["error"][2]


def test_no_secret_and_no_store_is_on_its_command_lines_or_in_its_environment(served: Served) -> None:
    processes = below(served.process.pid)
    assert processes
    for pid in processes:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
        for told in (line, environment):
            assert SECRET not in told
            assert "mlflow.db" not in told


def test_it_listens_on_loopback_alone(served: Served) -> None:
    port = int(served.address.rpartition(":")[2])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [
        row[1].partition(":")[0] for row in listening if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port
    ]
    assert mine == ["0100007F"]
    assert ServeConfig(model="x").host == "127.0.0.1"


def test_a_taken_port_is_refused(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    port = served.address.rpartition(":")[2]
    assert cli.main(["serve", str(served.bundle / "bundle"), "--port", port]) == 2
    assert "cannot listen there: Address already in use" in capfd.readouterr().err


def test_ctrl_c_ends_it_with_all_its_children(served: Served) -> None:
    processes = {pid: birth(pid) for pid in below(served.process.pid)}
    served.process.send_signal(signal.SIGINT)
    status, lines = finish(served.process)
    assert status == 130
    assert lines == ["ms2img: interrupted; run the same command again to go on"]
    assert not [pid for pid, born in processes.items() if born and birth(pid) == born]


def test_what_the_registry_holds_is_not_what_is_loaded(tmp_path: Path) -> None:
    """A pickle beside the bundle, or another loader in the registry's folder, does not come along."""
    bundle = make_bundle(tmp_path / "bundle")
    with (bundle / "python_model.pkl").open("wb") as stream:
        pickle.dump(os.getcwd, stream)
    serving.write_served(tmp_path / "model", bundle)
    files = sorted(path.name for path in (tmp_path / "model").rglob("*") if path.is_file())
    assert "python_model.pkl" not in files
    assert {"bundle.json", "model.safetensors", "MLmodel"} <= set(files)
    assert "loader_module: ms2img.tracking.serving" in (tmp_path / "model/MLmodel").read_text()


def test_a_slim_mlflow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "NEEDED", ("fastapi", "a_package_that_is_not_there"))
    with pytest.raises(UsageError, match=r"needs a_package_that_is_not_there: pip install 'ms2img\[predict\]'"):
        serving.require_server()
