"""``ms2img predict --distributed``: the table that one process makes, whatever was killed, and nothing scored twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from bundle_samples import make_bundle, write_mgf
from conversions import finish, outside_ray, running, wait_for
from mgf_files import slow
from s3_servers import S3Server

from ms2img.errors import UsageError
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.storage import folder
from ms2img.ms2toimg.bundle import bundle_version
from ms2img.ms2toimg.predict_rows import rows_of
from pipelines.predict import PredictConfig, input_frame, predict
from pipelines.prediction import staged
from pipelines.prediction.plan import plan


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and runs of which two are bad and one is not there; two runs have one name."""
    base = tmp_path_factory.mktemp("predict")
    make_bundle(base / "bundle")
    for number in range(11):
        write_mgf(base / f"run{number}.mgf", seed=number)
    (base / "again").mkdir()
    write_mgf(base / "again" / "run0.mgf", seed=20)
    (base / "bad.mgf").write_text("BEGIN IONS\nPEPMASS=\nEND IONS\n")
    (base / "empty.mgf").write_text("")
    names = [*(f"run{number}.mgf" for number in range(11)), "bad.mgf", "again/run0.mgf", "gone.mgf", "empty.mgf"]
    rows = [f"s{number},{name}" for number, name in enumerate(names)]
    (base / "samples.csv").write_text("\n".join(["sample_id,path", *rows]) + "\n")
    return base


def config(study: Path, out: object, *inputs: object, **options: object) -> PredictConfig:
    given = [str(each) for each in inputs or [study / "samples.csv"]]
    return PredictConfig.checked(
        {"model": str(study / "bundle"), "input": given, "out": str(out), **options}, source="test"
    )


@pytest.fixture(scope="module")
def alone(study: Path) -> bytes:
    """The table that one process makes of the sheet."""
    predict(config(study, study / "alone.csv"), quiet=True)
    return (study / "alone.csv").read_bytes()


@pytest.mark.ray
def test_the_table_is_that_of_one_process(study: Path, alone: bytes, tmp_path: Path, ray_session: None) -> None:
    out = tmp_path / "p.csv"
    summary = predict(config(study, out, distributed=True, batch_size=4, max_failures="20%"), quiet=True)
    assert out.read_bytes() == alone
    assert (summary.predicted, summary.failed, summary.allowed) == (12, 3, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
    files = [study / "run3.mgf", study / "again/run0.mgf", study / "run0.mgf"]  # rows without a name of their own
    predict(config(study, tmp_path / "a.parquet", *files), quiet=True)
    predict(config(study, tmp_path / "b.parquet", *files, distributed=True), quiet=True)
    tables = [pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[1]["sample_id"].tolist() == ["run3", "run0", "run0"]


@pytest.mark.ray
def test_an_aligned_table_is_parted_and_put_together(
    study: Path, shared: Path, tmp_path: Path, ray_session: None
) -> None:
    path = shared / "data/msdial/msdial5_alignment_69_samples.txt"
    predict(config(study, tmp_path / "a.csv", path), quiet=True)
    predict(config(study, tmp_path / "b.csv", path, distributed=True, batch_size=8), quiet=True)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.ray
def test_what_is_scored_is_not_scored_again(study: Path, alone: bytes, tmp_path: Path, ray_session: None) -> None:
    """Parts that a dead job has left are taken as they are: here their answers are ones that no model gives."""
    out = tmp_path / "p.csv"
    wanted = config(study, out, distributed=True, batch_size=4)
    parts = plan(rows_of(input_frame(wanted.input)), 4, [bundle_version(study / "bundle"), "cpu"]).parts
    assert len(parts) > 2
    left = folder(f"{out}{staged.SUFFIX}")
    marked = [row for part in parts[1:] for row in part.rows]
    for part in parts[1:]:
        staged.write_part(left, part.key, [(0.25, "")] * len(part.rows))
    predict(wanted, quiet=True)
    table, whole = pd.read_csv(out), pd.read_csv(study / "alone.csv")
    assert (table.loc[marked, "probability"] == 0.25).all()
    others = [row for row in range(len(table)) if row not in marked]
    pd.testing.assert_frame_equal(table.loc[others], whole.loc[others])
    # What may have passed is tried again; what is damaged or cut short counts for nothing.
    for part in parts:
        staged.write_part(left, part.key, [(float("nan"), "time-limit: was not read")] * len(part.rows))
    staged.write_part(left, parts[0].key, [(0.25, "")])
    left.write(f"{parts[1].key}.parquet", b"half")
    predict(wanted, quiet=True)
    assert out.read_bytes() == alone


def test_a_part_follows_from_its_files_and_the_model(study: Path) -> None:
    rows = rows_of(input_frame([str(study / "samples.csv")]))
    before = plan(rows, 4, ["model", "cpu"])
    assert sorted(row for part in before.parts for row in part.rows) == [*range(13)]  # but for gone and empty
    assert {row: error.partition(":")[0] for row, (_, error) in before.answers.items()} == {
        13: "not-found",
        14: "empty",
    }
    keys = {part.key for part in before.parts}
    assert {part.key for part in plan(rows[::-1], 4, ["model", "cpu"]).parts} == keys
    assert not {part.key for part in plan(rows, 4, ["other", "cpu"]).parts} & keys
    touched = study / "run5.mgf"
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 10**9))
    assert len({part.key for part in plan(rows, 4, ["model", "cpu"]).parts} - keys) == 1
    one_more = rows_of(input_frame([*(str(study / f"run{number}.mgf") for number in range(11))]))
    fewer = {part.key for part in plan(one_more[:-1], 4, ["model", "cpu"]).parts}
    assert len({part.key for part in plan(one_more, 4, ["model", "cpu"]).parts} - fewer) == 1


