"""``ms2img deepion colocalize`` and ``isotopes`` from the command line: tables by brute force, refusals, pages."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from deepion_embeddings import Section, made
from report_pages import Page
from scipy.spatial.distance import cdist
from test_report_browser import CHROMIUM, DESKTOP, LOW_CONTRAST, PHONE, chromium  # noqa: F401 - a fixture

from ms2img.deepion.embedding_folder import Embedding, read_embedding, write_embedding
from ms2img.deepion.images import read_images, write_images
from ms2img.deepion.isotopes import RULES, isotope_candidates, isotope_groups
from ms2img.deepion.phantom.truth import match, read_truth, score_pairs
from pipelines import cli
from pipelines.deepion.colocalize_search import COLOCALISED
from pipelines.deepion.isotope_search import GROUPED

EVIL = "<script>alert('&')</script>.imzML"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    return made(tmp_path_factory.mktemp("section"), ions=60, source=EVIL)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """A command's exit status and what it printed on either stream."""

    def run(*words: Any) -> tuple[int, str, str]:
        status = cli.main(["deepion", *map(str, words)])
        out, err = capfd.readouterr()
        return status, out, err

    return run


def changed(section: Section, out: Path, **facts: Any) -> Path:
    """The section's embedding with other facts, in a folder of its own."""
    write_embedding(out, replace(section.read, **facts))
    return out


# --- colocalize ---


@pytest.mark.parametrize(
    ("space", "name", "metric"), [("umap", "reduced", "euclidean"), ("encoder", "vectors", "cosine")]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_ion_against_all_others(section, run, tmp_path, space, name, metric, suffix):
    out = tmp_path / f"table.{suffix}"
    assert run("colocalize", section.embedding, "--space", space, "--top", 3, "--out", out, "-q")[0] == 0
    if suffix == "parquet":
        assert pq.read_table(out).schema.equals(COLOCALISED)
    table = pd.read_parquet(out) if suffix == "parquet" else pd.read_csv(out)
    assert list(table.columns) == COLOCALISED.names
    embedding = section.read
    vectors = getattr(embedding, name).astype(np.float64)
    true = cdist(vectors, vectors, metric)
    np.fill_diagonal(true, np.inf)
    n = len(embedding)
    np.testing.assert_allclose(table["query_mz"].to_numpy().reshape(n, 3)[:, 0], embedding.mz)
    np.testing.assert_allclose(table["distance"].to_numpy().reshape(n, 3), np.sort(true, axis=1)[:, :3], atol=1e-5)
    hits = np.searchsorted(embedding.mz, table["mz"].to_numpy() - 1e-6).reshape(n, 3)
    np.testing.assert_allclose(np.take_along_axis(true, hits, axis=1), np.sort(true, axis=1)[:, :3], atol=1e-5)
    np.testing.assert_allclose(table["presence"], embedding.presence[hits.ravel()])
    assert table["rank"].tolist() == [1, 2, 3] * n


def test_queries_are_found_within_the_tolerance_and_each_once(section, run):
    mz = section.read.mz
    asked = f"{mz[7] * (1 + 9e-6):.6f},{mz[2]:.6f},{mz[7]:.6f}"
    status, out, err = run("colocalize", section.embedding, "--query", asked, "--top", 2, "--json")
    assert status == 0
    told = json.loads(out)
    assert [(hit["query_mz"], hit["rank"]) for hit in told["hits"]] == [
        (mz[row], rank) for row in (7, 2) for rank in (1, 2)
    ]
    assert told["queries"] == 2
    assert told["ions"] == len(mz)
    assert told["simulated"] is True
    assert f"{mz[2]:.4f}" in err
    assert "SIMULATED data" in err


def test_few_of_many_are_shown_and_said_to_be(section, run):
    status, out, _ = run("colocalize", section.embedding)
    assert status == 0
    assert "The first 5 are shown; --out TABLE.csv writes all" in out
    assert f"{len(section.read)} of {len(section.read)} ions asked for" in out


def test_an_approximate_search_says_what_it_missed(section, run, tmp_path):
    """Of so few ions there is one cell, which is searched whole."""
    status, out, _ = run("colocalize", section.embedding, "--approximate", "--out", tmp_path / "a.parquet", "--json")
    assert status == 0
    assert json.loads(out)["recall"] == 1.0
    run("colocalize", section.embedding, "--out", tmp_path / "b.parquet", "-q")
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))


