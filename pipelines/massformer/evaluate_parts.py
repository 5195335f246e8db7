"""The parts of a library that a model is evaluated on, and what they are evaluated against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ms2img.massformer.evaluate.parts import Part, part_of
from ms2img.massformer.molecule.bits import morgan_bits
from ms2img.massformer.selection import Selection
from ms2img.massformer.spectrum import SpectrumConfig

TEST, SECOND = "test", "second"


@dataclass(frozen=True)
class EvaluationParts:
    """Real spectra, binned once for all models that share a split and a binning.

    training: what a nearest neighbour is sought in. distractors: training and validation, real competitors in the
    ranking (section 4.5). held_out: name -> the spectra that models are scored on: `TEST`, and `SECOND` where a
    laboratory or library was held out. morgan: bits of every molecule in any of them.
    """

    config: SpectrumConfig
    training: Part
    distractors: Part
    held_out: Mapping[str, Part]
    morgan: Mapping[str, np.ndarray]


def evaluation_parts(
    molecules: pa.Table,
    selection: Selection,
    config: SpectrumConfig,
    *,
    second: tuple[pa.Table, pa.Table] | None = None,
) -> EvaluationParts:
    """Cut and bin the parts of a selection.

    molecules: MOLECULES of the library. second: molecules and filtered spectra of the held-out library, where it is not
    a laboratory of this one.
    """
    training = part_of(molecules, selection.of_part("train"), config)
    validation = selection.of_part("validation")
    both = pa.concat_tables([selection.of_part("train"), validation])
    held_out = {TEST: part_of(molecules, selection.of_part("test"), config)}
    if second is not None:
        held_out[SECOND] = part_of(*second, config)
    elif selection.second.num_rows:
        held_out[SECOND] = part_of(molecules, selection.second, config)
    smiles = dict(training.smiles)
    for part in held_out.values():
        smiles |= part.smiles
    return EvaluationParts(
        config=config,
        training=training,
        distractors=part_of(molecules, both, config),
        held_out={name: part for name, part in held_out.items() if len(part)},
        morgan=dict(zip(smiles, morgan_bits(list(smiles.values())), strict=True)),
    )
