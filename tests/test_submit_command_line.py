"""A submitted command line: taken apart as the command would, small files travel, the rest must be reachable."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mgf_files import good

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.places import mark_of
from pipelines import cli
from pipelines.command import COMMANDS
from pipelines.submission.command_line import parse
from pipelines.submission.travel import LARGEST, prepare

OUT = "s3://lab/out"
#: Options of any text that name no place; whoever adds one says here, or by a mark, what it is.
NO_PLACES = {
    "adduct", "adducts", "assay", "cells", "elements", "energy", "instrument_type", "kinds", "max_failures", "model",
    "methods", "models", "ms_levels", "name", "query", "reason", "representation", "resolution", "sample", "seeds",
    "shape", "sigma_mz", "size", "task",
}  # fmt: skip


def trip(*words: str, shared: tuple[str, ...] = ()) -> Any:
    return prepare(parse(words, cli.app), shared)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with sheets of every kind, a run and folders."""
    monkeypatch.chdir(tmp_path)
    good(tmp_path / "run.mgf")
    sheet = "sample_id,path,dpph\na,s3://lab/a.mgf,1\nb,{},0\n"
    for name, second in (
        ("good", "s3://lab/b.mgf"), ("local", "run.mgf"), ("nfs", "/nfs/runs/b.mgf"), ("up", "../nfs/b.mgf"),
    ):  # fmt: skip
        (tmp_path / f"{name}.csv").write_text(sheet.format(second))
    (tmp_path / "images").mkdir()
    return tmp_path


def test_every_option_with_a_text_is_marked_as_a_place_or_known_to_be_none():
    for name, registered in COMMANDS.items():
        if not registered.is_job or not registered.config.__module__.startswith("pipelines."):
            continue
        for key, field in registered.config.model_fields.items():
            is_text = "str" in str(field.annotation) and "Literal" not in str(field.annotation)
            if is_text and mark_of(registered.config, key) is None:
                assert key in NO_PLACES, f"ms2img {name}: mark {key} with Reads or Writes, if it names a place"


def test_a_sheet_of_addresses_travels_and_is_rewritten(here):
    found = trip("convert", "good.csv", OUT, "--size", "75x70", "--json")
    assert found.words == ("convert", "inputs/good.csv", OUT, "--size=75x70", "--json")
    assert found.files == {"inputs/good.csv": (here / "good.csv").read_bytes()}


def test_a_command_of_a_group_travels_by_both_its_words(here):
    (here / "space.yaml").write_text("base: paper\nparameters: {dropout: {float: [0.0, 0.5]}}\n")
    words = ["massformer", "sweep", "s3://lab/library", "--model", "fp", "--space", "space.yaml", "--out", OUT]
    found = trip(*words)
    assert found.words[:3] == ("massformer", "sweep", "s3://lab/library")
    assert set(found.words[3:]) == {"--model=fp", "--space=inputs/space.yaml", f"--out={OUT}"}
    assert found.files.keys() == {"inputs/space.yaml"}


def test_two_files_of_one_name_stay_apart(here):
    (here / "other").mkdir()
    (here / "other" / "good.csv").write_bytes((here / "good.csv").read_bytes())
    found = trip("assay", "good.csv", f"{OUT}.csv", "--layout", "other/good.csv")
    assert found.words == ("assay", "inputs/good.csv", f"{OUT}.csv", "--layout=inputs/2/good.csv")
    assert set(found.files) == {"inputs/good.csv", "inputs/2/good.csv"}


def test_a_config_file_travels_with_its_own_places_rewritten(here):
    (here / "job.yaml").write_text("samples: good.csv\nout: somewhere\nsize: 75x70\n")
    found = trip("convert", "good.csv", OUT, "--config", "job.yaml")
    assert found.words == ("convert", "inputs/good.csv", OUT, "--config=inputs/job.yaml")
    assert yaml.safe_load(found.files["inputs/job.yaml"]) == {"size": "75x70"}  # what was typed has won
    (here / "all.yaml").write_text(f"samples: good.csv\nout: {OUT}\n")
    found = trip("convert", "--config", "all.yaml")
    assert found.words == ("convert", "--config=inputs/all.yaml")
    assert yaml.safe_load(found.files["inputs/all.yaml"]) == {"samples": "inputs/good.csv", "out": OUT}


