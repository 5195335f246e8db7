"""``ms2img baselines`` from the command line, on made tables and on a real one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from image_sets import commit
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from ms2img.io.dataset.features import (
    FeatureManifest,
    encode_features,
    features_fingerprint,
    features_schema,
    load_features,
)
from ms2img.io.dataset.shards import checksum
from ms2img.io.formats.quant import read_pair
from ms2img.io.sheet import Sheet
from ms2img.io.storage import folder
from ms2img.ms2toimg.baselines.folds import baseline_folds, training_rows
from ms2img.ms2toimg.baselines.models import DEFAULTS, make_baseline
from ms2img.ms2toimg.baselines.multivariate import describe
from ms2img.ms2toimg.baselines.preprocessing import fit_preprocessing
from ms2img.ms2toimg.labels import LabelConfig, make_labels
from pipelines import cli

ACCESSIONS = 12
FILES = {"predictions.parquet", "metrics.csv", "summary.csv", "multivariate.csv", "scores.parquet", "config.yaml"}


def write_table(out: Path, heights: pd.DataFrame, similarity: str = "cosine") -> Path:
    """A feature table as ``ms2img features`` writes one; `heights`: a row a sample, a column a feature."""
    samples, f = sorted(heights.index), heights.shape[1]
    columns: dict[str, Any] = {
        "feature_id": [f"F{number:04d}" for number in range(f)],
        "precursor_mz": np.linspace(150, 900, f),
        "rt_seconds": np.linspace(30, 600, f),
        "mz": [[100.0]] * f,
        "intensity": [[1.0]] * f,
        **{sample: heights.loc[sample].to_numpy() for sample in samples},
    }
    content = encode_features([pa.table(columns, schema=features_schema(samples))], samples)
    about = {"similarity": similarity, "config": {}, "counts": {}}
    store = folder(str(out))
    store.write("features.parquet", content)
    fingerprint = features_fingerprint(content, about)
    FeatureManifest(about, "i", fingerprint, len(samples), f, 0, checksum(content)).write(store)
    return out


def made_study(where: Path) -> tuple[Path, pd.DataFrame]:
    """A sheet of twelve accessions of two runs, and amounts in which a high assay goes with the first five features."""
    rng = np.random.default_rng(0)
    names = [f"P{number:02d}-{replicate}" for number in range(ACCESSIONS) for replicate in (1, 2)]
    assay = np.repeat(np.where(np.arange(ACCESSIONS) % 2, 80.0, 20.0) + rng.normal(size=ACCESSIONS), 2)
    amounts = np.exp(rng.normal(size=(ACCESSIONS, 30))).repeat(2, axis=0) * np.exp(0.1 * rng.normal(size=(24, 30)))
    amounts[assay > 50, :5] *= 30
    sheet = pd.DataFrame({"sample_id": names, "path": [f"{name}.mgf" for name in names], "kind": "sample"})
    sheet["accession"], sheet["dpph"] = sheet["sample_id"].str[:3], assay
    sheet.loc[len(sheet)] = ["blank", "blank.mgf", "blank", "", 50.0]
    sheet.to_csv(where / "samples.csv", index=False)
    heights = pd.DataFrame(amounts, index=names)
    heights.loc["blank"] = 1.0
    return where / "samples.csv", heights


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables, an image set and runs of one study, below one folder."""
    where = tmp_path_factory.mktemp("study")
    _, heights = made_study(where)
    write_table(where / "cosine", heights)
    write_table(where / "entropy", heights.iloc[:, 5:], similarity="entropy")  # without what tells the classes apart
    grey = {name: (200 if int(name[1:3]) % 2 else 20) for name in heights.index if name != "blank"}
    commit(where / "images", grey, [grey])
    for name in heights.index:
        peaks = [100.111, 150.222, 222.333] if name != "blank" and int(name[1:3]) % 2 else [100.111, 170.444, 260.555]
        lines = [f"{mz + extra:.4f} 100" for mz in peaks for extra in (0, 1.01, 2.02, 3.03)]
        text = "\n".join(["BEGIN IONS", "PEPMASS=300.5", "RTINSECONDS=60", *lines, "END IONS\n"])
        (where / f"{name}.mgf").write_text(text)
    return where


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tracking store for all tests: making one takes seconds."""
    return tmp_path_factory.mktemp("store") / "mlflow.db"


@pytest.fixture
def tracked(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tracking store; the working folder is an empty one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.chdir(tmp_path)
    return database


def run(study: Path, *more: str) -> int:
    return cli.main(["baselines", str(study / "cosine"), "--samples", str(study / "samples.csv"), *more])


def test_the_whole_comparison(study, tracked, capsys):
    options = ["--assay", "dpph", "--folds", "3", "--permutations", "19", "--images", str(study / "images"), "--memo"]
    arguments = ["baselines", str(study / "cosine"), str(study / "entropy"), "--samples", str(study / "samples.csv")]
    assert cli.main([*arguments, *options, "--out", "out", "--json"]) == 0
    told, shown = capsys.readouterr()
    out = Path("out")
    assert {path.name for path in out.iterdir()} == FILES | {"errors.parquet"}

    predictions = pd.read_parquet(out / "predictions.parquet")
    cells = predictions.groupby(["representation", "model"], sort=False)
    expected = [(table, model) for table in ("cosine", "entropy") for model in DEFAULTS]
    models_on_words = ("forest", "logistic", "boosting")
    assert set(cells.groups) == {*expected, ("image", "forest"), *(("memo", name) for name in models_on_words)}
    fold = cells.get_group(("image", "forest")).set_index("sample_id")["fold"]
    for _, of_cell in cells:  # the same samples and folds for all, the blank for none
        assert of_cell["sample_id"].nunique() == len(of_cell) == 24
        assert of_cell.set_index("sample_id")["fold"].to_dict() == fold.to_dict()
        assert of_cell.groupby("accession")["fold"].nunique().max() == 1

    summary = pd.read_csv(out / "summary.csv").set_index(["representation", "model"])
    for key, of_cell in cells:
        by_accession = of_cell.groupby("accession")[["target", "probability"]].mean()
        auc = roc_auc_score(by_accession["target"], by_accession["probability"])
        assert summary.loc[key, "auc_pooled"] == pytest.approx(auc, abs=1e-5)
    for key in (("cosine", "forest"), ("image", "forest"), ("memo", "forest"), ("memo", "logistic")):
        assert summary.loc[key, "auc_pooled"] > 0.95
    assert summary.loc[("entropy", "forest"), "auc_pooled"] < 0.9

    metrics = pd.read_csv(out / "metrics.csv")
    assert len(metrics) == len(cells) * 3 * 2
    multivariate = pd.read_csv(out / "multivariate.csv").set_index(["representation", "method"])
    # 0.05 is the least of 19 permutations; of twelve accessions one of them may well be the labels the wrong way round.
    assert multivariate.loc[("cosine", "oplsda"), "p_q2y"] <= 0.1
    assert multivariate.loc[("entropy", "oplsda"), "p_q2y"] > 0.1
    assert len(multivariate.loc[("cosine", "oplsda"), "q2y_permuted"].split()) == 19
    assert yaml.safe_load((out / "config.yaml").read_text())["permutations"] == 19

    values = json.loads(told)
    assert {(row["representation"], row["model"]) for row in values["models"]} == set(cells.groups)
    assert (values["counts"]["active_runs"], values["failed"], values["left_out"]) == (12, 0, 0)
    assert "cosine AUC (95 %)" in shown
    assert "entropy AUC (95 %)" in shown
    with closing(sqlite3.connect(tracked)) as store:
        below = "join tags using (run_uuid) where tags.value = ?"
        children = store.execute(f"select name, status from runs {below}", [values["run_id"]]).fetchall()  # noqa: S608
        pooled = store.execute(
            "select value from metrics join runs using (run_uuid) where name = 'cosine forest' and key = 'auc_pooled'"
        ).fetchall()
        assert store.execute("select count(*) from model_versions").fetchone() == (0,)  # nothing is registered
    assert sorted(children) == sorted((f"{table} {model}", "FINISHED") for table, model in cells.groups)
    assert pooled[0][0] == pytest.approx(summary.loc[("cosine", "forest"), "auc_pooled"], abs=1e-5)


def test_the_command_gives_what_a_plain_loop_gives(study, tracked):
    assert (
        run(study, "--assay", "dpph", "--folds", "3", "--models", "oplsda,logistic", "--permutations", "0", "-q") == 0
    )
    found = pd.read_parquet("baselines/predictions.parquet")
    table = load_features(study / "cosine")
    labels = make_labels(Sheet.read(study / "samples.csv"), LabelConfig(assay="dpph"), table.sample_ids)
    rows = table.heights[table.rows_of(labels.sample_ids)]
    for name in ("oplsda", "logistic"):
        told = found[found["model"] == name].set_index("sample_id")["probability"]
        for fold in baseline_folds(labels, 3, seed=0):
            train, groups = training_rows(fold), np.array(labels.accessions)
            model = make_baseline(name, seed=0).fit(rows[train], labels.target[train], groups=groups[train])
            names = [labels.sample_ids[row] for row in fold.test]
            np.testing.assert_array_equal(told[names], model.probability(rows[fold.test]))


def test_scores_are_those_of_all_labelled_rows(study):
    table = load_features(study / "cosine")
    labels = make_labels(Sheet.read(study / "samples.csv"), LabelConfig(assay="dpph"), table.sample_ids)
    rows = table.heights[table.rows_of(labels.sample_ids)]
    found = describe(rows, labels, permutations=9)
    prepared = fit_preprocessing(DEFAULTS["pca"], rows).apply(rows)
    pca = PCA(2).fit(prepared)
    ours = found.scores[found.scores["method"] == "pca"][["x", "y"]].to_numpy()
    np.testing.assert_allclose(np.abs(ours), np.abs(pca.transform(prepared)), atol=1e-8)
    summary = found.summary.set_index("method")
    assert summary.loc["pca", "r2x"] == pytest.approx(pca.explained_variance_ratio_.sum())
    oplsda = found.scores[found.scores["method"] == "oplsda"]
    assert roc_auc_score(oplsda["target"], oplsda["x"]) == 1
    assert abs(np.corrcoef(oplsda["target"], oplsda["y"])[0, 1]) < 1e-8
    assert summary.loc["oplsda", "q2y_ropls"] > summary.loc["oplsda", "q2y"]  # replicates straddle its folds


def test_a_run_without_a_row_is_left_out_of_everything(study, tracked, tmp_path, capsys):
    heights = made_study(tmp_path)[1].drop(index=["P03-1", "P04-1", "P04-2"])
    write_table(tmp_path / "shorter", heights, similarity="cosine")
    arguments = ["baselines", str(study / "cosine"), str(tmp_path / "shorter"), "--samples", str(study / "samples.csv")]
    assert cli.main([*arguments, "--assay", "dpph", "--folds", "3", "--models", "logistic", "--permutations", "0"]) == 0
    shown = capsys.readouterr()
    assert "3 runs with a value are left out" in shown.err
    found = pd.read_parquet(tmp_path / "baselines" / "predictions.parquet")
    assert sorted(found["representation"].unique()) == sorted(f"cosine {path}" for path in arguments[1:3])
    assert found.groupby("representation")["sample_id"].nunique().tolist() == [21, 21]


def test_a_missing_accession_moves_no_other_to_another_fold(study, tracked, tmp_path):
    """The fold of an accession is that of the whole sheet, the network's, whatever a table lacks."""
    heights = made_study(tmp_path)[1].drop(index=["P04-1", "P04-2", "P07-2"])
    write_table(tmp_path / "shorter", heights)
    for table, out in ((study / "cosine", "whole"), (tmp_path / "shorter", "part")):
        arguments = ["baselines", str(table), "--samples", str(study / "samples.csv"), "--assay", "dpph", "-q"]
        assert cli.main([*arguments, "--models", "logistic", "--permutations", "0", "--folds", "3", "--out", out]) == 0
    whole, part = (
        pd.read_parquet(f"{out}/predictions.parquet").set_index("sample_id")["fold"] for out in ("whole", "part")
    )
    assert set(whole.index) - set(part.index) == {"P04-1", "P04-2", "P07-2"}
    assert part.to_dict() == whole[part.index].to_dict()


