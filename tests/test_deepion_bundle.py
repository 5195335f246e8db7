"""Bundles of encoders: round trips, what is refused, MLflow's way in; and whether ions are told apart."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from ms2img.deepion.bundle import bundle_version, load_bundle, read_checked_description, save_bundle
from ms2img.deepion.draws import Draws
from ms2img.deepion.embed import representations
from ms2img.deepion.images import IonImages, write_images
from ms2img.deepion.presets import VIEWS
from ms2img.deepion.resnet import ResNet18
from ms2img.deepion.retrieval import fingerprint, retrieved
from ms2img.deepion.siamese import SiameseConfig
from ms2img.errors import UsageError
from ms2img.tracking import flavor

MODEL = SiameseConfig(base=4, hidden=32, width=16, bottleneck=8)
PREPARE = {"hotspots": "quantile", "pixel_norm": "tic"}
CARD: dict[str, Any] = {
    "section": "small col",
    "name": "small",
    "mode": "col",
    "preset": "small",
    "seed": 0,
    "seeds": 1,
    "epoch": 3,
    "ions": 12,
    "source": "SIMULATED.imzML",
    "polarity": "positive",
    "simulated": True,
    "fingerprints": {"samples": "5a", "labels": fingerprint("col")},
    "metrics": {"retrieval_mean": 0.5, "retrieval_sd": float("nan")},
}


def network(seed: int = 0) -> ResNet18:
    torch.manual_seed(seed)
    return ResNet18(base=4).eval()


def make_bundle(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A bundle of an untrained encoder of 32 numbers an image; `changes` go to its card."""
    save_bundle(
        folder,
        encoder_state=network(seed).state_dict(),
        model=MODEL,
        views=VIEWS["col", "paper"],
        shape=(16, 16),
        prepare=PREPARE,
        card={**CARD, **changes},
    )
    return folder


def spots(n: int = 12, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    made = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 20) for a, b in rng.uniform(0, 16, (n, 2))]
    return np.stack(made).astype(np.float32)


def test_a_bundle_answers_as_the_encoder_did(tmp_path: Path) -> None:
    predictor = load_bundle(make_bundle(tmp_path / "a"))
    np.testing.assert_array_equal(predictor.embed(spots()), representations(network(), spots()))
    assert (predictor.mode, predictor.preset, predictor.shape, predictor.prepare) == ("col", "small", (16, 16), PREPARE)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"bundle.json", "model.safetensors"}
    assert read_checked_description(tmp_path / "a").card.metrics == {"retrieval_mean": 0.5, "retrieval_sd": None}
    versions = [bundle_version(make_bundle(tmp_path / name, seed=seed)) for name, seed in (("b", 0), ("c", 1))]
    assert (versions[0] == predictor.model_version, versions[1] == predictor.model_version) == (True, False)


def test_images_of_another_size_are_embedded_and_told_of(tmp_path: Path) -> None:
    predictor = load_bundle(make_bundle(tmp_path))
    assert predictor.embed(spots(3, (40, 25))).shape == (3, 32)
    assert predictor.unlike((16, 16), PREPARE) == []
    assert predictor.unlike((40, 25), PREPARE | {"hotspots": "none"}) == [
        "40x25 pixels, trained on 16x16",
        "hotspots none, trained on quantile",
    ]
    for bad in (spots()[0], (255 * spots()).astype(np.uint8), 2 * spots(), np.full((2, 4, 4), np.nan)):
        with pytest.raises(UsageError, match="ion images: "):
            predictor.embed(bad)


