"""Is what DeepION finds plausible on real ion images, where no class is known?

A 13C isotope lies where its monoisotopic ion lies, and its mass gives the pair away without a look at the images. So:
how often is such a pair more alike than an ion is to one at no isotope's distance? 1 is always, 0.5 chance. The lighter
ion has to be the brighter one, as in the isotope search; a pair of unrelated ions at the same distance in mass counts
as a pair, so that 1 cannot be reached. This is plausibility on a small set, and no benchmark.

``python -m bench.deepion_real ../shared/data/imzml/timstof_maldi_20x20_165_ion_images.npz``
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from ms2img.deepion.benchmark.methods import ENCODER, METHODS, SIMILARITY, UMAP, Spaces, unlearned
from ms2img.deepion.embed import reduced, representations
from ms2img.deepion.images import IonImages
from ms2img.deepion.isotopes import Candidates, isotope_candidates
from ms2img.deepion.matrix import from_archive
from ms2img.deepion.prepare_settings import PrepareSettings
from ms2img.deepion.presets import MODELS, TRAINING, views_of
from ms2img.deepion.training import train_encoder
from ms2img.learn.environment import prepare_environment
from ms2img.learn.intervals import bootstrap_mean

CARBON = 0  # place of 13C among the mass rules of either polarity


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", help="NumPy archive with images and mz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--epochs", type=int, help="of networks [default: the preset's]")
    options = parser.parse_args()
    prepare_environment()
    ions = from_archive(options.archive, PrepareSettings())
    candidates = isotope_candidates(ions.mz, "positive")
    pairs = carbon_pairs(ions, candidates)
    height, width = ions.mask.shape
    print(f"{len(ions)} real ion images of {height}x{width}, {len(pairs)} pairs a 13C apart, the lighter ion brighter")
    print("method | pairs more alike than others (95 % over pairs)")
    for method in METHODS.values():
        seeds = options.seeds if method.is_seeded else [0]
        runs = [spaces_of(method.name, ions, seed, options.preset, options.epochs) for seed in seeds]
        for space in method.spaces:
            shares = np.mean([more_alike(run[space], space, pairs, candidates) for run in runs], axis=0)
            told = bootstrap_mean(shares)
            name = f"{method.title}{', encoder' if space == ENCODER else ''}"
            print(f"{name} | {told.mean:.3f} ({told.low:.3f}-{told.high:.3f})", flush=True)


def carbon_pairs(ions: IonImages, candidates: Candidates) -> NDArray[np.int64]:
    """Pairs (lighter, heavier), int [m, 2], one 13C and one charge apart, the lighter brighter."""
    step = (candidates.rule == CARBON) & (candidates.exchanges == 1) & (candidates.charge == 1)
    brighter = ions.intensity[candidates.parent] > ions.intensity[candidates.child]
    return np.stack([candidates.parent, candidates.child], axis=1)[step & brighter]


def spaces_of(method: str, ions: IonImages, seed: int, preset: str, epochs: int | None) -> Spaces:
    """What a method makes of the images."""
    if METHODS[method].kind != "network":
        return unlearned(method, ions, seed=seed)
    vectors = network_vectors(method, ions, seed, preset, epochs)
    return {ENCODER: vectors, UMAP: reduced(vectors, seed=seed)}


def network_vectors(method: str, ions: IonImages, seed: int, preset: str, epochs: int | None) -> np.ndarray:
    """An encoder's vectors [n, d], after its training where it has one."""
    from ms2img.deepion.resnet import BASE
    from ms2img.deepion.siamese import build

    if method == "resnet18":
        return representations(build(replace(MODELS[preset], base=BASE), seed=seed).encoder, ions.images)
    views = views_of("col", preset if method == "deepion" else method)
    fit = TRAINING[preset]
    fit = replace(fit, epochs=epochs or fit.epochs, seed=seed, device="cpu", threads=1)
    return representations(train_encoder(ions.images, views, MODELS[preset], fit).encoder, ions.images)


def more_alike(values: np.ndarray, space: str, pairs: NDArray[np.int64], candidates: Candidates) -> NDArray[np.float64]:
    """Of each pair, [m], the share of other ions that its lighter ion is less alike; ties count half.

    Others are all ions that no mass rule links to it.
    """
    alike = similarity(values, space)
    linked = np.eye(len(alike), dtype=bool)
    linked[candidates.parent, candidates.child] = linked[candidates.child, candidates.parent] = True
    shares = np.empty(len(pairs))
    for row, (lighter, heavier) in enumerate(pairs):
        others = alike[lighter][~linked[lighter]]
        shares[row] = mannwhitneyu(alike[lighter, [heavier]], others).statistic / len(others)
    return shares


def similarity(values: np.ndarray, space: str) -> NDArray[np.float64]:
    """Similarities [n, n] of what a method made of n ion images, as its search has them."""
    if space == SIMILARITY:
        return np.asarray(values, np.float64)
    vectors = np.asarray(values, np.float64)
    if space == ENCODER:
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return units @ units.T
    return -np.linalg.norm(vectors[:, None] - vectors[None], axis=2)


if __name__ == "__main__":
    main()
