"""Adducts and collision energies in one spelling, against matchms's tables, RDKit's masses and every real text."""

from __future__ import annotations

import csv
from contextlib import suppress
from importlib.resources import files

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ms2img.massformer.library.adducts import ELECTRON, MASSES, RELEASED_ADDUCTS, USUAL, parse_adduct
from ms2img.massformer.library.energy import CHARGE_FACTORS, ev_of_nce, nce_of_ev, parse_energy
from ms2img.massformer.library.entries import KEYS, harmonised

CAFFEINE = 194.080376  # Da
#: What matchms has in its tables by mistake, by its own charge and by what stands in the brackets.
WRONG_IN_MATCHMS = {
    "[M+IsoProp+Na+H]+",  # H and Na: two charges
    "[M-H-/M-Ser]-", "[M-H-/M-Ser]", "[M-H]-/[M-Ser]-", "[M-H]-/[M-Ser]",  # "one or the other"
    "[M-e]-", "[M-e]",  # an electron less is no negative ion
    "[M+OAc]-",  # its mass is that of actinium
}  # fmt: skip


def matchms_table(name: str) -> list[dict[str, str]]:
    text = files("matchms").joinpath("data", name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize(
    ("text", "name", "charge"),
    [
        ("[M+H]+", "[M+H]+", 1),
        ("M+H", "[M+H]+", 1),
        ("M+H+", "[M+H]+", 1),
        ("[M+H]", "[M+H]+", 1),
        ("[M+H]1+", "[M+H]+", 1),
        ("[M+H]+1", "[M+H]+", 1),
        ("(M+H)+", "[M+H]+", 1),
        ("[M + H]+", "[M+H]+", 1),
        ("[M+H]⁺", "[M+H]+", 1),
        ("[M-H2O+H]+", "[M+H-H2O]+", 1),
        ("[M+H-H2O]+", "[M+H-H2O]+", 1),
        ("[M+2H]++", "[M+2H]2+", 2),
        ("[M+2H]", "[M+2H]2+", 2),
        ("[M]+.", "[M]+", 1),
        ("[M]+*", "[M]+", 1),
        ("M-H", "[M-H]-", -1),
        ("[M\N{MINUS SIGN}H]\N{MINUS SIGN}", "[M-H]-", -1),
        ("[M+FA-H]-", "[M+HCOO]-", -1),
        ("[M+CHO2]-", "[M+HCOO]-", -1),
        ("[M+Hac-H]-", "[M+CH3COO]-", -1),
        ("[2M+Na]", "[2M+Na]+", 1),
        ("[M+NH3+H]+", "[M+NH4]+", 1),
        ("[M+C9H9]+", "[M+C9H9]+", 1),
    ],
)
def test_every_spelling_of_an_adduct_is_one(text, name, charge):
    found = parse_adduct(text)
    assert (found.name, found.charge) == (name, charge)
    assert parse_adduct(name) == found


@pytest.mark.parametrize(
    "text", ["", "M", "H", "[M+Xx]+", "[M+H", "N/A", "[M+H]+[M+Na]+", "[M+h2O]+", "+", "[]+", "[M]"]
)
def test_what_names_no_adduct_is_refused(text):
    with pytest.raises(ValueError, match=r"names no adduct|no group|no charge"):
        parse_adduct(text)


def test_a_polarity_gives_the_sign_that_is_not_stated():
    assert parse_adduct("[M]", "positive").name == "[M]+"
    assert parse_adduct("[M]", "negative").name == "[M]-"
    assert parse_adduct("[M-H]", "positive").charge == -1  # hydrogen knows better; the contradiction is a reason


def test_usual_names_are_their_own_spelling():
    assert [parse_adduct(name).name for name in USUAL] == list(USUAL)
    assert set(RELEASED_ADDUCTS) <= set(USUAL)


def test_masses_are_those_of_rdkit():
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    for element, mass in MASSES.items():
        assert mass == pytest.approx(table.GetMostCommonIsotopeMass(element), abs=2e-6), element


@pytest.mark.parametrize("row", matchms_table("known_adducts_table.csv"), ids=lambda row: row["adduct"])
def test_masses_and_charges_are_those_of_matchms(row):
    if row["adduct"] in WRONG_IN_MATCHMS:
        return
    ours = parse_adduct(row["adduct"])
    assert (ours.charge, ours.polarity) == (int(row["charge"]), row["ionmode"])
    expected = CAFFEINE * float(row["mass_multiplier"]) + float(row["correction_mass"])
    assert ours.mz(CAFFEINE) == pytest.approx(expected, abs=2e-4)  # their masses have few digits


@pytest.mark.parametrize("row", matchms_table("known_adduct_conversions.csv"), ids=lambda row: row["input_adduct"])
def test_what_matchms_takes_for_one_adduct_is_one(row):
    if row["input_adduct"] in WRONG_IN_MATCHMS:
        return
    polarity = "negative" if row["corrected_adduct"].endswith("-") else "positive"
    assert parse_adduct(row["input_adduct"], polarity) == parse_adduct(row["corrected_adduct"], polarity)


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("+-"), st.integers(1, 3), st.sampled_from(["H", "Na", "H2O", "NH4", "ACN"]))),
    st.integers(-3, 3).filter(bool),
)
def test_an_adduct_has_the_mass_of_its_terms_and_one_name(multiplier, terms, charge):
    known = {"H": 1.007825, "Na": 22.98977, "H2O": 18.010565, "NH4": 18.034374, "ACN": 41.026549}
    body = "".join(f"{sign}{count}{group}" for sign, count, group in terms)
    size, sign = abs(charge), "+" if charge > 0 else "-"
    found = parse_adduct(f"[{multiplier}M{body}]{size}{sign}")
    weight = sum((1 if sign == "+" else -1) * count * known[group] for sign, count, group in terms)
    expected = (multiplier * CAFFEINE + weight - charge * ELECTRON) / size
    assert found.mz(CAFFEINE) == pytest.approx(expected, abs=1e-4)
    assert parse_adduct(found.name).name == found.name
    assert parse_adduct(found.name).shift == pytest.approx(found.shift, abs=1e-9)