def test_runs_that_cannot_be_read_are_rows_and_an_exit_status(study, tracked, tmp_path, capsys):
    for path in study.glob("*.mgf"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "P05-1.mgf").unlink()
    sheet = tmp_path / "samples.csv"
    sheet.write_text((study / "samples.csv").read_text())
    arguments = [
        "baselines",
        str(study / "cosine"),
        "--samples",
        str(sheet),
        "--assay",
        "dpph",
        "--memo",
        "--folds",
        "3",
    ]
    arguments += ["--models", "logistic", "--permutations", "0", "--quiet"]
    assert cli.main(arguments) == 3
    errors = pd.read_parquet(tmp_path / "baselines" / "errors.parquet")
    assert errors[["sample_id", "code"]].to_numpy().tolist() == [["P05-1", "not-found"]]
    assert "P05-1" not in set(pd.read_parquet(tmp_path / "baselines" / "predictions.parquet")["sample_id"])
    assert "P05-1" in capsys.readouterr().err
    assert cli.main([*arguments, "--max-failures", "1"]) == 0
    assert cli.main([*arguments, "--max-failures", "4%"]) == 3
    assert cli.main([*arguments, "--max-failures", "5%"]) == 0
    arguments.remove("--memo")
    assert cli.main(arguments) == 0
    assert not (tmp_path / "baselines" / "errors.parquet").exists()  # of the command before
    assert "P05-1" in set(pd.read_parquet(tmp_path / "baselines" / "predictions.parquet")["sample_id"])