def test_what_cannot_be_is_refused_before_any_work(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--num-gpus is for --distributed"):
        predict(config(study, tmp_path / "p.csv", num_gpus=0.5), quiet=True)
    out = tmp_path / "p.csv"
    held = Lease(folder(f"{out}{staged.SUFFIX}"), notice=lambda _: None)
    with held, pytest.raises(UsageError, match="another job is writing here"):
        predict(config(study, out, distributed=True), quiet=True)
    assert not out.exists()


@pytest.mark.ray
def test_gpus_that_are_not_there_are_refused(study: Path, tmp_path: Path, ray_session: None) -> None:
    with pytest.raises(UsageError, match="this machine has 0 GPUs"):
        predict(config(study, tmp_path / "p.csv", distributed=True, num_gpus=0.5), quiet=True)
    assert not list(tmp_path.glob("p.csv*/*"))


#: Two logical GPUs, each shared by up to two scoring actors, which find no CUDA and so score on their CPU.
ON_GPUS = """
import sys, ray
ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
from pipelines.predict import PredictConfig, predict
model, sheet, out = sys.argv[1:]
options = {"distributed": True, "num_gpus": 0.5, "batch_size": 4}
print(predict(PredictConfig(model=model, input=(sheet,), out=out, **options), quiet=True).predicted)
"""


@pytest.mark.slow
@pytest.mark.ray
def test_scoring_actors_with_a_share_of_a_gpu_give_the_same(study: Path, alone: bytes, tmp_path: Path) -> None:
    arguments = [str(study / "bundle"), str(study / "samples.csv"), str(tmp_path / "p.csv")]
    done = subprocess.run(
        [sys.executable, "-c", ON_GPUS, *arguments], env=outside_ray(), capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines()[-1:] == ["12"], done.stderr[-2000:]
    assert (tmp_path / "p.csv").read_bytes() == alone


@pytest.mark.slow
@pytest.mark.ray
def test_in_a_bucket(study: Path, s3: S3Server) -> None:
    for path in [*study.glob("*.mgf"), study / "again/run0.mgf"]:
        s3.put(f"bucket/runs/{path.relative_to(study)}", path.read_bytes())
    inputs, out = s3.url("bucket/runs"), s3.url("bucket/scores/p.csv")
    predict(config(study, study / "bucket.csv", inputs), quiet=True)
    words = ["predict", str(study / "bundle"), inputs, "--out", out, "--distributed", "--batch-size", "4", "--quiet"]
    with running(words, {}) as process:  # a Ray of its own, whose workers know the store
        assert finish(process, seconds=300)[0] == 3
    assert s3.get("bucket/scores/p.csv") == (study / "bucket.csv").read_bytes()
    assert [key for key in s3.keys("bucket") if key.startswith("scores")] == ["scores/p.csv"]


@pytest.fixture
def slow_study(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle")
    rows = ["sample_id,path"]
    for number in range(24):
        slow(tmp_path / f"run{number:02}.mgf", spectra=400 + number, peaks=60)
        rows.append(f"run{number:02},run{number:02}.mgf")
    (tmp_path / "samples.csv").write_text("\n".join([*rows, "gone,gone.mgf"]) + "\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.ray
def test_a_driver_killed_in_the_middle_leaves_what_the_next_one_goes_on_from(slow_study: Path) -> None:
    predict(config(slow_study, slow_study / "alone.csv"), quiet=True)
    out = slow_study / "p.csv"
    parts = Path(f"{out}{staged.SUFFIX}")
    words = ["predict", str(slow_study / "bundle"), str(slow_study / "samples.csv"), "--out", str(out), "--quiet"]
    words += ["--distributed", "--batch-size", "2"]

    with running(words, {}) as process:
        wait_for(lambda: list(parts.glob("[0-9a-f]*.parquet")), process, seconds=300)
        process.kill()
        process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert kept
    assert not out.exists()
    assert (parts / LEASE_NAME).exists()

    seen: dict[str, int] = {}
    with running(words, {}) as process:
        while process.poll() is None:
            for path in parts.glob("*.parquet"):
                try:
                    seen[path.name] = path.stat().st_mtime_ns
                except FileNotFoundError:
                    break
            time.sleep(0.02)
        status, lines = finish(process, seconds=300)
    assert status == 3  # one run is not there
    assert any("took over the lease of process " in line for line in lines)
    assert {name: seen[name] for name in kept} == kept  # not written again
    assert len(seen) > len(kept)
    assert out.read_bytes() == (slow_study / "alone.csv").read_bytes()
    assert not parts.exists()
