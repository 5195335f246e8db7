"""``ms2img massformer attention``: which atoms a model looks at, as a table and as pictures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.command import Output, Result

PICTURES = 100  # molecules that are drawn, the first ones (ours); the table has all
TABLE_NAME = "attention.csv"


class AttentionConfig(Config):
    """Options of ``ms2img massformer attention``."""

    molecules: Annotated[str, Reads()] = Field(
        description="table with a column 'smiles': CSV, TSV or Parquet (local or s3://)"
    )
    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS, models:/NAME/VERSION, a run id or the folder of a bundle"
    )
    out: Annotated[str, Writes()] = Field(
        "attention", description="folder for attention.csv and a picture a molecule (local or s3://)"
    )


def attention_command(config: AttentionConfig, output: Output) -> Result:
    """Show which atoms of a molecule a MassFormer attends to: a number an atom, and the structure coloured by it."""
    import pandas as pd

    from ms2img.io import storage
    from ms2img.massformer.bundle import load_bundle
    from ms2img.massformer.molecule.drawing import draw_atoms
    from ms2img.massformer.molecule.structure import Refused, parse
    from ms2img.tracking.pull import pulled
    from pipelines.massformer.evaluate_figures import attention_of
    from pipelines.massformer.figures_attention import attention_colours
    from pipelines.massformer.rank_inputs import read_candidates

    storage.require_access([config.molecules, config.out])
    given = read_candidates(config.molecules)
    with pulled(config.model) as (folder, source):
        predictor = load_bundle(folder)
    if predictor.model.config.kind != "massformer":
        raise UsageError(f"{config.model}: a model of kind '{predictor.model.config.kind}' has no attention")
    out, rules = storage.folder(config.out), predictor.structures
    normal: dict[int, str] = {}
    refused: dict[int, str] = {}
    for row, text in enumerate(given, 1):
        try:
            taken = parse(text, elements=rules.elements, max_atoms=rules.max_atoms)
            normal[row] = taken.smiles  # its k-th atom is the k-th number
        except Refused as error:
            refused[row] = f"{error.code}: {error.message}"
    rows = []
    pictures = 0
    for (row, smiles), attention in zip(normal.items(), attention_of(predictor, list(normal.values())), strict=True):
        if attention is None:
            refused[row] = "features: not one that the model takes"
            continue
        rows += [(row, smiles, atom, f"{value:.6f}") for atom, value in enumerate(attention, 1)]
        if pictures < PICTURES:
            out.write(f"molecule_{row:04d}.png", draw_atoms(smiles, attention_colours(attention)))
            pictures += 1
    for row, reason in sorted(refused.items()):
        output.warn(f"{config.molecules}: row {row}: {reason}")
    table = pd.DataFrame(rows, columns=["molecule", "smiles", "atom", "attention"])
    out.write(TABLE_NAME, table.to_csv(index=False).encode())
    output.say(f"{len(given) - len(refused)} molecules, {pictures} drawn, by {source.uri} -> {config.out}/{TABLE_NAME}")
    return Result(
        {
            "output": out.location,
            "model": source.uri,
            "model_version": predictor.model_version,
            "molecules": len(given) - len(refused),
            "refused": len(refused),
            "pictures": pictures,
        }
    )
