"""``ms2img convert``: a sample sheet to a Parquet data set of images, on Ray Data.

sheet -> units (a few runs each) -> workers read, render and stage -> the driver compacts the staged rows into shards
and commits them by writing the manifest. A worker's answer is a line a run, so pixels never pass through the driver's
memory as a whole; a staged file is named by its content, so a repeated task changes nothing, and a re-run after a
crash adopts what is staged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import Field, field_validator

from ms2img.errors import Code, RunError, UsageError
from ms2img.io.atomic import replace_file
from ms2img.io.compaction import STAGING, compact, holders, sweep
from ms2img.io.images import Manifest, identity, write_images
from ms2img.io.schema import ERRORS
from ms2img.io.sheet import Run, Sheet
from ms2img.ms2toimg.render_config import RenderConfig, RenderOptions, parse_size
from pipelines.progress import Steps

UNIT_RUNS = 16  # runs a task and a staged file (ours): seconds of work, so progress is seen and little is lost


class ConvertConfig(RenderOptions):
    """Options of ``ms2img convert``."""

    samples: str = Field(description="sample sheet (CSV, TSV or Parquet)")
    out: str = Field(description="output folder: images/, errors.parquet, manifest.json, config.yaml")
    size: str = Field(
        default="150x140", description="image size HEIGHTxWIDTH in pixels; the paper's are 75x70, 150x140, 300x280"
    )
    allow_outside: bool = Field(
        default=False, description="let paths in the sheet climb above the sheet's folder by '..'"
    )

    @field_validator("size")
    @classmethod
    def _size_is_readable(cls, size: str) -> str:
        try:
            parse_size(size)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return size

    def render_config(self) -> RenderConfig:
        """The part of the options that decides pixels."""
        height, width = parse_size(self.size)
        options = {name: getattr(self, name) for name in RenderOptions.model_fields}
        return RenderConfig(height=height, width=width, **options)


@dataclass(frozen=True)
class ConvertSummary:
    """What a conversion did, in runs; `errors` holds the rows of ``errors.parquet``."""

    converted: int
    unchanged: int
    failed: int
    output: str
    errors: list[dict[str, Any]]


def convert(config: ConvertConfig, *, quiet: bool = False) -> ConvertSummary:
    """Bring the data set at ``config.out`` up to date with the sheet; only missing or changed runs are rendered.

    Raises `UsageError` before any work for a wrong sheet or an output that was made with another config. A bad run is
    never an exception: it is counted in ``failed`` and named in ``errors.parquet``.
    """
    from cluster.connect import connected
    from ms2img.ms2toimg.render import STAGE_VERSION

    sheet = Sheet.read(config.samples, allow_outside=config.allow_outside)
    render = config.render_config()
    out = Path(config.out).resolve()
    committed = _open_output(out, render)
    held = holders(out, committed, STAGE_VERSION)

    statuses: list[dict[str, Any]] = []
    with connected(), Steps(len(sheet.runs), "convert", quiet=quiet) as progress:
        for unit in _on_workers(_units(sheet.runs), render, out / STAGING, frozenset(held), STAGE_VERSION):
            statuses.extend(unit)
            progress.advance(len(unit), note=_failures_note(statuses))

    failed = [status["error"] for status in statuses if status["status"] == "failed"]
    rows = {status["sample_id"]: status["identity"] for status in statuses if status["status"] != "failed"}
    held = holders(out, committed, STAGE_VERSION)
    shards = compact(out, rows, held, height=render.height, width=render.width)
    _write_errors(out, failed)
    with replace_file(out / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    Manifest(
        stage_version=STAGE_VERSION,
        render=render.model_dump(mode="json"),
        render_fingerprint=render.fingerprint(),
        n_images=len(rows),
        n_errors=len(failed),
        shards=shards,
    ).write(out)
    sweep(out, keep=shards)
    return ConvertSummary(
        converted=sum(status["status"] == "converted" for status in statuses),
        unchanged=sum(status["status"] == "unchanged" for status in statuses),
        failed=len(failed),
        output=str(out),
        errors=sorted(failed, key=lambda row: row["sample_id"]),
    )


def _open_output(out: Path, render: RenderConfig) -> Manifest | None:
    """The committed manifest below `out`, after refusing a folder that is somebody else's or made otherwise."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; OUT must be a folder")
    committed = Manifest.read(out)
    if committed is None:
        if out.is_dir() and any(entry.name not in (STAGING, "images") for entry in out.iterdir()):
            raise UsageError(f"{out}: not empty and not an image data set; give OUT a new or empty folder")
        out.mkdir(parents=True, exist_ok=True)
    else:
        ours = render.model_dump(mode="json")
        for key in sorted({*ours, *committed.render}):
            if ours.get(key) != committed.render.get(key):
                raise UsageError(
                    f"{out}: made with {key}={committed.render.get(key)}, now asked for {key}={ours.get(key)}; "
                    "give OUT another folder, or the old option"
                )
    (out / STAGING).mkdir(exist_ok=True)
    return committed


