"""The shared head: both directions, the gate and the mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ms2img.massformer.head import ISOTOPE_MARGIN, SpectrumHead, counted_back

BINS = 12


def head_of(**settings) -> SpectrumHead:
    torch.manual_seed(0)
    defaults = {
        "embedding": 5, "conditions": 3, "width": 8, "layers": 2, "n_bins": BINS, "bin_width": 1.0, "margin": 0.0,
        "dropout": 0.0, "norm": "layer", "skip": True, "output": "softplus",
    }  # fmt: skip
    return SpectrumHead(**defaults | settings)


def inputs(precursor: list[float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    b = len(precursor)
    rows = torch.arange(b) % 3
    return torch.randn(3, 5), rows, torch.randn(b, 3), torch.tensor(precursor)


def test_the_reverse_vector_is_counted_back_from_the_last_bin() -> None:
    reverse = torch.randn(5, BINS, requires_grad=True)
    last = torch.tensor([0, 4, BINS - 1, BINS + 3, 3 * BINS])
    expected = torch.zeros(5, BINS)
    for row in range(5):
        for number in range(BINS):
            place = int(last[row]) - number
            if 0 <= place < BINS:
                expected[row, number] = reverse[row, place]
    torch.testing.assert_close(counted_back(reverse, last), expected)
    weights = torch.randn(5, BINS)
    mine, theirs = (
        torch.autograd.grad((each * weights).sum(), reverse)[0] for each in (counted_back(reverse, last), expected)
    )
    torch.testing.assert_close(mine, theirs)


def test_a_loss_has_one_place_whatever_the_precursor() -> None:
    reverse = torch.zeros(3, BINS)
    reverse[:, 2] = 1  # a loss of 2 bins
    last = torch.tensor([3, 7, 11])
    assert counted_back(reverse, last).argmax(dim=1).tolist() == [1, 5, 9]


@pytest.mark.parametrize(("bin_width", "margin", "extra"), [(1.0, 0.0, 0), (1.0, ISOTOPE_MARGIN, 1), (0.5, 1.0, 2)])
@pytest.mark.parametrize("output", ["relu", "softplus"])
def test_bins_above_the_precursor_and_margin_are_exactly_zero(
    bin_width: float, margin: float, extra: int, output: str
) -> None:
    precursor = [0.4, 2.0, 3.7, 5.99, 80.0]
    head = head_of(bin_width=bin_width, margin=margin, output=output)
    spectra = head(*inputs(precursor))
    assert spectra.shape == (5, BINS)
    assert (spectra >= 0).all()
    for row, mz in enumerate(precursor):
        last = int(mz / bin_width) + extra
        assert (spectra[row, last + 1 :] == 0).all()
        if output == "softplus":
            assert (spectra[row, : last + 1] > 0).all()


def test_the_spectrum_is_the_gated_sum_of_both_directions() -> None:
    head = head_of(margin=1.0, output="relu")
    embeddings, rows, conditions, precursor = inputs([3.2, 6.9, 30.0, 0.0])
    weight = torch.cat([head.enter_molecule.weight, head.enter_condition.weight], dim=1)
    both = torch.cat([embeddings[rows], conditions], dim=1)  # what the two halves of the first layer stand for
    state = functional.linear(both, weight, head.enter_condition.bias)
    for block in head.blocks:
        state = state + block.layers(state)
    forward, reverse, gate = head.leave(state).split(BINS, dim=1)
    last = head.last_bins(precursor)
    share = torch.sigmoid(gate)
    mixed = share * forward + (1 - share) * counted_back(reverse, last)
    expected = torch.where(torch.arange(BINS) <= last[:, None], mixed.clamp(min=0), torch.zeros(()))
    torch.testing.assert_close(head(embeddings, rows, conditions, precursor), expected)


def test_without_skip_a_block_replaces_its_input() -> None:
    head = head_of(skip=False, layers=1)
    state = torch.randn(4, 8)
    torch.testing.assert_close(head.blocks(state), head.blocks[0].layers(state))


def test_under_autocast_the_spectrum_is_float32() -> None:
    head = head_of(output="softplus", norm="batch").eval()
    given = inputs([3.0, 9.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = head(*given)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, head(*given), rtol=0.05, atol=0.05)
