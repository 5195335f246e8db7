"""``ms2img models``: what is listed, what a comparison on the same folds says, and what a promotion leaves behind."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_samples import card, make_bundle
from record_samples import make_record
from sklearn.metrics import roc_auc_score

from ms2img.errors import UsageError
from ms2img.ms2toimg.compare_records import compare_records, differences
from ms2img.ms2toimg.record import CvRecord
from ms2img.ms2toimg.summarise import fold_metrics, mean_and_sd
from ms2img.tracking import promotion
from ms2img.tracking.registry import register
from ms2img.tracking.runs import track_cross_validation
from ms2img.tracking.store import Store, open_store
from pipelines import cli

PRINTS = card()["fingerprints"]


def record_of(skill: float, *, seed: int = 0, **summary: Any) -> CvRecord:
    """A cross-validation of the same runs and folds; `skill`: how far apart the classes are scored."""
    base = make_record()
    draw = np.random.default_rng(seed).uniform(0, 1, len(base.predictions))
    probability = np.clip(base.predictions["target"] * skill + draw * (1 - skill), 0, 1)
    predictions = base.predictions.assign(probability=probability)
    metrics = fold_metrics(predictions)
    spread = mean_and_sd(metrics)
    means = {"auc_mean": spread["accession_roc_auc_mean"], "auc_sd": spread["accession_roc_auc_sd"]}
    told = {**base.summary, **spread, **means, "fingerprints": PRINTS, **summary}
    return dataclasses.replace(base, predictions=predictions, metrics=metrics, summary=told)


@dataclass(frozen=True)
class Registry:
    """A store with three versions of one model, the first champion; the third has other folds."""

    store: Store
    runs: tuple[str, ...]

    def champion(self) -> str:
        return promotion.champion_of(self.store, "ms2img-dpph")

    def tags(self, version: str) -> dict[str, str]:
        return dict(self.store.client().get_model_version("ms2img-dpph", version).tags)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_TRACKING_USERNAME", "the chemist")
        store, runs = open_store(), []
        other = {**PRINTS, "folds": "f1"}
        records = [record_of(0.6), record_of(0.2, seed=1), record_of(0.6, seed=2, fingerprints=other)]
        for number, record in enumerate(records):
            with track_cross_validation(store, name=f"training {number}", config={}, tags={}) as run:
                run.log_record(record)
                metrics = {key: record.summary[key] for key in ("auc_mean", "auc_sd")}
                prints = record.summary["fingerprints"]
                made = make_bundle(folder / str(number), seed=number, metrics=metrics, fingerprints=prints)
                register(store, made, run_id=run.run_id)
                runs.append(run.run_id)
        yield Registry(store, tuple(runs))


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the values of ``--json``, and what stands on standard error."""
    status = cli.main(["models", *arguments, "--json"])
    printed = capfd.readouterr()
    return status, json.loads(printed.out) if printed.out else {}, printed.err


def test_the_list_names_version_alias_metric_assay_and_data(
    registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("dpph",), ("ms2img-dpph",)):
        status, values, table = said(capfd, *words)
        assert status == 0
        assert [row["version"] for row in values["models"]] == ["3", "2", "1"]
        first = values["models"][-1]
        named = (first["name"], first["assay"], first["aliases"])
        assert named == ("ms2img-dpph", "dpph", ["champion"])
        assert {key: first[key] for key in PRINTS} == PRINTS
        assert first["auc_mean"] == pytest.approx(record_of(0.6).summary["auc_mean"])
        assert "data" in table.splitlines()[0]
        assert PRINTS["samples"] in table
    status, _, error = said(capfd, "dpph", "other")
    assert status == 2
    assert "expected compare or promote before it" in error