def test_the_sheets_of_a_study_travel_with_it(here):
    folder = here / "studies"
    folder.mkdir()
    (folder / "plants.csv").write_bytes((here / "good.csv").read_bytes())
    study = {
        "name": "s", "data": {"plants": {"samples": "plants.csv"}, "old": {"samples": "s3://lab/old.csv"}},
        "tasks": {"dpph": {"data": "plants", "assay": "dpph"}}, "models": {"image": ["forest"]},
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    found = trip("study", "studies/study.yaml", "--out", OUT)
    assert found.words == ("study", "inputs/study.yaml", f"--out={OUT}")
    told = yaml.safe_load(found.files["inputs/study.yaml"])
    assert told["data"]["old"] == {"samples": "s3://lab/old.csv"}
    # In the job a study's sheet starts from the study's folder, as at home.
    assert (Path("inputs") / told["data"]["plants"]["samples"]).as_posix() in found.files
    (folder / "plants.csv").write_text("sample_id,path,dpph\na,a.mgf,1\n")
    with pytest.raises(
        UsageError, match="study.yaml: data.plants.samples .*row 2: path a.mgf is a file of this machine"
    ):
        trip("study", "studies/study.yaml", "--out", OUT)


def test_what_is_below_a_shared_folder_stays_there(here):
    runs = trip("convert", "nfs.csv", "/nfs/out", shared=("/nfs",))
    assert runs.words == ("convert", "inputs/nfs.csv", "/nfs/out")
    own = trip("convert", "local.csv", "out", "--size=75x70", shared=(str(here),))
    assert own.words == ("convert", f"{here}/local.csv", f"{here}/out", "--size=75x70")
    assert own.files == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["convert", "local.csv", OUT], "SAMPLES .*local.csv: row 3: path run.mgf is a file of this machine; put it"),
        (["convert", "nfs.csv", OUT], "row 3: path /nfs/runs/b.mgf is a file of this machine"),
        (["convert", "up.csv", OUT, "--allow-outside"], "row 3: path ../nfs/b.mgf is a file of this machine"),
        (["convert", "up.csv", OUT], "lies above the sheet's folder"),
        (["convert", "gone.csv", OUT], "SAMPLES gone.csv: there is no such file"),
        (["convert", "big.csv", OUT], "SAMPLES big.csv: has 10.0 MB; up to 10 MB travel with a job: put it on s3"),
        (["convert", "good.csv", "out"], "OUT out: is a place of this machine; a job writes to s3://"),
        (["convert", "good.csv", "/nfs/out"], "OUT /nfs/out: is a place of this machine"),
        (["convert", "good.csv"], "ms2img convert: OUT is missing"),
        (["convert", "good.csv", OUT, "--size", "big"], "command line: size: .*got 'big'"),
        (["convert", "good.csv", OUT, "--sise", "75x70"], "No such option.*--sise"),
        (["covert", "good.csv", OUT], "No such command .*covert"),
        (["--json", "convert"], "stands where a command is expected"),
        (["massformer"], "nothing stands where a command is expected: ms2img submit .* -- massformer COMMAND"),
        (["massformer", "--json"], "'--json' stands where a command is expected: .* -- massformer COMMAND"),
        (["massformer", "swep", "s3://lab/l"], "No such command 'massformer swep'"),
        (["massformer", "sweep", "library", "--model=fp", f"--out={OUT}"], "LIBRARY library: there is no such file"),
        (["massformer", "sweep", "s3://lab/l", "--model=fp"], "--out is missing: .*massformer-sweep-fp"),
        (["submit", "--", "convert"], "ms2img submit runs on this machine"),
        (["jobs", "list"], "ms2img jobs runs on this machine"),
        (["train", "images", "--samples", "good.csv", "--assay", "dpph"], "IMAGES images: is a folder of this machine"),
        (["sweep", "s3://lab/i", "--samples", "good.csv", "--assay", "dpph"], "--out is missing: .*sweep-dpph"),
        (["predict", "models:/x@champion", "run.mgf"], "--out is missing: .*predictions.csv"),
        (["predict", "images", "run.mgf", "--out", f"{OUT}.csv"], "MODEL images: is a folder of this machine"),
        (["predict", "models:/x@champion", "local.csv", "--out", f"{OUT}.csv"], "row 3: path run.mgf"),
        (["sheet", "run.mgf", f"{OUT}.csv"], "FILES run.mgf: is a file of this machine; put it on s"),
        (["assay", "good.csv", f"{OUT}.csv", "--join", "good.csv"], "--joined is missing"),
        (["convert", "s3://lab:secret@host/a.csv", OUT], "password in it"),
        (["train", "s3://lab/i", "--samples=good.csv", "--config=secret.yaml"], "secret.yaml: holds the val"),
        (["convert", "good.csv", f"{OUT}/swordfish"], "holds the value of MLFLOW_TRACKING_PASSWORD"),
    ],
)  # fmt: skip
def test_what_only_this_machine_reaches_is_refused_by_name(here, monkeypatch, words, told):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "swordfish")
    with (here / "big.csv").open("wb") as big:
        big.truncate(LARGEST + 1)
    (here / "secret.yaml").write_text("assay: swordfish\n")
    with pytest.raises(Exception, match=told) as refusal:  # the parser's errors and ours
        trip(*words)
    assert "swordfish" not in str(refusal.value)
    assert "lab:secret" not in str(refusal.value)


