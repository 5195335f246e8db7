"""Which records are kept, why others are not, and that the tables do not depend on how they were read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from massformer_library_inputs import GOOD, texts

from ms2img.errors import UsageError
from ms2img.massformer.library.assemble import assemble, clean_peaks, read_part, without
from ms2img.massformer.library.filters import LibraryRules, cell_of, is_fourier_transform, ms_level
from ms2img.massformer.library.massbank import parse_massbank
from ms2img.massformer.library.reasons import REASONS, Rejected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"deprecated": "2023 wrong annotation"}, "deprecated"),
        ({"ms_level": "MS3"}, "ms-level"),
        ({"instrument_type": "LC-ESI-QTOF"}, "not-ft"),
        ({"collision_energy": "35 eV IT-MS"}, "not-ft"),
        ({"fragmentation": "", "instrument_type": "LC-ESI-ITFT"}, "no-cell"),
        ({"fragmentation": "ETD"}, "other-cell"),
        ({"adduct": ""}, "no-adduct"),
        ({"adduct": "M+?"}, "no-adduct"),
        ({"adduct": "[M+Na]+"}, "other-adduct"),
        ({"ion_mode": "NEGATIVE"}, "polarity"),
        ({"collision_energy": ""}, "no-energy"),
        ({"collision_energy": "scaled by m/z"}, "unreadable-energy"),
        ({"collision_energy": "15 or 30 NCE"}, "one-of-energies"),
        ({"smiles": ""}, "molecule-empty"),
        ({"smiles": "C1CC"}, "molecule-unparsable"),
        ({"smiles": "CCO.Cl"}, "molecule-disconnected"),
        ({"smiles": "C[N+](C)(C)C"}, "molecule-charged"),
        ({"smiles": "CCBr"}, "molecule-elements"),
        ({"intensity": (0.0, 0.0)}, "no-peaks"),
        ({"mz": (), "intensity": ()}, "no-peaks"),
        ({"mz": (1.0, float("nan"))}, "malformed"),
        ({"precursor_mz": 196.0911}, "precursor"),
        ({"precursor_mz": 195.0926}, None),  # 5 mDa
        ({"precursor_mz": None}, None),
        ({"smiles": "C" * 72, "precursor_mz": None}, "above-mz-max"),
    ],
)
def test_a_record_is_left_out_for_its_reason(changes, reason):
    part = read_part([replace(GOOD, **changes)], LibraryRules())
    assert part.n_records == 1
    assert part.refusals.as_dict() == ({} if reason is None else {reason: 1})
    assert part.spectra.num_rows == (reason is None)
    assert reason is None or reason in REASONS


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"deprecated": True}, {"deprecated": "noise"}),
        ({"ms_levels": "2,3"}, {"ms_level": "MS3"}),
        ({"ft_only": False}, {"instrument_type": "LC-ESI-QTOF"}),
        ({"adducts": "M+Na,M+H"}, {"adduct": "[M+Na]+", "precursor_mz": 217.0696}),
        ({"adducts": "released"}, {"adduct": "[M-H2O+H]+", "precursor_mz": None}),
        ({"adducts": "all"}, {"adduct": "[M-H]-", "ion_mode": "NEGATIVE", "precursor_mz": 193.0731}),
        ({"require_energy": False}, {"collision_energy": ""}),
        ({"one_of_energies": True}, {"collision_energy": "15 or 30 NCE"}),
        ({"elements": "C,H,Br"}, {"smiles": "CCBr", "precursor_mz": None}),
        ({"precursor_ppm": 6000}, {"precursor_mz": 196.0911}),
        ({"mz_max": 2000}, {"smiles": "C" * 72, "precursor_mz": None}),
    ],
)
def test_every_filter_is_an_option(options, changes):
    record = replace(GOOD, **changes)
    assert read_part([record], LibraryRules()).spectra.num_rows == 0
    assert read_part([record], LibraryRules(**options)).spectra.num_rows == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("adducts", "[M+Xx]+"), ("cells", "ETD"), ("elements", "carbon"), ("ms_levels", "MS2"), ("bare_energy", "J")],
)
def test_a_wrong_option_is_one_line(option, value):
    with pytest.raises(UsageError, match=option):
        LibraryRules.resolve({option: value})


def test_a_bare_energy_is_nce_unless_told_otherwise():
    record = replace(GOOD, collision_energy="30")
    row = read_part([record], LibraryRules()).spectra.to_pylist()[0]
    assert (row["energy_nce"], row["energy_unit"]) == (30, "NCE")
    assert row["energy_ev"] == pytest.approx(30 * 195.0877 / 500)
    row = read_part([record], LibraryRules(bare_energy="eV")).spectra.to_pylist()[0]
    assert (row["energy_ev"], row["energy_unit"]) == (30, "eV")
    assert read_part([record], LibraryRules(bare_energy="refuse")).refusals.as_dict() == {"unreadable-energy": 1}


@pytest.mark.parametrize(
    ("changes", "cell", "is_ft"),
    [
        ({}, "HCD", True),
        ({"fragmentation": "CID"}, "CID", True),
        ({"fragmentation": "Higher-energy collision-induced dissociation"}, "HCD", True),
        ({"fragmentation": ""}, "HCD", True),
        ({"fragmentation": "", "instrument_type": "LC-ESI-ITFT"}, "", True),
        ({"fragmentation": "", "instrument_type": "LC-ESI-ITFT", "collision_energy": "HCD 45"}, "HCD", True),
        ({"fragmentation": "", "instrument_type": "HCD", "instrument": "Thermo Elite"}, "HCD", True),
        ({"fragmentation": "", "instrument_type": "IT-FT/ion trap with FTMS"}, "CID", True),
        ({"fragmentation": "", "instrument_type": "", "instrument": "Q Exactive Plus"}, "HCD", True),
        ({"fragmentation": "CID", "instrument_type": "LC-ESI-QTOF", "instrument": "maXis"}, "CID", False),
        ({"fragmentation": "CID", "instrument_type": "LC-ESI-QQQ"}, "CID", False),
        ({"fragmentation": "CID", "instrument_type": "", "instrument": "Bruker Apex QE 12T FT-ICR"}, "CID", True),
    ],
)
def test_the_rule_of_cell_and_instrument(changes, cell, is_ft):
    record = replace(GOOD, **changes)
    assert (cell_of(record), is_fourier_transform(record)) == (cell, is_ft)


def test_ms_levels():
    assert [ms_level(text) for text in ("MS2", "2", "MS/MS", "", "MS", "MS1", "MS3")] == list("2222113")


@given(st.lists(st.tuples(st.floats(1, 2000), st.floats(0, 1e6, width=32)), min_size=1, max_size=30))
def test_clean_peaks_are_sorted_and_scaled(peaks):
    mz, intensity = zip(*peaks, strict=True)
    try:
        masses, heights = clean_peaks(mz, intensity)
    except Rejected:
        assert not any(height > 0 for height in intensity)
        return
    assert (np.diff(masses) >= 0).all()
    assert heights.max() == 1
    assert (heights > 0).all()
    assert set(masses) <= set(mz)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 7))
def test_the_tables_do_not_depend_on_order_or_parts(random, n_parts):
    parsed = [parse_massbank(text.splitlines(), library="lib") for text in texts()]
    copies = [replace(each, spectrum_id=f"{each.spectrum_id}-copy", laboratory="Copyist") for each in parsed[:4]]
    other = replace(parsed[5], collision_energy="99 NCE")  # the same id, another spectrum
    everything = [*parsed, *copies, other]
    expected = assemble([read_part(everything, LibraryRules())])
    random.shuffle(everything)
    found = assemble([read_part(everything[at::n_parts], LibraryRules()) for at in range(n_parts)])
    assert found.spectra.equals(expected.spectra)
    assert found.molecules.equals(expected.molecules)
    assert found.refusals.table().equals(expected.refusals.table())
    assert found.refusals.as_dict() == {"duplicate": 4, "repeated-id": 1}
    assert found.spectra["spectrum_id"].to_pylist() == sorted(each.spectrum_id for each in parsed)


def test_molecules_that_cannot_be_described_go_with_their_spectra():
    whole = assemble(
        [read_part([parse_massbank(text.splitlines(), library="lib") for text in texts()], LibraryRules())]
    )
    gone = whole.molecules["molecule_id"].to_pylist()[1]
    n_gone = whole.spectra["molecule_id"].to_pylist().count(gone)
    left = without(whole, {gone: "selfies"})
    assert left.refusals.as_dict() == {"molecule-selfies": n_gone}
    assert "molecule-selfies" in REASONS
    assert left.spectra.num_rows == whole.spectra.num_rows - n_gone > 0
    assert set(left.molecules["molecule_id"].to_pylist()) == set(left.spectra["molecule_id"].to_pylist())
    assert without(whole, {}) is whole


def test_one_molecule_in_several_spellings_is_one_and_the_first_record_names_it():
    keto, enol = "CC(=O)CC(C)=O", "CC(O)=CC(C)=O"  # the first InChIKey block need not tell tautomers apart
    spellings = ["c1ccccc1O", "C1=CC=CC=C1O", "Oc1ccccc1", keto, enol]
    given_records = [
        replace(GOOD, spectrum_id=f"X{9 - number}", smiles=smiles, precursor_mz=None, mz=(50.0 + number, 60.0))
        for number, smiles in enumerate(spellings)
    ]
    found = assemble([read_part(given_records, LibraryRules())])
    names = found.molecules["smiles"].to_pylist()
    assert "Oc1ccccc1" in names
    assert found.spectra.num_rows == 5
    assert len(names) == len(set(found.spectra["molecule_id"].to_pylist())) == len(set(names))
