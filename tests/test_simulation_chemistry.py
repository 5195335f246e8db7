"""The molecules and their fragments, against formulas, MassBank and what is known of real spectra."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pyteomics import mass
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from ms2img.ms2toimg.simulation import assays
from ms2img.ms2toimg.simulation.bonds import cuts
from ms2img.ms2toimg.simulation.compounds import Compound, load_compounds
from ms2img.ms2toimg.simulation.fragments import adduct_spectrum, deprotonated_spectrum

ELECTRON = 0.00054858


@pytest.fixture(scope="module")
def by_name() -> dict[str, Compound]:
    return {compound.name: compound for compound in load_compounds()}


def test_every_smiles_has_the_stated_formula_and_mass() -> None:
    for compound in load_compounds():
        assert CalcMolFormula(Chem.MolFromSmiles(compound.smiles)) == compound.formula, compound.name
        assert compound.exact_mass == pytest.approx(mass.calculate_mass(formula=compound.formula), abs=1e-4)


def test_compounds_are_many_and_distinct() -> None:
    compounds = load_compounds()
    assert sum(not compound.is_contaminant for compound in compounds) >= 120
    assert len({compound.name for compound in compounds}) == len(compounds)
    keys = [Chem.MolToInchiKey(Chem.MolFromSmiles(compound.smiles)) for compound in compounds]
    assert len(set(keys)) == len(keys)


@pytest.fixture(scope="module")
def massbank(shared: Path) -> list[tuple[str, str, str, np.ndarray]]:
    """(lower-case name, first block of the InChIKey, adduct, peaks [n, 2]) of every record with a key."""
    found = []
    with tarfile.open(shared / "data/massbank/massbank-ft-msms.tar.xz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None:
                continue
            text = stream.read().decode(errors="replace")
            key = re.search(r"INCHIKEY ([A-Z]{14})-", text)
            if key is None:
                continue
            adduct = re.search(r"PRECURSOR_TYPE (\S+)", text)
            is_used = adduct is not None and adduct[1] == "[M-H]-"
            lines = text.partition("PK$PEAK")[2].splitlines()[1:] if is_used else []
            peaks = [line.split()[:2] for line in lines if line.startswith("  ")]
            record = (key[1], adduct[1] if adduct else "", np.array(peaks, float))
            found += [(name.strip().lower(), *record) for name in re.findall(r"CH\$NAME: (.+)", text)]
    return found


def test_structures_agree_with_massbank(massbank: list[tuple[str, str, str, np.ndarray]]) -> None:
    """Our SMILES against the key that MassBank's contributors give for a compound of the same name."""
    keys: dict[str, set[str]] = defaultdict(set)
    for name, key, _, _ in massbank:
        keys[name].add(key)
    compared = 0
    for compound in load_compounds():
        theirs = keys.get(compound.name.lower())
        if theirs:
            compared += 1
            assert Chem.MolToInchiKey(Chem.MolFromSmiles(compound.smiles))[:14] in theirs, compound.name
    assert compared >= 50


def test_fragments_explain_measured_spectra(massbank: list[tuple[str, str, str, np.ndarray]]) -> None:
    """Share of the measured fragment intensity (MassBank, [M-H]-) at the m/z of a simulated fragment."""
    ours = {Chem.MolToInchiKey(Chem.MolFromSmiles(c.smiles))[:14]: c for c in load_compounds()}
    shares, by_chance = defaultdict(list), defaultdict(list)
    for _, key, adduct, peaks in massbank:
        if key not in ours or adduct != "[M-H]-" or not len(peaks):
            continue
        own = deprotonated_spectrum(ours[key].smiles).mz
        peaks = peaks[(peaks[:, 0] >= 50) & (peaks[:, 0] < own[-1] - 0.5)]
        if len(peaks) and len(own) > 1:
            for shift, result in ((0.0, shares), (0.1, by_chance)):
                hit = np.abs(peaks[:, :1] - own[None, :-1] - shift).min(axis=1) < 0.005
                result[key].append(peaks[hit, 1].sum() / peaks[:, 1].sum())
    assert len(shares) >= 40
    assert np.mean([np.mean(values) for values in shares.values()]) > 0.55  # 0.63 when written
    assert np.mean([np.mean(values) for values in by_chance.values()]) < 0.1


