"""A small library for tests of MassFormer: real public molecules, SIMULATED spectra, written as MassBank records.

The peaks are no measurement. Each is the exact mass of what is left of the molecule when one or two of its single bonds
outside of rings are cut, with a proton; how much of the precursor is left, and how deep the cuts go, follows from the
collision energy. So a spectrum is a function of structure and energy that a model can learn. Every record says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ms2img.massformer.library.assemble import assemble, read_part
from ms2img.massformer.library.filters import LibraryRules
from ms2img.massformer.library.folder import Library, fingerprint_of
from ms2img.massformer.library.massbank import parse_massbank

PROTON, ENERGIES = 1.007276, (15, 30, 45, 60)
#: Name and SMILES of public compounds: drugs, pesticides, natural products; some share a scaffold, some are acyclic.
COMPOUNDS = {
    "Caffeine": "CN1C=NC2=C1C(=O)N(C)C(=O)N2C",
    "Theophylline": "CN1C2=C(C(=O)N(C)C1=O)NC=N2",
    "Paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "Phenacetin": "CCOc1ccc(NC(C)=O)cc1",
    "Aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "Ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "Lidocaine": "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "Procaine": "CCN(CC)CCOC(=O)c1ccc(N)cc1",
    "Benzocaine": "CCOC(=O)c1ccc(N)cc1",
    "Metoprolol": "COCCc1ccc(OCC(O)CNC(C)C)cc1",
    "Atenolol": "CC(C)NCC(O)COc1ccc(CC(N)=O)cc1",
    "Propranolol": "CC(C)NCC(O)COc1cccc2ccccc12",
    "Sulfamethoxazole": "Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1",
    "Sulfadiazine": "Nc1ccc(cc1)S(=O)(=O)Nc1ncccn1",
    "Trimethoprim": "COc1cc(Cc2cnc(N)nc2N)cc(OC)c1OC",
    "Carbamazepine": "NC(=O)N1c2ccccc2C=Cc2ccccc12",
    "Diazepam": "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc12",
    "Nordazepam": "O=C1CN=C(c2ccccc2)c2cc(Cl)ccc2N1",
    "Atrazine": "CCNc1nc(Cl)nc(NC(C)C)n1",
    "Simazine": "CCNc1nc(Cl)nc(NCC)n1",
    "Terbuthylazine": "CCNc1nc(Cl)nc(NC(C)(C)C)n1",
    "Diuron": "CN(C)C(=O)Nc1ccc(Cl)c(Cl)c1",
    "Isoproturon": "CC(C)c1ccc(NC(=O)N(C)C)cc1",
    "Metolachlor": "CCc1cccc(C)c1N(C(C)COC)C(=O)CCl",
    "Carbendazim": "COC(=O)Nc1nc2ccccc2[nH]1",
    "Tebuconazole": "CC(C)(C)C(O)(CCc1ccc(Cl)cc1)Cn1cncn1",
    "Imidacloprid": "O=[N+]([O-])N=C1NCCN1Cc1ccc(Cl)nc1",
    "Nicotine": "CN1CCCC1c1cccnc1",
    "Cotinine": "CN1C(CCC1=O)c1cccnc1",
    "Melatonin": "COc1ccc2[nH]cc(CCNC(C)=O)c2c1",
    "Tryptophan": "NC(Cc1c[nH]c2ccccc12)C(=O)O",
    "Phenylalanine": "NC(Cc1ccccc1)C(=O)O",
    "Tyrosine": "NC(Cc1ccc(O)cc1)C(=O)O",
    "Arginine": "N=C(N)NCCCC(N)C(=O)O",
    "Leucine": "CC(C)CC(N)C(=O)O",
    "Metformin": "CN(C)C(=N)NC(=N)N",
    "Creatine": "CN(CC(=O)O)C(=N)N",
    "Triethyl citrate": "CCOC(=O)CC(O)(CC(=O)OCC)C(=O)OCC",
    "Tributyl phosphate": "CCCCOP(=O)(OCCCC)OCCCC",
    "Fluoxetine": "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1",
    "Quercetin": "O=c1c(O)c(-c2ccc(O)c(O)c2)oc2cc(O)cc(O)c12",
    "Kaempferol": "O=c1c(O)c(-c2ccc(O)cc2)oc2cc(O)cc(O)c12",
}


def write_library(
    folder: Path, *, laboratories: Sequence[str] = ("Alpha", "Beta"), energies: Sequence[int] = ENERGIES
) -> Path:
    """Write a MassBank record a compound and energy (NCE, HCD, [M+H]+); the folder.

    Every third compound is of the last laboratory alone, the others of the first ones in turn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for text in records(laboratories=laboratories, energies=energies):
        accession = text.partition("\n")[0].removeprefix("ACCESSION: ")
        (folder / f"{accession}.txt").write_text(text)
    return folder


