"""The four models: an encoder of the molecule, and one head that all share (MassFormer, section 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ms2img.errors import UsageError
from ms2img.learn.settings import Settings
from ms2img.massformer.batch import SpectrumBatch
from ms2img.massformer.conditions import ConditionVocabulary
from ms2img.massformer.encoders import KINDS, Encoder
from ms2img.massformer.encoders.fingerprint import FingerprintEncoder
from ms2img.massformer.encoders.graphormer import Graphormer
from ms2img.massformer.encoders.selfies_cnn import SelfiesCnn
from ms2img.massformer.encoders.wln import Wln
from ms2img.massformer.head import ISOTOPE_MARGIN, NORMS, OUTPUTS, SpectrumHead
from ms2img.massformer.molecule.fingerprints import FINGERPRINT_BITS
from ms2img.massformer.molecule.selfies_tokens import SelfiesVocabulary
from ms2img.massformer.spectrum import SpectrumConfig


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The shape of a model; raises `UsageError` for a value out of range. The defaults are MassFormer's preset "small".

    What a kind has no use for (heads of a WLN) it ignores. `presets.PRESETS` has all presets.
    """

    kind: str = "massformer"  # the encoder: massformer, wln, fp or cnn
    layers: int = 4  # of the encoder; fp: dense layers before the head, 0: the head sees the fingerprint itself
    width: int = 128  # of the encoder's hidden states and its output
    heads: int = 8  # massformer: of each attention
    ffn: int = 256  # massformer: hidden width of the feed-forward halves
    norm_first: bool = True  # massformer: norms before the halves (Graphormer's paper) or after (its released code)
    kernel: int = 7  # cnn: tokens that a convolution sees
    # wln: layer norms over states and embedding. "small" on MassBank, learning rate 1e-3: without any (the paper) the
    # training loss rose from .48 to .85 within ten epochs; with the embedding's alone 100 molecules were learnt to a
    # cosine of .76 in a minute of one core; with both to .955.
    layer_norm: bool = True
    dropout: float = 0.1  # encoder; a WLN has none
    attention_dropout: float = 0.0  # massformer
    # massformer: deviation of the initial weights. Graphormer's is 0.02. At this width and 500 steps on MassBank (ours)
    # the validation cosine was .436 from 0.02, .446 from 0.06 and .451 from 0.12, one seed each.
    initial_std: float = 0.12
    head_layers: int = 2  # blocks of the head
    head_width: int = 512
    head_dropout: float = 0.2
    head_norm: str = "layer"  # in the head's blocks: over the "batch" (released code) or the "layer"
    head_skip: bool = True  # whether a block adds to its input
    output: str = "softplus"  # what keeps the spectrum from being negative: "relu" (released code) or "softplus"
    margin: float = ISOTOPE_MARGIN  # Da above the precursor that are predicted, for its isotopes; released code: 0

    def __post_init__(self) -> None:
        self._require_one_of("kind", KINDS)
        self._require_int("layers", low=0 if self.kind == "fp" else 1)
        for name in ("width", "heads", "ffn", "kernel", "head_width"):
            self._require_int(name, low=1)
        self._require_int("head_layers", low=0)
        for name in ("dropout", "attention_dropout", "head_dropout"):
            self._require_float(name, low=0.0, high=1.0)
        self._require_float("initial_std", low=0.0, high=math.inf, low_open=True)
        for name in ("norm_first", "layer_norm", "head_skip"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name}: {getattr(self, name)!r}; expected true or false")
        self._require_one_of("head_norm", NORMS)
        self._require_one_of("output", OUTPUTS)
        self._require_float("margin", low=0.0, high=math.inf)
        if self.kind == "massformer" and self.width % self.heads:
            raise UsageError(f"width: {self.width} is no multiple of the {self.heads} heads")
        if self.kind == "cnn" and self.kernel % 2 == 0:
            raise UsageError(f"kernel: {self.kernel}; expected an odd number, so that a token has as many on each side")


class SpectrumModel(nn.Module):
    """Encoder and head. `build` makes one."""

    def __init__(self, config: ModelConfig, encoder: Encoder, head: SpectrumHead) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.head = head

    def encode(self, molecules: dict[str, Tensor]) -> Tensor:
        """Molecules as `batching.collate` stacks them -> embeddings [m, d]."""
        return self.encoder(molecules)

    def forward(self, batch: SpectrumBatch) -> Tensor:
        """Spectra float32 [b, n_bins], transformed, at no particular scale: >= 0, and 0 above precursor and margin."""
        return self.spectra(self.encode(batch.molecules), batch)

    def spectra(self, embeddings: Tensor, batch: SpectrumBatch) -> Tensor:
        """As `forward` from embeddings [m, d] that are at hand: many conditions, each molecule encoded once."""
        spectra: Tensor = self.head(embeddings, batch.molecule_rows, batch.conditions, batch.precursor_mz)
        return spectra


def build(
    config: ModelConfig,
    spectrum: SpectrumConfig,
    vocabulary: ConditionVocabulary,
    selfies: SelfiesVocabulary | None = None,
    *,
    seed: int = 0,
) -> SpectrumModel:
    """A model with weights drawn by `seed`; torch's global random state is left as it was.

    selfies: needed by kind "cnn" alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _encoder(config, selfies)
        head = SpectrumHead(
            embedding=encoder.width,
            conditions=vocabulary.size,
            width=config.head_width,
            layers=config.head_layers,
            n_bins=spectrum.n_bins,
            bin_width=spectrum.bin_width,
            margin=config.margin,
            dropout=config.head_dropout,
            norm=config.head_norm,
            skip=config.head_skip,
            output=config.output,
        )
        return SpectrumModel(config, encoder, head)


def _encoder(config: ModelConfig, selfies: SelfiesVocabulary | None) -> Encoder:
    if config.kind == "massformer":
        return Graphormer(
            layers=config.layers,
            width=config.width,
            heads=config.heads,
            ffn=config.ffn,
            norm_first=config.norm_first,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            initial_std=config.initial_std,
        )
    if config.kind == "wln":
        return Wln(layers=config.layers, width=config.width, norm=config.layer_norm)
    if config.kind == "fp":
        return FingerprintEncoder(
            bits=FINGERPRINT_BITS, layers=config.layers, width=config.width, dropout=config.dropout
        )
    if selfies is None:
        raise UsageError("kind: cnn needs the SELFIES vocabulary of the training molecules")
    return SelfiesCnn(
        symbols=selfies.size,
        layers=config.layers,
        width=config.width,
        kernel=config.kernel,
        dropout=config.dropout,
    )
