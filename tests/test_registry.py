"""Registered models: names, the champion, listing, pulling, and the pyfunc that answers as the bundle does."""

from __future__ import annotations

import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import pandas as pd
import pytest
from bundle_samples import card, make_bundle, write_mgf

from ms2img.errors import UsageError
from ms2img.ms2toimg.bundle import bundle_version, load_bundle
from ms2img.tracking.catalogue import list_models
from ms2img.tracking.pull import find, pulled
from ms2img.tracking.registry import Registration, champion_rule, register
from ms2img.tracking.runs import track_cross_validation
from ms2img.tracking.store import Store, open_store

OTHER_FOLDS = {"samples": "5a", "labels": "1a", "folds": "f1"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return open_store(tmp_path_factory.mktemp("registry"))


@pytest.fixture(autouse=True)
def _store_in_environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a colleague would: the variable set, then plain MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)


def _register(store: Store, folder: Path, **changes: Any) -> Registration:
    bundle = make_bundle(folder, **changes)
    with track_cross_validation(store, name="x", config={}, tags={}) as run:
        return register(store, bundle, run_id=run.run_id)


# ---- the champion

_SAME = {"samples": "s", "labels": "l", "folds": "f", "auc_mean": "0.9"}


@pytest.mark.parametrize(
    ("new", "first", "current", "moves", "reason"),
    [
        (_SAME, True, None, True, "the first version"),
        (_SAME, False, None, False, "no champion is set"),
        ({**_SAME, "auc_mean": "0.91"}, False, _SAME, True, "moved from version 1: same samples, labels and folds"),
        (_SAME, False, _SAME, True, "0.9000 is not below its 0.9000"),
        ({**_SAME, "auc_mean": "0.8999"}, False, _SAME, False, "0.8999 is below its 0.9000"),
        ({**_SAME, "auc_mean": "0.99", "samples": "x"}, False, _SAME, False, "other samples, so"),
        ({**_SAME, "auc_mean": "0.99", "labels": "x"}, False, _SAME, False, "other labels, so"),
        ({**_SAME, "auc_mean": "0.99", "folds": "x"}, False, _SAME, False, "other folds, so"),
        ({"auc_mean": "0.99"}, False, {"auc_mean": "0.9"}, False, "other samples and labels and folds"),
        ({**_SAME, "auc_mean": "nan"}, False, _SAME, False, "a mean AUC is missing"),
        (_SAME, False, {**_SAME, "auc_mean": "good"}, False, "a mean AUC is missing"),
    ],
)
def test_the_champion_moves_only_where_figures_compare(
    new: dict[str, str], first: bool, current: dict[str, str] | None, moves: bool, reason: str
) -> None:
    moved, text = champion_rule(
        "ms2img-x", new, first=first, current=current, new_version="2", current_version="1" if current else None
    )
    assert moved is moves
    assert reason in text
    assert ("ms2img models promote models:/ms2img-x/2 --reason " in text) is not moves


def test_versions_of_one_assay_compete(store: Store, tmp_path: Path) -> None:
    def champion() -> str:
        return str(store.client().get_registered_model("ms2img-competition").aliases["champion"])

    def trained(name: str, auc: float, fingerprints: dict[str, str]) -> Registration:
        metrics = {"auc_mean": auc, "auc_sd": 0.02}
        return _register(store, tmp_path / name, assay="competition", metrics=metrics, fingerprints=fingerprints)

    same = card()["fingerprints"]
    first = trained("a", 0.80, same)
    assert (first.name, first.version, first.champion, champion()) == ("ms2img-competition", "1", True, "1")
    assert first.uri == "models:/ms2img-competition/1"
    assert not trained("b", 0.79, same).champion
    assert champion() == "1"
    assert trained("c", 0.81, same).champion
    assert champion() == "3"
    other = trained("d", 0.99, OTHER_FOLDS)
    assert not other.champion
    assert "other folds" in other.decision
    assert champion() == "3"
    store.client().set_registered_model_alias("ms2img-competition", "champion", "4")  # a person promotes
    assert trained("e", 0.99, OTHER_FOLDS).champion
    store.client().delete_registered_model_alias("ms2img-competition", "champion")
    assert "no champion is set" in trained("f", 1.0, OTHER_FOLDS).decision


# ---- names


