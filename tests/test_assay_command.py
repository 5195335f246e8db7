"""``ms2img assay``: plate files of both shapes, the joined sheet that can be learned from, and every refusal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import many, plate, write_grid, write_tidy

from ms2img.errors import UsageError
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.assay.options import AssayOptions
from ms2img.ms2toimg.assay.plate_file import read_plates
from ms2img.ms2toimg.assay.values import evaluate
from ms2img.ms2toimg.labels import LabelConfig, make_labels
from pipelines import cli

TIDY = "well,kind,accession,concentration,od\n"
GOOD = TIDY + "A1,blank,,,0.7\nB1,sample,a,,0.3\n"
GRID = ",1,2,3,4,5,6,7,8,9,10,11,12\n" + "".join(f"{row},0.7{',0.3' * 11}\n" for row in "ABCDEFGH")
LAYOUT = "well,kind,accession\nA1,blank,\nB2,sample,a\n"


def assay(*arguments: object) -> int:
    return cli.main(["assay", *map(str, arguments)])


@pytest.fixture
def sheet(tmp_path) -> Path:
    """Three runs an accession of twelve, one more accession without a value, a blank; an empty column for the assay."""
    rows = [f"{name}-{number},runs/{name}-{number}.mgf,sample,{name}," for name in [*many(12), "new"]
            for number in (1, 2, 3)]  # fmt: skip
    path = tmp_path / "samples.csv"
    path.write_text("\n".join(["sample_id,path,kind,accession,dpph", *rows, "blank,runs/b.mgf,blank,GS001,"]) + "\n")
    return path


# --- from plates to labels -------------------------------------------------------------------------------------------


def test_a_plate_becomes_a_column_that_training_takes(tmp_path, sheet, capsys):
    activities = many(12) | {"stranger": 30.0}
    table = write_tidy(tmp_path / "plate.csv", plate(activities))
    out = tmp_path / "dpph.csv"
    assert assay(table, out, "--join", sheet, "--name", "dpph", "--json") == 0
    said, err = capsys.readouterr()
    facts = json.loads(said.splitlines()[-1])
    assert facts["joined"] == str(tmp_path / "samples-dpph.csv")
    assert (facts["accessions"], facts["without_value"], facts["without_run"]) == (13, ["new"], ["stranger"])
    assert "1 accessions of the sheet have no value: new" in err
    assert "1 accessions of the plates are not in the sheet: stranger" in err

    joined = Sheet.read(facts["joined"])
    assert [run.path for run in joined.runs] == [run.path for run in Sheet.read(sheet).runs]
    value = pd.Series(joined.assay("dpph"), [run.sample_id for run in joined.runs])
    np.testing.assert_allclose(value[[f"{name}-2" for name in many(12)]], list(many(12).values()), atol=0.02)
    assert np.isnan(value[["new-1", "blank"]]).all()  # a blank is no sample, whatever accession it names
    labels = make_labels(joined, LabelConfig(assay="dpph"), [run.sample_id for run in joined.runs])
    low, high = min(many(12).values()), max(many(12).values())
    for name, target in zip(labels.accessions, labels.target, strict=True):
        scaled = (many(12)[name] - low) / (high - low)
        assert target == (0 if scaled < 0.4 else 1 if scaled > 0.6 else -1)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_the_three_tables_say_what_was_computed(tmp_path, ending):
    path = write_tidy(tmp_path / "plate.csv", plate(many(3), noise=0.01))
    assert assay(path, tmp_path / f"x.{ending}", "--quiet") == 0
    read = {"csv": pd.read_csv, "tsv": lambda each: pd.read_csv(each, sep="\t"), "parquet": pd.read_parquet}[ending]
    values, wells, plates = (read(tmp_path / f"x{part}.{ending}") for part in ("", ".wells", ".plates"))
    expected = evaluate(read_plates(str(path))[0], AssayOptions(), path="")
    np.testing.assert_allclose(values["value"], expected.values["value"], rtol=1e-5)
    np.testing.assert_allclose(wells["scavenging"], expected.wells["scavenging"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plates["r2"], expected.plates["r2"].astype(float), rtol=1e-5)


def test_a_joined_sheet_elsewhere_names_the_same_files(tmp_path, sheet):
    path = write_tidy(tmp_path / "plate.csv", plate(many(12)))
    target = tmp_path / "elsewhere" / "joined.csv"
    assert (
        assay(path, tmp_path / "x.csv", "--join", sheet, "--joined", target, "--join-value", "equivalents", "-q") == 0
    )
    assert [run.path for run in Sheet.read(target).runs] == [run.path for run in Sheet.read(sheet).runs]
    equivalents = pd.read_csv(tmp_path / "x.csv").set_index("accession")["equivalents"]
    assert Sheet.read(target).assay("scavenging")[0] == pytest.approx(equivalents["GS001"])


def test_what_is_named_on_the_terminal(tmp_path, capsys):
    table = plate(many(18), noise=0.003)
    table.loc[table.index[-1], "od"] += 0.2
    assert assay(write_tidy(tmp_path / "plate.csv", table), tmp_path / "x.csv") == 0
    text = capsys.readouterr().out
    assert f"1 outliers by the pooled test, kept; --drop-outliers leaves them out: 1:{table['well'].iloc[-1]}" in text
    assert "... and 3 more" in text
    assert "20 to 160, 24 wells" in text


def test_a_blank_of_the_other_kind_is_suspected(tmp_path, capsys):
    (tmp_path / "plate.csv").write_text(TIDY + "A1,blank,,,0.05\nB1,sample,a,,0.3\nB2,sample,b,,0.4\n")
    assert assay(tmp_path / "plate.csv", tmp_path / "x.csv") == 0
    assert "is the blank the reagent without a sample" in capsys.readouterr().err


# --- grids -----------------------------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 22), n_plates=st.integers(1, 3))
def test_a_grid_with_its_layout_says_what_the_tidy_table_says(tmp_path_factory, seed, n, n_plates):
    folder = tmp_path_factory.mktemp("plates")
    tables = [plate(many(n, seed + number), name=f"P{number}", noise=0.01, seed=seed) for number in range(n_plates)]
    tables = [table.assign(od=table["od"].clip(lower=0)) for table in tables]
    write_tidy(folder / "tidy.csv", *tables)
    write_grid(folder / "grid.csv", folder / "layout.csv", *tables)
    tidy, _ = read_plates(str(folder / "tidy.csv"))
    grid, unused = read_plates(str(folder / "grid.csv"), str(folder / "layout.csv"))
    assert not unused

    def content(wells):
        return {(each.plate, each.name, each.kind, each.accession, str(each.concentration), each.od) for each in wells}

    assert content(grid) == content(tidy)


def test_one_layout_holds_for_plates_that_have_no_name(tmp_path, capsys):
    (tmp_path / "grid.csv").write_text(f"Reader\n\n{GRID}\n{GRID}")
    (tmp_path / "layout.csv").write_text(LAYOUT + "C3,Empty,\n")
    wells, unused = read_plates(str(tmp_path / "grid.csv"), str(tmp_path / "layout.csv"))
    assert [(each.plate, each.name, each.od) for each in wells] == [
        ("1", "A1", 0.7), ("2", "A1", 0.7), ("1", "B2", 0.3), ("2", "B2", 0.3)
    ]  # fmt: skip
    assert unused[1] == "plate 2: 93 wells with an OD are not in the layout: A2, A3, A4, A5, A6, ..."


def test_wells_and_kinds_may_be_written_as_people_do(tmp_path):
    rows = ["Well;Kind;Sample;OD;Operator", "a01;BLANK;;0.7;me", "B01;Sample;a;0.3;me", "B02;sample_blank;a;0.1;me"]
    (tmp_path / "plate.txt").write_text("\n".join([*rows, "H12;empty;;;"]))
    wells, _ = read_plates(str(tmp_path / "plate.txt"))
    assert [(each.name, each.kind) for each in wells] == [("A1", "blank"), ("B1", "sample"), ("B2", "sample-blank")]


# --- what is wrong, in one line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TIDY + "A1,blank,,,0.7\nB1,sample,a,,-0.3\n", "row 3: od is '-0.3', expected a finite number >= 0"),
        (TIDY + "A1,blank,,,0.7\nB1,sample,a,,inf\n", "row 3: od is 'inf', expected a finite number >= 0"),
        (TIDY + "A1,blank,,,0.7\nB1,sample,a,,OVER\n", "row 3: od is 'OVER', expected a number; a well out of range"),
        (TIDY + "A1,blank,,,0.7\nB1,sample,a,,\n", "row 3: od is '', expected a number; leave out a row without one"),
        (TIDY + 'A1,blank,,,"0,7"\n', "row 2: od is '0,7', expected a number; write the decimal sign as a point"),
        (TIDY + "A1,blank,,,0,7\n", "row 2: 6 cells, but the header has 5; a decimal comma"),
        (TIDY + "B1,sample,a,,0.3\n", "plate 1 has no well of kind 'blank'"),
        (GOOD.replace("0.7", "0.0"), "row 2: the blank's od is 0"),
        (GOOD + "B13,sample,a,,0.3\n", "row 4: well is 'B13', expected A1 to H12"),
        (GOOD + "b01,sample,b,,0.3\n", "rows 3 and 4: both are well B1 of plate 1"),
        (GOOD + "B2,standard,,,0.3\n", "row 4: a standard's concentration is '', expected a number"),
        (GOOD + "B2,standard,,twenty,0.3\n", "row 4: a standard's concentration is 'twenty', expected a number"),
        (GOOD + "B2,sampel,a,,0.3\n", "row 4: kind is 'sampel', expected one of .*; did you mean 'sample'"),
        (GOOD + "B2,,a,,0.3\n", "row 4: kind is '', expected one of blank, standard"),
        (GOOD + "B2,sample,,,0.3\n", "row 4: a sample needs its accession"),
        (GOOD + "B2,sample-blank,b,,0.3\n", "row 4: plate 1 has a sample-blank of 'b', but no sample"),
        (GOOD + "B2,standard,,20,0.3\nB3,standard,,40,0.2\n", "plate 1: standards of 2 concentrations; expected 3"),
        (TIDY + "A1,blank,,,0.7\n", "no well of kind 'sample' or 'control'"),
        (GOOD.replace("od", "absorbance"), "row 1: no column 'od' .*or a grid: 1 to 12 above rows A to H"),
        (GOOD.replace("kind", "kinds"), "row 1: no column 'kind'; is 'kinds' it"),
        (GOOD.replace("concentration", "Kind"), "row 1: two columns are 'kind'"),
        (GRID, "a grid of ODs needs --layout"),
        ("", "empty"),
        ("\n\n", "the plate has no row"),
        (GOOD.encode("utf-16").decode("latin-1"), "is not UTF-8|NUL"),
        (GOOD + 'B2,"sam', "row 4: not valid CSV"),
    ],
)
def test_a_wrong_plate_is_refused_in_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "plate.csv"
    path.write_text(text)
    assert assay(path, tmp_path / "x.csv") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"ms2img: {path}: ")
    assert err.count("\n") == 1
    with pytest.raises(UsageError, match=message):
        evaluate(read_plates(str(path))[0], AssayOptions(), path=str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["plate.csv"]


@pytest.mark.parametrize(
    ("grid", "layout", "message"),
    [
        (GRID, LAYOUT + "B14,sample,a\n", "layout.csv: row 4: well is 'B14', expected A1 to H12"),
        (GRID, LAYOUT + "B2,sample,b\n", "layout.csv: rows 3 and 4: both are well B2 of plate 1"),
        (GRID, LAYOUT.replace("A1,blank,\n", ""), "layout.csv: plate 1 has no well of kind 'blank'"),
        (GRID, LAYOUT.replace("accession", "plate"), "layout.csv: row 3: plate 'a', but .*grid.csv has 1"),
        (GRID.replace("A,0.7", "A,"), LAYOUT, "layout.csv: row 2: .*grid.csv has no OD in well A1 of plate 1"),
        (GRID.replace("C,0.7", "C,OVER"), LAYOUT, "grid.csv: row 4: well C1: od is 'OVER'"),
        (GRID.replace("D,", "X,"), LAYOUT, "grid.csv: row 1: column numbers of a grid, but below it are not the rows"),
        (f"Plate P\n{GRID}Plate P\n{GRID}", LAYOUT, "grid.csv: row 12: a second plate called 'P'"),
        (GOOD, LAYOUT, "grid.csv: --layout belongs to a grid"),
        (GRID, "well\nA1\n", "layout.csv: row 1: no column 'kind' .expected well, kind.$"),
    ],
)
def test_a_wrong_grid_or_layout_is_refused(tmp_path, grid, layout, message):
    (tmp_path / "grid.csv").write_text(grid)
    (tmp_path / "layout.csv").write_text(layout)
    with pytest.raises(UsageError, match=message):
        read_plates(str(tmp_path / "grid.csv"), str(tmp_path / "layout.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--join", "{sheet}", "--name", "kind"], "'kind' has another meaning in a sheet"),
        (["--join", "{sheet}", "--name", "note"], "has a column 'note' with values already; give --name another"),
        (["--join", "{sheet}", "--name", "../x"], "name: "),
        (["--join", "{other}"], "none of its accessions .b. is one of the plates .a.; both must be written alike"),
        (["--join", "{sheet}", "--joined", "{sheet}"], "is one of the inputs"),
        (
            ["--join", "{sheet}", "--joined", "{folder}/x.csv"],
            "x.csv: would be both the joined sheet and a table of OUT",
        ),
        (["--join", "{sheet}", "--joined", "{folder}/x.wells.csv"], "x.wells.csv: would be both .* or --joined"),
        (["--join", "{sheet}", "--joined", "{folder}/sub/../x.plates.csv"], "x.plates.csv: would be both"),
        (["--join", "{sheet}", "--joined", "{folder}/x.parquet"], "--joined is a .csv"),
        (["--joined", "{folder}/x.csv"], "give --join SAMPLES.csv as well"),
        (["--join", "{sheet}", "--join-value", "equivalents"], "no equivalents to join; equivalents need standards"),
        (["--linear-from", "80", "--linear-to", "40"], "linear_from 80 is not below linear_to 40"),
        (["--join", "{folder}/none.csv"], "none.csv: cannot read"),
    ],
)
def test_a_wrong_join_is_refused_before_anything_is_written(tmp_path, capsys, options, message):
    (tmp_path / "plate.csv").write_text(GOOD)
    (tmp_path / "samples.csv").write_text("sample_id,path,note\na,a.mgf,x\n")
    (tmp_path / "other.csv").write_text("sample_id,path\nb,b.mgf\n")
    names = {"sheet": tmp_path / "samples.csv", "other": tmp_path / "other.csv", "folder": tmp_path}
    before = sorted(tmp_path.iterdir())
    assert assay(tmp_path / "plate.csv", tmp_path / "x.csv", *(each.format(**names) for each in options)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_would_overwrite_the_plate_is_refused(tmp_path):
    (tmp_path / "x.wells.csv").write_text(GOOD)
    assert assay(tmp_path / "x.wells.csv", tmp_path / "x.csv") == 2
    assert (tmp_path / "x.wells.csv").read_text() == GOOD


def test_an_out_of_the_joined_sheets_own_name_is_refused(tmp_path, sheet, capsys):
    path = write_tidy(tmp_path / "plate.csv", plate(many(12)))
    assert assay(path, tmp_path / "samples-dpph.csv", "--join", sheet, "--name", "dpph") == 2
    assert "samples-dpph.csv: would be both the joined sheet and a table of OUT" in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["plate.csv", "samples.csv"]
