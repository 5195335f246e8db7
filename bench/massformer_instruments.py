"""What a model loses where the instrument type is not stated: the cosine of the scaffold split's test part, HCD.

The bundles are those of bench/massformer_grid.yaml. Columns: the type stated; not stated, and answered as the types
trained on in the proportion of their spectra (`ConditionVocabulary.another`); as "other", whose weights were never
trained.

    python -m bench.massformer_instruments bench/massformer_grid.yaml [--seed 0]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.massformer_cells import GridFile
from bench.massformer_grid import Grid
from ms2img.massformer.conditions import Condition, ConditionVocabulary
from ms2img.massformer.evaluate.experiment import similarity
from ms2img.massformer.evaluate.parts import Part
from ms2img.massformer.predictor import SpectrumPredictor
from pipelines.massformer.evaluate_models import load_models
from pipelines.massformer.evaluate_parts import TEST


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="YAML of the grid")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    grid = Grid(GridFile.resolve({}, options.file))
    parts = grid.parts("scaffold", "HCD")
    part = parts.held_out[TEST]
    adducts, types = zip(*((each.adduct, each.instrument_type) for each in parts.training.condition), strict=True)
    print(f"{len(part)} spectra of {len(part.molecules)} molecules")
    print("model | stated | as those trained on | as 'other'")
    for kind in grid.file.models:
        place = f"{grid.file.out}/bundles/{kind}_scaffold_HCD_100_seed{options.seed}"
        if not Path(place).is_dir():
            print(f"{kind} | not run")
            continue
        predictor = load_models([place])[0].predictor
        unstated = [replace(each, instrument_type="") for each in part.condition]
        scores = [score(predictor, part, part.condition)]
        known = ConditionVocabulary.of(adducts, types, before=predictor.vocabulary)  # a bundle may be older than shares
        for vocabulary in (known, replace(known, shares=())):
            predictor.vocabulary = vocabulary
            scores.append(score(predictor, part, unstated))
        print(" | ".join([kind, *(f"{each:.4f}" for each in scores)]), flush=True)


def score(predictor: SpectrumPredictor, part: Part, conditions: Sequence[Condition]) -> float:
    """The mean over molecules of the cosine of merged spectra (Table 2)."""
    smiles = [part.smiles[each] for each in part.molecule_id]
    found = similarity(part, predictor.predict(smiles, conditions), predictor.spectrum)
    return float(found.cosine.mean())


if __name__ == "__main__":
    main()
