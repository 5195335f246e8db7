"""The report page in Chromium: what a reader's browser asks for, says and shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_pages import MODEL, make_record
from search_records import make_search

from pipelines.report.page import write_report

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
NAMES = ["Glycine soja " * 12, "x" * 200, "야생콩 ", "ACC-"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason="no Chromium at /usr/bin/chromium: apt-get install chromium"
    ),
]

# Contrast of every visible text against the first opaque background behind it, by WCAG 2's formula.
LOW_CONTRAST = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = text => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data);
  };
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      layers.push(colour);
      if (colour[3] === 255) break;
    }
    const blend = (under, over) => under.map((u, i) => u + (over[i] - u) * over[3] / 255);
    return layers.reverse().reduce(blend, [255, 255, 255]);
  };
  const low = [];
  let checked = 0;
  for (const element of document.querySelectorAll('body *')) {
    const own = Array.from(element.childNodes).some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.tagName === 'title' || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = rgba(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [a, b] = [luminance(ink), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    checked += 1;
    if (ratio < 4.5) low.push([element.tagName, element.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  return {checked, low};
}
"""


@pytest.fixture(scope="module", params=["training", "sweep"])
def page_file(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A page with everything on it: simulated, long and non-Latin names, accessions between the classes, a search."""
    record = make_record(simulated=True, assay="DPPH radical scavenging (%)", name=lambda i: f"{NAMES[i % 4]}{i}")
    search = None
    if request.param == "sweep":
        search, _ = make_search(60, space="wide", failed=(1,), stopped_at={2: 2}, simulated=True)
    out = tmp_path_factory.mktemp("report") / "report.html"
    return Path(write_report(record, out, model=MODEL, search=search))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page in a fresh context, with all it asked for (`asked`) and complained of (`said`)."""
    context = chromium.new_context(**getattr(request, "param", {"viewport": DESKTOP}))
    page = context.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    context.close()


def test_asks_for_nothing_and_complains_of_nothing(opened: Any, page_file: Path) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    opened.wait_for_load_state("networkidle")
    assert [url for url in opened.asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert opened.said == []


def test_images_decode_to_their_pixels(opened: Any) -> None:
    sizes = opened.evaluate(
        """async () => Promise.all(Array.from(document.querySelectorAll('svg image'), async each => {
             const image = new Image();
             image.src = each.href.baseVal;
             await image.decode();
             return [image.naturalHeight, image.naturalWidth];
           }))"""
    )
    assert sizes == [[150, 140], [150, 140]]


@pytest.mark.parametrize("opened", [{"viewport": PHONE}, {"viewport": {"width": 320, "height": 600}}], indirect=True)
def test_a_phone_scrolls_only_downwards_and_text_stays_readable(opened: Any) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    width, shown = opened.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width == shown
    sticking_out = opened.evaluate(
        """() => Array.from(document.querySelectorAll('body *'))
             .filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 0.5)
             .map(e => e.tagName + ' ' + e.className)"""
    )
    assert sticking_out == []
    # Letters in a figure shrink with it: their size in CSS pixels, through the picture's scale.
    smallest = opened.evaluate(
        """() => Math.min(...Array.from(document.querySelectorAll('svg.frame'), svg => {
             const sizes = Array.from(svg.querySelectorAll('text'), e => parseFloat(getComputedStyle(e).fontSize));
             return Math.min(...sizes) * svg.getScreenCTM().a;
           }))"""
    )
    assert smallest >= (8.5 if shown >= PHONE["width"] else 6.5)


@pytest.mark.parametrize(
    "opened",
    [{"viewport": DESKTOP, "color_scheme": scheme} for scheme in ("light", "dark")],
    indirect=True,
    ids=["light", "dark"],
)
def test_text_has_contrast_in_either_scheme(opened: Any) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = opened.evaluate(LOW_CONTRAST)
    assert found["checked"] > 500
    assert found["low"] == []


def test_schemes_differ(chromium: Any, page_file: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(page_file.as_uri())
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 24, 28)"]


def test_axis_texts_do_not_overlap(opened: Any) -> None:
    """Within a figure, no two texts share more than a sliver, and none leaves the picture."""
    clashes = opened.evaluate(
        """() => {
             const clashes = [];
             for (const svg of document.querySelectorAll('svg.frame')) {
               const frame = svg.getBoundingClientRect();
               const texts = Array.from(svg.querySelectorAll('text'), t => [t.textContent, t.getBoundingClientRect()]);
               texts.forEach(([text, a], i) => {
                 if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.bottom > frame.bottom + 1)
                   clashes.push(['outside', text]);
                 for (const [other, b] of texts.slice(i + 1)) {
                   const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                   const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                   if (across > 2 && down > 2) clashes.push([text, other]);
                 }
               });
             }
             return clashes;
           }"""
    )
    assert clashes == []


def test_prints_on_a4_with_the_short_tables_unfolded(opened: Any, tmp_path: Path) -> None:
    opened.emulate_media(media="print")
    assert opened.locator("details.short table").first.is_visible()
    assert not opened.locator("table.predictions").is_visible()
    path = tmp_path / "report.pdf"
    opened.pdf(path=str(path), prefer_css_page_size=True)
    content = path.read_bytes()
    assert b"/MediaBox [0 0 594.95" in content or b"/MediaBox [0 0 595" in content  # A4 in points
