"""The two networks, their loss and their training, small enough for a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ms2img.deepion.batches import ViewBatches
from ms2img.deepion.objective import (
    SPREAD,
    CollapseError,
    CollapseWatch,
    SiameseObjective,
    agreement_loss,
    negative_cosine,
    spread,
)
from ms2img.deepion.presets import MODELS, NAMES, TRAINING, VIEWS, views_of
from ms2img.deepion.resnet import ResNet18
from ms2img.deepion.siamese import Siamese, SiameseConfig, build
from ms2img.deepion.training import train_encoder
from ms2img.errors import UsageError
from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.fit_config import FitConfig

SMALL = {"hidden": 32, "width": 16, "bottleneck": 8}
CPU = torch.device("cpu")
QUICK = FitConfig(epochs=2, batch_size=6, learning_rate=3e-4, keep="last", threads=1, precision="float32", device="cpu")


def small(name: str) -> SiameseConfig:
    return replace(MODELS[name], **SMALL)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """[12, 16, 16]: spots in different places."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    spots = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 20) for a, b in rng.uniform(0, 16, (12, 2))]
    return np.stack(spots).astype(np.float32)


def views(n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(n, 1, 16, 16, generator=generator), torch.rand(n, 1, 16, 16, generator=generator)


def layers(module: torch.nn.Module) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in module.modules() if isinstance(layer, torch.nn.Linear)]


def test_heads_have_the_published_widths() -> None:
    paper, released = (build(MODELS[name], seed=0) for name in ("paper", "released"))
    assert layers(paper.projection) == [(2048, 512), (2048, 2048), (2048, 2048)]
    assert layers(paper.prediction) == [(512, 2048), (2048, 512)]
    assert layers(released.projection) == [(4096, 512), (256, 4096)]
    assert layers(released.prediction) == [(4096, 256), (256, 4096)]
    assert paper.projection[0].weight.std().item() == pytest.approx(0.02, rel=0.01)  # DeepION: N(0, 0.02)
    assert not bool(paper.prediction[3].bias.any())


def test_loss_is_the_papers_equation() -> None:
    model = build(small("paper"), seed=0).train()
    answer = model(*views())
    p1, p2, h1, h2 = (part.detach().double().numpy() for part in answer)

    def d(p: np.ndarray, h: np.ndarray) -> float:
        return -float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(p, h, strict=True)]))

    assert agreement_loss(answer).item() == pytest.approx(0.5 * d(p1, h2) + 0.5 * d(p2, h1), abs=1e-6)
    same = torch.randn(3, 5)
    assert negative_cosine(same, 7 * same).tolist() == pytest.approx([-1.0] * 3)


@pytest.mark.parametrize("name", ["paper", "released"])
def test_no_gradient_flows_through_what_is_compared_with(name: str) -> None:
    model = build(small(name), seed=0).train()
    first, second = views()
    # The first term alone, its target's view a leaf: no derivative by it exists.
    first.requires_grad_(True)
    second.requires_grad_(True)
    answer = model(first, second)
    assert not answer.first_target.requires_grad
    assert not answer.second_target.requires_grad
    negative_cosine(answer.first_prediction, answer.second_target).sum().backward()
    assert bool(first.grad.abs().sum() > 0)
    assert second.grad is None or not bool(second.grad.any())


def test_gradient_is_that_of_a_constant_target() -> None:
    """Eq. 10 with the targets written in as numbers: the same gradient; without stop-gradient it is another."""

    def gradient(constant: bool) -> Tensor:
        model = build(small("paper"), seed=0).train()
        h1, h2 = (model.projection(model.encoder(view)) for view in views())
        p1, p2 = model.prediction(h1), model.prediction(h2)
        if constant:
            h1, h2 = (torch.tensor(h.tolist()) for h in (h1, h2))
        cosines = [(p * h).sum(1) / p.norm(dim=1) / h.norm(dim=1) for p, h in ((p1, h2), (p2, h1))]
        (-0.5 * (cosines[0] + cosines[1]).mean()).backward()
        return model.encoder.conv1.weight.grad

    model = build(small("paper"), seed=0).train()
    agreement_loss(model(*views())).backward()
    ours = model.encoder.conv1.weight.grad
    torch.testing.assert_close(ours, gradient(constant=True), rtol=1e-2, atol=1e-4)
    assert not torch.allclose(ours, gradient(constant=False), rtol=1e-2, atol=1e-4)