@given(st.text(alphabet="[]M+-H2Na0 1.*()KCloe", max_size=14))
def test_any_text_is_an_adduct_or_a_value_error(text):
    with suppress(ValueError):
        name = parse_adduct(text).name
        assert parse_adduct(name).name == name


@pytest.mark.parametrize(
    ("text", "values", "unit", "kind"),
    [
        ("30 % (nominal)", [30], "NCE", "fixed"),
        ("30% (nominal)", [30], "NCE", "fixed"),
        ("61.67 % (nominal)", [61.67], "NCE", "fixed"),
        ("180 (nominal)", [180], "NCE", "fixed"),
        ("15", [15], "bare", "fixed"),
        ("CE45", [45], "bare", "fixed"),
        ("30.0 NCE", [30], "NCE", "fixed"),
        ("35 NCE", [35], "NCE", "fixed"),
        ("HCD 45", [45], "NCE", "fixed"),
        ("45HCD", [45], "NCE", "fixed"),
        ("35eV", [35], "eV", "fixed"),
        ("0.0eV", [0], "eV", "fixed"),
        ("35 eV FT-MS II", [35], "eV", "fixed"),
        ("35 eV IT-MS", [35], "eV", "fixed"),
        ("20 V", [20], "eV", "fixed"),
        ("-35 V", [35], "eV", "fixed"),
        ("30 V (ramped)", [30], "eV", "ramp"),
        ("Ramp 20%-70% (nominal)", [20, 70], "NCE", "ramp"),
        ("15-90", [15, 90], "bare", "ramp"),
        ("10 to 30 eV", [10, 30], "eV", "ramp"),
        ("25,60,100% (stepped)", [25, 60, 100], "NCE", "stepped"),
        ("25,60,100 (stepped)", [25, 60, 100], "bare", "stepped"),
        ("HCD (NCE 20-30-40%)", [20, 30, 40], "NCE", "stepped"),
        ("42% (nominal) with stepped collision energies 30% and 55%", [30, 55], "NCE", "stepped"),
        ("15, 30, 45, 60, 70 or 90 (nominal)", [15, 30, 45, 60, 70, 90], "NCE", "one-of"),
    ],
)
def test_an_energy_is_what_its_text_says(text, values, unit, kind):
    for bare in ("eV", "NCE"):
        found = parse_energy(text, bare)
        assert (list(found.values), found.kind) == (values, kind)
        assert found.unit == (bare if unit == "bare" else unit)
        assert found.mean == pytest.approx(sum(values) / len(values))
        assert found.is_ramp == (kind in ("ramp", "stepped"))
    if unit == "bare":
        with pytest.raises(ValueError, match="no unit"):
            parse_energy(text, None)


@pytest.mark.parametrize(
    "text",
    [
        "", "N/A", "high", "scaled by m/z", "scaled 80 (m/z=200) to 110 (m/z=120)", "1e5", "30 eV 40 NCE", "10 20 eV",
        "160-0.41mz or 15 (mz>350) nominal units", "1 keV", "99999", "30 bananas",
    ],
)  # fmt: skip
def test_what_is_not_understood_to_the_last_word_is_refused(text):
    with pytest.raises(ValueError, match="collision energy"):
        parse_energy(text, "NCE")


@given(st.text(max_size=30))
@example("30 eV" * 9)
def test_any_text_is_an_energy_or_a_value_error(text):
    with suppress(ValueError):
        found = parse_energy(text, "NCE")
        assert found.values
        assert all(0 <= value <= 1000 for value in found.values)


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=4),
    st.sampled_from(
        [("{} eV", "eV"), ("{} % (nominal)", "NCE"), ("NCE {}%", "NCE"), ("{} V", "eV"), ("HCD {}", "NCE")]
    ),
)
def test_written_energies_are_read_back(values, form):
    text, unit = form
    found = parse_energy(text.format(", ".join(map(str, values))), None)
    assert (found.values, found.unit) == (tuple(values), unit)
    assert found.kind == ("fixed" if len(values) == 1 else "stepped")


def test_nce_and_ev_by_thermos_formula():
    assert ev_of_nce(30, 500, 1) == 30
    assert ev_of_nce(30, 250, 1) == 15
    assert [ev_of_nce(100, 500, -charge) / 100 for charge in range(1, 6)] == pytest.approx(CHARGE_FACTORS)
    assert ev_of_nce(100, 500, 9) == pytest.approx(75)


@given(st.floats(0.1, 200), st.floats(50, 2000), st.integers(-6, 6))
def test_nce_and_ev_are_each_others_inverse(nce, precursor_mz, charge):
    assume(charge)
    assert nce_of_ev(ev_of_nce(nce, precursor_mz, charge), precursor_mz, charge) == pytest.approx(nce)


def test_keys_are_harmonised_as_matchms_does():
    compared = 0
    for row in matchms_table("known_key_conversions.csv"):
        synonym, key = row["known_synonym"], row["matchms_default"]
        if key in KEYS and "$" not in synonym and ":" not in synonym:
            assert harmonised([(synonym, "a value")]) == {key: "a value"}, synonym
            compared += 1
    assert compared >= 25
