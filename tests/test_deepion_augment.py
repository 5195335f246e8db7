"""Views of ion images: their statistics, and that each image has its own random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from ms2img.deepion.augment import (
    MsiViews,
    below_quantile,
    box_filter,
    colour_jitter,
    missing_by_intensity,
    missing_share,
    poisson_noise,
)
from ms2img.deepion.draws import Draws
from ms2img.deepion.natural import NaturalViews, crop, gaussian_filter
from ms2img.deepion.presets import VIEWS
from ms2img.errors import UsageError

#: Views that do nothing; a test turns one step on.
STILL = MsiViews(brightness=0, contrast=0, filter_chance=0, missing_draws=0)


def draws(n: int, *, seed: int = 0, view: int = 0, epoch: int = 1) -> Draws:
    return Draws.of(np.arange(n), seed=seed, epoch=epoch, view=view, device=torch.device("cpu"))


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None]


@pytest.mark.parametrize("ions", [2.0, 40.0])
def test_poisson_counts_have_their_mean_as_variance(ions: float) -> None:
    levels = torch.tensor([0.0, 0.1, 0.5, 1.0])
    images = levels.repeat_interleave(20_000).reshape(1, 1, 4, 20_000)
    counts = (poisson_noise(images, column(ions), draws(1)) * ions)[0, 0].double()
    assert torch.equal(counts.round().float(), (counts + 1e-4).floor().float())  # whole numbers
    assert not bool(counts[0].any())
    for level, counted in zip(levels[1:], counts[1:], strict=True):
        expected = float(level) * ions
        error = (expected / 20_000) ** 0.5
        assert counted.mean().item() == pytest.approx(expected, abs=4 * error)
        # The variance of a Poisson sample's variance is (mean + 2 mean^2) / n.
        assert counted.var().item() == pytest.approx(expected, abs=4 * ((expected + 2 * expected**2) / 20_000) ** 0.5)


def test_poisson_noise_is_that_of_scipys_distribution() -> None:
    counts = (poisson_noise(torch.full((1, 1, 100, 100), 0.3), column(10.0), draws(1)) * 10).round().flatten().numpy()
    observed = np.bincount(counts.astype(int), minlength=9)
    expected = stats.poisson(3).pmf(np.arange(8))
    frequencies = np.append(observed[:8], observed[8:].sum())
    assert stats.chisquare(frequencies, np.append(expected, 1 - expected.sum()) * 10_000).pvalue > 1e-3


@pytest.mark.parametrize("drawn", [0.05, 0.4, 0.8, 3.0])
def test_draws_with_repeats_hit_the_share_told(drawn: float) -> None:
    n = 50_000
    hit = len(np.unique(np.random.default_rng(0).integers(n, size=int(drawn * n)))) / n
    assert float(missing_share(torch.tensor(drawn))) == pytest.approx(hit, abs=0.005)


def test_missing_values_come_at_the_rate_asked_for() -> None:
    views = MsiViews.from_dict(STILL.to_dict() | {"missing_draws": 0.8})
    missing = (views.view(torch.ones(400, 1, 20, 20), draws(400)) == 0).float().mean(dim=(1, 2, 3))
    # The mean of 1 - exp(-u) for u uniform to .8; rates of single images fill the range up to 1 - exp(-.8).
    assert missing.mean().item() == pytest.approx(1 - (1 - np.exp(-0.8)) / 0.8, abs=0.03)
    rates = 1 - np.exp(-np.random.default_rng(0).uniform(0, 0.8, 400))
    assert stats.ks_2samp(missing.numpy(), np.random.default_rng(1).binomial(400, rates) / 400).pvalue > 1e-3


@pytest.mark.parametrize("rising", [False, True])
def test_missing_depends_on_intensity_in_a_straight_line(rising: bool) -> None:
    levels = torch.linspace(0.1, 1.0, 10)
    images = levels[:, None].expand(10, 20_000)[None, None]
    missing = (missing_by_intensity(images, column(0.6), draws(1), rising=rising) == 0).float().mean(dim=3)[0, 0]
    expected = 0.6 * (levels if rising else 1 - levels)
    torch.testing.assert_close(missing, expected, atol=0.015, rtol=0)
    assert bool(((missing.diff() > 0) if rising else (missing.diff() < 0)).all())


def test_iso_views_drop_faint_pixels_and_keep_bright_ones() -> None:
    images = torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(min=1e-3)
    for law, bright in (("falling", False), ("rising", True), ("quantile", False)):
        views = MsiViews.from_dict(STILL.to_dict() | {"intensity_law": law})
        gone = views.view(images, draws(200)) == 0
        shares = [gone[(images >= i / 4) & (images < (i + 1) / 4)].float().mean().item() for i in range(4)]
        assert shares == sorted(shares, reverse=not bright)
        assert max(shares) - min(shares) > 0.2


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.data())
def test_quantiles_are_numpys(n: int, height: int, width: int, data: st.DataObject) -> None:
    images = np.random.default_rng(n).random((n, 1, height, width)).astype(np.float32)
    wanted = data.draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
    answer = below_quantile(torch.from_numpy(images), column(*wanted)).numpy()
    for image, kept, quantile in zip(images, answer, wanted, strict=True):
        limit = np.quantile(image.astype(np.float64), quantile)
        clear = np.abs(image - limit) > 1e-5
        assert np.array_equal(kept[clear], np.where(image < limit, 0, image)[clear])


def test_filters_are_scipys() -> None:
    images = torch.rand(3, 1, 12, 17)
    for size in (1, 3, 5):
        expected = ndimage.uniform_filter(images.double().numpy(), (1, 1, size, size), mode="nearest")
        assert np.allclose(box_filter(images, size).numpy(), expected, atol=1e-6)
    sigma = torch.tensor([0.3, 1.1, 2.0])
    blurred = gaussian_filter(images, sigma).numpy()
    for image, made, width in zip(images.double().numpy(), blurred, sigma, strict=True):
        expected = ndimage.gaussian_filter(image[0], float(width), mode="nearest", radius=6)
        assert np.allclose(made[0], expected, atol=1e-5)


def test_colour_jitter_draws_brightness_and_contrast_for_each_image() -> None:
    images = (torch.rand(500, 1, 8, 8) * 0.2 + 0.3).float()
    bright = colour_jitter(images, draws(500), brightness=0.5, contrast=0)
    factors = (bright / images).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-5)
    assert stats.kstest(factors[:, 0].numpy(), "uniform", (0.5, 1.0)).pvalue > 1e-3
    contrast = colour_jitter(images, draws(500), brightness=0, contrast=0.8)
    torch.testing.assert_close(contrast.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-5, rtol=0)
    ratio = (contrast.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))).numpy()
    assert stats.kstest(ratio, "uniform", (0.2, 1.6)).pvalue > 1e-3


def test_crops_resize_a_part_and_mirror_it() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 24, 32).contiguous()
    right_half = crop(ramp, centre=(column(0.5), column(0.0)), size=(column(0.5), column(1.0)))
    assert right_half.min().item() == pytest.approx(0.5, abs=0.02)
    assert right_half.max().item() == pytest.approx(1.0, abs=0.02)
    whole = {"centre": (column(0.0), column(0.0)), "size": (column(1.0), column(1.0))}
    torch.testing.assert_close(crop(ramp, **whole), ramp, atol=1e-5, rtol=0)
    mirrored = crop(ramp, centre=whole["centre"], size=(column(-1.0), column(1.0)))
    torch.testing.assert_close(mirrored, ramp.flip(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("views", VIEWS.values(), ids=[" ".join(key) for key in VIEWS])
def test_every_preset_makes_views_of_any_size_that_differ_by_image_view_and_epoch(views: MsiViews) -> None:
    image = torch.rand(1, 1, 9, 14, generator=torch.Generator().manual_seed(3))
    images = image.expand(4, 1, 9, 14).contiguous()
    kept = images.clone()
    made = views.view(images, draws(4))
    assert torch.equal(images, kept)
    assert made.shape == images.shape
    assert bool((made >= 0).all() & torch.isfinite(made).all())
    assert len({made[i].numpy().tobytes() for i in range(4)}) == 4
    assert torch.equal(made, views.view(images, draws(4)))
    for other in (draws(4, view=1), draws(4, epoch=2), draws(4, seed=1)):
        assert not torch.equal(made, views.view(images, other))
    alone = Draws.of(np.array([2]), seed=0, epoch=1, view=0, device=torch.device("cpu"))
    torch.testing.assert_close(views.view(images[2:3], alone), made[2:3], atol=1e-6, rtol=0)
    views.view(torch.rand(2, 1, 1, 3), draws(2))  # as small as images come


def test_settings_out_of_range_are_named() -> None:
    for wrong, message in (
        ({"filter_size": 4}, "filter_size: 4; expected an odd number"),
        ({"brightness": 1.5}, "brightness: 1.5; expected a number"),
        ({"counts_high": 5.0}, "counts_low: 0.0; expected above 0"),
        ({"quantile_low": 0.95}, "quantile_low: 0.95; expected up to quantile_high 0.89"),
        ({"intensity_law": "both"}, "intensity_law: 'both'; expected one of"),
    ):
        with pytest.raises(UsageError, match=message):
            MsiViews(**wrong)
    with pytest.raises(UsageError, match="blur_low: 3; expected up to blur_high 2"):
        NaturalViews(blur_low=3)
    with pytest.raises(UsageError, match="did you mean 'missing_draws'"):
        MsiViews.from_dict({"missing_draw": 0.1})
