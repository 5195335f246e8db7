"""Records of every format, against the text they were written as, matchms, and the real ones."""

from __future__ import annotations

import re
import tarfile
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from massformer_library_inputs import GNPS, GOOD, read_all, texts

from ms2img.massformer.library.assemble import read_part
from ms2img.massformer.library.entries import parse_mgf, parse_msp
from ms2img.massformer.library.filters import LibraryRules, accept
from ms2img.massformer.library.massbank import parse_massbank
from ms2img.massformer.library.reasons import Rejected
from ms2img.massformer.library.record import NOTHING, LibraryRecord

ONE_LINE = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)


TAGS = ("LICENSE", "CH$SMILES", "AC$INSTRUMENT", "AC$INSTRUMENT_TYPE")


PEAKS = st.lists(st.tuples(st.floats(1, 2000), st.floats(0.001, 1e9)), max_size=20)


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(dict.fromkeys(TAGS, ONE_LINE)),
    ONE_LINE,
    st.floats(50, 2000),
    PEAKS,
    st.booleans(),
)
def test_a_massbank_record_says_what_was_written(tags, energy, precursor, peaks, annotated):
    lines = ["ACCESSION: MSBNK-My_Lab-XY000001", *(f"{tag}: {value}" for tag, value in tags.items())]
    lines += [f"AC$MASS_SPECTROMETRY: COLLISION_ENERGY {energy}", f"MS$FOCUSED_ION: PRECURSOR_M/Z {precursor!r}"]
    if annotated:
        lines += ["PK$ANNOTATION: m/z formula", "  1.0 C1H2+", "  2.0 C5"]
    lines += [f"PK$NUM_PEAK: {len(peaks)}", "PK$PEAK: m/z int. rel.int."]
    lines += [f"  {mz!r} {height!r} 999" for mz, height in peaks] + ["//"]
    found = parse_massbank(lines, library="lib")
    assert (found.spectrum_id, found.laboratory, found.library) == ("MSBNK-My_Lab-XY000001", "My_Lab", "lib")
    assert found.precursor_mz == precursor
    assert list(zip(found.mz, found.intensity, strict=True)) == peaks
    said = (found.licence, found.smiles, found.instrument, found.instrument_type, found.collision_energy)
    expected = (*(tags[key] for key in TAGS), energy)
    assert said == tuple("" if value.lower() in NOTHING else value for value in expected)
    assert not found.is_simulated


@pytest.mark.parametrize("parse", [parse_massbank, parse_msp, parse_mgf])
@given(st.text(st.sampled_from("ACESION:=\n /#;0123456789.-eENnamumPks$PKBG"), max_size=120))
@settings(max_examples=60)
def test_any_text_is_a_record_or_a_value_error(parse, text):
    place = {} if parse is parse_massbank else {"place": "file:1"}
    with suppress(ValueError):
        assert parse(text.split("\n"), library="lib", **place).spectrum_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ACCESSION", "ACCESS"), "no ACCESSION"),
        (("PK$NUM_PEAK: 3", "PK$NUM_PEAK: 4"), "3 peaks, but PK.NUM_PEAK promises 4"),
        (("PRECURSOR_M/Z 195.0877", "PRECURSOR_M/Z heavy"), "PRECURSOR_M/Z 'heavy' is no number"),
        (("PRECURSOR_M/Z 195.0877", "PRECURSOR_M/Z inf"), "not finite"),
        (("  195.0877 ", "  oops "), "is not a peak"),
    ],
)
def test_a_bad_record_is_one_line(change, message):
    text = texts(1)[0]
    assert change[0] in text
    with pytest.raises(ValueError, match=message):
        parse_massbank(text.replace(*change).splitlines(), library="lib")


MONA = """Name: Caffeine
Synon: $:00in-source
DB#: MoNA0001
SMILES: CN1C=NC2=C1C(=O)N(C)C(=O)N2C
Precursor_type: [M+H]+
Spectrum_type: MS2
PrecursorMZ: 195.0877
Instrument_type: LC-ESI-QFT
Instrument: Q Exactive Plus Orbitrap
Ion_mode: P
Collision_energy: 30 (NCE)
Comments: "license=CC BY" "SMILES=wrong" "computed formula=C8"
Num Peaks: 2
138.066 50 "C6H8N3O/1ppm"
195.0877 100
"""


