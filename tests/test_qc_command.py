"""``ms2img qc`` from the command line: files, counts, refusals; and its page in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from qc_studies import HOSTILE, converted
from report_pages import Page
from test_report_browser import CHROMIUM, DESKTOP, LOW_CONTRAST, PHONE, chromium  # noqa: F401 - a fixture

from ms2img.ms2toimg.qc_table import QC
from pipelines import cli

FILES = {"config.yaml", "findings.csv", "qc.csv", "qc.parquet", "report.html"}


@dataclass(frozen=True)
class Spoilt:
    """Images of a study, and a sheet in which some things are wrong."""

    images: Path
    sheet: Path


@pytest.fixture(scope="module")
def spoilt(shared: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Spoilt:
    """The real study with two runs swapped, a sample called a blank, a run never converted and one not in the sheet."""
    made, folder = converted(shared, tmp_path_factory), tmp_path_factory.mktemp("spoilt")
    whole = pd.read_csv(made / "converted.csv", dtype=str)
    whole["path"] = [str(made / path) for path in whole["path"]]
    whole = whole.set_index("sample_id")
    one, other = "QEC18_To_20181227204313", "QEC18_NIST_20181227182328"
    whole.loc[[one, other], "accession"] = whole.loc[[other, one], "accession"].to_numpy()
    whole.loc["QEC18_F1-3_To-1", "kind"] = "blank"
    whole.loc["later"] = whole.loc["QEC18_F1"]
    whole.drop(index="QEC18_F2").reset_index().to_csv(folder / "spoilt.csv", index=False)
    return Spoilt(made / "out", folder / "spoilt.csv")


@pytest.fixture(scope="module")
def reported(spoilt: Spoilt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "qc"
    assert cli.main(["qc", str(spoilt.images), "--samples", str(spoilt.sheet), "--out", str(out), "--quiet"]) == 0
    return out


def test_everything_wrong_is_in_the_tables(reported):
    assert {path.name for path in reported.iterdir()} == FILES
    table = pq.read_table(reported / "qc.parquet")
    assert table.schema.equals(QC)
    flags = {row["sample_id"]: set(row["flags"].split(";")) for row in table.to_pylist()}
    assert "swapped" in flags["QEC18_To_20181227204313"]
    assert "swapped" in flags["QEC18_NIST_20181227182328"]
    assert "full-blank" in flags["QEC18_F1-3_To-1"]
    assert {"few-spectra", "few-fragments"} <= flags[HOSTILE]
    assert (flags["gone"], flags["later"], flags["QEC18_F2"]) == ({"failed"}, {"missing"}, {"not-in-sheet"})
    text = pd.read_csv(reported / "qc.csv").set_index("sample_id")
    assert text["flags"].fillna("").to_dict() == {name: ";".join(sorted_as(table, name)) for name in flags}
    findings = pd.read_csv(reported / "findings.csv")
    assert findings.loc[findings["code"] == "failed", "text"].tolist() == ["has no image: no such file [not-found]"]


def sorted_as(table: Any, name: str) -> list[str]:
    row = next(row for row in table.to_pylist() if row["sample_id"] == name)
    return [code for code in row["flags"].split(";") if code]


def test_the_json_line_counts(spoilt, tmp_path, capsys):
    arguments = ["qc", str(spoilt.images), "--samples", str(spoilt.sheet), "--out", str(tmp_path / "qc"), "--json"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    values = json.loads(out)
    counts = {name: values[name] for name in ("runs", "images", "failed", "missing", "not_in_sheet")}
    assert counts == {"runs": 100, "images": 98, "failed": 1, "missing": 1, "not_in_sheet": 1}
    assert values["findings"]["swapped"] == 2
    findings = pd.read_csv(tmp_path / "qc" / "findings.csv")
    runs = findings[(findings["about"] == "run") & ~findings["code"].isin(["failed", "missing", "not-in-sheet"])]
    assert values["flagged"] == runs.loc[~runs["shared"], "subject"].nunique()
    assert values["flagged"] + values["differing"] == runs["subject"].nunique()
    assert any("QC runs" in gap for gap in values["gaps"])
    assert "Traceback" not in err


def test_a_limit_is_an_option(spoilt, tmp_path):
    arguments = ["qc", str(spoilt.images), "--samples", str(spoilt.sheet), "--out", str(tmp_path), "--quiet"]
    assert cli.main([*arguments, "--swap-margin", "1.9", "--blank-share", "5"]) == 0
    assert not pd.read_csv(tmp_path / "findings.csv")["code"].isin(["swapped", "full-blank"]).any()


def _text_order(spoilt: Spoilt, folder: Path) -> list[str]:
    sheet = pd.read_csv(spoilt.sheet, dtype=str)
    sheet.loc[3, "injection_order"] = "third"
    sheet.to_csv(folder / "order.csv", index=False)
    return [str(spoilt.images), "--samples", str(folder / "order.csv")]


def _other_sheet(spoilt: Spoilt, folder: Path) -> list[str]:
    (folder / "other.csv").write_text("sample_id,path\nx,x.mgf\n")
    return [str(spoilt.images), "--samples", str(folder / "other.csv")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda spoilt, folder: [str(folder), "--samples", str(spoilt.sheet)], "expected the OUT folder of a finished"),
        (_other_sheet, "has no image of any run"),
        (_text_order, "row 5: injection_order is 'third', expected a number"),
        (lambda spoilt, folder: [str(spoilt.images)], "--samples is missing"),
        (
            lambda spoilt, folder: [str(spoilt.images), "--samples", str(spoilt.sheet), "--out", str(spoilt.images)],
            "is an image data set; give --out a folder of its own",
        ),
        (
            lambda spoilt, folder: [str(spoilt.images), "--samples", str(spoilt.sheet), "--out", str(spoilt.sheet)],
            "is a file; --out must be a folder",
        ),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(
    spoilt: Spoilt, tmp_path: Path, capsys: Any, monkeypatch: Any, arguments: Callable[..., list[str]], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments(spoilt, tmp_path)
    before = sorted(tmp_path.rglob("*")) + sorted(spoilt.images.iterdir())
    assert cli.main(["qc", *given]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert said in err[0]
    assert sorted(tmp_path.rglob("*")) + sorted(spoilt.images.iterdir()) == before


def test_the_page_names_the_runs_and_lets_no_text_through(reported):
    html = (reported / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.all("script") == []
    assert HOSTILE in " ".join(page.words)
    listed = {row[1].split("sample ·")[0].strip(): row[2] for row in page.table("image") if len(row) == 3}
    assert "looks like 0_0_0_100 while QEC18_To_20181227204313" in listed["QEC18_NIST_20181227182328"]
    assert "gone has no image: no such file [not-found]" in page.text
    assert "4 QC runs" not in page.text or "to judge drift" in page.text
    table = pd.read_csv(reported / "qc.csv").set_index("sample_id")
    # The row of the swapped run in the folded table has the numbers of qc.csv.
    (cells,) = [row for row in page.table("run") if row[0] == "QEC18_NIST_20181227182328"]
    run = table.loc["QEC18_NIST_20181227182328"]
    assert cells[4:6] == [f"{run['n_spectra']:.0f}", f"{run['n_fragments']:.0f}"]
    assert cells[7:9] == [f"{run['replicate_similarity']:.2f}", f"{run['stranger_similarity']:.2f}"]


def test_equal_input_gives_an_equal_page(spoilt, reported, tmp_path):
    arguments = ["qc", str(spoilt.images), "--samples", str(spoilt.sheet), "--out", str(tmp_path), "--quiet"]
    assert cli.main(arguments) == 0
    for name in FILES - {"config.yaml"}:
        assert (tmp_path / name).read_bytes() == (reported / name).read_bytes(), name


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium at /usr/bin/chromium: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_opens_offline_and_is_readable(chromium: Any, reported: Path, viewport: dict, scheme: str) -> None:  # noqa: F811
    context = chromium.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    file = reported / "report.html"
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert said == []
    width, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width == shown
    found = page.evaluate(LOW_CONTRAST)
    assert found["checked"] > 300
    assert found["low"] == []
    images = page.evaluate("Array.from(document.images, each => [each.naturalHeight, each.naturalWidth])")
    assert len(images) > 5
    assert all(size == [75, 70] for size in images)
    context.close()
