"""``ms2img sheet``: draft a sample sheet from run files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ms2img.config import Config
from ms2img.places import Reads, Writes
from pipelines.command import Output, Result


class SheetConfig(Config):
    """Options of ``ms2img sheet``."""

    files: Annotated[tuple[str, ...], Reads("runs")] = Field(
        min_length=1,
        description="run files, folders of them, an MS-DIAL alignment export, or an mzmine feature table with its MGF; "
        "local or s3://",
    )
    out: Annotated[str, Writes()] = Field(description="sample sheet to write, .csv or .tsv, local or s3://")
    assay: str = Field("assay", description="name of the empty column for your assay values")
    force: bool = Field(False, description="overwrite an existing sheet")


def sheet(config: SheetConfig, output: Output) -> Result:
    """Draft a sample sheet: one row a run, with what the files tell; you check it and add assay values."""
    from ms2img.io.draft import draft_sheet

    summary = draft_sheet(config.files, config.out, assay=config.assay, force=config.force)
    for reason in summary.skipped:
        output.warn(f"skipped {reason}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary.kinds.items() if count)
    output.say(f"{summary.n_runs} runs ({kinds}) -> {summary.path}")
    for note in summary.notes:
        output.say(f"  * {note}")
    output.say(f"Next: ms2img convert {summary.path} OUT")
    return Result(
        {
            "output": summary.path,
            "runs": summary.n_runs,
            "kinds": summary.kinds,
            "accessions": summary.n_accessions,
            "skipped": len(summary.skipped),
        }
    )
