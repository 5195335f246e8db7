"""``ms2img deepion benchmark`` from SIMULATED sections on disk to tables and figures; what is done stays done."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from s3_servers import S3Server
from safetensors.torch import save_file

from bench import deepion_grid
from bench.deepion_grid import GridFile, chosen
from ms2img.deepion.benchmark.methods import ENCODER, UMAP
from ms2img.deepion.benchmark.scores import score
from ms2img.deepion.images import read_images, write_images
from ms2img.deepion.phantom.config import PhantomConfig
from ms2img.deepion.phantom.write import write_phantom
from ms2img.deepion.presets import MODELS
from ms2img.deepion.resnet import ResNet18
from ms2img.deepion.siamese import SiameseConfig
from ms2img.errors import JobError, UsageError
from pipelines.command import Output
from pipelines.deepion import benchmark_job
from pipelines.deepion.benchmark import BenchmarkConfig, benchmark_command
from pipelines.deepion.benchmark_cells import DONE, plan
from pipelines.deepion.benchmark_data import read_labelled
from pipelines.deepion.benchmark_forecast import forecast
from pipelines.deepion.benchmark_job import CellResult, read_cell
from pipelines.seeds.work import SeedTask, train_seed

ROOT = Path(__file__).resolve().parent.parent
QUIET = Output(quiet=True, json=False)
SECTION = PhantomConfig(height=16, width=16, ions=90, difficulty=0.2, decoys=0.3)


def _config(folder: Path, *, labelled: str = "section", out: str = "out", **options: object) -> BenchmarkConfig:
    asked = {"methods": "cosine,deepion", "seeds": "0", "epochs": 1, "top": 3} | options
    return BenchmarkConfig.checked(
        {"labelled": (str(folder / labelled),), "out": str(folder / out), **asked}, source="test"
    )


def _do(config: BenchmarkConfig, *, without: str = "nothing") -> None:
    """Do cells in this process, where nothing has to start first; those of a method are left."""
    cells = plan(config, read_labelled(config, quiet=True))
    for task in cells.tasks:
        if cells.work.cells[task.name].method != without:
            train_seed(cells.work, task, lambda row: None)


@pytest.fixture(scope="module")
def small_networks() -> Iterator[None]:
    """The preset's networks at an eighth of their width: what is tested here does not depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "small", SiameseConfig(base=8, hidden=32, width=32, bottleneck=16))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None, small_networks: None) -> Path:
    """A section, and its benchmark of one method on Ray and of DeepION, for an epoch, in this process."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_phantom(folder / "section", SECTION)
    config = _config(folder)
    _do(config, without="cosine")
    benchmark_command(config, QUIET)
    return folder


def _record(folder: Path, out: str = "out") -> dict[str, object]:
    return dict(json.loads((folder / out / "benchmark.json").read_bytes()))


def test_tables_have_every_method_and_space_with_its_interval(made: Path) -> None:
    table = pd.read_csv(made / "out/table.csv")
    assert table[table["measure"] == "accuracy"]["title"].tolist() == ["cosine", "DeepION", "DeepION, encoder"]
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()
    assert set(table["k"]) == {3}
    assert table["missing"].iloc[0] == pytest.approx(0.35, abs=0.1)
    differences = pd.read_csv(made / "out/differences.csv").set_index(["first", "second", "measure"])
    means = table.set_index(["title", "measure"])["mean"]
    assert len(differences) == 2 * 2 * 2  # each space of DeepION against the two others, by two measures
    for first, second, measure in differences.index:
        expected = means[first, measure] - means[second, measure]
        assert differences.loc[(first, second, measure), "difference"] == pytest.approx(expected)


def test_numbers_are_those_of_what_the_cells_kept(made: Path) -> None:
    config = _config(made)
    [data] = read_labelled(config, quiet=True)
    cells = plan(config, [data])
    table = pd.read_csv(made / "out/table.csv").set_index(["title", "measure"])["mean"]
    kept = {read.cell.name: read for task in cells.tasks if (read := read_cell(cells, task)) is not None}
    assert list(kept) == ["section_cosine_seed0", "section_deepion_seed0", "section_deepion_iso_seed0"]
    ours = kept["section_deepion_seed0"]
    assert ours.spaces[ENCODER].shape == (len(data.ions), 64)
    assert ours.spaces[UMAP].shape == (len(data.ions), 20)
    for title, space in (("DeepION", UMAP), ("DeepION, encoder", ENCODER)):
        found = score(data, space, ours.spaces[space], top=3)
        assert table[title, "accuracy"] == pytest.approx(found.accuracy.mean())
        assert table[title, "precision"] == pytest.approx(found.precision.mean())
    assert not np.array_equal(ours.spaces[ENCODER], kept["section_deepion_iso_seed0"].spaces[ENCODER])


def test_isotope_pairs_of_both_modes_stand_beside_what_needs_no_network(made: Path) -> None:
    pairs = pd.read_csv(made / "out/pairs.csv")
    sources = ["mass, intensity", "cosine", "Pearson", *["DeepION COL"] * 3, *["DeepION ISO"] * 3]
    assert pairs["source"].tolist() == sources
    assert pairs["limit"].tolist() == ["none", "best", "best", *["published", "best", "best"] * 2]
    assert len(set(pairs["present"])) == 1
    assert pairs["average_precision"].between(0, 1).all()
    assert np.allclose(pairs["right"] / pairs["found"], pairs["precision_mean"])
    assert np.allclose(pairs["right"] / pairs["present"], pairs["recall_mean"])


def test_the_record_tells_what_was_left_out_and_the_figure_is_a_picture(made: Path) -> None:
    record = _record(made)
    [data] = record["data"]
    assert data["simulated"] is True
    assert data["scored"] + data["alone_in_class"] + data["isotopes"] + data["decoys"] == data["ion_images"] == 90
    assert [each["epochs"] for each in record["cells"]] == [0, 1, 1]
    assert record["failures"] == {}
    width, height = Image.open(io.BytesIO((made / "out/scores-section.png").read_bytes())).size
    assert width > 1000
    assert height > 200


def test_a_second_run_does_nothing_and_says_the_same(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def versions() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (made / "out").rglob("*.*") if path.parent.name != "out"}

    before, record = versions(), _record(made)
    result = benchmark_command(_config(made), Output(quiet=False, json=False))
    assert versions() == before
    assert _record(made) == record
    assert result.values["summary"] == record["summary"]
    told = capsys.readouterr()
    assert "benchmark:" not in told.err  # no bar: nothing to do
    assert "SIMULATED" in told.out
    assert "leave-one-out accuracy" in told.out
    assert "precision at 3" in told.out


def test_only_what_a_setting_concerns_has_another_key(made: Path) -> None:
    def names(**options: object) -> list[str]:
        config = _config(made, methods="cosine,resnet18,simsiam,deepion", isotopes=False, **options)
        return [task.name for task in plan(config, read_labelled(config, quiet=True)).tasks]

    before = names()
    assert names(top=2, cpus_per_worker=2, checkpoint_seconds=1) == before
    for changed in (names(max_minutes=1), names(epochs=2)):
        assert [old == new for old, new in zip(before, changed, strict=True)] == [True, True, False, False]
    timed, by_processor = names(max_minutes=1), names(max_minutes=1, clock="cpu")
    assert timed[2:] != by_processor[2:]
    assert not set(names(seeds="1")[1:]) & set(before)
    assert names(seeds="1")[0] == before[0]  # chance has no part in a cosine


def test_a_dry_run_tells_what_is_done_and_leaves_nothing(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark_command(
        _config(made, seeds="0,1", methods="cosine,deepion", dry_run=True), Output(quiet=False, json=False)
    )
    told = capsys.readouterr().out
    assert "cosine" not in told  # done
    assert "deepion (col): 1 x " in told
    assert "deepion (iso): 1 x " in told
    assert "s (cells like it)" in told
    assert "5 cells, 2 to do" in told
    config = _config(made, out="new", methods="cosine,simsiam", max_minutes=1e-6, dry_run=True)
    expected = forecast(config, read_labelled(config, quiet=True)).set_index("cell")
    assert expected["from"].to_dict() == {"section_cosine_seed0": "assumed", "section_simsiam_seed0": "the budget"}
    assert not (made / "new").exists()


def test_an_interrupted_cell_goes_on_from_its_last_state(made: Path) -> None:
    config = _config(made, out="interrupted", methods="deepion", epochs=3, isotopes=False, checkpoint_seconds=1e-9)
    cells = plan(config, read_labelled(config, quiet=True))
    [task] = cells.tasks
    first: list[Mapping[str, float]] = []

    def interrupt(row: Mapping[str, float]) -> None:
        first.append(row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_seed(cells.work, task, interrupt)
    again: list[Mapping[str, float]] = []
    train_seed(cells.work, task, again.append)
    assert [row["epoch"] for row in again if DONE not in row] == [2, 3]
    assert again[0] == first[1]
    assert again[-1] == {DONE: 1.0}
    found = read_cell(cells, task)
    assert found is not None
    assert [row["epoch"] for row in found.history] == [1, 2, 3]
    assert {path.name for path in (made / "interrupted/cells").iterdir()} == {
        f"{task.name}.json",
        f"{task.name}.safetensors",
    }


def test_a_network_that_collapses_is_told_and_left_out(made: Path) -> None:
    """Ion images that are all the same leave an encoder nothing to tell apart."""
    ions = read_images(next((made / "out/images").iterdir()))
    same = replace(ions, images=np.broadcast_to(ions.images[:1], ions.images.shape).copy())
    write_images(made / "same", same)
    labels = "".join(f"{mz},{'ab'[row % 2]}\n" for row, mz in enumerate(ions.mz.tolist()))
    (made / "labels.csv").write_text(f"mz,label\n{labels}")
    config = _config(made, labelled="same", out="collapsed", labels=str(made / "labels.csv"))
    _do(config)
    benchmark_command(config, QUIET)
    [(cell, reason)] = _record(made, "collapsed")["failures"].items()  # type: ignore[attr-defined]
    assert cell == "same_deepion_seed0"
    assert "the embeddings have collapsed" in reason
    table = pd.read_csv(made / "collapsed/table.csv")
    assert set(table["title"]) == {"cosine"}
    assert table["difficulty"].isna().all()
    assert not (made / "collapsed/pairs.csv").exists()
    with pytest.raises(JobError, match="no method gave anything to score; same_deepion_seed0: .* have collapsed"):
        benchmark_command(config.model_copy(update={"methods": "deepion"}), QUIET)


def test_without_any_score_nothing_is_written_though_isotopes_were_searched(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def col_failed(*asked: Any) -> CellResult | None:
        found = read_cell(*asked)
        is_col = found is not None and found.cell.mode == "col"
        return replace(found, spaces={}, failure="collapsed") if is_col else found

    before = _record(made)
    monkeypatch.setattr(benchmark_job, "read_cell", col_failed)
    with pytest.raises(JobError, match="no method gave anything to score; section_deepion_seed0: collapsed"):
        benchmark_command(_config(made, methods="deepion"), QUIET)
    assert _record(made) == before


def test_a_cell_that_lost_what_it_kept_is_done_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be left out of the table without a word."""
    config = _config(made, out="lost", methods="cosine,euclidean", isotopes=False)
    _do(config)
    cells = plan(config, read_labelled(config, quiet=True))
    (made / f"lost/cells/{cells.tasks[0].name}.safetensors").unlink()
    done: list[list[SeedTask]] = []
    monkeypatch.setattr("cluster.connect.connected", lambda **_: nullcontext())
    monkeypatch.setattr("pipelines.seeds.on_ray.train_seeds", lambda work, tasks, *_: done.append(list(tasks)))
    benchmark_job.do_missing(config, cells, quiet=True)
    assert done == [cells.tasks[:1]]


