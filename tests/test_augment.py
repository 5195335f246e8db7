"""Augmentation of training images: what each change does to pixels, and that it depends on nothing but its seed."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ms2img.errors import UsageError
from ms2img.learn.augment import Augmentation, shifted
from ms2img.learn.batches import ImageBatches, as_input
from ms2img.learn.fit_config import FitConfig
from ms2img.ms2toimg.crossvalidate import FoldTask, run_fold
from tests.test_fit import CONFIG as FIT
from tests.test_fit import CPU, TINY, batches_of, study

ALL = Augmentation(seed=3, shift=2, drop_precursors=0.2, drop_pixels=0.1, intensity_jitter=0.3)


def grey(n: int = 5, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0.1, 1, (n, 1, height, width)).astype(np.float32))


def changed(augmentation: Augmentation, images: torch.Tensor, epoch: int = 1) -> torch.Tensor:
    return augmentation(images, epoch=epoch, places=np.arange(len(images)))


def moved_by_hand(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Pixel by pixel, as the definition says."""
    moved = np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        if 0 <= y - down < image.shape[0] and 0 <= x - right < image.shape[1]:
            moved[y, x] = image[y - down, x - right]
    return moved


@given(st.integers(-6, 6), st.integers(-6, 6))
def test_shift_moves_pixels_and_never_wraps(down: int, right: int) -> None:
    image = grey(1, 5, 4)[0, 0]
    np.testing.assert_array_equal(shifted(image, down, right).numpy(), moved_by_hand(image.numpy(), down, right))


def test_images_move_up_to_the_asked_pixels_each_on_its_own() -> None:
    spot = torch.zeros(300, 1, 11, 11)
    spot[:, :, 5, 5] = 1
    moved = changed(Augmentation(seed=1, shift=2), spot)
    places = [tuple(np.argwhere(image[0].numpy() == 1)[0] - 5) for image in moved]
    assert {abs(step) for place in places for step in place} == {0, 1, 2}
    assert len(set(places)) == 25  # every offset of a 5 x 5 square, both directions independent


def test_no_strength_is_no_augmentation() -> None:
    assert Augmentation.of(FitConfig()) is None
    images = grey()
    assert torch.equal(changed(Augmentation(seed=1), images), images)
    plain, asked = batches_of(FIT), batches_of(FIT)
    asked._augment = Augmentation(seed=FIT.seed)
    for one, other in zip(plain.train(1), asked.train(1), strict=True):
        assert torch.equal(one.images, other.images)


def test_every_field_is_taken_from_the_training_config() -> None:
    values = {field.name: getattr(ALL, field.name) for field in fields(Augmentation)}
    assert Augmentation.of(FitConfig(**values)) == ALL
    for name in set(values) - {"seed"}:
        alone = Augmentation.of(FitConfig(**{name: values[name]}))
        assert alone == Augmentation(seed=0, **{name: values[name]})
        assert not torch.equal(changed(alone, grey()), grey())


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropped_precursors_empty_whole_columns_at_the_asked_rate(rate: float) -> None:
    images = grey(60, 4, 200)
    kept = changed(Augmentation(seed=2, drop_precursors=rate), images) > 0
    assert torch.equal(kept, kept[:, :, :1, :].expand_as(kept))  # a column goes as a whole or not at all
    n = 60 * 200
    assert 1 - float(kept[:, :, 0].float().mean()) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / n))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropped_pixels_are_lost_at_the_asked_rate(rate: float) -> None:
    images = grey(20, 30, 40)
    found = changed(Augmentation(seed=2, drop_pixels=rate), images)
    kept = found > 0
    assert torch.equal(found[kept], images[kept])
    assert 1 - float(kept.float().mean()) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / kept.numel()))


def test_jitter_scales_columns_log_normally_and_stays_in_range() -> None:
    images = torch.full((50, 1, 3, 100), 0.01)
    factor = changed(Augmentation(seed=4, intensity_jitter=0.4), images) / images
    assert torch.allclose(factor, factor[:, :, :1].expand_as(factor))
    logs = factor[:, 0, 0].log()
    assert float(logs.mean()) == pytest.approx(0, abs=4 * 0.4 / np.sqrt(5000))
    assert float(logs.std()) == pytest.approx(0.4, rel=0.05)
    assert float(changed(Augmentation(seed=4, intensity_jitter=2.0), grey()).max()) == 1.0


def test_changes_are_a_function_of_seed_epoch_and_place() -> None:
    images = grey(1).expand(6, 1, 9, 7)
    first = changed(ALL, images)
    torch.rand(3)  # torch's own random numbers have no say
    assert torch.equal(changed(ALL, images), first)
    assert torch.equal(ALL(images[2:4], epoch=1, places=np.array([2, 3])), first[2:4])  # nor has the batch
    different = [first[0], first[1], changed(ALL, images, epoch=2)[0], changed(replace(ALL, seed=4), images)[0]]
    assert not any(torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])
    assert torch.equal(images, grey(1).expand(6, 1, 9, 7))  # what came in is left alone


@pytest.mark.parametrize("world", [2, 3])
def test_workers_see_the_same_augmented_batch_as_one(world: int) -> None:
    images, target = study(17)

    def batches(rank: int, world_size: int) -> ImageBatches:
        rows = np.arange(17)
        return ImageBatches(
            images, target, train=rows, validation=rows[:4], batch_size=5, seed=3, device=CPU, augment=ALL,
            rank=rank, world_size=world_size,
        )  # fmt: skip

    parts = [batches(rank, world) for rank in range(world)]
    for epoch in (1, 2):
        shares = zip(*(part.train(epoch) for part in parts), strict=True)
        for whole, share in zip(batches(0, 1).train(epoch), shares, strict=True):
            for rank, part in enumerate(share):
                if part.weight:
                    assert torch.equal(part.images, whole.images[rank::world])
    [validation] = parts[1].validation()
    assert torch.equal(validation.images, as_input(torch.tensor(images[:4])))  # never augmented


def test_a_fold_is_trained_on_augmented_images() -> None:
    from ms2img.learn.splits import Fold

    images, target = study()
    fold = Fold(0, np.arange(24), np.empty(0, dtype=np.int64), np.arange(24, 36))
    losses = []
    for rate in (0.0, 0.3):
        config = replace(FIT, epochs=1, drop_pixels=rate)
        [row] = run_fold(images, target, FoldTask(fold, TINY, config))[0].history
        losses.append(row["train_loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"shift": -1}, "shift: -1; expected an integer, 0 or more"),
        ({"shift": 0.5}, "shift: 0.5; expected an integer, 0 or more"),
        ({"drop_precursors": 1.0}, "drop_precursors: 1.0; expected a number at least 0 and below 1"),
        ({"drop_pixels": -0.1}, "drop_pixels: -0.1; expected a number at least 0 and below 1"),
        ({"intensity_jitter": -1}, "intensity_jitter: -1; expected a number at least 0"),
        ({"micro_batch": 0}, "micro_batch: 0; expected an integer, 1 or more"),
    ],
)
def test_config_out_of_range(values: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        FitConfig(**values)