def _edited(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "bundle.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def _card(**changes: Any) -> Callable[[Path], None]:
    return _edited(card={**CARD, "metrics": {}, **changes})


def _weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_edited(format=2), "bundle.json: format 2 of system 'deepion'; this ms2img .* reads format 1"),
        (_edited(system="massformer"), "reads format 1 of system 'deepion' here"),
        (_edited(code="evil"), "unknown key 'code'"),
        (_edited(model={"base": 8}), "model.safetensors: tensor .* expected .* do not belong to this description"),
        (_edited(model={"base": 10**9}), "bundle.json: base 1000000000; expected 1024 at most"),
        (_edited(model={"bass": 8}), "bundle.json: SiameseConfig: .*unknown key 'bass'; did you mean 'base'"),
        (_edited(views={"intensity_law": "upwards"}), "bundle.json: MsiViews: intensity_law: 'upwards'"),
        (_edited(shape=[0, 4]), "bundle.json: shape .0, 4.; expected a height and a width"),
        (_card(mode="both"), "bundle.json: card.mode"),
        (_weights(lambda state: {name: state[name] for name in list(state)[1:]}), "tensor .* is missing"),
        (_weights(lambda state: state | {"fc.weight": torch.zeros(1)}), "tensor 'fc.weight' is unknown"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: not the weights of a model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps([1])), "not the weights of a model"),
    ],
)
def test_a_tampered_bundle_is_refused(edit: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    edit(bundle)
    with pytest.raises(UsageError, match=message):
        load_bundle(bundle)


def test_another_system_s_command_is_told_who_takes_it(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    assert flavor.load_bundle(bundle, system="deepion").model_version == bundle_version(bundle)
    with pytest.raises(UsageError, match="a model of deepion, not of massformer; 'ms2img deepion embed' takes it"):
        flavor.load_bundle(bundle, system="massformer")


def test_mlflow_embeds_images_or_folders_of_them(tmp_path: Path) -> None:
    flavor.save_model(tmp_path / "model", make_bundle(tmp_path / "bundle"))
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    images = spots()
    frame = pd.DataFrame({"image": [images[0], images[1].tolist(), "text", images[2] - 1]}, index=[4, 5, 6, 7])
    answer = model.predict(frame)
    expected = representations(network(), images)
    assert answer.index.tolist() == [4, 5, 6, 7]
    np.testing.assert_allclose(np.array(answer["embedding"][:2].tolist()), expected[:2], atol=1e-5)
    assert [each.partition(":")[0] for each in answer["error"]] == ["", "", "bad-value", "bad-value"]
    assert set(answer["model_version"]) == {bundle_version(tmp_path / "bundle")}
    ions = IonImages(np.arange(12) + 100.0, images, np.ones((16, 16), bool))
    write_images(tmp_path / "ions", ions)
    answer = model.predict(pd.DataFrame({"path": [str(tmp_path / "ions"), str(tmp_path / "nowhere")]}))
    assert answer["mz"][:12].tolist() == ions.mz.tolist()
    np.testing.assert_allclose(np.array(answer["embedding"][:12].tolist()), expected, atol=1e-5)
    assert (len(answer), answer["error"][12].partition(":")[0]) == (13, "unreadable")
    with pytest.raises(UsageError, match="a column 'image' or a column 'path'"):
        load = flavor.load_pyfunc(tmp_path / "bundle")
        load.predict(pd.DataFrame({"x": [1]}))


# ---- retrieval


def test_an_ion_is_retrieved_when_its_second_view_is_nearest_its_first() -> None:
    images, encoder = spots(), network()
    views = VIEWS["col", "paper"]
    cpu = torch.device("cpu")
    seen = [
        views.view(torch.from_numpy(images)[:, None], Draws.of(np.arange(12), seed=0, epoch=0, view=view, device=cpu))[
            :, 0
        ]
        for view in (0, 1)
    ]
    first, second = (representations(encoder, view.numpy()) for view in seen)
    nearest = [max(range(12), key=lambda i: np.dot(a, first[i]) / np.linalg.norm(first[i])) for a in second]
    found = retrieved(encoder, images, "col")
    assert found.tolist() == [at == i for i, at in enumerate(nearest)]
    assert 0 < found.sum() < 12


def test_where_all_are_the_same_none_is_retrieved() -> None:
    encoder = network()
    with torch.no_grad():
        encoder.layer4[1].bn2.weight.zero_()
        encoder.layer4[1].bn2.bias.fill_(1.0)
        encoder.layer4[0].bn2.weight.zero_()
        encoder.layer4[0].downsample[1].weight.zero_()
    assert len(np.unique(representations(encoder, spots()), axis=0)) == 1
    assert not retrieved(encoder, spots(), "iso").any()
    assert fingerprint("iso") != fingerprint("col")
