"""The command line: ``ms2img COMMAND``; each command is one module of this room.

Command modules import Ray, torch and MLflow inside their functions, so that ``--help`` is instant.
"""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table
from typer.exceptions import TyperException

import ms2img
from cluster.carried import use_fallbacks
from cluster.connect import end_process, is_connected
from cluster.last_words import last_words
from cluster.profile import apply_profile
from ms2img.errors import Ms2imgError, UsageError
from pipelines.assay import AssayConfig, assay
from pipelines.baselines_command import baselines_command
from pipelines.baselines_config import BaselinesConfig
from pipelines.command import COMMANDS, Output, Result, command, mean_and_sd, named
from pipelines.conversion.config import ConvertConfig
from pipelines.deepion.commands import register_deepion
from pipelines.demo import DemoConfig, demo
from pipelines.doctor import DoctorConfig, doctor
from pipelines.drift import DriftConfig, drift_command
from pipelines.explain import ExplainConfig
from pipelines.explain_command import explain_command
from pipelines.failure_limit import warn_of_failures
from pipelines.feature_table.command import features_command
from pipelines.feature_table.config import FeaturesConfig
from pipelines.massformer.commands import register_massformer
from pipelines.models import ModelsConfig
from pipelines.models_command import models_command
from pipelines.predict import PredictConfig
from pipelines.predict_command import predict_command
from pipelines.qc import QcConfig
from pipelines.report.config import ReportConfig
from pipelines.serve import ServeConfig, serve
from pipelines.sheet import SheetConfig, sheet
from pipelines.simulate import SimulateConfig, simulate
from pipelines.study.command import study_command
from pipelines.study.config import StudyConfig
from pipelines.submission.config import JobsConfig, SubmitConfig
from pipelines.submission.jobs import jobs
from pipelines.submission.submit import submit
from pipelines.sweep_command import sweep_command
from pipelines.sweep_config import SweepConfig
from pipelines.termination import EXIT_STATUS, Terminated, sigterm_raises
from pipelines.train import TrainConfig

INTERRUPTED = 130
RESUMABLE = ("sweep", "study", "massformer sweep")  # go on by --resume; others by the same command
SHOWN_FINDINGS = 15  # of a quality control; findings.csv has all

