"""Sizes of the four models: of the paper, of its released code, and ours for two CPU cores.

The paper gives the encoders' sizes in part (section 4.3) and the head's not at all; what it leaves open is that of the
code released with it (github.com/Roestlab/massformer at commit 5d25bcd, ``config/*_hcd_recomb_m2.yml``), with the two
directions and their gate of the later code (commit 0e3adda, ``config/mh_prec_type/nist_scaffold_mh_*.yml``), which is
preset "released".
"""

from __future__ import annotations

from typing import Any

from ms2img.massformer.model import ModelConfig

NAMES = ("paper", "released", "small")

#: Head of the paper's and released presets: batch norm, ReLU, nothing above the precursor.
_PUBLISHED_HEAD: dict[str, Any] = {"head_norm": "batch", "output": "relu", "margin": 0.0}
#: "small" of the Graphormer paper, L = 6 and d = 512; MassFormer's ``gf_model.py`` has its 32 heads and ffn 512.
#: (The code of commit 5d25bcd built 12 layers of 80 and 8 heads instead, what Graphormer calls "slim".)
_GRAPHORMER_SMALL: dict[str, Any] = {"layers": 6, "width": 512, "heads": 32, "ffn": 512, "norm_first": True}
#: "base" of Graphormer's released code. MassFormer starts from its PCQM4Mv2 weights; this one from random numbers: the
#: weights are a download of their own, and their table of atoms has the chirality that `molecule.graph` leaves out.
_GRAPHORMER_BASE: dict[str, Any] = {"layers": 12, "width": 768, "heads": 32, "ffn": 768, "norm_first": False}
_MASSFORMER_HEAD: dict[str, Any] = _PUBLISHED_HEAD | {
    "head_layers": 4, "head_width": 1000, "head_dropout": 0.4, "head_skip": True,
    "dropout": 0.1, "attention_dropout": 0.1, "initial_std": 0.02,
}  # fmt: skip
_WLN = ModelConfig(
    kind="wln", layers=3, width=400, layer_norm=False,
    head_layers=2, head_width=1000, head_dropout=0.4, head_skip=False, **_PUBLISHED_HEAD,
)  # fmt: skip
_FP = ModelConfig(
    kind="fp", layers=0, head_layers=5, head_width=2000, head_dropout=0.1, head_skip=True, **_PUBLISHED_HEAD
)
#: In the paper's code alone; the released code dropped it.
_CNN = ModelConfig(
    kind="cnn", layers=2, width=64, kernel=7, dropout=0.1,
    head_layers=5, head_width=1000, head_dropout=0.1, head_skip=False, **_PUBLISHED_HEAD,
)  # fmt: skip
#: (kind, name) -> config. "small" takes the head of `ModelConfig`'s defaults for all four: only the encoders differ.
PRESETS: dict[tuple[str, str], ModelConfig] = {
    ("massformer", "paper"): ModelConfig(kind="massformer", **_GRAPHORMER_SMALL, **_MASSFORMER_HEAD),
    ("massformer", "released"): ModelConfig(kind="massformer", **_GRAPHORMER_BASE, **_MASSFORMER_HEAD),
    ("wln", "paper"): _WLN,
    ("wln", "released"): _WLN,
    ("fp", "paper"): _FP,
    ("fp", "released"): _FP,
    ("cnn", "paper"): _CNN,
    ("cnn", "released"): _CNN,
    ("massformer", "small"): ModelConfig(kind="massformer"),
    ("wln", "small"): ModelConfig(kind="wln", layers=3, width=256),
    ("fp", "small"): ModelConfig(kind="fp", layers=1, width=512, dropout=0.2),
    ("cnn", "small"): ModelConfig(kind="cnn", layers=3, width=128, kernel=7),
}
