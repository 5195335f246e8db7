"""Figures 2 to 5 of the paper for one model and the part it is tested on."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ms2img.learn.intervals import Interval
from ms2img.massformer.attention_map import atom_attention
from ms2img.massformer.batching import collate
from ms2img.massformer.conditions import Condition
from ms2img.massformer.evaluate.energy_curve import mean_mz
from ms2img.massformer.evaluate.heteroatoms import attention_ratios, elements_of, mean_ratios
from ms2img.massformer.evaluate.parts import Part
from ms2img.massformer.evaluate.similarity import cosine
from ms2img.massformer.molecule.description import MoleculeFeatures
from ms2img.massformer.molecule.structure import Refused
from ms2img.massformer.predictor import SpectrumPredictor
from ms2img.massformer.spectrum import transformed
from pipelines.massformer.figures_attention import Mirror, heteroatom_bars, mirrors
from pipelines.massformer.figures_energy import EnergyPanel, joint_distribution, over_energies

MIRRORS = 4  # Fig. 2 shows four molecules
FEW_PEAKS = 5  # filled bins below which another spectrum of the molecule is shown, where there is one (ours)
AT_ONCE = 64  # molecules whose attention is read together (ours)


def energy_figures(part: Part, predicted: np.ndarray, predictor: SpectrumPredictor) -> dict[str, bytes]:
    """Fig. 3 of all spectra, and Fig. 4 of the molecule with the widest range of energies; name -> PNG.

    predicted: untransformed [n, bins]. Empty where no energies are known.
    """
    width = predictor.spectrum.bin_width
    nce = part.conditions.energy_nce
    if not np.isfinite(nce).any():
        return {}
    figures = {
        "fig3_energy.png": joint_distribution(
            nce, mean_mz(part.spectra, bin_width=width), mean_mz(predicted, bin_width=width)
        )
    }
    row = _widest_range(part)
    condition, name = part.condition[row], part.molecule_id[row]
    energies = np.quantile(part.conditions.energy(condition.energy_unit)[np.isfinite(nce)], [0.02, 0.5, 1.0])
    asked = [
        Condition(condition.adduct, float(np.round(each)), condition.energy_unit, condition.instrument_type)
        for each in np.unique(energies)
    ]
    spectra = predictor.predict([part.smiles[name]] * len(asked), asked)
    panels = [EnergyPanel(part.spectra[row], f"real, {shown(condition)}", is_real=True)]
    panels += [
        EnergyPanel(spectrum, f"predicted, {shown(each)}", is_real=False)
        for each, spectrum in zip(asked, spectra, strict=True)
    ]
    figures["fig4_one_molecule.png"] = over_energies(
        panels,
        precursor_mz=float(part.precursor_mz[row]),
        bin_width=width,
        title=f"{part.smiles[name]}, {condition.adduct} ({part.spectrum_id[row]})",
    )
    return figures


def mirror_figure(part: Part, predicted: np.ndarray, predictor: SpectrumPredictor, scaffolds: dict[str, str]) -> bytes:
    """Fig. 2: molecules of one scaffold, each by its spectrum nearest to the part's middle energy; PNG.

    scaffolds: molecule_id -> scaffold.
    """
    rows = _alike_rows(part, scaffolds)
    attention = attention_of(predictor, [part.smiles[part.molecule_id[row]] for row in rows])
    pairs = [transformed(each[rows], predictor.spectrum) for each in (predicted, part.spectra)]
    shown_rows = [
        Mirror(
            smiles=part.smiles[part.molecule_id[row]],
            title=f"{part.spectrum_id[row]}: {shown(part.condition[row])}, cosine {value:.2f}",
            predicted=predicted[row],
            real=part.spectra[row],
            precursor_mz=float(part.precursor_mz[row]),
            attention=attention[number],
        )
        for number, (row, value) in enumerate(zip(rows, cosine(*pairs), strict=True))
    ]
    return mirrors(shown_rows, bin_width=predictor.spectrum.bin_width)


def heteroatom_figure(part: Part, predictor: SpectrumPredictor) -> tuple[dict[str, Interval], bytes]:
    """Fig. 5: the ratios of every element, and their PNG. Raises `UsageError` for a model without attention."""
    smiles = [part.smiles[name] for name in part.molecules]
    features = _features(predictor, smiles)
    ratios = [
        attention_ratios(elements_of(features[text].graph), attention)
        for text, attention in zip(smiles, attention_of(predictor, smiles), strict=True)
        if attention is not None
    ]
    means = mean_ratios(ratios)
    return means, heteroatom_bars(means, title="mean over the n test molecules that have the element")


def attention_of(predictor: SpectrumPredictor, smiles: list[str]) -> list[np.ndarray | None]:
    """Attention on each heavy atom [a] of every molecule; None of one that the model refuses, and of other encoders."""
    if predictor.model.config.kind != "massformer":
        return [None] * len(smiles)
    features = _features(predictor, smiles)
    by_size = sorted(features, key=lambda text: features[text].graph.n_atoms)
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(by_size), AT_ONCE):
        names = by_size[start : start + AT_ONCE]
        device = next(predictor.model.parameters()).device
        molecules = collate("massformer", [features[name] for name in names], device=device)
        attention = atom_attention(predictor.model, molecules).cpu().numpy()
        found |= {name: row[: features[name].graph.n_atoms] for name, row in zip(names, attention, strict=True)}
    return [found.get(text) for text in smiles]


def shown(condition: Condition) -> str:
    """An energy for a title."""
    return "energy unknown" if condition.energy is None else f"{condition.energy:g} {condition.energy_unit}"


def _features(predictor: SpectrumPredictor, smiles: list[str]) -> dict[str, MoleculeFeatures]:
    from ms2img.massformer.molecule.description import features_of

    found, rules = {}, predictor.structures
    for text in dict.fromkeys(smiles):
        try:
            found[text] = features_of(text, elements=rules.elements, max_atoms=rules.max_atoms)
        except Refused:
            continue
    return found


def _widest_range(part: Part) -> int:
    """The row of the highest energy of the molecule whose energies span most; of equals the one with most peaks."""
    nce = part.conditions.energy_nce
    span: dict[str, tuple[float, int]] = {}
    for name in part.molecules:
        rows = [row for row, own in enumerate(part.molecule_id) if own == name and np.isfinite(nce[row])]
        if rows:
            span[name] = (float(np.ptp(nce[rows])), int(np.count_nonzero(part.spectra[rows])))
    best = max(span, key=lambda name: span[name])
    rows = [row for row, own in enumerate(part.molecule_id) if own == best and np.isfinite(nce[row])]
    return max(rows, key=lambda row: nce[row])


def _alike_rows(part: Part, scaffolds: dict[str, str]) -> list[int]:
    """A spectrum each of up to four molecules of the commonest scaffold, filled up from the others."""
    counts = Counter(scaffolds[name] for name in part.molecules if scaffolds[name])
    common = min(counts, key=lambda scaffold: (-counts[scaffold], scaffold)) if counts else ""
    bare = np.count_nonzero(part.spectra, axis=1) < FEW_PEAKS
    nce = part.conditions.energy_nce
    middle = float(np.nanmedian(nce)) if np.isfinite(nce).any() else 0.0
    off = np.abs(np.where(np.isfinite(nce), nce, np.inf) - middle)
    best: dict[str, int] = {}
    for row, name in enumerate(part.molecule_id):
        if name not in best or (bare[row], off[row]) < (bare[best[name]], off[best[name]]):
            best[name] = row
    names = sorted(best, key=lambda name: (scaffolds[name] != common, bare[best[name]], name))
    return [best[name] for name in names[:MIRRORS]]