app = typer.Typer(
    help="Mass-spectrometry runs to images, a CNN on them, and the model back from a registry.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="print the version and exit"),
) -> None:
    if version:
        print(ms2img.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


command(app, "sheet", SheetConfig, arguments=("files", "out"))(sheet)
command(app, "simulate", SimulateConfig, arguments=("out",))(simulate)
command(app, "assay", AssayConfig, arguments=("plate", "out"))(assay)
command(app, "drift", DriftConfig, arguments=("samples", "out"))(drift_command)


@command(app, "convert", ConvertConfig, arguments=("samples", "out"))
def _convert(config: ConvertConfig, output: Output) -> Result:
    """Turn the runs of a sample sheet into a Parquet data set of images; only what is new or changed is done."""
    from pipelines.convert import convert, verify

    if config.verify:
        return verify(config, output)
    summary = convert(config, quiet=output.quiet, notice=output.warn)
    warn_of_failures(output, summary.errors, summary.output)
    output.say(
        f"{summary.converted} converted, {summary.unchanged} unchanged, {summary.failed} failed -> {summary.output}"
    )
    counts = {"converted": summary.converted, "unchanged": summary.unchanged, "failed": summary.failed}
    if summary.failed > summary.allowed:
        output.say(f"more failed than --max-failures {config.max_failures} allows: exit status 3")
    return Result({**counts, "output": summary.output}, status=3 if summary.failed > summary.allowed else 0)


command(app, "features", FeaturesConfig, arguments=("samples", "out"))(features_command)
command(app, "baselines", BaselinesConfig, arguments=("features",))(baselines_command)


@command(app, "qc", QcConfig, arguments=("images",))
def _qc(config: QcConfig, output: Output) -> Result:
    """Tell which runs of a converted batch to distrust and why: a table a run, findings, and a report page."""
    from pipelines.qc import qc

    summary = qc(config, quiet=output.quiet)
    for finding in summary.findings[:SHOWN_FINDINGS]:
        output.say(f"  {finding.code}: {finding.subject or 'all runs'}: {finding.text}")
    if len(summary.findings) > SHOWN_FINDINGS:
        output.say(f"  ... and {len(summary.findings) - SHOWN_FINDINGS} more in {summary.output}/findings.csv")
    for gap in summary.gaps:
        output.say(f"  not judged: {gap}")
    output.say(
        f"{summary.flagged} of {summary.images} runs to look at, {summary.failed + summary.missing} without an image "
        f"-> {summary.output}/report.html"
    )
    values = {name: value for name, value in asdict(summary).items() if name != "findings"}
    return Result({**values, "findings": summary.counts(), "seconds": round(summary.seconds, 1)})


@command(app, "train", TrainConfig, arguments=("images",))
def _train(config: TrainConfig, output: Output) -> Result:
    """Cross-validate a CNN on an assay, refit it on all labelled runs, and register it as a model."""
    from pipelines.train import train

    summary = train(config, quiet=output.quiet)
    facts, model = summary.record.summary, summary.registration
    counts = facts["counts"]
    output.say(
        f"{config.assay}: {counts['active_accessions']} active and {counts['inactive_accessions']} inactive accessions "
        f"({counts['active_runs']} + {counts['inactive_runs']} runs), {counts['between_accessions']} between; "
        f"{facts['folds']} folds, preset {config.preset}{', SIMULATED data' if facts['simulated'] else ''}"
    )
    if facts["without_image"]:
        output.warn(f"{len(facts['without_image'])} runs with a value have no image: {facts['without_image'][0]}, ...")
    output.show(_metrics_table(facts))
    output.say(f"registered {model.uri} (run {summary.run_id}); {model.decision}")
    output.say(f"Next: ms2img report {summary.run_id}")
    measured = {key: value for key, value in facts.items() if key.endswith(("_mean", "_sd"))}
    finite = {key: value if math.isfinite(value) else None for key, value in measured.items()}
    return Result(
        {
            "run_id": summary.run_id,
            "model": model.uri,
            "champion": model.champion,
            "simulated": facts["simulated"],
            "counts": counts,
            "refit_epochs": facts["refit_epochs"],
            "unused_sample_ids": summary.unused_sample_ids,
            "seconds": round(summary.seconds, 1),
            **finite,
        }
    )


def _metrics_table(facts: Mapping[str, Any]) -> Table:
    """Mean and standard deviation over the folds, per accession and per run."""
    table = Table(box=None, header_style="bold")
    for heading in ("mean ± sd over folds", "per accession", "per run"):
        table.add_column(heading)
    for name in ("roc_auc", "accuracy", "precision", "recall", "f1"):
        cells = (
            mean_and_sd(facts[f"{level}_{name}_mean"], facts[f"{level}_{name}_sd"]) for level in ("accession", "run")
        )
        table.add_row(name.replace("_", " "), *cells)
    return table


command(app, "sweep", SweepConfig, arguments=("images",))(sweep_command)
command(app, "study", StudyConfig, arguments=("study",))(study_command)


command(app, "predict", PredictConfig, arguments=("model", "input"))(predict_command)
command(app, "explain", ExplainConfig, arguments=("model", "input"))(explain_command)


command(app, "models", ModelsConfig, arguments=("name", "models"))(models_command)
command(app, "serve", ServeConfig, arguments=("model",), is_job=False)(serve)


@command(app, "report", ReportConfig, arguments=("run_or_model",))
def _report(config: ReportConfig, output: Output) -> Result:
    """Write the HTML report of a cross-validation: one page that opens anywhere, offline."""
    from pipelines.models import load_record

    try:
        from pipelines.report.page import write_report
    except ImportError as error:
        raise UsageError(f"the report needs {error.name}: pip install 'ms2img[report]'") from None
    found = load_record(config.run_or_model)
    path = write_report(found.record, config.out, model=found.model, search=found.search)
    output.say(f"report of run {found.run_id} -> {path}")
    return Result({"output": str(path), "run_id": found.run_id})


@command(app, "submit", SubmitConfig, arguments=("command",), is_job=False)
def _submit(config: SubmitConfig, output: Output) -> Result:
    """Run any ms2img command on a Ray cluster: small files travel, its log is shown, its exit status is returned."""
    return submit(config, output, app)


command(app, "jobs", JobsConfig, arguments=("action", "id"), is_job=False)(jobs)

register_massformer(app)
register_deepion(app)

command(app, "doctor", DoctorConfig, is_job=False)(doctor)


@command(app, "demo", DemoConfig)
def _demo(config: DemoConfig, output: Output) -> Result:
    """Run the whole job, on a simulated study or on your own sheet, showing each command as you would type it."""
    return demo(config, output, invoke)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status.

    0 done, 1 internal, 2 usage, 3 failures, 130 interrupted, 143 terminated.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    with _watched(given):
        return _main(given)


def _watched(given: Sequence[str]) -> AbstractContextManager[None]:
    """On a cluster, whose Ray may end this process without a word when a node dies: somebody who says it then."""
    name = named(given)
    if not os.environ.get("RAY_ADDRESS") or name is None or not COMMANDS[name].is_job:
        return nullcontext()
    return last_words(f"ms2img: this process was ended, by Ray where its head is gone; {_to_go_on(given)}")


def _main(given: Sequence[str]) -> int:
    debug = "--debug" in given
    try:
        with sigterm_raises():
            use_fallbacks()
            apply_profile()
            status = invoke(given).status
    except TyperException as error:  # what the parser refuses
        return _refuse(error.format_message().replace("Value error, ", "").rstrip("."), 2, debug)
    except Ms2imgError as error:
        return _refuse(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _refuse(f"interrupted; {_to_go_on(given)}", INTERRUPTED, debug)
    except Terminated:
        return _refuse(f"terminated; {_to_go_on(given)}", EXIT_STATUS, debug)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else "no message"
        return _refuse(f"internal error: {type(error).__name__}: {reason} (--debug shows where)", 1, debug)
    return status


def invoke(arguments: Sequence[str]) -> Result:
    """Run one command in this process and return its result; errors are raised, not printed."""
    result = app(list(arguments), prog_name="ms2img", standalone_mode=False)
    if isinstance(result, Result):
        return result
    if result == INTERRUPTED:  # the parser turns an interrupt into this number
        raise KeyboardInterrupt
    return Result({}, status=int(result or 0))


def _to_go_on(given: Sequence[str]) -> str:
    """What a person does after an interruption."""
    resumable = named(given) in RESUMABLE and not {"--resume", "--dry-run"} & set(given)
    return f"{'add --resume to' if resumable else 'run'} the same command{'' if resumable else ' again'} to go on"


def _refuse(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"ms2img: {message}", file=sys.stderr, flush=True)
    return status


def run() -> None:
    """The console script."""
    status = main()
    if is_connected():  # Ray has died, or an interruption left it: all is said and let go
        end_process(status)
    sys.exit(status)
