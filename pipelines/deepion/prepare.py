"""``ms2img deepion prepare``: a mass-spectrometry image to the ion images that everything else in this group reads."""

from __future__ import annotations

import time

from pipelines.command import Output, Result
from pipelines.deepion.prepare_config import PrepareConfig

__all__ = ["PrepareConfig", "prepare_command"]


def prepare_command(config: PrepareConfig, output: Output) -> Result:
    """Make ion images of an imzML file, or of the authors' matrix and peak list: pooled, filtered, normalised."""
    from pipelines.deepion.prepare_job import prepare

    started = time.monotonic()
    summary = prepare(config, quiet=output.quiet, notice=output.warn)
    seconds, counts = time.monotonic() - started, summary.facts.counts
    if summary.was_prepared:
        output.say(f"already prepared from the same file and settings: {counts['ions']} ions -> {summary.output}")
    else:
        output.say(f"{summary.facts.source}: {_on_the_way(counts)} -> {counts['ions']} ions in {seconds:.1f} s")
        output.say(f"left out: {counts['rare']} rare, {counts['flat']} flat")
        output.say(f"Next: ms2img deepion train {summary.output}")
    if summary.facts.is_simulated:
        output.warn(f"{summary.output}: holds SIMULATED ion images, which are no measurement")
    values = {
        **counts,
        "output": summary.output,
        "fingerprint": summary.fingerprint,
        "was_prepared": summary.was_prepared,
        "is_simulated": summary.facts.is_simulated,
        "polarity": summary.facts.polarity,
        "seconds": round(seconds, 1),
    }
    return Result(values)


def _on_the_way(counts: dict[str, int]) -> str:
    """What was read: pixels, and of spectra their peaks and the bins of these."""
    bins = counts["rare"] + counts["flat"] + counts["ions"]
    if "peaks" not in counts:  # a matrix has ions from the start
        return f"{counts['pixels']} pixels, {bins} ions"
    return f"{counts['pixels']} pixels, {counts['peaks']} peaks, {bins} bins"