def test_target_follows_with_momentum() -> None:
    model = build(replace(small("released"), momentum=0.9), seed=0)
    start = model.target[0].layer2[0].conv1.weight.clone()
    model.follow()
    assert torch.equal(model.target[0].layer2[0].conv1.weight, start)  # equal before the first step
    with torch.no_grad():
        model.encoder.layer2[0].conv1.weight.add_(1.0)
    expected = start
    for _ in range(3):
        model.follow()
        expected = 0.9 * expected + 0.1 * (start + 1.0)
        torch.testing.assert_close(model.target[0].layer2[0].conv1.weight, expected)
    assert not any(weight.requires_grad for weight in model.target.parameters())
    assert build(small("paper"), seed=0).target is None


def test_spread_is_the_root_of_the_total_variance_of_directions() -> None:
    rows = torch.randn(50, 8)
    directions = (rows / rows.norm(dim=1, keepdim=True)).double().numpy()
    assert spread(rows).item() == pytest.approx(directions.var(axis=0).sum() ** 0.5, abs=1e-6)
    assert spread(torch.rand(1, 8).expand(9, 8)).item() < 1e-6
    assert spread(torch.zeros(9, 8)).item() == 0
    assert spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item() == pytest.approx(1)


def test_batches_hold_every_image_once_and_never_one_alone(images: np.ndarray) -> None:
    batches = ViewBatches(images[:11], VIEWS["col", "paper"], batch_size=5, seed=0, device=CPU)
    sizes = [(len(batch.first), len(batch.second), batch.size) for batch in batches.train(1)]
    assert sizes == [(4, 4, 4), (4, 4, 4), (3, 3, 3)]
    still = replace(VIEWS["col", "released"], brightness=0, contrast=0, filter_chance=0, missing_draws=0)
    seen = torch.cat([b.first for b in ViewBatches(images, still, batch_size=5, seed=0, device=CPU).train(1)])
    assert sorted(map(bytes, seen.numpy())) == sorted(map(bytes, images))
    for n, world in ((1, 1), (3, 2)):
        with pytest.raises(UsageError, match="leaves a part of less than 2"):
            ViewBatches(images[:n], still, batch_size=8, seed=0, device=CPU, world_size=world)


def test_workers_share_the_views_of_a_batch(images: np.ndarray) -> None:
    def parts(rank: int, world: int) -> list[Tensor]:
        batches = ViewBatches(
            images, VIEWS["iso", "paper"], batch_size=6, seed=4, device=CPU, rank=rank, world_size=world
        )
        return [batch.first for batch in batches.train(3)]

    for whole, even, odd in zip(parts(0, 1), parts(0, 2), parts(1, 2), strict=True):
        torch.testing.assert_close(whole[0::2], even, atol=1e-6, rtol=0)
        torch.testing.assert_close(whole[1::2], odd, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_trains(name: str, images: np.ndarray) -> None:
    config = replace(TRAINING[name], **{k: getattr(QUICK, k) for k in ("epochs", "batch_size", "threads", "precision")})
    trained = train_encoder(images[:6], VIEWS["col", name], small(name), config)
    assert trained.fit.best_epoch == 2
    for row in trained.fit.history:
        assert -1 <= row["train_loss"] <= 1
        assert 0.01 < row[SPREAD] <= 1
    start = build(small(name), seed=config.seed).encoder
    assert not torch.equal(trained.encoder.conv1.weight, start.conv1.weight)
    assert not trained.encoder.training


@pytest.mark.slow  # ten seconds
def test_adam_has_the_papers_moments(images: np.ndarray) -> None:
    """One epoch of the training loop against torch's own Adam, step by step."""
    config = replace(QUICK, epochs=1)
    trained = train_encoder(images, VIEWS["col", "paper"], small("paper"), config)
    model = build(small("paper"), seed=0).train()
    adam = torch.optim.Adam(model.parameters(), lr=3e-4, betas=(0.5, 0.99))
    for batch in ViewBatches(images, VIEWS["col", "paper"], batch_size=6, seed=0, device=CPU).train(1):
        adam.zero_grad()
        agreement_loss(model(batch.first, batch.second)).backward()
        adam.step()
    ours, theirs = trained.encoder.layer1[0].conv1.weight, model.encoder.layer1[0].conv1.weight
    start = build(small("paper"), seed=0).encoder.layer1[0].conv1.weight
    moved = (theirs - start).abs().max()
    assert (ours - theirs).abs().mean() < 0.05 * moved


def test_a_resumed_training_ends_where_an_unbroken_one_does(images: np.ndarray, tmp_path: Path) -> None:
    class Keeping:
        def epoch(self, metrics: Mapping[str, float]) -> None:
            self.last = metrics["epoch"]

        def checkpoint(self, state: TrainingState) -> None:
            if state.epoch == 1:
                state.save(tmp_path / "state")

        def should_stop(self) -> bool:
            return False

    views = VIEWS["iso", "released"]
    whole = train_encoder(images[:6], views, small("released"), QUICK, Keeping())
    resumed = train_encoder(images[:6], views, small("released"), QUICK, resume=tmp_path / "state")
    assert resumed.fit.history == whole.fit.history
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[name]), name


