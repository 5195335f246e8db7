"""Can each model learn 100 real molecules by heart? The first check before a weak score is believed.

Trains on all spectra of some molecules without a validation part, and scores the same molecules with dropout off. A
model that cannot reach a cosine of 0.95 here has a bug, or too few epochs.

    python -m bench.massformer_overfit LIBRARY [--models fp massformer] [--molecules 100] [--minutes 3]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ms2img.learn.checkpoint import TrainingState
from ms2img.learn.environment import prepare_environment
from ms2img.learn.fit import fit
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.library.folder import Library, read_library
from ms2img.massformer.model import build
from ms2img.massformer.molecule.features import Features, featurise
from ms2img.massformer.objective import CosineObjective, molecule_means, spectrum_cosines
from ms2img.massformer.presets import PRESETS
from ms2img.massformer.selection import DataSettings
from ms2img.massformer.spectrum import SpectrumConfig
from ms2img.massformer.training import TRAINING, batches_of

EPOCHS = 1000
TARGET = 0.95


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--models", nargs="+", default=["fp", "wln", "cnn", "massformer"])
    parser.add_argument("--molecules", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each model, at most")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    prepare_environment()
    data = some_molecules(read_library(options.library), options.molecules)
    print(f"{data.n_molecules} molecules, {len(data.train)} spectra, 1 Da, log transform, {options.threads} threads")
    print("model | parameters | epochs | seconds | cosine per molecule, last epochs' training (dropout on) | learnt")
    for kind in options.models:
        print(overfit(data, kind, minutes=options.minutes, threads=options.threads), flush=True)


def some_molecules(library: Library, n: int) -> TrainingSet:
    """All [M+H]+ HCD spectra of the first `n` molecules that have any, by name; every one is trained on."""
    spectra = library.spectra.to_pandas()
    spectra = spectra[(spectra["cell"] == "HCD") & (spectra["adduct"] == "[M+H]+")]
    chosen = set(sorted(spectra["molecule_id"].unique())[: round(n / 0.7)])  # a split leaves 70 % to train on
    names = pa.array(sorted(chosen))
    molecules = library.molecules.filter(pc.is_in(library.molecules["molecule_id"], names))
    data = TrainingSet.load(
        replace(
            library,
            molecules=molecules,
            spectra=library.spectra.filter(pc.is_in(library.spectra["molecule_id"], names)),
        ),
        Features.from_table(featurise(molecules)),
        DataSettings(split="inchikey"),
        SpectrumConfig(),
    )
    return replace(data, validation=np.empty(0, dtype=np.int64))


def overfit(data: TrainingSet, kind: str, *, minutes: float, threads: int) -> str:
    """One model's row of the table."""
    model = replace(PRESETS[kind, "small"], dropout=0.0, head_dropout=0.0)
    config = replace(
        TRAINING["small"],
        epochs=EPOCHS,
        patience=None,
        weight_decay=0.0,
        schedule="constant",
        threads=threads,
        device="cpu",
    )
    network = build(model, data.spectrum, data.vocabulary, data.selfies, seed=config.seed)
    batches = batches_of(data, model, config, torch.device("cpu"))
    started = time.perf_counter()
    listener = Until(1 - TARGET - 0.01)
    result = fit(
        network, batches, config, listener, objective=CosineObjective(data.molecule_of), max_seconds=60 * minutes
    )
    seconds = time.perf_counter() - started
    network.eval()
    scored = batches_of(replace(data, validation=data.train), model, config, torch.device("cpu"))
    with torch.inference_mode():
        rows, cosines = spectrum_cosines(network, scored.validation())
    cosine = float(np.mean(molecule_means(cosines, data.molecule_of[rows])))
    n_weights = sum(weight.numel() for weight in network.parameters())
    last = 1 - result.history[-1]["train_loss"]
    return (
        f"{kind} | {n_weights:,} | {len(result.history)} | {seconds:.0f} | {cosine:.3f}, {last:.3f} | "
        f"{'yes' if cosine > TARGET else 'NO'}"
    )


class Until:
    """Stops a training once its loss is low enough."""

    def __init__(self, loss: float) -> None:
        self._loss, self._latest = loss, float("inf")

    def epoch(self, metrics: Mapping[str, float]) -> None:
        """Note the loss."""
        self._latest = metrics["train_loss"]

    def checkpoint(self, state: TrainingState) -> None:
        """Keep nothing."""

    def should_stop(self) -> bool:
        """Whether the loss is low enough."""
        return self._latest <= self._loss


if __name__ == "__main__":
    main()