def test_msp_and_mgf_say_the_same(tmp_path):
    (tmp_path / "a.msp").write_text(MONA + "\n" + MONA.replace("MoNA0001", "MoNA0002"))
    (tmp_path / "b.mgf").write_text(GNPS)
    first, second, third = read_all(tmp_path)
    assert [each.spectrum_id for each in (first, second, third)] == ["MoNA0001", "MoNA0002", "CCMSLIB1"]
    assert (first.licence, first.smiles) == ("CC BY", GOOD.smiles)  # a key of its own before the comments
    for each in (first, second, third):
        assert each.library == tmp_path.name
        assert (each.precursor_mz, list(each.mz), list(each.intensity)) == (195.0877, [138.066, 195.0877], [50, 100])
        accepted = accept(each, LibraryRules())
        assert (accepted.cell, accepted.adduct.name, accepted.energy.mean) == ("HCD", "[M+H]+", 30)


def test_what_matchms_writes_is_read_back(tmp_path):
    from matchms import Spectrum
    from matchms.exporting import save_as_mgf, save_as_msp

    parsed = [parse_massbank(text.splitlines(), library="lib") for text in texts()]
    spectra = [
        Spectrum(
            np.array(each.mz),
            np.array(each.intensity),
            {
                "spectrum_id": each.spectrum_id, "compound_name": "caffeine", "smiles": each.smiles,
                "license": each.licence, "instrument": each.instrument, "instrument_type": each.instrument_type,
                "ms_level": each.ms_level, "ionmode": each.ion_mode, "fragmentation_mode": each.fragmentation,
                "adduct": each.adduct, "collision_energy": each.collision_energy, "precursor_mz": each.precursor_mz,
            },
        )
        for each in parsed
    ]  # fmt: skip
    save_as_msp(spectra, str(tmp_path / "lib.msp"))
    save_as_mgf(spectra, str(tmp_path / "lib.mgf"))
    for name in ("lib.msp", "lib.mgf"):
        for found, each in zip(read_all(tmp_path / name), parsed, strict=True):
            assert found.mz == pytest.approx(each.mz)
            assert found.intensity == pytest.approx(each.intensity)
            # The peaks' numbers, the case of the ion mode and the comment, which matchms was not given, are set aside.
            same = {"mz": (), "intensity": (), "ion_mode": found.ion_mode.upper(), "is_simulated": True}
            assert replace(found, **same) == replace(each, mz=(), intensity=())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GNPS.replace("END IONS\n", ""), 1),
        (GNPS.replace("END IONS\n", "") + GNPS, 1),
        (GNPS.replace("138.066 50", "138.066 fifty"), 1),
        (GNPS.replace("138.066 50", "oops"), 1),
        (GNPS.replace("PEPMASS=195.0877", "PEPMASS=many"), 1),
        (GNPS.replace("138.066 50", "# a comment\n138.066 50"), 0),
    ],
)
def test_a_bad_mgf_entry_costs_itself(tmp_path, text, found):
    (tmp_path / "a.mgf").write_text(text + GNPS)
    results = read_all(tmp_path / "a.mgf")
    assert sum(isinstance(each, Rejected) for each in results) >= found
    assert isinstance(results[-1], LibraryRecord)


def test_every_real_laboratory_is_understood(shared, tmp_path):
    """Every fiftieth of the real records, against a reading by regular expressions alone."""
    texts: dict[str, str] = {}
    with (
        tarfile.open(shared / "data/massbank/massbank-ft-msms.tar.xz", "r|xz") as real,
        zipfile.ZipFile(tmp_path / "real.zip", "w") as sample,
    ):
        for number, member in enumerate(real):
            if number % 50 == 0 and (stream := real.extractfile(member)):
                texts[Path(member.name).stem] = stream.read().decode()
                sample.writestr(member.name, texts[Path(member.name).stem])
    found = {each.spectrum_id: each for each in read_all(tmp_path / "real.zip")}
    assert found.keys() == texts.keys()
    assert len({each.laboratory for each in found.values()}) > 8
    patterns = {
        "smiles": r"CH\$SMILES: (.*)",
        "licence": "LICENSE: (.*)",
        "collision_energy": ".* COLLISION_ENERGY (.*)",
        "fragmentation": ".* FRAGMENTATION_MODE (.*)",
        "instrument_type": r"AC\$INSTRUMENT_TYPE: (.*)",
    }
    for name, text in texts.items():
        record = found[name]
        peaks = re.findall(r"^  (\S+) (\S+) \d+$", text.partition("PK$PEAK:")[2], re.MULTILINE)
        assert [(float(mz), float(height)) for mz, height in peaks] == list(
            zip(record.mz, record.intensity, strict=True)
        )
        for field, pattern in patterns.items():
            assert getattr(record, field) == re.search(f"^{pattern}$", text, re.MULTILINE)[1].strip()
    kept = read_part(found.values(), LibraryRules()).spectra
    assert len(found) / 2 < kept.num_rows < len(found)
