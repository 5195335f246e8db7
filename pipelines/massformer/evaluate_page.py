"""The evaluation as one HTML page without script or request: what was measured, on what, and every figure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import ms2img
from ms2img.learn.intervals import CONFIDENCE, RESAMPLES
from ms2img.massformer.evaluate.ranking import ENERGY_TOLERANCE
from pipelines.massformer.evaluate_tables import TITLES
from pipelines.report.page import HERE

if TYPE_CHECKING:
    from pipelines.massformer.evaluate_work import Evaluation

#: Measures whose differences are on the page; the table beside it has all (ours).
COMPARED = ("cosine", "norm_rank")
#: Figure -> its title and caption.
CAPTIONS = {
    "scores.png": (
        "Scores",
        "Means over molecules with their 95 % intervals. The two floors need no model: a model that is not above them "
        "has learned nothing.",
    ),
    "fig2_mirrors.png": (
        "Predicted and real spectra of related molecules",
        "As the paper's Fig. 2: predicted up, real down, intensities untransformed. Where the model has attention, the "
        "structure shows how much of it each atom gets; darker is less.",
    ),
    "fig3_energy.png": (
        "Collision energy and mean peak m/z",
        "As the paper's Fig. 3: each spectrum's peaks weighted by their intensity. Higher energies break molecules "
        "into smaller pieces; a model that has learned so falls as the real spectra do.",
    ),
    "fig4_one_molecule.png": (
        "One molecule over energies",
        "As the paper's Fig. 4: a real spectrum, and what the model expects at this and at lower energies.",
    ),
    "fig5_heteroatoms.png": (
        "Attention on heteroatoms",
        "As the paper's Fig. 5: within a molecule, the mean attention on an element's atoms over that on carbon; mean "
        "over molecules with a 95 % interval. The paper found 1.2 to 2.0.",
    ),
}


def build_page(found: Evaluation, made_of: Mapping[str, Any]) -> str:
    """The page as HTML text; equal input gives equal text."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    cells = {(row["part"], row["source"], row["measure"]): row for row in found.summary.to_dict("records")}
    parts = list(dict.fromkeys(key[0] for key in cells))
    first = found.scores[0]
    return environment.get_template("massformer_template.html").render(
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        version=ms2img.__version__,
        context=found.context,
        made_of=made_of,
        headline=cells[first.part, first.name, "cosine"],
        measures={name: title for name, title in TITLES.items() if any(key[2] == name for key in cells)},
        parts=parts,
        sources=list(dict.fromkeys(key[1] for key in cells)),
        cells=cells,
        differences=_shown_differences(found),
        figures=[
            (*CAPTIONS[name], f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}")
            for name, content in found.figures.items()
        ],
        unanswered=found.unanswered,
        left_out=found.left_out,
        tolerance=ENERGY_TOLERANCE,
        confidence=CONFIDENCE,
        resamples=RESAMPLES,
        seconds=found.seconds,
    )


def _shown_differences(found: Evaluation) -> list[dict[str, Any]]:
    """Of the first model against every other source; the table beside the page has every pair."""
    table = found.differences
    if not len(table):
        return []
    name = found.scores[0].name
    mine = table[(table["first"] == name) & table["measure"].isin(COMPARED)]
    return [{str(key): value for key, value in row.items()} for row in mine.to_dict("records")]