def test_the_mode_for_the_other_search_is_warned_of(section, run, tmp_path):
    assert "the paper's mode for this search is 'col'" in run("colocalize", section.embedding, "-q")[2]
    col = changed(section, tmp_path / "col", mode="col")
    assert run("colocalize", col, "-q")[2] == ""
    assert "isotopes are what the paper's mode 'iso' is for" in run("isotopes", col, "-q")[2]
    assert run("isotopes", section.embedding, "-q")[2] == ""


# --- isotopes ---


def brute_force(
    embedding: Embedding, *, ppm: float, furthest: float
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Pairs by mass, and those that intensity and image support, by a double loop."""
    by_mass, accepted = set(), set()
    for one, low in enumerate(embedding.mz.tolist()):
        for other, high in enumerate(embedding.mz.tolist()):
            steps = [
                exchanges * rule.step / charge
                for charge in (1, 2)
                for rule in RULES["positive"]
                for exchanges in range(1, rule.most + 1)
            ]
            if any(abs(high - low - step) <= low * ppm * 1e-6 for step in steps):
                by_mass.add((one, other))
                apart = np.linalg.norm(embedding.reduced[one].astype(float) - embedding.reduced[other])
                if embedding.intensity[one] > embedding.intensity[other] and apart <= furthest:
                    accepted.add((one, other))
    return by_mass, accepted


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_groups_follow_from_mass_intensity_and_image(section, run, tmp_path, suffix):
    out = tmp_path / f"groups.{suffix}"
    status, said, _ = run("isotopes", section.embedding, "--furthest", 0.8, "--out", out, "--json")
    assert status == 0
    told, embedding = json.loads(said), section.read
    by_mass, accepted = brute_force(embedding, ppm=10, furthest=0.8)
    assert (told["candidates"], told["accepted"]) == (len(by_mass), len(accepted))
    assert told["share"] == len(accepted) / len(by_mass)
    assert 0 < len(accepted) < len(by_mass)
    if suffix == "parquet":
        assert pq.read_table(out).schema.equals(GROUPED)
    table = pd.read_parquet(out) if suffix == "parquet" else pd.read_csv(out)
    assert list(table.columns) == GROUPED.names
    assert table["group"].nunique() == told["groups"] == table["group"].max()
    assert len(table) == told["isotopes"] > 5
    parent, child = (np.searchsorted(embedding.mz, table[name] - 1e-6) for name in ("parent_mz", "child_mz"))
    assert set(zip(parent.tolist(), child.tolist(), strict=True)) <= accepted
    np.testing.assert_allclose(table["parent_intensity"], embedding.intensity[parent])
    np.testing.assert_allclose(table["child_intensity"], embedding.intensity[child])
    apart = np.linalg.norm(embedding.reduced[parent].astype(float) - embedding.reduced[child], axis=1)
    np.testing.assert_allclose(table["distance"], apart)
    step = table["isotope"].map({rule.isotope: rule.step for rule in RULES["positive"]})
    expected = table["parent_mz"] + table["exchanges"] * step / table["charge"]
    np.testing.assert_allclose(table["error_ppm"], (table["child_mz"] - expected) / table["parent_mz"] * 1e6, atol=1e-6)


def test_pairs_are_scored_against_the_truth(section, run, tmp_path):
    out = tmp_path / "groups.csv"
    status, said, err = run("isotopes", section.embedding, "--truth", section.truth, "--out", out, "--json")
    assert status == 0
    told, truth = json.loads(said), read_truth(section.truth).to_pandas()
    molecule = {round(row.mz, 4): (row.envelope, row.isotope) for row in truth.itertuples()}
    table = pd.read_csv(out)
    right = sum(
        molecule[round(row.parent_mz, 4)] == (molecule[round(row.child_mz, 4)][0], 0)
        and molecule[round(row.child_mz, 4)][1] > 0
        for row in table.itertuples()
    )
    assert told["matched"] == len(section.read) == len(truth)
    assert told["precision"] == right / len(table)
    monoisotopic = set(truth.loc[truth["isotope"] == 0, "envelope"])
    present = int(((truth["isotope"] > 0) & truth["envelope"].isin(monoisotopic)).sum())
    assert told["recall"] == right / present
    assert told["by_mass_recall"] >= told["recall"]
    assert f"({right} of {present}); without the images: precision" in err


def test_the_floor_of_the_scores_is_what_mass_and_intensity_find(section, run, tmp_path):
    """The images' part is what is beyond it; the benchmark counts from there too."""
    faint = section.read.intensity[::-1].copy()
    _, said, _ = run("isotopes", changed(section, tmp_path, intensity=faint), "--truth", section.truth, "--json")
    told, mz, truth = json.loads(said), section.read.mz, read_truth(section.truth)
    candidates = isotope_candidates(mz, "positive")
    brighter = faint[candidates.parent] > faint[candidates.child]
    assert 0 < brighter.sum() < len(brighter)
    groups = isotope_groups(mz, candidates, brighter)
    pairs = [(group.parent, member.ion) for group in groups for member in group.members]
    expected = score_pairs(pairs, match(mz, truth, 10), truth)
    assert (told["by_mass_precision"], told["by_mass_recall"]) == (expected.precision, expected.recall)


def test_nothing_found_is_an_answer(section, run, tmp_path):
    status, out, _ = run("isotopes", section.embedding, "--furthest", 1e-9, "--truth", section.truth,
                         "--out", tmp_path / "none.csv", "--report", tmp_path / "none.html", "--json")  # fmt: skip
    told = json.loads(out)
    assert (status, told["accepted"], told["groups"], told["precision"], told["recall"]) == (0, 0, 0, None, 0.0)
    assert len(pd.read_csv(tmp_path / "none.csv")) == 0
    assert "No pair was accepted." in Page((tmp_path / "none.html").read_text()).text


def test_the_polarity_is_the_images_own_unless_given(section, run, tmp_path):
    assert json.loads(run("isotopes", section.embedding, "--json")[1])["polarity"] == "positive"
    _, _, err = run("isotopes", section.embedding, "--polarity", "negative", "-q")
    assert "the ion images are of positive mode, the rules asked for of negative mode" in err
    silent = changed(section, tmp_path / "silent", polarity=None)
    status, _, err = run("isotopes", silent)
    assert status == 2
    assert err == f"ms2img: {silent}: its ion images state no polarity; give --polarity positive or negative\n"
    assert run("isotopes", silent, "--polarity", "positive", "-q")[0] == 0


# --- refusals ---


def test_bad_input_is_one_line_and_leaves_nothing(section, run, tmp_path):
    out = ["--out", tmp_path / "out.csv", "--report", tmp_path / "out.html"]
    nearest = section.read.mz[np.abs(section.read.mz - 500.123456).argmin()]
    where, missing = section.embedding, tmp_path / "missing"
    cases: list[tuple[list[Any], str]] = [
        (
            ["colocalize", where, "--query", "500.123456"],
            f"{where}: query: m/z 500.123456 has no ion image within 10 ppm; the nearest is {nearest:.5f}",
        ),
        (["colocalize", where, "--query", "a,b"], "query: expected numbers"),
        (["colocalize", where, "--top", "60"], f"top: 60 of {len(section.read)} ions; expected from 1 to"),
        (["colocalize", where, "--top", "0"], "top: Input should be greater than or equal to 1"),
        (["colocalize", where, "--approximate", "--query", "500"], "--approximate is for every ion"),
        (["colocalize", where, "--out", "x.tsv"], "out: expected a name that ends in .csv or .parquet"),
        (["colocalize", where, "--report", "x.pdf"], "report: expected a name that ends in .html"),
        (["colocalize", missing], f"{missing}: no embedding; make one with 'ms2img deepion embed MODEL IMAGES OUT'"),
        (["colocalize", where, "--images", missing], f"{missing}: no ion images; make some with"),
        (["isotopes", where, "--ppm", "0"], "ppm: Input should be greater than 0"),
        (["isotopes", where, "--furthest", "-1"], "furthest: Input should be greater than 0"),
        (["isotopes", where, "--truth", missing], f"{missing}: "),
        (
            ["isotopes", where, "--truth", next(section.images.glob("pixels*"))],
            "expected the truth.parquet of a phantom",
        ),
    ]
    for words, message in cases:
        status, said, err = run(*words, *(out if "--out" not in words and "--report" not in words else []))
        assert (status, said) == (2, ""), words
        assert message in err
        assert err.startswith("ms2img: ")
        assert err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


def test_images_that_moved_or_are_others_are_named(section, run, tmp_path):
    moved = changed(section, tmp_path / "moved", images=str(tmp_path / "gone"))
    page = tmp_path / "page.html"
    status, _, err = run("colocalize", moved, "--report", page)
    assert status == 2
    assert err.endswith("; --images names the folder where it was moved\n")
    assert run("colocalize", moved, "--report", page, "--images", section.images, "-q")[0] == 0
    page.unlink()
    ions = read_images(section.images)
    write_images(tmp_path / "others", replace(ions, images=ions.images * 0.5, fingerprint=""))
    status, _, err = run("isotopes", section.embedding, "--report", page, "--images", tmp_path / "others")
    assert status == 2
    assert f"but {section.embedding} is of {section.read.images_fingerprint}; embed these, or name the others" in err
    assert not page.exists()


# --- pages ---


@pytest.fixture(scope="module")
def pages(section: Section, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both pages, and colocalize's without a query."""
    out = tmp_path_factory.mktemp("pages")
    mz = section.read.mz
    asked = ["--query", f"{mz[3]:.6f},{mz[50]:.6f}"]
    words: dict[str, list[Any]] = {
        "queries": ["colocalize", section.embedding, *asked],
        "all": ["colocalize", section.embedding, "--space", "encoder"],
        "isotopes": ["isotopes", section.embedding, "--furthest", 0.8, "--truth", section.truth],
    }
    for name, given in words.items():
        assert cli.main(["deepion", *map(str, given), "--report", str(out / f"{name}.html"), "-q"]) == 0
    return {name: out / f"{name}.html" for name in words}


@pytest.mark.parametrize("name", ["queries", "all", "isotopes"])
def test_a_page_is_whole_and_asks_for_nothing(pages, name):
    text = pages[name].read_text(encoding="utf-8")
    page = Page(text)
    assert len(text) < 2e6
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form"}
    assert "default-src 'none'" in text
    assert EVIL not in text
    assert "&lt;script&gt;alert(" in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in page.elements if "href" in attributes and tag != "link"]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    pictures = [
        attributes for tag, attributes in page.elements if tag == "svg" and "picture" in (attributes.get("class") or "")
    ]
    assert len(pictures) > 10
    assert all(attributes["role"] == "img" and "m/z" in attributes["aria-label"] for attributes in pictures)
    assert page.elements[0][0] == "html"
    assert "SIMULATED DATA" in page.words


def test_queries_and_hits_are_shown_with_distance_and_scale(section, pages, run):
    text = pages["queries"].read_text(encoding="utf-8")
    words = Page(text).text
    mz = section.read.mz
    _, out, _ = run("colocalize", section.embedding, "--query", f"{mz[3]:.6f},{mz[50]:.6f}", "--json")
    for hit in json.loads(out)["hits"]:
        assert f"{hit['mz']:.4f}" in words
        assert f"{hit['rank']}. distance {hit['distance']:.4f}" in words
    assert "200 µm" in words  # 16 pixels of 50 µm: a quarter
    assert re.search(r'<i style="width: 25\.00%">', text)
    assert f"Ions co-localised with m/z {mz[3]:.4f} and {mz[50]:.4f}" in words


def test_every_ion_has_a_panel_with_its_nearest(section, pages):
    text = pages["all"].read_text(encoding="utf-8")
    embedding = section.read
    panels = re.findall(r'<article class="ion" id="ion-(\d+)".*?</article>', text, re.DOTALL)
    assert [int(each) for each in panels] == list(range(len(embedding)))
    true = cdist(embedding.vectors, embedding.vectors, "cosine")
    np.fill_diagonal(true, np.inf)
    for row, panel in zip(panels, re.findall(r'<article class="ion" id.*?</article>', text, re.DOTALL), strict=True):
        distances = [float(each) for each in re.findall(r"<small>([\d.]+)</small>", panel)]
        np.testing.assert_allclose(distances, np.sort(true[int(row)])[:5], atol=6e-5)


def test_counts_scores_and_groups_are_on_the_page(section, pages, run):
    words = Page(pages["isotopes"].read_text(encoding="utf-8")).text
    _, out, _ = run("isotopes", section.embedding, "--furthest", 0.8, "--truth", section.truth, "--json")
    told = json.loads(out)
    assert f"{told['groups']} monoisotopic ions with {told['isotopes']} isotopes found" in words
    assert f"{told['precision']:.1%}" in words
    assert f"without the images {told['by_mass_recall']:.1%}" in words
    assert f"{told['isotopes']} isotope ions" in words
    assert "The rules of positive mode have no 37Cl and no 81Br" in words


def test_equal_input_gives_an_equal_page(section, pages, run, tmp_path):
    run("isotopes", section.embedding, "--furthest", 0.8, "--truth", section.truth, "--report", tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes() == pages["isotopes"].read_bytes()


def test_what_is_measured_is_not_called_simulated(section, run, tmp_path):
    real = changed(section, tmp_path / "real", is_simulated=False, model="models:/deepion-brain-iso/1")
    for command in ("colocalize", "isotopes"):
        assert run(command, real, "--report", tmp_path / "page.html", "-q")[0] == 0
        assert "simulated" not in Page((tmp_path / "page.html").read_text()).text.lower()


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium at /usr/bin/chromium: apt-get install chromium")
@pytest.mark.parametrize("name", ["queries", "isotopes"])
@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_a_page_opens_offline_and_is_readable(chromium: Any, pages, name, viewport, scheme):  # noqa: F811
    context = chromium.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert said == []
    width, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width == shown
    found = page.evaluate(LOW_CONTRAST)
    assert found["checked"] > 60
    assert found["low"] == []
    context.close()


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium at /usr/bin/chromium: apt-get install chromium")
def test_a_click_on_the_map_opens_the_ion_and_marks_it(chromium: Any, pages):  # noqa: F811
    page = chromium.new_page(viewport=DESKTOP)
    page.goto(pages["queries"].as_uri())
    shown = "Array.from(document.querySelectorAll('article')).filter(e => e.offsetParent).map(e => e.id)"
    assert page.evaluate(shown) == [""]
    dot = page.locator('.map a[href="#ion-21"] circle')
    dot.click()
    assert page.evaluate(shown) == ["ion-21"]
    ring = page.locator("#ion-21 .overlay circle").first
    a, b = dot.bounding_box(), ring.bounding_box()
    assert a is not None
    assert b is not None
    for start, size in (("x", "width"), ("y", "height")):
        assert a[start] + a[size] / 2 == pytest.approx(b[start] + b[size] / 2, abs=1)
    page.locator("#ion-21 .hits a").first.focus()
    page.keyboard.press("Enter")
    [after] = page.evaluate(shown)
    assert after not in ("", "ion-21")
    page.close()


def test_places_may_be_in_a_store(section, run, s3):
    ions = read_images(section.images)
    write_images("s3://bucket/images", ions)
    write_embedding("s3://bucket/embedding", replace(section.read, images="s3://bucket/images"))
    places = ["--out", "s3://bucket/out/table.parquet", "--report", "s3://bucket/out/page.html"]
    assert run("colocalize", "s3://bucket/embedding", *places, "-q")[0] == 0
    assert s3.get("bucket/out/page.html").startswith(b"<!doctype html>")
    assert pq.read_table(io.BytesIO(s3.get("bucket/out/table.parquet"))).num_rows == 5 * len(ions)
    assert read_embedding("s3://bucket/embedding").fingerprint == section.read.fingerprint