@pytest.mark.parametrize(
    ("assay", "simulated", "name"),
    [
        ("Total phenolics (mg/g)", False, r"ms2img-total-phenolics-mg-g"),
        ("fecal_1", False, r"ms2img-fecal-1"),
        ("FECAL-1", False, r"ms2img-fecal-1-[0-9a-f]{6}"),  # another assay of the same letters
        ("fecal_1", True, r"ms2img-sim-fecal-1"),
        ("sim fecal_1", False, r"ms2img-assay-sim-fecal-1"),
        ("抗酸化", False, r"ms2img-assay-[0-9a-f]{6}"),
        ("x" * 300, False, r"ms2img-x{60}"),
    ],
)
def test_every_assay_has_a_model_of_its_own(
    store: Store, tmp_path: Path, assay: str, simulated: bool, name: str
) -> None:
    if assay == "FECAL-1":
        assert _register(store, tmp_path / "0", assay="fecal_1").name == "ms2img-fecal-1"
    first = _register(store, tmp_path / "1", assay=assay, simulated=simulated)
    assert re.fullmatch(name, first.name)
    again = _register(store, tmp_path / "2", assay=assay, simulated=simulated)
    assert (again.name, int(again.version)) == (first.name, int(first.version) + 1)
    tags = store.client().get_model_version(again.name, again.version).tags
    assert tags["ms2img.assay"] == assay
    assert tags["ms2img.simulated"] == ("true" if simulated else "false")


# ---- listing and pulling


@pytest.fixture(scope="module")
def registered(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Registration, Path]:
    """The second version of ms2img-dpph, and the bundle it was made of."""
    folder = tmp_path_factory.mktemp("bundles")
    _register(store, folder / "1")
    (folder / "2").mkdir()
    (folder / "2" / "notes.pkl").write_bytes(pickle.dumps("left behind"))
    return _register(store, folder / "2", seed=1, metrics={"auc_mean": 0.95, "auc_sd": float("nan")}), folder / "2"


def test_listing_tells_versions_apart(store: Store, registered: tuple[Registration, Path]) -> None:
    rows = [row.to_dict() for row in list_models(store, "dpph")]
    assert [(row["name"], row["version"], row["aliases"]) for row in rows] == [
        ("ms2img-dpph", "2", ["champion"]),
        ("ms2img-dpph", "1", []),
    ]
    version = store.client().get_model_version("ms2img-dpph", "2")
    assert rows[0] == {
        "name": "ms2img-dpph",
        "version": "2",
        "aliases": ["champion"],
        "assay": "dpph",
        "auc_mean": 0.95,
        "auc_sd": None,
        "preset": "small",
        "simulated": False,
        "samples": "5a",
        "labels": "1a",
        "folds": "f0",
        "bundle": bundle_version(registered[1]),
        "run_id": version.run_id,
        "created": rows[0]["created"],
        "promoted": {},
        "system": "ms2toimg",
        "library": "",
        "kind": "",
        "cosine_mean": None,
        "cosine_sd": None,
        "parent": "",
        "section": "",
        "mode": "",
        "retrieval_mean": None,
        "retrieval_sd": None,
    }
    assert pd.Timestamp(rows[0]["created"]).timestamp() == version.creation_timestamp // 1000
    assert {row.name for row in list_models(store)} >= {"ms2img-dpph"}
    with pytest.raises(UsageError, match="no model 'ms2img-dph'; did you mean ms2img-dpph"):
        list_models(store, "ms2img-dph")