def with_runs(study: Path, where: Path, *, charge: str = "", short: bool = False) -> list[str]:
    """The arguments for the study's table and a copy of its runs, changed as wanted."""
    for path in study.glob("*.mgf"):
        text = path.read_text()
        if short:  # spectra of one peak
            text = "\n".join([*text.splitlines()[:4], "END IONS\n"])
        (where / path.name).write_text(text.replace("RTINSECONDS", f"{charge}RTINSECONDS"))
    (where / "samples.csv").write_text((study / "samples.csv").read_text())
    arguments = ["baselines", str(study / "cosine"), "--samples", str(where / "samples.csv"), "--assay", "dpph"]
    return [*arguments, "--folds", "3", "--models", "logistic", "--permutations", "0", "--memo"]


def test_runs_are_read_for_memo_with_the_options_given(study, tracked, tmp_path, capsys):
    arguments = with_runs(study, tmp_path, charge="CHARGE=1-\n")
    assert cli.main([*arguments, "-q", "--polarity", "negative"]) == 0
    assert cli.main([*arguments, "-q", "--polarity", "positive"]) == 2  # no run has such spectra
    assert "0 of 24 runs that can be read" in capsys.readouterr().err


def test_runs_without_a_word_are_refused_before_anything_is_fitted(study, tracked, tmp_path, capsys):
    assert cli.main([*with_runs(study, tmp_path, short=True), "-q"]) == 2
    line = capsys.readouterr().err.strip()
    assert "--memo finds no word in the 24 of 24 runs that can be read" in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "baselines").exists()


