"""Drafted sheets: against the sheets that people made for the real files, and every refusal."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ms2img.errors import RunError, UsageError
from ms2img.io.accession_guess import guess_accessions, guess_kind
from ms2img.io.draft import draft_runs, draft_sheet
from ms2img.io.read import read_runs
from ms2img.io.sheet import Sheet

MGF = "BEGIN IONS\nFEATURE_ID=1\nPEPMASS=100\n50 1\nEND IONS\n"
FBMN = ("spectra_nogapF.mgf", "quant_nogapF.csv")
QUANT = "row ID,row m/z,row retention time,{}\n1,100,1,{}\n"


def write(path: Path, text: str = MGF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t" if path.suffix == ".tsv" else ","))


def same_groups(left: dict[str, str], right: dict[str, str]) -> bool:
    """Whether two namings of the same runs put the same runs together."""
    pairs = {(left[name], right[name]) for name in left}
    return len(pairs) == len(set(left.values())) == len(set(right.values()))


@pytest.mark.parametrize(
    ("files", "truth", "n_runs", "n_unlisted"),
    [
        (["qemistree/mgf"], "qemistree/samples.csv", 99, 1),
        ([f"qemistree/fbmn/qtof_{end}" for end in FBMN], "qemistree/fbmn/samples.csv", 97, 5),
        (["emi"], "emi/samples.csv", 11, 0),
    ],
)  # fmt: skip
def test_drafts_agree_with_the_sheets_people_made(
    shared: Path, tmp_path: Path, files: list[str], truth: str, n_runs: int, n_unlisted: int
) -> None:
    out = tmp_path / "out.csv"
    summary = draft_sheet([str(shared / "data" / name) for name in files], out)
    drafted = {run.sample_id: run for run in Sheet.read(out).runs}
    known = {run.sample_id: run for run in Sheet.read(shared / "data" / truth).runs}
    assert len(drafted) == summary.n_runs == n_runs
    assert set(drafted) >= set(known)
    assert len(drafted) - len(known) == n_unlisted
    for name, run in known.items():
        found = drafted[name]
        assert (found.path, found.quant_path, found.column) == (run.path, run.quant_path, run.column)
        assert found.kind == run.kind, name
    samples = [name for name, run in known.items() if run.kind == "sample"]
    assert same_groups(
        {name: drafted[name].accession for name in samples}, {name: known[name].accession for name in samples}
    )


def test_a_draft_of_the_msdial5_alignment_groups_its_classes(shared: Path, tmp_path: Path) -> None:
    summary = draft_sheet([str(shared / "data/msdial/msdial5_alignment_69_samples.txt")], tmp_path / "s.csv")
    drafted = rows(tmp_path / "s.csv")
    assert list(drafted[0]) == [
        "sample_id", "path", "column", "class", "injection_order", "batch", "kind", "accession", "assay",
    ]  # fmt: skip
    # Runs are named E_neg_Bs_1_1rep, E_neg_mock_2_1, R_neg_Fc_2_ or F_neg_Sv_1rep; the classes know better.
    assert same_groups({r["sample_id"]: r["accession"] for r in drafted}, {r["sample_id"]: r["class"] for r in drafted})
    assert (summary.n_runs, summary.n_accessions, summary.kinds) == (69, 23, {"sample": 69, "blank": 0, "qc": 0})
    assert "accession is a guess" in summary.notes[0]
    outcomes = [outcome for _, outcome in read_runs(Sheet.read(tmp_path / "s.csv").runs)]
    assert not any(isinstance(outcome, RunError) for outcome in outcomes)


def test_a_draft_of_the_msdial4_alignment_and_the_peak_list(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/msdial"
    names = ["msdial4_alignment_72_runs.txt", "msdial4_peaklist_one_run.txt"]
    summary = draft_sheet([str(folder / name) for name in names], tmp_path / "s.tsv", assay="dpph")
    drafted = rows(tmp_path / "s.tsv")
    assert summary.kinds == {"sample": 61, "blank": 5, "qc": 7}
    assert summary.n_accessions == 61  # one run each, though the names end in injection numbers
    assert {(r["kind"], r["class"]) for r in drafted} == {
        ("sample", "sample"), ("blank", "blank"), ("qc", "qcpool"), ("sample", ""),
    }  # fmt: skip
    assert [r["column"] for r in drafted][:2] == ["Blank_001", "Blank_002"]
    assert (drafted[-1]["sample_id"], drafted[-1]["column"]) == ("msdial4_peaklist_one_run", "")
    assert {r["dpph"] for r in drafted} == {""}


def test_paths_are_relative_below_the_sheet_and_absolute_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below, aside = write(tmp_path / "study/runs/a.mgf"), write(tmp_path / "elsewhere/b.mgf")
    monkeypatch.chdir(tmp_path)
    draft_sheet(["study/runs/a.mgf", "elsewhere/b.mgf"], "study/s.csv")
    assert {r["path"] for r in rows(tmp_path / "study/s.csv")} == {"runs/a.mgf", str(aside)}
    assert {run.path for run in Sheet.read(tmp_path / "study/s.csv").runs} == {str(below), str(aside)}


def test_a_folder_in_natural_order_with_what_was_skipped(tmp_path: Path) -> None:
    for name in ("run_10.mgf", "run_9.mgf", "run_1.mgf", "deeper/run_2.mgf", ".hidden.mgf"):
        write(tmp_path / name)
    write(tmp_path / "notes.txt", "to do\n")
    summary = draft_sheet([str(tmp_path), str(tmp_path / "run_1.mgf")], tmp_path / "s.csv")
    assert [r["sample_id"] for r in rows(tmp_path / "s.csv")] == ["run_1", "run_9", "run_10"]
    assert [text.split(": ")[0] for text in summary.skipped] == [str(tmp_path / "notes.txt")]
    first = (tmp_path / "s.csv").read_bytes()
    draft_sheet([str(tmp_path)], tmp_path / "s.csv", force=True)
    assert (tmp_path / "s.csv").read_bytes() == first


def test_tables_find_their_mgf(tmp_path: Path) -> None:
    for name in ("x_1", "x_10"):
        write(tmp_path / f"{name}.mgf")
        write(tmp_path / f"{name}_quant.csv", QUANT.format(f"{name}.mzML Peak area", 5))
    write(tmp_path / "alone.mgf")
    draft_sheet([str(tmp_path)], tmp_path / "s.csv")
    found = {r["sample_id"]: (r["path"], r["quant_path"], r["column"]) for r in rows(tmp_path / "s.csv")}
    assert found == {
        "x_1": ("x_1.mgf", "x_1_quant.csv", "x_1.mzML Peak area"),
        "x_10": ("x_10.mgf", "x_10_quant.csv", "x_10.mzML Peak area"),
        "alone": ("alone.mgf", "", ""),
    }


def test_what_cannot_be_drafted_is_one_line(tmp_path: Path) -> None:
    mgf, text = write(tmp_path / "a.mgf"), write(tmp_path / "notes.txt", "to do\n")
    twin, table = write(tmp_path / "deeper/a.mgf"), write(tmp_path / "t_quant.csv", QUANT.format("r Peak area", 1))
    broken = write(tmp_path / "al.txt", "Alignment ID\tMS/MS spectrum\n")
    existing = write(tmp_path / "existing.csv", "sample_id,path,dpph\na,a.mgf,0.5\n")
    (tmp_path / "empty").mkdir()
    new = tmp_path / "new.csv"
    for files, out, message in (
        ([], new, "no file to draft a sheet from"),
        ([mgf], existing, "exists already, with what you may have filled in"),
        ([mgf], tmp_path / "new.xlsx", "a sheet is drafted as .csv or .tsv"),
        ([mgf], tmp_path / "no/new.csv", "does not exist"),
        ([text], new, "expected mzML, mzXML, MGF"),
        ([tmp_path / "gone.mgf"], new, "no such file"),
        ([tmp_path / "empty"], new, "no run file in this folder"),
        ([mgf, twin], new, "two runs are called 'a'"),
        ([table], new, "which MGF belongs to this feature table?"),
        ([mgf, twin, table], new, "which MGF belongs to this feature table?"),
        ([broken], new, "no row 'File type'"),
    ):
        with pytest.raises(UsageError) as caught:
            draft_sheet([str(file) for file in files], out)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not new.exists()
    with pytest.raises(UsageError, match="would be overwritten"):
        draft_sheet([str(mgf), str(table)], table, force=True)
    with pytest.raises(UsageError, match="'kind' is no name for an assay column"):
        draft_sheet([str(mgf)], new, assay="kind")
    assert existing.read_text().endswith("0.5\n")


def test_runs_without_a_sheet(tmp_path: Path) -> None:
    write(tmp_path / "a.mgf")
    runs, skipped = draft_runs([str(tmp_path)])
    assert [(run.sample_id, run.path, run.kind) for run in runs] == [("a", str(tmp_path / "a.mgf"), "sample")]
    assert skipped == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Blank_01", "blank"), ("run_blk2", "blank"), ("SolventBlank", "blank"), ("Sblk", "sample"), ("QC_1", "qc"),
        ("20240101_qcpool", "qc"), ("PoolQC_3", "qc"),
        ("QEC18_Qcmix_end", "qc"), ("aqcua_1", "sample"), ("leaf", "sample"), ("QC_blank", "blank"),
    ],
)  # fmt: skip
def test_kinds_by_name(name: str, kind: str) -> None:
    assert guess_kind(name) == kind


def expand(*groups: str) -> list[str]:
    return [f"{group}{end}" for group in groups for end in ("_1", "_2", "_3")]


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (expand("leaf", "root"), None, ["leaf"] * 3 + ["root"] * 3),
        (["a-1", "a-2", "b rep1", "b rep2"], None, ["a", "a", "b", "b"]),
        (["a_20240102", "a", "b_20240102_1530", "b_20240103153059"], None, ["a", "a", "b", "b"]),
        (["P-1_01", "P-1_02", "P-2_01", "P-2_02"], None, ["P-1", "P-1", "P-2", "P-2"]),  # the finer of two readings
        (["a_1", "a_2", "b_1", "b_2", "c"], None, ["a", "a", "b", "b", None]),
        ([f"plant_{n}" for n in range(30)], None, [None] * 30),  # a numbered series
        ([f"{part}_{n}" for part in ("leaf", "root") for n in range(9)], None, [None] * 18),  # two of them
        ([f"plant_{n}" for n in range(4)], None, [None] * 4),  # one group of all says nothing
        (["a1", "b1", "c1", "d1"], ["x", "x", "y", "y"], ["x", "x", "y", "y"]),
        (["a1", "b1", "c1", "d1"], ["x", "x", "x", "x"], [None] * 4),
        (["a_1", "a_2", "q", "r", "s", "t", "u"], None, [None] * 7),  # too few to believe
        ([], None, []),
    ],
)  # fmt: skip
def test_accessions_by_name(names: list[str], classes: list[str] | None, expected: list[str | None]) -> None:
    assert list(guess_accessions(names, classes or [None] * len(names))) == expected
