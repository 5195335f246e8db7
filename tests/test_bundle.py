"""Bundles: what is saved comes back and scores the same; whatever was tampered with is refused in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bundle_samples import CNN, CNN_WITH_NORM, RENDER, card, make_bundle, write_mgf
from safetensors.torch import load_file, save_file
from scipy.special import expit

import ms2img.io.read
from ms2img.errors import UsageError
from ms2img.io.read import read_run
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.bundle import bundle_version, load_bundle, read_checked_description, save_bundle
from ms2img.ms2toimg.cnn import build_cnn
from ms2img.ms2toimg.convert import image_row, rows_to_table
from ms2img.ms2toimg.render_config import RenderConfig


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, RENDER.height, RENDER.width), dtype=np.uint8)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("cnn", [CNN, CNN_WITH_NORM])
def test_probabilities_are_those_of_the_network_that_was_saved(tmp_path: Path, images: np.ndarray, cnn) -> None:
    network = build_cnn(cnn, RENDER.height, RENDER.width, seed=3)
    with torch.no_grad():  # a trained network's statistics are not the initial ones
        for name, value in network.named_buffers():
            value.add_({"mean": -0.25, "var": 0.5, "tracked": 3}[name.rpartition("_")[2]])
    save_bundle(tmp_path, model_state=network.state_dict(), cnn=cnn, render=RENDER, card=card())
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(images)[:, None] / 255)
    answer = load_bundle(tmp_path).predict(pd.DataFrame({"image": list(images)}))
    np.testing.assert_allclose(answer["probability"], expit(logits.double().numpy()), rtol=1e-5)
    assert answer["probability"].nunique() == len(images)


def test_a_row_is_scored_alike_in_any_company_on_any_number_of_threads(
    tmp_path: Path, images: np.ndarray, threads: Callable[[int], None]
) -> None:
    predictor = load_bundle(make_bundle(tmp_path, render=RENDER))
    frame = pd.DataFrame({"image": list(images)})
    together = predictor.predict(frame)["probability"]
    for n_threads in (1, 2):
        threads(n_threads)
        alone = [predictor.predict(frame.iloc[[row]])["probability"].iloc[0] for row in range(len(frame))]
        assert alone == together.tolist()
        assert torch.get_num_threads() == n_threads
    backwards = predictor.predict(frame.iloc[::-1])["probability"]
    assert backwards.tolist() == together.tolist()[::-1]


def test_a_probability_survives_csv_exactly(tmp_path: Path, images: np.ndarray) -> None:
    answer = load_bundle(make_bundle(tmp_path / "b")).predict(pd.DataFrame({"image": list(images)}))
    answer.to_csv(tmp_path / "a.csv", index=False)
    assert pd.read_csv(tmp_path / "a.csv")["probability"].tolist() == answer["probability"].tolist()


def test_a_file_is_scored_by_the_pixels_that_conversion_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load_bundle(make_bundle(tmp_path / "b"))
    monkeypatch.chdir(tmp_path)
    write_mgf(tmp_path / "runs.mgf")
    pd.DataFrame({"sample_id": ["a"], "path": ["runs.mgf"]}).to_csv(tmp_path / "sheet.csv", index=False)
    run = Sheet.read(tmp_path / "sheet.csv").runs[0]
    row = image_row(run, read_run(run), RENDER, source_fingerprint="x")
    table = rows_to_table([row, {**row, "sample_id": "b", "image": row["image"][::-1]}], RENDER)
    stored = table["image"].combine_chunks().to_numpy_ndarray()
    np.testing.assert_array_equal(stored[0], row["image"])
    np.testing.assert_array_equal(stored[1], row["image"][::-1])
    assert (stored[0] != stored[1]).any()
    assert table.select(["sample_id", "n_spectra", "ms2_source", "source_fingerprint"]).to_pylist()[1] == {
        "sample_id": "b",
        "n_spectra": 40,
        "ms2_source": "own",
        "source_fingerprint": "x",
    }
    by_path = predictor.predict(pd.DataFrame({"path": ["runs.mgf", str(tmp_path / "runs.mgf")]}))
    by_image = predictor.predict(pd.DataFrame({"image": [stored[0], stored[0].tolist()]}))
    assert by_path["probability"].tolist() == by_image["probability"].tolist()
    assert by_path["path"].tolist() == ["runs.mgf", str(tmp_path / "runs.mgf")]
    assert by_path["sample_id"].tolist() == ["runs", "runs"]
    assert by_path["probability"].iloc[0] == by_path["probability"].iloc[1]


def test_no_images_are_an_empty_table() -> None:
    assert rows_to_table([], RENDER).num_rows == 0


def test_bad_rows_say_why_and_leave_the_others_alone(tmp_path: Path, images: np.ndarray) -> None:
    good = write_mgf(tmp_path / "good.mgf")
    (tmp_path / "noise.mgf").write_text("nothing of the kind\n")
    (tmp_path / "empty.mgf").write_text("BEGIN IONS\nPEPMASS=200\nEND IONS\n")
    cases: list[tuple[dict[str, object], str]] = [
        ({"path": str(good)}, ""),
        ({"path": str(tmp_path / "absent.mgf")}, "not-found: "),
        ({"path": str(tmp_path)}, "unreadable: "),
        ({"path": str(tmp_path / "noise.mgf")}, "unknown-format: "),
        ({"path": str(tmp_path / "empty.mgf")}, "no-msms: "),
        ({"path": str(good), "format": "docx"}, "unknown-format: format 'docx' is unknown"),
        ({"path": str(good), "column": "Height"}, "no-column: "),
        ({"image": images[0]}, ""),
        ({"image": images[0][:-1]}, "bad-value: image is uint8 [29, 28]; this model needs uint8 [30, 28]"),
        ({"image": images[0] / 255}, "bad-value: image is float64 [30, 28]"),
        ({"image": images[0].astype(int) + 1000}, "bad-value: image has values from "),
        ({"image": [[1, 2], [3]]}, "bad-value: image is object "),
        ({"image": "picture.png"}, "bad-value: "),
        ({}, "bad-value: the row has neither path nor image"),
        ({"path": float("nan"), "image": None}, "bad-value: the row has neither path nor image"),
        ({"path": str(good), "sample_id": "named"}, ""),
    ]
    frame = pd.DataFrame([row for row, _ in cases], index=range(100, 100 + len(cases)))
    answer = load_bundle(make_bundle(tmp_path / "b")).predict(frame)
    assert answer.index.tolist() == frame.index.tolist()
    for (row, expected), (_, given) in zip(cases, answer.iterrows(), strict=True):
        assert given["error"].startswith(expected), row
        assert bool(given["error"]) == bool(expected), row
        assert np.isnan(given["probability"]) == bool(expected), row
        assert given["label"] == ("" if expected else "active" if given["probability"] >= 0.5 else "inactive"), row
    assert answer["sample_id"].tolist()[-1] == "named"
    assert answer["probability"].iloc[0] == answer["probability"].iloc[-1]


def test_the_label_turns_active_at_the_threshold(tmp_path: Path, images: np.ndarray) -> None:
    frame = pd.DataFrame({"image": list(images)})
    probability = load_bundle(make_bundle(tmp_path / "a")).predict(frame)["probability"]
    threshold = float(np.sort(probability)[3])
    answer = load_bundle(make_bundle(tmp_path / "b", threshold=threshold)).predict(frame)
    assert answer["label"].tolist() == ["active" if value >= threshold else "inactive" for value in probability]
    assert (answer["label"] == "active").sum() == 4
    assert (answer["threshold"] == threshold).all()


def test_a_frame_without_what_can_be_scored_is_refused(tmp_path: Path) -> None:
    predictor = load_bundle(make_bundle(tmp_path))
    with pytest.raises(UsageError, match=r"column 'path' .* or 'image'"):
        predictor.predict(pd.DataFrame({"file": ["a.mgf"]}))
    assert predictor.predict(pd.DataFrame({"path": []})).empty


def test_an_aligned_file_is_read_once_for_all_its_runs(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(shared / "data/msdial/msdial5_alignment_69_samples.txt")
    parsed: list[str] = []
    original = ms2img.io.read.read_alignment

    def counted(name: str, columns: list[str]):
        parsed.append(name)
        return original(name, columns)

    monkeypatch.setattr(ms2img.io.read, "read_alignment", counted)
    columns = [run.column for run in ms2img.io.formats.msdial_alignment.read_alignment_runs(path)][:4]
    frame = pd.DataFrame({"path": path, "column": [*columns, "no such run"]})
    predictor = load_bundle(make_bundle(tmp_path, render=RenderConfig(height=75, width=70)))
    answer = predictor.predict(frame)
    assert parsed == [path]
    assert answer["error"].str.partition(":")[0].tolist() == ["", "", "", "", "no-column"]
    assert answer["sample_id"].tolist()[:4] == columns
    assert answer["probability"].nunique() == 4
    assert answer["probability"].iloc[2] == predictor.predict(frame.iloc[[2]])["probability"].iloc[0]


def test_real_pairs_of_mgf_and_quant_table_are_scored(tmp_path: Path, shared: Path) -> None:
    sheet = Sheet.read(shared / "data/emi/samples.csv").runs[:3]
    rows = [{"path": run.path, "quant_path": run.quant_path, "column": run.column} for run in sheet]
    answer = load_bundle(make_bundle(tmp_path)).predict(pd.DataFrame(rows))
    assert answer["error"].tolist() == ["", "", ""]
    assert answer["probability"].nunique() == 3


def test_the_version_is_of_the_content(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a")
    assert bundle_version(make_bundle(tmp_path / "b")) == bundle_version(bundle)
    assert bundle_version(make_bundle(tmp_path / "c", seed=1)) != bundle_version(bundle)
    assert bundle_version(make_bundle(tmp_path / "d", threshold=0.6)) != bundle_version(bundle)
    assert load_bundle(bundle).predict(pd.DataFrame({"path": ["x"]}))["model_version"][0] == bundle_version(bundle)


def test_the_card_comes_back_and_a_missing_metric_is_null(tmp_path: Path) -> None:
    make_bundle(tmp_path, metrics={"auc_mean": 0.875, "auc_sd": float("nan")})
    description = read_checked_description(tmp_path)
    assert description.card.model_dump() == card(metrics={"auc_mean": 0.875, "auc_sd": None})
    assert description.render == RENDER
    assert json.loads((tmp_path / "bundle.json").read_text())["card"]["metrics"]["auc_sd"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treshold": 0.5}, "unknown key 'treshold'; did you mean 'threshold'"),
        ({"threshold": 1.0}, "threshold"),
        ({"active": "strong"}, "active"),
        ({"value_min": float("nan")}, "value_min"),
        ({"assay": ""}, "assay"),
    ],
)
def test_a_wrong_card_is_not_saved(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_bundle(tmp_path / "b", **changes)
    assert not (tmp_path / "b/bundle.json").exists()


def _description(**changes: object) -> Callable[[Path], None]:
    """Set keys of bundle.json, dots leading into objects."""

    def change(folder: Path) -> None:
        content = json.loads((folder / "bundle.json").read_text())
        for key, value in changes.items():
            *outer, last = key.split("__")
            place = content
            for name in outer:
                place = place[name]
            place[last] = value
        (folder / "bundle.json").write_text(json.dumps(content))

    return change


def _raw_description(text: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "bundle.json").write_bytes(text) and None


def _weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        edit(state)
        save_file(state, folder / "model.safetensors")

    return change


class _Evil:
    """Unpickling this would raise; a loader that does not unpickle never notices."""

    def __reduce__(self):
        return (pytest.fail, ("the weights were unpickled",))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (_description(format=2), "format 2 of system 'ms2toimg'"),
        (_description(system="deepion"), "system 'deepion'"),
        (_description(extra=1), "unknown key 'extra'"),
        (_description(card__extra=1), "Extra inputs|extra"),
        (_description(card__threshold="high"), "threshold"),
        (_description(render__heigth=10), "heigth"),
        (_description(render__height=40), "tensor 'dense.0.weight'"),
        (_description(render__height=2), "too small"),
        (_description(cnn__filter=4), "unknown key 'filter'; did you mean 'filters'"),
        (_description(cnn__filters=5), "tensor 'convolutions.0.bias'"),
        (_description(cnn__filters="4"), "filters"),
        (_description(cnn__units=10**30), "no network|tensor"),
        (_description(cnn__dense_layers=10**12), "tensors for more layers"),
        (_description(cnn=[1]), "cnn"),
        (_raw_description(b"{"), "not a model bundle"),
        (_raw_description(b"[1]"), "expected a JSON object"),
        (_raw_description(b"\xff\xfe"), "not a model bundle"),
        (_raw_description(b"[" * 200_000), "not a model bundle"),
        (_raw_description(b'{"a": "' + b"x" * 2**20 + b'"}'), "larger than"),
        (lambda folder: (folder / "bundle.json").unlink(), "no such file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"") and None, "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(_Evil())) and None, "safetensors"),
        (
            lambda folder: torch.save({"a": _Evil()}, folder / "model.safetensors"),
            "not the weights of a model bundle",
        ),
        (_weights(lambda state: state.pop("output.bias")), "tensor 'output.bias' is missing"),
        (_weights(lambda state: state.update(more=torch.zeros(1))), "tensor 'more' is unknown"),
        (_weights(lambda state: state.update({"output.bias": torch.zeros(2)})), "tensor 'output.bias' is"),
        (_weights(lambda state: state.update({"output.bias": torch.zeros(1).double()})), "tensor 'output.bias' is"),
    ],
)
def test_what_was_tampered_with_is_refused_in_one_line(
    tmp_path: Path, tamper: Callable[[Path], None], message: str
) -> None:
    make_bundle(tmp_path)
    tamper(tmp_path)
    with pytest.raises(UsageError, match=message) as refusal:
        load_bundle(tmp_path)
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    weights = make_bundle(tmp_path) / "model.safetensors"
    content = weights.read_bytes()
    for length in (7, 40, len(content) - 1):
        weights.write_bytes(content[:length])
        with pytest.raises(UsageError, match=r"model\.safetensors"):
            load_bundle(tmp_path)


def test_weights_of_another_network_are_not_saved(tmp_path: Path) -> None:
    state = build_cnn(CNN, 40, 40).state_dict()
    with pytest.raises(UsageError, match=r"dense\.0\.weight"):
        save_bundle(tmp_path, model_state=state, cnn=CNN, render=RENDER, card=card())
    assert not list(tmp_path.iterdir())


def test_a_loaded_model_outlives_its_folder(tmp_path: Path, images: np.ndarray) -> None:
    predictor = load_bundle(make_bundle(tmp_path / "b"))
    frame = pd.DataFrame({"image": list(images)})
    before = predictor.predict(frame)
    shutil.rmtree(tmp_path / "b")
    pd.testing.assert_frame_equal(predictor.predict(frame), before)