def test_collapse_of_the_encoder_ends_the_training_and_is_named(images: np.ndarray) -> None:
    with pytest.raises(CollapseError, match=r"epoch 1: the embeddings have collapsed: their spread is .*, below 0\.01"):
        train_encoder(np.repeat(images[:1], 4, axis=0), VIEWS["col", "paper"], small("paper"), QUICK)

    model = build(small("paper"), seed=0)
    with torch.no_grad():  # an encoder that answers one vector to everything
        model.encoder.layer4[1].bn2.weight.zero_()
        model.encoder.layer4[1].bn2.bias.uniform_()
        for weight in model.encoder.layer4[0].parameters():
            weight.zero_()
    batches = ViewBatches(images, VIEWS["col", "paper"], batch_size=6, seed=0, device=CPU)
    row = SiameseObjective().validate(model.eval(), batches.validation(), torch.float32)
    with pytest.raises(CollapseError):
        CollapseWatch().epoch({"epoch": 7, **row})
    healthy = SiameseObjective().validate(build(small("paper"), seed=0).eval(), batches.validation(), torch.float32)
    CollapseWatch().epoch({"epoch": 7, **healthy})


def test_training_starts_from_given_weights(images: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(9)
    save_file(ResNet18(classes=3).state_dict(), tmp_path / "w.safetensors")
    config = replace(QUICK, epochs=1, learning_rate=1e-12)
    trained = train_encoder(
        images[:4], VIEWS["col", "released"], small("released"), config, weights=tmp_path / "w.safetensors"
    )
    torch.manual_seed(9)
    torch.testing.assert_close(trained.encoder.conv1.weight, ResNet18(classes=3).conv1.weight, atol=1e-6, rtol=0)


def test_settings_that_do_not_fit_are_named(images: np.ndarray) -> None:
    with pytest.raises(UsageError, match="momentum: 0.9, but 'simsiam' has no target"):
        SiameseConfig(momentum=0.9)
    with pytest.raises(UsageError, match="views: 'iso simsiam' is no preset; expected one of col paper"):
        views_of("iso", "simsiam")
    for changed, message in (({"keep": "best"}, "keep: 'best'"), ({"shift": 1}, "shift: 1 has no meaning")):
        with pytest.raises(UsageError, match=message):
            train_encoder(images, views_of("col", "paper"), small("paper"), replace(QUICK, **changed))
    with pytest.raises(UsageError, match="micro_batch"):
        train_encoder(images, views_of("col", "paper"), small("paper"), replace(QUICK, micro_batch=2))
    assert isinstance(build(small("paper"), seed=0), Siamese)