def test_a_comparison_pairs_the_folds(registry: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    status, values, text = said(capfd, "compare", "models:/ms2img-dpph/1", registry.runs[1])
    assert status == 0
    assert (values["a"], values["b"]) == ("models:/ms2img-dpph/1", "models:/ms2img-dpph/2")
    found = values["measures"]["roc_auc"]
    means = []
    for record in (record_of(0.6), record_of(0.2, seed=1)):  # by another road: scikit-learn on the predictions
        by = record.predictions.groupby(["fold", "accession"]).agg({"target": "first", "probability": "mean"})
        means.append(np.mean([roc_auc_score(one["target"], one["probability"]) for _, one in by.groupby("fold")]))
    assert found["mean_a"] == pytest.approx(means[0])
    assert found["mean_b"] == pytest.approx(means[1])
    assert (found["n"], found["df"]) == (5, 4)
    assert found["low"] < found["difference"] < found["high"]
    assert set(values["measures"]) == {"roc_auc", "accuracy", "precision", "recall", "f1"}
    told = {"ahead": "/1 is ahead of models:/ms2img-dpph/2", "noise": "differ by no more than noise"}
    assert told["ahead" if found["p"] < 0.05 else "noise"] in values["sentence"]
    assert values["sentence"] in text


def test_other_folds_are_refused(registry: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    cases = [
        (("models:/ms2img-dpph/1", "models:/ms2img-dpph/3"), "cannot be compared: other folds (by their fingerprints)"),
        (("models:/ms2img-dpph/1", registry.runs[0]), "are of one training"),
        (("models:/ms2img-dpph/1", "models:/ms2img-dpph/9"), "has no version 9"),
        (("models:/ms2img-dpph/1",), "expected two models, got 1"),
    ]
    for models, message in cases:
        status, _, error = said(capfd, "compare", *models)
        assert status == 2
        assert message in error
        assert error.count("\n") == 1


def test_what_differs_is_said() -> None:
    base = record_of(0.5)

    def changed(**columns: Any) -> CvRecord:
        return dataclasses.replace(base, predictions=base.predictions.assign(**columns))

    assert differences(base, record_of(0.1, seed=3)) == []
    fold = base.predictions["fold"].where(base.predictions["sample_id"] != "run3", 4)
    target = base.predictions["target"].where(~base.predictions["sample_id"].isin(["run2", "run5"]), 1)
    fewer = dataclasses.replace(base, predictions=base.predictions.iloc[:-2])
    assert differences(base, changed(fold=fold)) == ["other folds (1 run, run3, held out in another fold)"]
    [text] = differences(base, changed(target=target))
    assert text.startswith("other labels (")
    assert differences(base, fewer) == ["other samples (2 runs, run78 first, only in A)"]
    drawn = [record_of(0.5, render={"height": h}, fingerprints={**PRINTS, "samples": str(h)}) for h in (75, 150)]
    assert differences(*drawn) == ["other samples (the same runs, drawn with height 75 and 150)"]
    assert len(differences(base, record_of(0.5, fingerprints={}))) == 3


def test_a_difference_is_told_from_noise_and_from_nothing() -> None:
    good, poor = record_of(0.9), record_of(0.05, seed=4)
    assert compare_records(good, poor)["roc_auc"].p < 0.05
    same = compare_records(good, good)["roc_auc"]
    assert (same.difference, np.isnan(same.p)) == (0.0, True)


def test_a_promotion_moves_the_alias_and_keeps_the_reason(
    registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    assert registry.champion() == "1"
    for words, message in (
        (["promote", "models:/ms2img-dpph/2"], "--reason is missing"),
        (["promote", "models:/ms2img-dpph/2", "--reason", " "], "--reason is missing"),
        (["promote", "--reason", "x"], "expected one model"),
        (["promote", "models:/ms2img-dpph/7", "--reason", "x"], "has no version 7"),
        (["dpph", "--reason", "x"], "--reason belongs to promote"),
    ):
        status, _, error = said(capfd, *words)
        assert (status, registry.champion()) == (2, "1")
        assert message in error

    status, values, text = said(capfd, "promote", "models:/ms2img-dpph/2", "--reason", "steadier on the qTOF")
    assert (status, registry.champion()) == (0, "2")
    tags = registry.tags("2")
    assert tags["ms2img.promoted_reason"] == "steadier on the qTOF"
    assert (tags["ms2img.promoted_by"], tags["ms2img.promoted_over"]) == ("the chemist", "1")
    assert tags["ms2img.promoted_time"] == values["time"]
    numbers = json.loads(tags["ms2img.promoted_compared"])
    assert numbers["same_folds"] is True
    assert numbers["mean_a"] < numbers["mean_b"]  # a person may
    assert "AUC per accession" in text
    [row] = [row for row in said(capfd)[1]["models"] if row["aliases"] == ["champion"]]
    assert (row["version"], row["promoted"]["reason"]) == ("2", "steadier on the qTOF")

    assert said(capfd, "promote", "models:/ms2img-dpph@champion", "--reason", "again")[1] == {"promoted": False}
    assert registry.tags("2") == tags

    status, values, text = said(capfd, "promote", registry.runs[2], "--reason", "new folds")
    assert (status, registry.champion()) == (0, "3")
    numbers = json.loads(registry.tags("3")["ms2img.promoted_compared"])
    assert (numbers["same_folds"], numbers["auc_mean"] > numbers["auc_mean_before"]) == (False, True)
    assert "other folds" in numbers["why"]
    assert "do not compare" in text
    said(capfd, "promote", "models:/ms2img-dpph/1", "--reason", "back")
    assert registry.champion() == "1"


def test_a_champion_that_changed_meanwhile_is_not_overrun(registry: Registry) -> None:
    with pytest.raises(UsageError, match="has changed in this moment"):
        promotion.promote(registry.store, "ms2img-dpph", "3", previous="2", reason="late", compared={})
    assert registry.champion() == "1"
    assert registry.tags("3").get("ms2img.promoted_reason") != "late"


def test_a_bare_folder_is_no_version(registry: Registry, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(UsageError, match="not a registered version"):
        cli.invoke(["models", "promote", str(bundle), "--reason", "x", "--quiet"])
