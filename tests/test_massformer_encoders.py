"""The four models whole: what must not change a prediction, what they learn, and how large they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from massformer_graphs import SELFIES, described, permuted, random_features
from torch import Tensor
from torch.nn import functional

from ms2img.errors import UsageError
from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.batching import collate
from ms2img.massformer.conditions import ConditionVocabulary
from ms2img.massformer.encoders import KINDS
from ms2img.massformer.encoders.selfies_cnn import SelfiesCnn
from ms2img.massformer.model import ModelConfig, SpectrumModel, build
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.graph import ATOM_SIZES
from ms2img.massformer.presets import NAMES, PRESETS
from ms2img.massformer.spectrum import SpectrumConfig

SPECTRUM = SpectrumConfig(mz_max=60.0)
VOCABULARY = ConditionVocabulary(("[M+H]+",), ("QFT",))


def model_of(kind: str, **settings) -> SpectrumModel:
    small = {"layers": 2, "width": 32, "heads": 4, "ffn": 32, "dropout": 0.0, "head_width": 48, "head_dropout": 0.0}
    return build(ModelConfig(kind=kind, **small | settings), SPECTRUM, VOCABULARY, SELFIES, seed=3)


def batch_of(kind: str, features: list[MoleculeFeatures], rows: list[int] | None = None) -> SpectrumBatch:
    """One spectrum a molecule, or those of `rows`; precursors between 30 and 60 Da."""
    rows = list(range(len(features))) if rows is None else rows
    rng = np.random.default_rng(11)
    mz = np.array([30 + 30 * rng.random() for _ in features])[rows]
    n = len(rows)
    energies = np.linspace(10, 60, n)
    conditions = VOCABULARY.encode_all(["[M+H]+"] * n, ["QFT"] * n, energies, energies, ["eV"] * n, mz)
    target = torch.from_numpy(rng.random((n, SPECTRUM.n_bins), dtype=np.float32) ** 8)
    mz_column = torch.from_numpy(mz.astype(np.float32))
    target = target * (torch.arange(SPECTRUM.n_bins) <= mz_column[:, None].floor())
    return SpectrumBatch(
        collate(kind, features, SELFIES), torch.tensor(rows), torch.from_numpy(conditions), mz_column, target, n, 1.0,
        torch.arange(n),
    )  # fmt: skip


def doubled(model: SpectrumModel, batch: SpectrumBatch) -> Tensor:
    """The prediction in float64, from weights far from their small initial values."""
    model = model.double().eval()
    for parameter in model.encoder.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(0))
    return model(batch._replace(conditions=batch.conditions.double()))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("kind", ["massformer", "wln"])
def test_permuting_the_atoms_leaves_the_prediction(kind: str, norm_first: bool) -> None:
    rng = np.random.default_rng(0)
    plain = [random_features(rng, n) for n in (12, 5, 9)]
    shuffled = [replace(one, graph=permuted(one.graph, rng.permutation(one.graph.n_atoms))) for one in plain]
    one, two = (
        doubled(model_of(kind, norm_first=norm_first), batch_of(kind, features)) for features in (plain, shuffled)
    )
    assert one.std() > 0
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["massformer", "wln", "cnn"])
def test_larger_molecules_in_the_batch_leave_the_prediction(kind: str) -> None:
    rng = np.random.default_rng(1)
    features = [random_features(rng, 6), random_features(rng, 31), random_features(rng, 1)]
    together = doubled(model_of(kind), batch_of(kind, features))
    for row in range(3):
        batch = batch_of(kind, features)
        alone = batch._replace(
            molecules=collate(kind, [features[row]], SELFIES),
            molecule_rows=torch.zeros(1, dtype=torch.int64),
            conditions=batch.conditions[row : row + 1],
            precursor_mz=batch.precursor_mz[row : row + 1],
        )
        torch.testing.assert_close(doubled(model_of(kind), alone), together[row : row + 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_molecule_encoded_once_is_as_if_encoded_for_each_of_its_spectra(kind: str) -> None:
    rng = np.random.default_rng(2)
    features = [random_features(rng, 6), random_features(rng, 8)]
    model = model_of(kind).eval()
    shared = batch_of(kind, features, [0, 1, 0, 0, 1])
    apart = shared._replace(
        molecules=collate(kind, [features[row] for row in (0, 1, 0, 0, 1)], SELFIES), molecule_rows=torch.arange(5)
    )
    torch.testing.assert_close(model(shared), model(apart))
    torch.testing.assert_close(model.spectra(model.encode(shared.molecules), shared), model(shared))


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_random_molecules_are_learned_by_heart(kind: str) -> None:
    rng = np.random.default_rng(3)
    batch = batch_of(kind, [random_features(rng, int(n)) for n in rng.integers(4, 14, 20)])
    model = model_of(kind).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    for _ in range(200):
        cosine = functional.cosine_similarity(model(batch), batch.target).mean()
        optimiser.zero_grad()
        (1 - cosine).backward()
        optimiser.step()
        if cosine > 0.97:
            break
    assert cosine > 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_a_model_is_used(kind: str) -> None:
    rng = np.random.default_rng(4)
    batch = batch_of(kind, [random_features(rng, 9, fragments=1) for _ in range(6)])
    model = model_of(kind, norm_first=False)
    functional.cosine_similarity(model(batch), batch.target).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_comes_near_and_gives_float32(kind: str) -> None:
    rng = np.random.default_rng(5)
    batch = batch_of(kind, [random_features(rng, int(n)) for n in rng.integers(4, 14, 6)])
    model = model_of(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(batch)
    (1 - functional.cosine_similarity(half, batch.target).mean()).backward()
    assert half.dtype == torch.float32
    assert functional.cosine_similarity(half, model(batch)).min() > 0.999
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_out_and_come_back(kind: str) -> None:
    rng = np.random.default_rng(6)
    batch = batch_of(kind, [random_features(rng, 7), random_features(rng, 4)])
    model = model_of(kind).eval()
    config = ModelConfig.from_dict(model.config.to_dict())
    other = build(config, SPECTRUM, VOCABULARY, SELFIES, seed=8).eval()
    assert not torch.equal(other(batch), model(batch))
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    torch.testing.assert_close(other(batch), model(batch), rtol=0, atol=0)


def test_the_seed_alone_draws_the_weights() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, two = model_of("massformer"), model_of("massformer")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_cnn_is_a_loop_over_tokens() -> None:
    torch.manual_seed(2)
    encoder = SelfiesCnn(symbols=9, layers=2, width=4, kernel=3, dropout=0.0).double()
    codes = [[2, 5, 8], [3, 3, 1, 7, 2, 6]]
    padded = torch.tensor([[*one, *[0] * (6 - len(one))] for one in codes])
    found = encoder({"tokens": padded})
    for row, tokens in enumerate(codes):
        state = [encoder.embedding.weight[code] for code in tokens]
        for convolution in encoder.convolutions:
            state = [
                sum(
                    (convolution.weight[:, :, shift] @ state[place + shift - 1]
                     for shift in range(3) if 0 <= place + shift - 1 < len(state)),
                    convolution.bias,
                ).relu()
                for place in range(len(state))
            ]  # fmt: skip
        torch.testing.assert_close(found[row], torch.stack(state).amax(dim=0))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def transformer_layers(layers: int, width: int, ffn: int) -> int:
    """Weights of the layers by hand: q, k, v and out, two dense layers, two norms."""
    return layers * (4 * (width + 1) * width + (width + 1) * ffn + (ffn + 1) * width + 4 * width)


def test_the_paper_preset_is_graphormers_small() -> None:
    model = build(PRESETS["massformer", "paper"], SpectrumConfig(), VOCABULARY)
    assert count(model.encoder.layers) == transformer_layers(6, 512, 512)
    assert 9.5e6 < count(model.encoder) < 10e6
    assert 17e6 < count(model) < 17.5e6


def test_the_released_preset_has_56_million_weights_but_for_rows_that_no_molecule_uses() -> None:
    model = build(PRESETS["massformer", "released"], SpectrumConfig(), VOCABULARY)
    assert count(model.encoder.layers) == transformer_layers(12, 768, 768)
    # Graphormer's tables: 512 x 9 + 1 rows of atoms, twice 512 of degrees; and `masked_lm_pooler`, which is never run.
    unused = (512 * 9 + 1 - sum(ATOM_SIZES)) * 768 + (2 * 512 - 16) * 768 + 769 * 768
    assert (count(model) + unused) / 1e6 == pytest.approx(56, abs=0.5)


def test_every_preset_makes_a_model() -> None:
    assert set(PRESETS) == {(kind, name) for kind in KINDS for name in NAMES}
    for (kind, _), config in PRESETS.items():
        assert config.kind == kind
    heads = {
        tuple(
            value
            for name, value in config.to_dict().items()
            if name.startswith("head_") or name in ("output", "margin")
        )
        for (_, name), config in PRESETS.items()
        if name == "small"
    }
    assert len(heads) == 1  # in our own comparison the encoders alone differ


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "gin"}, "kind: 'gin'; expected one of massformer, wln, fp, cnn"),
        ({"layers": 0}, "layers: 0; expected an integer, 1 or more"),
        ({"width": 30, "heads": 8}, "width: 30 is no multiple of the 8 heads"),
        ({"kind": "cnn", "kernel": 4}, "kernel: 4; expected an odd number"),
        ({"dropout": 1.0}, "dropout: 1.0; expected a number at least 0 and below 1"),
        ({"head_skip": 1}, "head_skip: 1; expected true or false"),
        ({"head_norm": "group"}, "head_norm: 'group'; expected one of batch, layer"),
        ({"output": "exp"}, "output: 'exp'; expected one of relu, softplus"),
    ],
)
def test_a_bad_setting_is_named(settings: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        ModelConfig(**settings)


def test_a_cnn_without_its_symbols_is_refused() -> None:
    with pytest.raises(UsageError, match="needs the SELFIES vocabulary"):
        build(ModelConfig(kind="cnn"), SPECTRUM, VOCABULARY)
    with pytest.raises(UsageError, match="needs the SELFIES vocabulary"):
        collate("cnn", [described(np.random.default_rng(0), random_features(np.random.default_rng(0), 3).graph)])