def test_sections_and_output_may_be_in_an_object_store(made: Path, s3: S3Server) -> None:
    write_phantom("s3://bucket/section", SECTION)
    config = BenchmarkConfig(
        labelled=("s3://bucket/section",), out="s3://bucket/out", methods="cosine", seeds="0", top=3, isotopes=False
    )
    _do(config)
    result = benchmark_command(config, QUIET)
    assert result.values["output"] == "s3://bucket/out"
    expected = pd.read_csv(made / "out/table.csv").set_index(["title", "measure"])["mean"]
    for row in result.values["summary"]:
        assert row["mean"] == pytest.approx(expected["cosine", row["measure"]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labelled": "out"}, "out: no phantom; expected the folder of 'ms2img deepion simulate', or ion images with"),
        ({"out": "section"}, "section: not empty and not of a benchmark"),
        ({"top": 1000}, "--top 1000: section has [0-9]+ scored ions; expected fewer"),
        ({"labels": "none.csv"}, "section: no ion images"),
        ({"weights": "none.safetensors"}, "none.safetensors"),
        ({"methods": "cosine,umpa"}, "methods: expected different ones of euclidean, cosine"),
        ({"methods": "cosine,cosine"}, "methods: expected different ones of"),
        ({"seeds": "0,0"}, "seeds: expected different numbers"),
        ({"seeds": "0,4294967296"}, "seeds: expected numbers below 4294967296"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(made: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        benchmark_command(_config(made, **{"out": "refused"} | options), QUIET)
    assert not (made / "refused/cells").exists()
    assert not (made / "refused/benchmark.json").exists()


def test_weights_must_fit_every_network_that_is_asked_for(made: Path) -> None:
    """ResNet18 is whole in a preset whose encoder is narrow: no file fits both."""
    narrow = str(made / "narrow.safetensors")
    save_file(ResNet18(base=MODELS["small"].base).state_dict(), narrow)
    assert all(weights_of(made, methods, narrow) for methods in ("deepion", "simsiam,deepion"))
    with pytest.raises(UsageError, match=r"narrow.safetensors: tensor '[a-z0-9.]+' is \(8,.*expected \(64,"):
        weights_of(made, "resnet18,deepion", narrow)


def weights_of(folder: Path, methods: str, file: str) -> bytes:
    config = _config(folder, methods=methods, weights=file)
    return plan(config, read_labelled(config, quiet=True)).work.weights


def test_two_sections_of_one_name_and_labels_of_several_are_refused(made: Path) -> None:
    twice = _config(made).model_copy(update={"labelled": (str(made / "section"), str(made / "section/."))})
    with pytest.raises(UsageError, match="two folders are named 'section'"):
        benchmark_command(twice, QUIET)
    with pytest.raises(UsageError, match="is of one folder of ion images, not of 2"):
        benchmark_command(twice.model_copy(update={"labels": "labels.csv"}), QUIET)


def test_images_too_small_for_a_window_are_refused_for_its_method_alone(made: Path) -> None:
    ions = read_images(next((made / "out/images").iterdir()))
    narrow = replace(ions, images=ions.images[:, 4:10], mask=ions.mask[4:10], tic=None)
    write_images(made / "narrow", narrow)
    (made / "narrow.csv").write_text("mz,label\n" + "".join(f"{mz},{'ab'[mz > 500]}\n" for mz in ions.mz.tolist()))
    config = _config(made, labelled="narrow", out="refused", labels=str(made / "narrow.csv"), methods="cosine,ssim")
    with pytest.raises(UsageError, match="--methods ssim: narrow has images of 6 x 16; expected 7 pixels or more"):
        benchmark_command(config, QUIET)


def test_the_committed_grid_is_five_sections_by_three_seeds() -> None:
    grid = GridFile.resolve({}, ROOT / "bench/deepion_grid.yaml")
    assert grid.difficulties == (0, 0.25, 0.5, 0.75, 1)
    assert grid.seeds == (0, 1, 2)
    section = grid.section(0.25)
    assert (section.ions, section.height, section.width, section.difficulty) == (600, 64, 64, 0.25)
    config = grid.benchmark(["a", "b"], dry_run=True)
    assert config.max_minutes == grid.minutes
    assert config.clock == "cpu"
    assert config.method_names() == list(grid.methods)
    assert len(config.method_names()) == 12


def test_some_sections_of_a_grid_are_asked_for_by_their_difficulty() -> None:
    assert chosen([0.0, 0.25, 1.0], "") == [0.0, 0.25, 1.0]
    assert chosen([0.0, 0.25, 1.0], "difficulty=1, difficulty=0") == [1.0, 0.0]
    with pytest.raises(UsageError, match="--only difficulty=2: there is no such section; expected one of difficulty"):
        chosen([0.0, 1.0], "difficulty=2")


@pytest.mark.slow
def test_a_small_grid_runs_and_draws_curves(
    tmp_path: Path, ray_session: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"out": str(tmp_path / "grid"), "difficulties": [0, 1], "ions": 130, "size": "16x16"}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(values | {"methods": ["euclidean", "cosine"], "seeds": [0]}))
    monkeypatch.setattr(sys, "argv", ["deepion_grid", str(path)])
    assert deepion_grid.main() == 0
    table = pd.read_csv(tmp_path / "grid/benchmark/table.csv")
    assert set(table["difficulty"]) == {0, 1}
    missing = table.groupby("difficulty")["missing"].first()
    assert missing[1] > missing[0]
    for name in ("curves", "pairs"):
        assert Image.open(tmp_path / f"grid/benchmark/{name}.png").size[0] > 1000
    monkeypatch.setattr(sys, "argv", ["deepion_grid", str(path), "--only", "difficulty=3"])
    assert deepion_grid.main() == 2
    assert capsys.readouterr().err.endswith("expected one of difficulty=0, difficulty=1\n")