# Fragments reported for these compounds in negative mode, m/z calculated from their formulas.
KNOWN = [
    ("Daidzin", 415.1035, [253.0506]),
    ("Malonylgenistin", 517.0988, [473.1089, 269.0455]),  # - CO2, - malonylhexose
    ("Formononetin", 267.0663, [252.0428]),  # - CH3 radical
    ("Quercitrin", 447.0933, [301.0354, 300.0276]),  # aglycone, and its radical anion
    ("Rutin", 609.1461, [301.0354, 300.0276]),
    ("Apigenin", 269.0455, [151.0037, 117.0346]),  # retro-Diels-Alder, 1,3A and 1,3B
    ("Quercetin", 301.0354, [151.0037, 178.9986, 121.0295]),  # 1,3A, 1,2A, 1,2B
    ("Vitexin", 431.0984, [311.0561, 341.0667]),  # - C4H8O4, - C3H6O3
    ("Catechin", 289.0718, [137.0244, 151.0401]),
    ("Procyanidin B2", 577.1351, [289.0718, 425.0878]),  # quinone methide, retro-Diels-Alder
    ("Chlorogenic acid", 353.0878, [191.0561, 179.0350, 161.0244]),
    ("Ferulic acid", 193.0506, [178.0272, 149.0608, 134.0373]),
    ("Gallic acid", 169.0142, [125.0244]),
    ("Epigallocatechin gallate", 457.0776, [169.0142, 305.0667]),
    ("LysoPE 18:2", 476.2783, [279.2330, 196.0380]),
    ("9-HODE", 295.2279, [277.2173, 171.1027]),
    ("Sucrose", 341.1089, [179.0561]),
    ("Soyasaponin I", 941.5115, [795.4536]),  # - rhamnose residue
]


@pytest.mark.parametrize(("name", "precursor", "fragments"), KNOWN, ids=[row[0] for row in KNOWN])
def test_known_fragments(name: str, precursor: float, fragments: list[float], by_name: dict[str, Compound]) -> None:
    spectrum = deprotonated_spectrum(by_name[name].smiles)
    assert spectrum.mz[-1] == pytest.approx(precursor, abs=2e-4)
    for mz in fragments:
        nearest = int(np.abs(spectrum.mz - mz).argmin())
        assert spectrum.mz[nearest] == pytest.approx(mz, abs=5e-4)
        assert spectrum.intensity[nearest] > 0.02


def test_a_glucoside_loses_its_sugar_before_anything_else(by_name: dict[str, Compound]) -> None:
    for name in ("Daidzin", "Genistin", "Apigetrin", "Polydatin", "Prunin"):
        compound = by_name[name]
        spectrum = deprotonated_spectrum(compound.smiles)
        expected = compound.exact_mass - mass.calculate_mass(formula="C6H10O5") - mass.calculate_mass(formula="H")
        brightest = spectrum.mz[:-1][spectrum.intensity[:-1].argmax()]
        assert brightest == pytest.approx(expected + ELECTRON, abs=1e-4), name


def _sub_formula_gap(mz: np.ndarray, formula: str) -> np.ndarray:
    """Distance [n], Da, of each anion to the nearest sub-formula, by trying all of them."""
    counts = mass.Composition(formula=formula)
    heavy = [element for element in counts if element != "H"]
    grid = np.array(list(product(*(range(counts[element] + 1) for element in heavy))), float)
    heavy_mass = grid @ [mass.nist_mass[element][0][0] for element in heavy]
    hydrogen = mass.nist_mass["H"][0][0]
    gap = (mz - ELECTRON)[:, None] - heavy_mass[None, :]
    hydrogens = np.clip(np.round(gap / hydrogen), 0, counts["H"])
    return np.abs(gap - hydrogens * hydrogen).min(axis=1)