def test_every_way_to_name_a_model_leads_to_its_bundle(
    store: Store, registered: tuple[Registration, Path], tmp_path: Path
) -> None:
    registration, bundle = registered
    run_id = store.client().get_model_version(registration.name, registration.version).run_id
    for reference in ("models:/ms2img-dpph@champion", "models:/ms2img-dpph/2", "models:/dpph@champion", run_id):
        with pulled(reference) as (folder, source):
            assert load_bundle(folder).model_version == bundle_version(bundle)
            assert (source.uri, source.name, source.version) == ("models:/ms2img-dpph/2", "ms2img-dpph", "2")
            assert source.run_id == run_id
    downloaded = mlflow.artifacts.download_artifacts("models:/ms2img-dpph/2", dst_path=str(tmp_path / "copy"))
    for reference in (str(bundle), downloaded):
        with pulled(reference) as (folder, source):
            assert load_bundle(folder).model_version == bundle_version(bundle)
            assert source.uri == reference


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("models:/ms2img-dppph@champion", "no model 'ms2img-dppph'; did you mean ms2img-dpph"),
        ("models:/ms2img-dpph@champ", "no alias 'champ'; its alias is champion"),
        ("models:/ms2img-dpph/9", "no version 9; known: 1, 2"),
        ("models:/ms2img-dpph", "did you mean models:/ms2img-dpph@champion"),
        ("ms2img-dpph", "did you mean models:/ms2img-dpph@champion"),
        ("models:/a/b/c", "expected models:/NAME@ALIAS"),
        ("0" * 32, "no run 0000"),
        ("no/such/folder", "no such folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused_with_near_names(
    registered: tuple[Registration, Path], reference: str, message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as refusal, pulled(reference):
        pass
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without a model bundle"), pulled(str(tmp_path)):
        pass


def test_a_run_without_a_model_is_found_but_has_no_bundle(store: Store) -> None:
    with track_cross_validation(store, name="x", config={}, tags={}) as run:
        pass
    assert find(run.run_id).run_id == run.run_id
    with pytest.raises(UsageError, match="registered no model"), pulled(run.run_id):
        pass


def test_another_tools_model_is_refused(store: Store, tmp_path: Path) -> None:
    client = store.client()
    client.create_registered_model("ms2img-foreign")
    (tmp_path / "model").mkdir()
    client.create_model_version("ms2img-foreign", source=(tmp_path / "model").as_uri())
    with pytest.raises(UsageError, match="not a model of ms2img"), pulled("models:/ms2img-foreign/1"):
        pass


# ---- the pyfunc


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    paths = [str(write_mgf(tmp_path / f"{seed}.mgf", seed=seed)) for seed in range(3)]
    return pd.DataFrame({"path": [*paths, str(tmp_path / "absent.mgf")], "plant": "ignored"})


def test_the_pyfunc_answers_as_the_bundle_does(registered: tuple[Registration, Path], frame: pd.DataFrame) -> None:
    model = mlflow.pyfunc.load_model("models:/ms2img-dpph@champion")
    expected = load_bundle(registered[1]).predict(frame)
    pd.testing.assert_frame_equal(model.predict(frame), expected, check_exact=True)
    assert expected["error"].tolist()[:3] == [""] * 3
    assert expected["error"].iloc[3].startswith("not-found")
    assert set(expected["model_version"]) == {row.bundle for row in list_models(open_store(), "dpph")[:1]}


def test_the_artefact_holds_no_pickle_and_no_code(
    store: Store, registered: tuple[Registration, Path], tmp_path: Path
) -> None:
    client = store.client()
    uri = client.get_model_version_download_uri(registered[0].name, registered[0].version)
    artefact = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "artefact")))
    files = {path.relative_to(artefact).as_posix(): path for path in artefact.rglob("*") if path.is_file()}
    allowed = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
    assert set(files) - {"registered_model_meta"} == {
        *allowed,
        "data/bundle/bundle.json",
        "data/bundle/model.safetensors",
    }
    for name, path in files.items():
        assert not _is_pickle(path.read_bytes()), name
    flavor = mlflow.models.Model.load(str(artefact)).flavors
    assert set(flavor) == {"python_function"}
    assert flavor["python_function"]["loader_module"] == "ms2img.tracking.flavor"
    assert flavor["python_function"]["code"] is None
    requirements = (artefact / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"mlflow", "ms2img[tracking]", "torch"}


def _is_pickle(content: bytes) -> bool:
    try:
        for _ in pickletools.genops(content):
            pass
    except Exception:  # whatever it stumbles over, these bytes are no pickle
        return False
    return True


def test_the_check_knows_a_pickle() -> None:
    assert _is_pickle(pickle.dumps({"a": [1, 2]}))
    assert _is_pickle(pickle.dumps("old", protocol=0))


def test_loading_and_scoring_unpickle_nothing(
    registered: tuple[Registration, Path], frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr("torch.load", refuse)
    answer = mlflow.pyfunc.load_model("models:/ms2img-dpph/2").predict(frame)
    assert answer["error"].tolist()[:3] == [""] * 3


def test_registering_says_nothing(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _register(store, tmp_path / "quiet", assay="quiet")
    assert capfd.readouterr() == ("", "")


def test_a_run_whose_model_cannot_be_registered_keeps_its_reason(store: Store, tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="not a model bundle"),
        track_cross_validation(store, name="x", config={}, tags={}) as run,
    ):
        register(store, tmp_path, run_id=run.run_id)
    assert "not a model bundle" in store.client().get_run(run.run_id).data.tags["ms2img.error"]