def test_a_small_run_travels_to_be_scored_and_a_registered_model_is_a_name(here):
    found = trip("predict", "models:/ms2img-dpph@champion", "run.mgf", "--out", f"{OUT}.csv")
    assert found.words == ("predict", "models:/ms2img-dpph@champion", "inputs/run.mgf", f"--out={OUT}.csv")
    assert trip(
        "sweep", "s3://lab/i", "--samples=good.csv", "--assay=dpph", "--space=wide", f"--out={OUT}"
    ).files.keys() == {"inputs/good.csv"}


WORD = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=40)
@given(
    samples=WORD, out=WORD, kinds=st.lists(st.sampled_from(["sample", "blank", "qc"]), max_size=3),
    ppm=st.one_of(st.none(), st.floats(-1e3, 1e3)), outside=st.sampled_from([None, True, False]),
    flags=st.sets(st.sampled_from(["json", "quiet", "debug"])),
)  # fmt: skip
def test_a_command_line_put_together_again_says_the_same(samples, out, kinds, ppm, outside, flags):
    words = ["drift", *(f"--kinds={kind}" for kind in kinds), *(f"--{flag}" for flag in sorted(flags))]
    words += [f"--mz-ppm={ppm}"] if ppm is not None else []
    words += [] if outside is None else ["--allow-outside" if outside else "--no-allow-outside"]
    first = parse([*words, "--", samples, out], cli.app)
    again = parse(first.words(first.values, None), cli.app)
    assert (again.values, again.flags, again.config) == (first.values, first.flags, first.config)
    assert again.values["samples"] == samples


def test_options_of_several_values_are_put_together_again():
    words = [
        "baselines",
        "s3://a",
        "s3://b",
        "--samples=s3://s",
        "--assay=x",
        "--models=forest",
        "--models=pca",
        "--no-memo",
    ]
    line = parse(words, cli.app)
    again = parse(line.words(line.values, None), cli.app)
    assert again.config == line.config
    assert again.config.model_dump()["features"] == ("s3://a", "s3://b")


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Config)


def test_configs_within_configs_are_only_those_that_places_walks():
    """`ms2img.places` looks into a config, and a mapping of names to configs; a list of configs would be overlooked."""
    for registered in COMMANDS.values():
        for key, field in registered.config.model_fields.items():
            parts = [part for each in get_args(field.annotation) for part in (each, *get_args(each))]
            assert not (any(map(_is_config, parts)) and "list[" in str(field.annotation)), key