def test_fragments_are_sub_formulas_below_their_precursor() -> None:
    numbers = []
    for compound in load_compounds():
        spectrum = deprotonated_spectrum(compound.smiles)
        assert np.all(np.diff(spectrum.mz) > 0)
        assert np.all(spectrum.mz <= spectrum.mz[-1])
        assert spectrum.mz[-1] == pytest.approx(compound.exact_mass - mass.nist_mass["H"][0][0] + ELECTRON, abs=1e-5)
        assert np.all(_sub_formula_gap(spectrum.mz, compound.formula) < 1e-3), compound.name
        assert spectrum.intensity.max() == 1.0
        assert spectrum.intensity.min() > 0
        numbers.append(len(spectrum.mz))
    assert max(numbers) <= 60
    assert np.median(numbers) >= 15


def test_cuts_part_a_molecule_into_two_connected_sides(by_name: dict[str, Compound]) -> None:
    for name in ("Rutin", "Vitexin", "Procyanidin B2", "Coumestrol", "Soyasaponin I"):
        molecule = Chem.MolFromSmiles(by_name[name].smiles)
        everything = (1 << molecule.GetNumAtoms()) - 1
        for cut in cuts(molecule):
            first, second = cut.sides
            assert first & second == 0
            assert first | second == everything
            for side in cut.sides:
                atoms = [atom for atom in range(molecule.GetNumAtoms()) if side >> atom & 1]
                piece = Chem.MolFragmentToSmiles(molecule, atoms)
                assert "." not in piece, f"{name}: {piece}"
            assert sum(probability for _, probability in cut.hydrogens) == pytest.approx(1.0)


def test_adducts(by_name: dict[str, Compound]) -> None:
    smiles = by_name["Daidzin"].smiles
    for adduct, formula in (("[M-H]-", "C21H19O9"), ("[M+HCOO]-", "C22H21O11"), ("[2M-H]-", "C42H39O18")):
        mz, spectrum = adduct_spectrum(smiles, adduct)
        assert mz == pytest.approx(mass.calculate_mass(formula=formula) + ELECTRON, abs=1e-4)
        assert spectrum.mz[-1] == mz
        if adduct != "[M-H]-":
            assert spectrum.mz[spectrum.intensity.argmax()] == pytest.approx(415.1035, abs=2e-4)


@pytest.mark.parametrize(
    ("cause", "stronger", "weaker"),
    [
        ("radical", "Quercetin", "Kaempferol"),  # a catechol more
        ("radical", "Caffeic acid", "p-Coumaric acid"),
        ("radical", "Ascorbic acid", "Citric acid"),
        ("phenol", "Gallic acid", "Vanillic acid"),
        ("flavonoid", "Daidzin", "Chlorogenic acid"),
        ("terpene acid", "Ursolic acid", "Soyasapogenol B"),
        ("gallate", "Epigallocatechin gallate", "Epigallocatechin"),
    ],
)
def test_structure_decides_activity(cause: str, stronger: str, weaker: str) -> None:
    compounds = load_compounds()
    row = assays.potencies(compounds)[assays.CAUSES.index(cause)]
    potency = {compound.name: value for compound, value in zip(compounds, row, strict=True)}
    assert potency[stronger] > potency[weaker]
    assert all(potency[compound.name] == 0 for compound in compounds if compound.is_contaminant)


def test_without_rdkit_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['rdkit'] = None\n"
        "from pathlib import Path\n"
        "from ms2img.errors import UsageError\n"
        "from ms2img.ms2toimg.simulation import SimulationConfig, write_study\n"
        "try:\n    write_study(Path('never'), SimulationConfig())\n"
        "except UsageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "ms2img[simulate]"' in done.stdout
    assert len(done.stdout.splitlines()) == 1