def small_library(
    *, laboratories: Sequence[str] = ("Alpha", "Beta"), energies: Sequence[int] = ENERGIES, compounds: int | None = None
) -> Library:
    """The prepared library of these records, without a file. `compounds`: how many of them, all when None."""
    rules = LibraryRules()
    texts = records(laboratories=laboratories, energies=energies, compounds=compounds)
    read = (parse_massbank(text.splitlines(), library="small") for text in texts)
    made = assemble([read_part(read, rules)])
    return Library(
        made.molecules,
        made.spectra,
        rules.model_dump(mode="json"),
        fingerprint_of(made.molecules, made.spectra),
        made.is_simulated,
    )


def records(*, laboratories: Sequence[str], energies: Sequence[int], compounds: int | None = None) -> list[str]:
    """The records as text, always the same."""
    texts = []
    for number, (name, smiles) in enumerate(itertools.islice(COMPOUNDS.items(), compounds)):
        laboratory = laboratories[-1] if number % 3 == 2 else laboratories[number % max(1, len(laboratories) - 1)]
        texts += [_record(number, name, smiles, laboratory, energy) for energy in energies]
    return texts


def _record(number: int, name: str, smiles: str, laboratory: str, energy: int) -> str:
    precursor, peaks = simulated_peaks(smiles, energy)
    lines = [f"  {mz:.4f} {intensity:.1f} {round(intensity)}" for mz, intensity in peaks]
    return "\n".join(
        [
            f"ACCESSION: MSBNK-{laboratory}-SM{number:03d}{energy:03d}",
            f"RECORD_TITLE: {name}; LC-ESI-QFT; MS2; CE: {energy} % (nominal); [M+H]+",
            "LICENSE: CC0",
            "COMMENT: SIMULATED peaks, from cut bonds, for tests",
            f"CH$NAME: {name}",
            f"CH$SMILES: {smiles}",
            "AC$INSTRUMENT: none, simulated",
            "AC$INSTRUMENT_TYPE: LC-ESI-QFT",
            "AC$MASS_SPECTROMETRY: MS_TYPE MS2",
            "AC$MASS_SPECTROMETRY: ION_MODE POSITIVE",
            "AC$MASS_SPECTROMETRY: FRAGMENTATION_MODE HCD",
            f"AC$MASS_SPECTROMETRY: COLLISION_ENERGY {energy} % (nominal)",
            f"MS$FOCUSED_ION: PRECURSOR_M/Z {precursor:.4f}",
            "MS$FOCUSED_ION: PRECURSOR_TYPE [M+H]+",
            f"PK$NUM_PEAK: {len(lines)}",
            "PK$PEAK: m/z int. rel.int.",
            *lines,
            "//",
            "",
        ]
    )


def simulated_peaks(smiles: str, energy: float) -> tuple[float, list[tuple[float, float]]]:
    """Precursor m/z, and (m/z, intensity up to 1000) of a made-up spectrum at this energy (NCE)."""
    precursor, fragments = _fragments(smiles)
    kept = math.exp(-energy / 25)  # of the precursor
    heights = {round(precursor, 4): kept}
    for mz, cuts, share in fragments:
        # More energy favours smaller fragments and second cuts.
        weight = share * (1 - kept) * math.exp(-abs(mz / precursor - (1 - energy / 100))) * (energy / 60) ** (cuts - 1)
        heights[round(mz, 4)] = heights.get(round(mz, 4), 0.0) + weight
    top = max(heights.values())
    peaks = [(mz, 1000 * height / top) for mz, height in sorted(heights.items()) if height > 0.005 * top]
    return precursor, peaks


@cache
def _fragments(smiles: str) -> tuple[float, tuple[tuple[float, int, float], ...]]:
    """Precursor m/z, and (m/z, cut bonds, share) of what is left when one or two acyclic single bonds are cut."""
    from rdkit import Chem
    from rdkit.Chem import Descriptors

    mol = Chem.MolFromSmiles(smiles)
    bonds = [
        bond.GetIdx()
        for bond in mol.GetBonds()
        if not bond.IsInRing() and bond.GetBondType() == Chem.BondType.SINGLE and bond.GetBeginAtom().GetDegree() > 0
    ]
    found: dict[tuple[float, int], float] = {}
    for cuts in (1, 2):
        for chosen in itertools.combinations(bonds, cuts):
            pieces = Chem.GetMolFrags(Chem.FragmentOnBonds(mol, chosen, addDummies=False), asMols=True)
            for piece in pieces:
                mz = round(Descriptors.ExactMolWt(piece) + PROTON, 4)
                if piece.GetNumHeavyAtoms() > 2:
                    hetero = sum(atom.GetAtomicNum() not in (1, 6) for atom in piece.GetAtoms())
                    found[mz, cuts] = max(found.get((mz, cuts), 0.0), (1 + hetero) / 10)
    fragments = sorted((mz, cuts, share) for (mz, cuts), share in found.items())
    return Descriptors.ExactMolWt(mol) + PROTON, tuple(fragments)
