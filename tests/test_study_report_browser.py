"""The study's page in Chromium: what it asks for, and how it reads on a phone, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from study_records import DRIFTS, SKILL, make_study
from test_report_browser import CHROMIUM, DESKTOP, LOW_CONTRAST, PHONE, chromium  # noqa: F401 - a fixture

from pipelines.report.study_page import build_study_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(), reason="no Chromium at /usr/bin/chromium: apt-get install chromium"
    ),
]
NAMES = ["Glycine soja " * 12, "x" * 200, "야생콩 ", "ACC-"]
SCHEMES = [{"viewport": DESKTOP, "color_scheme": scheme} for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything on one page: two tasks, all kinds of models and drift, long names, cells without a result."""
    record = make_study(
        SKILL,
        tasks=("DPPH radical scavenging after thirty minutes", "tpc"),
        seeds=(0,),
        drifts={name: DRIFTS[name] for name in ("ppm-20", "missing-0.5")},
        transfer=True,
        simulated=("tpc",),
        n=44,
        not_run=lambda cell: cell.representation == "entropy",
        failed=lambda cell: cell.task == "tpc" and cell.representation == "memo",
        accession=lambda i: f"{NAMES[i % 4]}{i}",
        name="The whole grid on the beans of 2026, " * 3,
    )
    out = tmp_path_factory.mktemp("study") / "report.html"
    out.write_text(build_study_page(record), encoding="utf-8")
    return out


@pytest.fixture
def opened(chromium: Any, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:  # noqa: F811
    """The page with all its parts unfolded, what it asked for (`asked`) and complained of (`said`)."""
    context = chromium.new_context(**getattr(request, "param", {"viewport": DESKTOP}))
    page = context.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    yield page
    context.close()


@pytest.mark.parametrize("opened", SCHEMES, indirect=True, ids=["light", "dark"])
def test_text_has_contrast_and_nothing_is_asked_for(opened: Any, page_file: Path) -> None:
    found = opened.evaluate(LOW_CONTRAST)
    assert found["checked"] > 500
    assert found["low"] == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert opened.said == []


@pytest.mark.parametrize("opened", SCHEMES, indirect=True, ids=["light", "dark"])
def test_lines_of_the_drift_figure_are_seen_and_told_apart(opened: Any) -> None:
    """Every line differs from every other in stroke, dash or mark, and stands out from the page."""
    styles = opened.evaluate(
        """() => Array.from(document.querySelector('.legend:has(.round-0)').children, item => {
             const line = getComputedStyle(item.querySelector('.line')), mark = item.querySelector('.mark');
             return [line.stroke, line.strokeDasharray, mark.tagName + (mark.getAttribute('d') || '').slice(0, 12)];
           })"""
    )
    assert len(styles) == len(SKILL) - 1  # the entropy table was not run
    assert len({tuple(style) for style in styles}) == len(styles)
    assert "none" not in {style[0] for style in styles}


@pytest.mark.parametrize("opened", [{"viewport": PHONE}, {"viewport": {"width": 320, "height": 600}}], indirect=True)
def test_a_phone_scrolls_only_downwards_and_text_stays_readable(opened: Any) -> None:
    width, shown = opened.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width == shown
    sticking_out = opened.evaluate(
        """() => Array.from(document.querySelectorAll('body *'))
             .filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 0.5)
             .map(e => e.tagName + ' ' + e.className)"""
    )
    assert sticking_out == []
    smallest = opened.evaluate(
        """() => Math.min(...Array.from(document.querySelectorAll('svg.frame'), svg => {
             const sizes = Array.from(svg.querySelectorAll('text'), e => parseFloat(getComputedStyle(e).fontSize));
             return Math.min(...sizes) * svg.getScreenCTM().a;
           }))"""
    )
    assert smallest >= (8.5 if shown >= PHONE["width"] else 6.5)


def test_texts_of_a_figure_do_not_overlap(opened: Any) -> None:
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