def test_a_model_that_cannot_be_fitted_is_named_and_the_others_go_on(study, tracked, tmp_path, capsys):
    heights = made_study(tmp_path)[1]
    write_table(tmp_path / "flat", heights * 0 + 1, similarity="entropy")  # no feature tells any run from another
    arguments = ["baselines", str(study / "cosine"), str(tmp_path / "flat"), "--samples", str(study / "samples.csv")]
    arguments += ["--assay", "dpph", "--folds", "3", "--models", "oplsda", "--permutations", "0"]
    assert cli.main([*arguments, "--models", "logistic", "--json"]) == 3
    told, shown = capsys.readouterr()
    assert "entropy, oplsda: could not be fitted: no variation in the rows goes with the target" in shown
    out = tmp_path / "baselines"
    failures = pd.read_csv(out / "failures.csv")
    assert failures[["representation", "model"]].to_numpy().tolist() == [
        ["entropy", "oplsda"],
        ["entropy", "multivariate"],
    ]
    assert json.loads(told)["not_fitted"] == failures.to_dict("records")
    summary = pd.read_csv(out / "summary.csv")[["representation", "model"]].to_numpy().tolist()
    assert summary == [["cosine", "oplsda"], ["cosine", "logistic"], ["entropy", "logistic"]]
    assert set(pd.read_csv(out / "multivariate.csv")["representation"]) == {"cosine"}
    arguments.remove(str(study / "cosine"))
    assert cli.main([*arguments, "-q"]) == 3  # nothing at all: tables without rows
    assert pd.read_parquet(out / "predictions.parquet").empty
    arguments[1] = str(study / "cosine")
    assert cli.main([*arguments, "-q"]) == 0
    assert not (out / "failures.csv").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--assay", "dphp"], "no column 'dphp'; did you mean 'dpph'?"),
        (["--assay", "dpph", "--models", "svm"], "no model 'svm'; expected some of forest"),
        (["--assay", "dpph", "--folds", "9"], "--folds 9: 6 active and 6 inactive accessions"),
        (["--assay", "dpph", "--memo", "--models", "pca"], "--memo works with forest, logistic, boosting"),
        (["--assay", "dpph", "--images", "nowhere"], "nowhere: no manifest.json here"),
        (["--assay", "dpph", "--out", "samples.csv"], "samples.csv: is a file"),
        (["--assay", "dpph", "--out", "cosine"], "give --out a folder of its own"),
    ],
)
def test_refusals_are_one_line_and_nothing_is_done(study, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(study)
    before = set(study.rglob("*"))
    assert run(study, *more) == 2
    line = capsys.readouterr().err.strip()
    assert message in line
    assert len(line.splitlines()) == 1
    assert set(study.rglob("*")) == before
    assert not (tmp_path / "mlflow.db").exists()


def test_a_table_of_other_samples_and_a_missing_table_are_refused(study, tmp_path, capsys):
    other = made_study(tmp_path)[1].add_prefix("f").rename(index=lambda name: f"other-{name}")
    write_table(tmp_path / "other", other)
    write_table(tmp_path / "narrow", other.iloc[:, :1])
    refusals = {"other": "has no run of", "absent": "ms2img features", "narrow": "has 1 feature; PCA and OPLS-DA need"}
    for location, message in ((tmp_path / name, text) for name, text in refusals.items()):
        assert cli.main(["baselines", str(location), "--samples", str(study / "samples.csv"), "--assay", "dpph"]) == 2
        assert message in capsys.readouterr().err


def test_a_real_table_tells_serum_from_the_other_mixtures(shared, tracked):
    """The aligned table of 27 mixtures of three runs on a qTOF: a forest finds the mixtures with serum."""
    source = shared / "data" / "qemistree" / "fbmn"
    sheet = Sheet.read(source / "samples.csv")
    runs = [each for each in sheet.runs if each.kind == "sample"]
    content = read_pair(runs[0].path, str(runs[0].quant_path), [str(each.column) for each in runs])
    of_run = {}
    for each in runs:
        spectra = content.spectra(str(each.column), path="")
        of_run[each.sample_id] = pd.Series(
            spectra["precursor_intensity"].to_numpy(), spectra["spectrum_id"].to_pylist()
        )
    heights = pd.DataFrame(of_run).T.fillna(0.0)
    assert len(heights) == 81
    write_table(Path("fbmn"), heights, similarity="aligned")
    arguments = ["baselines", "fbmn", "--samples", str(source / "samples.csv"), "--assay", "serum", "--low", "0.01"]
    assert cli.main([*arguments, "--high", "0.01", "--models", "forest,oplsda", "-q"]) == 0
    summary = pd.read_csv("baselines/summary.csv").set_index("model")
    assert summary.loc["forest", "auc_pooled"] > 0.9
    assert summary.loc["oplsda", "auc_pooled"] > 0.7
    multivariate = pd.read_csv("baselines/multivariate.csv").set_index("method")
    assert multivariate.loc["oplsda", "r2y"] > 0.9 > multivariate.loc["oplsda", "q2y"] > 0.3
    assert multivariate.loc["oplsda", "p_q2y"] < 0.01
