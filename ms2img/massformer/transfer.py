"""A trained model's weights for a larger vocabulary: fine-tuning on adducts, instruments and symbols it has not seen.

Only two layers look at a vocabulary: the head's first one, which has an input for each adduct and instrument type, and
the embedding of SELFIES symbols. What is known keeps its weights. A new adduct starts as the mean of the known ones,
the best guess before data; a new instrument type as what another one counted as, a new symbol as the one that stood for
unknown symbols, so that until they are trained the model answers as before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ms2img.errors import UsageError
from ms2img.massformer.conditions import OTHER, ConditionVocabulary
from ms2img.massformer.model import SpectrumModel
from ms2img.massformer.molecule.selfies_tokens import UNKNOWN, SelfiesVocabulary

CONDITIONS_WEIGHT = "head.enter_condition.weight"  # [width, conditions]
SYMBOLS_WEIGHT = "encoder.embedding.weight"  # of kind "cnn": [symbols, width]


def extended_weights(
    model: SpectrumModel,
    before: tuple[ConditionVocabulary, SelfiesVocabulary],
    after: tuple[ConditionVocabulary, SelfiesVocabulary],
) -> dict[str, Tensor]:
    """The weights of `model`, made for the vocabularies `before`, for a model of the same shape with those `after`.

    Raises `UsageError` when a word that the model knows is missing afterwards.
    """
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state[CONDITIONS_WEIGHT] = _conditions(state[CONDITIONS_WEIGHT], before[0], after[0])
    if model.config.kind == "cnn":
        state[SYMBOLS_WEIGHT] = _symbols(state[SYMBOLS_WEIGHT], before[1], after[1])
    return state


def _conditions(weight: Tensor, before: ConditionVocabulary, after: ConditionVocabulary) -> Tensor:
    _require_known("adducts", before.adducts, after.adducts)
    _require_known("instrument types", before.instruments, after.instruments)
    column = {name: weight[:, place] for place, name in enumerate(before.columns)}
    adducts = torch.stack([column[name] for name in before.adducts]).mean(dim=0)
    another = torch.from_numpy(before.another).to(weight)
    instrument = weight[:, -len(another) :] @ another
    new = dict.fromkeys(after.adducts, adducts) | dict.fromkeys(after.instruments, instrument)
    column[OTHER] = instrument  # whose own weights may never have been trained
    return torch.stack([column[name] if name in column else new[name] for name in after.columns], dim=1)


def _symbols(weight: Tensor, before: SelfiesVocabulary, after: SelfiesVocabulary) -> Tensor:
    _require_known("SELFIES symbols", before.symbols, after.symbols)
    first = before.size - len(before.symbols)
    row = {symbol: weight[first + place] for place, symbol in enumerate(before.symbols)}
    return torch.stack([*weight[:first], *(row.get(symbol, weight[UNKNOWN]) for symbol in after.symbols)])


def _require_known(what: str, before: Sequence[str], after: Sequence[str]) -> None:
    if missing := [name for name in before if name not in after]:
        raise UsageError(f"fine-tuning: the {what} lack {', '.join(missing)}, which the model knows")
