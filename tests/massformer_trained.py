"""Small trainings of spectrum models that several test modules need: the miniature library with its SIMULATED peaks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from massformer_data import ENERGIES, records, small_library

from ms2img.learn.fit_config import FitConfig
from ms2img.massformer.dataset import TrainingSet
from ms2img.massformer.library.adducts import parse_adduct
from ms2img.massformer.library.assemble import assemble, read_part
from ms2img.massformer.library.filters import LibraryRules
from ms2img.massformer.library.folder import Library, write_library
from ms2img.massformer.library.massbank import parse_massbank
from ms2img.massformer.model import ModelConfig
from ms2img.massformer.molecule.features import Features, featurise
from ms2img.massformer.presets import PRESETS
from ms2img.massformer.selection import DataSettings
from ms2img.massformer.spectrum import SpectrumConfig

KINDS = ("massformer", "wln", "fp", "cnn")
SPECTRUM = SpectrumConfig(mz_max=500.0)
SETTINGS = DataSettings(split="inchikey")
FIT = FitConfig(
    epochs=3, batch_size=32, learning_rate=3e-3, seed=1, threads=1, precision="float32", device="cpu", gradient_clip=5.0
)


def tiny(kind: str) -> ModelConfig:
    """A network of that kind that trains in no time."""
    sizes: dict[str, Any] = {"head_layers": 1, "head_width": 48, "width": 32, "layers": 1, "head_dropout": 0.1}
    return replace(PRESETS[kind, "small"], **sizes, **({"heads": 4, "ffn": 32} if kind == "massformer" else {}))


@cache
def library() -> Library:
    """The miniature library."""
    return small_library()


@cache
def features() -> Features:
    """Of its molecules."""
    return Features.from_table(featurise(library().molecules))


def data(settings: DataSettings = SETTINGS, **options: Any) -> TrainingSet:
    """Its training set."""
    return TrainingSet.load(library(), features(), settings, SPECTRUM, **options)


def library_folder(place: Path, *, adduct: str, instrument: str, compounds: int = 42) -> str:
    """The miniature library as a prepared one on disk, its spectra called those of another ion and instrument."""
    rules = LibraryRules()
    texts = records(laboratories=("Alpha", "Beta"), energies=ENERGIES, compounds=compounds)
    made = assemble([read_part((parse_massbank(text.splitlines(), library="small") for text in texts), rules)])
    spectra = made.spectra
    heavier = parse_adduct(adduct).shift - parse_adduct("[M+H]+").shift
    for name, values in {
        "adduct": pa.array([adduct] * spectra.num_rows),
        "instrument_type": pa.array([instrument] * spectra.num_rows),
        "precursor_mz": pc.add(spectra["precursor_mz"], heavier),
    }.items():
        at = spectra.schema.get_field_index(name)
        spectra = spectra.set_column(at, spectra.schema.field(at), values)
    write_library(str(place), replace(made, spectra=spectra), settings=rules.model_dump(mode="json"), inputs={})
    return str(place)
