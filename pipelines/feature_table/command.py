"""``ms2img features`` for a person: what came of it, in a line or two."""

from __future__ import annotations

from dataclasses import asdict

from ms2img.errors import UsageError
from pipelines.command import Output, Result
from pipelines.failure_limit import warn_of_failures
from pipelines.feature_table.config import FeaturesConfig


def features_command(config: FeaturesConfig, output: Output) -> Result:
    """Make the aligned feature table of a sheet's runs (MS2toImg's baseline): merge within samples, then across."""
    try:
        from pipelines.feature_table.job import features
    except ModuleNotFoundError as error:
        raise UsageError(f"the feature table needs {error.name}: pip install 'ms2img[features]'") from None
    summary = features(config, quiet=output.quiet, notice=output.warn)
    warn_of_failures(output, summary.errors, summary.output)
    similarity, counts = summary.about["similarity"], summary.about["counts"]
    if similarity == "aligned":
        output.say("the sheet names one table that is aligned already: its features and heights are taken as they are")
    elif "unmatched" in counts:
        placed = counts["sample_features"] - counts["unmatched"]
        output.say(
            f"{placed} of {counts['sample_features']} features of the samples found their place, by {similarity}"
        )
    elif summary.samples:
        dropped = f"{counts['without_msms']} without MS/MS and {counts['below_cut']} below the cut dropped"
        output.say(f"{counts['spectra']} spectra, {dropped}: {counts['sample_features']} features of single samples")
    output.say(
        f"{summary.samples} samples x {summary.features} features, {summary.read} runs read, {summary.failed} failed "
        f"-> {summary.output}"
    )
    if summary.failed > summary.allowed:
        output.say(f"more failed than --max-failures {config.max_failures} allows: exit status 3")
    values = {key: value for key, value in asdict(summary).items() if key not in ("errors", "allowed")}
    return Result(values, status=3 if summary.failed > summary.allowed else 0)
