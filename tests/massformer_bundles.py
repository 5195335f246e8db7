"""Bundles of tiny spectrum models, and library folders, for tests of what uses them. The spectra are SIMULATED."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from massformer_data import records

from ms2img.learn.fit_config import FitConfig
from ms2img.massformer.bundle import save_bundle
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.library.assemble import assemble, read_part
from ms2img.massformer.library.filters import LibraryRules
from ms2img.massformer.library.folder import Library, read_library, write_library
from ms2img.massformer.library.massbank import parse_massbank
from ms2img.massformer.model import ModelConfig
from ms2img.massformer.molecule.description import features_of
from ms2img.massformer.selection import DataSettings
from ms2img.massformer.spectrum import SpectrumConfig
from ms2img.massformer.training import train_model

SPECTRUM = SpectrumConfig(mz_max=400.0)
SETTINGS = DataSettings(split="inchikey", held_out="Beta")
TINY = {
    "fp": ModelConfig(kind="fp", layers=1, width=64, head_width=64, head_layers=1),
    "massformer": ModelConfig(kind="massformer", layers=2, width=32, heads=4, ffn=32, head_width=64, head_layers=1),
}


def library_folder(folder: Path, *, compounds: int | None = None) -> Path:
    """The small library as ``ms2img massformer prepare`` writes one; the folder."""
    rules = LibraryRules()
    texts = records(laboratories=("Alpha", "Beta"), energies=(15, 30, 60), compounds=compounds)
    read = (parse_massbank(text.splitlines(), library="small") for text in texts)
    write_library(
        str(folder), assemble([read_part(read, rules)]), settings=rules.model_dump(mode="json"), inputs={"small": "0"}
    )
    return folder


def training_set(library: Library, settings: DataSettings = SETTINGS) -> TrainingSet:
    """What a model learns from."""
    names, smiles = (library.molecules[column].to_pylist() for column in ("molecule_id", "smiles"))
    features = {name: features_of(text) for name, text in zip(names, smiles, strict=True)}
    return TrainingSet.load(library, features, settings, SPECTRUM)


def tiny_bundle(
    folder: Path, library: Path, *, kind: str = "fp", seed: int = 0, epochs: int = 20, settings: DataSettings = SETTINGS
) -> Path:
    """A tiny model, trained for seconds; its folder."""
    data = training_set(read_library(str(library)), settings)
    fit = FitConfig(epochs=epochs, batch_size=16, learning_rate=3e-3, seed=seed, threads=1, precision="float32")
    trained = train_model(data, TINY[kind], replace(fit, device="cpu"))
    save_bundle(
        folder,
        model_state=trained.model.state_dict(),
        model=TINY[kind],
        spectrum=data.spectrum,
        vocabulary=data.vocabulary,
        selfies=data.selfies,
        data=data.settings,
        part=data.part,
        card={
            "library": data.library,
            "kind": kind,
            "preset": "tiny",
            "seed": seed,
            "seeds": 1,
            "epoch": 1,
            "molecules": data.n_molecules,
            "spectra": len(data.train),
            "licences": data.licences,
            "simulated": data.simulated,
            "fingerprints": data.fingerprints,
            "metrics": {"cosine_mean": trained.cosine},
        },
    )
    return folder
