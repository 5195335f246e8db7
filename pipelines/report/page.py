"""One self-contained HTML page about one cross-validation: no script, no request, nothing outside the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ms2img.io.location import file_name, parent
from ms2img.io.storage import folder
from ms2img.ms2toimg.record import CvRecord
from pipelines.report import facts, table
from pipelines.report.assay_figures import against_assay, by_sample, is_wrong
from pipelines.report.classes import Classes
from pipelines.report.examples import example_groups
from pipelines.report.figures import Curve, Figure, learning_curves, roc
from pipelines.report.methods import caveats, methods
from pipelines.report.sweep_section import Search, search_context

HERE = Path(__file__).parent
LISTED_ERRORS = 12  # misclassified accessions named above the folded table (ours)


def write_report(
    record: CvRecord, out: str | Path, *, model: Mapping[str, Any] | None = None, search: Search | None = None
) -> str:
    """Write the page of `build_report` at once to `out`, a local path or ``s3://bucket/key``; return that location."""
    text = build_report(record, model=model, search=search)
    folder(parent(str(out))).write(file_name(str(out)), text.encode())
    return str(out)


def build_report(record: CvRecord, *, model: Mapping[str, Any] | None = None, search: Search | None = None) -> str:
    """The whole page as HTML text; equal records give equal text.

    `record`: its summary holds, besides what `ms2img.ms2toimg.summarise` writes, the entries `facts.ABOUT`.
    `model`: ``name`` and ``version`` of the registered model, ``aliases`` where it has some.
    `search`: the search that `record` is the nested cross-validation of.

    Raises `UsageError` when the summary lacks an entry.
    """
    facts.require_summary(record.summary)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    told = {"style": style, "use": use_lines(model), "search": search_context(search) if search is not None else None}
    return environment.get_template("template.html").render(**told, **_context(record, search))


def _context(record: CvRecord, search: Search | None) -> dict[str, Any]:
    """Everything the template names but the search's own section."""
    summary, predictions, unused = record.summary, record.predictions, record.unused
    classes = Classes.of(summary)
    labelled = table.per_accession(predictions, classes.cut)
    between = table.per_accession(unused, classes.cut).assign(target=-1, fold=-1)
    every = pd.concat([labelled, between], ignore_index=True) if len(between) else labelled
    cohort = facts.Cohort.of(labelled, predictions, unused)
    accession_metrics = table.metric_summary(record.metrics, "accession")
    run_metrics = table.metric_summary(record.metrics, "run")
    counts = table.confusion(record.metrics, "accession")
    auc = accession_metrics["roc_auc"]
    leaking = table.straddling(predictions)
    assay = summary["label"]["assay"]
    size, pixel = facts.bins(summary["render"])
    searched = None if search is None else int(search.summary["trials"])
    data_set = facts.data_set_name(summary)
    return {
        "auc": auc,
        "classes": classes,
        "facts": {
            "assay": assay,
            "simulated": bool(summary["simulated"]),
            "date": str(summary["created"])[:10],
            "version": summary["versions"]["ms2img"],
            "folds": cohort.folds,
            "unused": cohort.unused_accessions,
            "image": size,
            "pixel": pixel,
            "lede": facts.lede(cohort, auc, assay=assay, data_set=data_set, leaking=leaking, searched=searched),
            "inputs": list(facts.inputs(summary, cohort, classes, leaking)),
            "config": list(facts.flat(summary["config"])),
            "methods": list(methods(summary, cohort, classes, counts, leaking, searched)),
            "caveats": list(caveats(cohort, classes, searched)),
            "about": list(facts.about(summary, cohort, leaking)),
            "provenance": facts.provenance(summary),
        },
        "notes": list(facts.notes(cohort, leaking, accession_metrics, record.history, classes.cut)),
        "tiles": list(facts.tiles(accession_metrics, run_metrics, counts, cohort, classes)),
        "examples": example_groups(record.examples, summary, classes),
        "confusion_accession": counts,
        "confusion_run": table.confusion(record.metrics, "run"),
        "metric_names": table.METRIC_NAMES,
        "metric_rows": [
            {"name": name, "accession": accession_metrics[key], "run": run_metrics[key]}
            for key, name in table.METRIC_NAMES.items()
        ],
        "fold_rows": table.fold_rows(record.metrics, record.history),
        **_figures(record, labelled, every, classes),
        **_prediction_rows(every, classes.cut),
    }


def _figures(record: CvRecord, labelled: pd.DataFrame, every: pd.DataFrame, classes: Classes) -> dict[str, Any]:
    assay = record.summary["label"]["assay"]
    return {
        "learning": list(_learning(record.history)),
        "validated": _validated(record.history),
        "scatter": against_assay(every, assay, classes),
        "by_sample": by_sample(every, classes),
        "roc_accession": _roc(record, labelled, "accession"),
        # With one run an accession both levels are the same.
        "roc_run": _roc(record, record.predictions, "run") if len(record.predictions) > len(labelled) else None,
    }


def _validated(history: pd.DataFrame) -> bool:
    return bool(history["validation_loss"].notna().any())


def _learning(history: pd.DataFrame) -> Iterator[Figure]:
    training = Curve("train_loss", "inactive", "training")
    if not _validated(history):
        yield learning_curves(history, [training], title="Loss")
        return
    yield learning_curves(history, [training, Curve("validation_loss", "active", "validation")], title="Loss")
    scores = [Curve("validation_auc", "third", "ROC AUC"), Curve("validation_accuracy", "active", "accuracy")]
    yield learning_curves(history, scores, title="Validation scores", top=1.0)


def _roc(record: CvRecord, predictions: pd.DataFrame, level: str) -> Figure:
    rows = record.metrics[record.metrics["level"] == level]
    auc = rows.set_index("fold")["roc_auc"]
    return roc(predictions, auc, table.mean_sd(auc), title=f"ROC curves per {level}")


def _prediction_rows(every: pd.DataFrame, cut: float) -> dict[str, Any]:
    """The rows of the folded table, and the misclassified accessions furthest off."""
    rows = table.rows_of(every.sort_values(["value", "accession"], kind="stable"))
    for row in rows:
        row["wrong"] = is_wrong(row)
    wrong = sorted((row for row in rows if row["wrong"]), key=lambda row: -abs(row["probability"] - cut))
    return {"accession_rows": rows, "wrong": wrong[:LISTED_ERRORS]}


def use_lines(model: Mapping[str, Any] | None) -> dict[str, str] | None:
    """What to type to score a new run with this model; None without one."""
    if model is None:
        return None
    name, version = model["name"], model["version"]
    champion = "champion" in model.get("aliases", ())
    uri = f"models:/{name}@champion" if champion else f"models:/{name}/{version}"
    python = (
        "import mlflow, pandas as pd\n\n"
        f'model = mlflow.pyfunc.load_model("{uri}")\n'
        'model.predict(pd.DataFrame({"path": ["new_run.mgf"]}))'
    )
    return {
        "sentence": f"Registered as {name}, version {version}{' (champion)' if champion else ''}. "
        "It takes raw run files or a sample sheet; the image is drawn inside.",
        "shell": f"ms2img predict {uri} new_run.mgf\nms2img predict {uri} samples.csv --out predictions.csv",
        "python": python,
    }
