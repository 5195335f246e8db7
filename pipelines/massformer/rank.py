"""``ms2img massformer rank``: which of the candidate structures would give this spectrum?"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.massformer.library.adducts import parse_adduct
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.command import Output, Result
from pipelines.lists import joined, numbers

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.massformer.conditions import Condition
    from ms2img.massformer.predictor import SpectrumPredictor
    from pipelines.massformer.rank_inputs import Query

COLUMNS = ("query", "rank", "smiles", "cosine", "entropy", "candidate", "error")


class RankConfig(Config):
    """Options of ``ms2img massformer rank``."""

    query: Annotated[str, Reads()] = Field(description="MGF or MSP file of the spectra to explain (local or s3://)")
    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS, models:/NAME/VERSION, a run id or the folder of a bundle"
    )
    candidates: Annotated[str, Reads()] = Field(
        description="table with a column 'smiles': CSV, TSV or Parquet (local or s3://)"
    )
    out: Annotated[str, Writes()] = Field("ranks.csv", description="table to write, .csv (local or s3://)")
    adduct: str = Field("[M+H]+", description="of queries that state none")
    energy: str | None = Field(
        None,
        description="energies to predict at, such as 20,40,60; their mean is compared [default: each query's own]",
    )
    energy_unit: Literal["eV", "NCE"] = Field("NCE", description="of --energy, and of a query's energy without a unit")
    instrument_type: str = Field(
        "", description="as in the model's library, such as LC-ESI-QFT [default: as a mean of those]"
    )
    mass_ppm: float | None = Field(
        None, gt=0, description="compare only candidates whose precursor lies this near to the query's [default: all]"
    )
    top: int | None = Field(None, ge=1, description="rows of a query that are written, best first [default: all]")

    @field_validator("adduct")
    @classmethod
    def _adduct_is_one(cls, value: str) -> str:
        return parse_adduct(value).name

    @field_validator("energy", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return joined(value)

    @field_validator("energy")
    @classmethod
    def _energies_are_numbers(cls, value: str | None) -> str | None:
        if value is not None:
            numbers(value)
        return value

    @field_validator("out")
    @classmethod
    def _out_is_csv(cls, value: str) -> str:
        if not value.lower().endswith(".csv"):
            raise ValueError("expected a name that ends in .csv")
        return value


def rank_command(config: RankConfig, output: Output) -> Result:
    """Rank candidate structures for each query spectrum by the spectra that a model predicts for them."""
    from ms2img.io import storage
    from ms2img.io.location import file_name, parent
    from ms2img.massformer.bundle import load_bundle
    from ms2img.tracking.pull import pulled
    from pipelines.massformer.rank_inputs import Asked, read_candidates, read_queries

    storage.require_access([config.query, config.candidates, config.out])
    smiles = read_candidates(config.candidates)
    with pulled(config.model) as (folder, source):
        predictor = load_bundle(folder)
    known = predictor.vocabulary
    if config.instrument_type and config.instrument_type not in known.instruments:
        raise UsageError(f"--instrument-type {config.instrument_type}: the model knows {', '.join(known.instruments)}")
    energies = tuple(numbers(config.energy)) if config.energy is not None else ()
    asked = Asked(config.adduct, config.instrument_type, energies, config.energy_unit)
    queries, refused = read_queries(config.query, asked, predictor.vocabulary.adducts)
    if not queries:
        told = ", ".join(f"{count} {reason}" for reason, count in refused.items()) or "no spectra"
        raise UsageError(f"{config.query}: nothing to rank for: {told}; the model knows {_known(predictor)}")
    table = rank_table(predictor, smiles, queries, mass_ppm=config.mass_ppm, top=config.top)
    content = table.to_csv(index=False).encode()
    storage.folder(parent(config.out)).write(file_name(config.out), content)
    for reason, count in refused.items():
        output.warn(f"{config.query}: {count} spectra left out: {reason}")
    n_errors = int((table["error"] != "").sum())
    if n_errors:
        output.warn(f"{config.candidates}: {n_errors} candidates refused; column 'error' of {config.out}")
    unknown = sum(query.energies == (None,) for query in queries)
    if unknown:
        output.warn(f"{unknown} queries state no collision energy that is understood; give --energy")
    output.say(f"{len(queries)} queries, {len(smiles) - n_errors} candidates, by {source.uri} -> {config.out}")
    best = table[(table["rank"] != "") & ~table.duplicated("query")]
    return Result(
        {
            "output": config.out,
            "model": source.uri,
            "model_version": predictor.model_version,
            "queries": len(queries),
            "left_out": refused,
            "candidates": len(smiles) - n_errors,
            "refused": n_errors,
            "energy_unknown": unknown,
            "best": dict(zip(best["query"], best["smiles"], strict=True)),
        }
    )


def rank_table(
    predictor: SpectrumPredictor, smiles: list[str], queries: list[Query], *, mass_ppm: float | None, top: int | None
) -> pd.DataFrame:
    """The rows of the answer: of each query its candidates, best first; then one for each refused candidate.

    candidate: row of the table of candidates, from 1. top: rows of a query, at most.
    """
    import numpy as np
    import pandas as pd

    from ms2img.massformer.evaluate.candidates import rank_candidates
    from ms2img.massformer.spectrum import binned

    groups: dict[tuple[Condition, tuple[float | None, ...]], list[int]] = {}
    for index, query in enumerate(queries):
        groups.setdefault((query.condition, query.energies), []).append(index)
    rows: dict[int, list[tuple[Any, ...]]] = {}
    errors: dict[int, str] = {}
    for (condition, energies), members in groups.items():
        ranked, errors = rank_candidates(
            predictor,
            smiles,
            np.stack([binned(queries[i].mz, queries[i].intensity, predictor.spectrum) for i in members]),
            np.array([queries[i].precursor_mz for i in members]),
            condition,
            energies,
            mass_ppm=mass_ppm,
        )
        for index, found in zip(members, ranked, strict=True):
            best = zip(found.candidate, found.rank, found.cosine, found.entropy, strict=True)
            rows[index] = [
                (queries[index].name, f"{rank:g}", smiles[row], f"{cosine:.6f}", f"{entropy:.6f}", row + 1, "")
                for row, rank, cosine, entropy in itertools.islice(best, top)
            ]
    refused = [("", "", smiles[row], "", "", row + 1, error) for row, error in sorted(errors.items())]
    listed = [row for index in range(len(queries)) for row in rows[index]]
    return pd.DataFrame([*listed, *refused], columns=list(COLUMNS))


def _known(predictor: SpectrumPredictor) -> str:
    return ", ".join(predictor.vocabulary.adducts)