def _units(runs: Sequence[Run]) -> list[list[Run]]:
    """Tasks of at most `UNIT_RUNS` runs; runs of one file stay together, so that an aligned table is parsed seldom."""
    ordered = sorted(runs, key=lambda run: (run.path, run.quant_path or "", run.sample_id))
    return [ordered[start : start + UNIT_RUNS] for start in range(0, len(ordered), UNIT_RUNS)]


def _on_workers(
    units: list[list[Run]], render: RenderConfig, staging: Path, known: frozenset[str], version: int
) -> Iterator[list[dict[str, Any]]]:
    """Run `convert_unit` over all units by Ray Data; yields each unit's statuses as it is finished."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts runs, not blocks
    units_ref, known_ref = ray.put(units), ray.put(known)

    def stage(row: dict[str, Any]) -> dict[str, Any]:
        unit = ray.get(units_ref)[row["id"]]
        return {"statuses": json.dumps(convert_unit(unit, render, staging, ray.get(known_ref), version))}

    # One block a unit: a unit is one task, retried alone when its worker dies.
    for row in ray.data.range(len(units), override_num_blocks=len(units)).map(stage).iter_rows():
        yield json.loads(row["statuses"])


def convert_unit(
    runs: Sequence[Run], render: RenderConfig, staging: Path, known: frozenset[str], version: int
) -> list[dict[str, Any]]:
    """Read and render some runs and stage the new rows as one file; return one status a run.

    `known` holds the identities that need no work. A status is ``{"sample_id", "status", "identity", "error"}`` with
    status ``converted``, ``unchanged`` or ``failed``.
    """
    from ms2img.io.read import read_runs, source_fingerprint
    from ms2img.ms2toimg.convert import image_row, rows_to_table

    statuses: list[dict[str, Any]] = []
    sources: dict[str, str] = {}
    fresh: list[Run] = []
    for run in runs:
        try:
            source = source_fingerprint(run)
        except RunError as error:
            statuses.append(_failed(run, "read", error))
            continue
        row_identity = identity(run.sample_id, source, render.fingerprint(), version)
        if row_identity in known:
            statuses.append(_status(run, "unchanged", row_identity))
        else:
            sources[run.sample_id] = source
            fresh.append(run)

    rows: list[dict[str, Any]] = []
    for run, spectra in read_runs(fresh):
        if isinstance(spectra, RunError):
            statuses.append(_failed(run, "read", spectra))
            continue
        try:
            rows.append(image_row(run, spectra, render, source_fingerprint=sources[run.sample_id]))
        except RunError as error:
            statuses.append(_failed(run, "render", error))
        except Exception as error:
            # A defect of ours must cost one run, not a job of thousands; it is named as such.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            statuses.append(_failed(run, "render", RunError(Code.INTERNAL, reason, path=run.path)))
        else:
            source = sources[run.sample_id]
            statuses.append(_status(run, "converted", identity(run.sample_id, source, render.fingerprint(), version)))
    if rows:
        made = sorted(status["identity"] for status in statuses if status["status"] == "converted")
        name = hashlib.blake2b("\n".join(made).encode(), digest_size=16).hexdigest()
        write_images(rows_to_table(rows, render), staging / f"{name}.parquet")
    return statuses


def _status(run: Run, status: str, row_identity: str) -> dict[str, Any]:
    return {"sample_id": run.sample_id, "status": status, "identity": row_identity, "error": {}}


def _failed(run: Run, stage: str, error: RunError) -> dict[str, Any]:
    row = {
        "sample_id": run.sample_id,
        "path": run.path,
        "stage": stage,
        "code": str(error.code),
        "message": error.message,
        "position": error.position,
    }
    return {"sample_id": run.sample_id, "status": "failed", "identity": "", "error": row}


def _failures_note(statuses: list[dict[str, Any]]) -> str:
    failed = sum(status["status"] == "failed" for status in statuses)
    return f"{failed} failed" if failed else ""


def _write_errors(out: Path, failed: list[dict[str, Any]]) -> None:
    """Replace ``errors.parquet``: one row a failed run, sorted, with how often it has failed in a row."""
    path = out / "errors.parquet"
    before: dict[str, int] = {}
    if path.exists():
        before = {row["sample_id"]: row["attempts"] for row in pq.read_table(path).to_pylist()}
    now = datetime.now(UTC)
    rows = [{**row, "attempts": before.get(row["sample_id"], 0) + 1, "time": now} for row in failed]
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["sample_id"]), schema=ERRORS)
    with replace_file(path) as temporary:
        pq.write_table(table, temporary)
