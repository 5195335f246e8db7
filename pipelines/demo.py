"""``ms2img demo``: the whole job by the very commands a user would type, on a simulated study or on one's own data."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import Field

from ms2img.config import Config
from ms2img.io.location import is_remote, join
from ms2img.io.sheet import Sheet
from ms2img.places import Reads, Writes
from pipelines.command import Output, Result

REDUCED_SIZE = "75x70"  # so that it ends within minutes on two cores
N_UNSEEN = 5  # runs scored at the end that were no part of the training


class DemoConfig(Config):
    """Options of ``ms2img demo``."""

    samples: Annotated[str | None, Reads("sheet")] = Field(
        None, description="your own sample sheet; without it a simulated study is made"
    )
    assay: str = Field(
        "dpph", description="column of the sheet to predict; the simulated study has dpph, tpc, tfc, elastase"
    )
    out: Annotated[str, Writes()] = Field("demo", description="output folder (local or s3://)")


def demo(config: DemoConfig, output: Output, invoke: Callable[[Sequence[str]], Result]) -> Result:
    """Run every step by `invoke` (the command line without its process), showing each command before its output."""
    from cluster.connect import connected

    def step(*arguments: str) -> dict[str, Any]:
        output.say(f"\n$ ms2img {shlex.join(arguments)}")
        return invoke([*arguments, *(["--quiet"] if output.quiet else [])]).values

    started = time.monotonic()
    study, images, page = (join(config.out, name) for name in ("study", "images", "report.html"))
    samples = config.samples or join(study, "samples.csv")
    with connected():
        output.say(
            f"Reduced so that it ends within minutes on two cores: images of {REDUCED_SIZE} instead of 150x140. "
            "The network is preset small; the paper's is --preset paper."
        )
        if config.samples is None:
            step("simulate", study)
        step("convert", samples, images, "--size", REDUCED_SIZE)
        trained = step("train", images, "--samples", samples, "--assay", config.assay)
        step("report", trained["run_id"], "--out", page)
        unseen = _runs_not_trained_on(samples, trained["unused_sample_ids"])
        if unseen:
            step("predict", trained["model"], *unseen, "--out", join(config.out, "predictions.csv"))
        step("models")
    output.say(f"\nDone in {time.monotonic() - started:.0f} s. Open {page} in a browser.")
    return Result({**trained, "report": page})


def _runs_not_trained_on(samples: str, unused: Sequence[str]) -> list[str]:
    """Files of up to `N_UNSEEN` runs that no fold and no refit has learned from."""
    paths = {run.sample_id: _short(run.path) for run in Sheet.read(samples).runs if run.column is None}
    return [paths[sample] for sample in unused if sample in paths][:N_UNSEEN]


def _short(path: str) -> str:
    """A local path as one types it here."""
    return path if is_remote(path) else os.path.relpath(path)
