"""``ms2img features``, step by step: lease, plan, read and merge within samples, merge across samples, commit.

Up to the commit nothing that a reader sees has changed, and the samples that were read are staged under names that
follow from their content: whatever happens in between, the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from ms2img.errors import JobError, UsageError
from ms2img.io.dataset.compaction import require_ours, sweep
from ms2img.io.dataset.failures import ERRORS_NAME, read_failures, write_failures
from ms2img.io.dataset.features import (
    FEATURES_NAME,
    FeatureManifest,
    features_fingerprint,
    features_schema,
    load_features,
)
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.dataset.shards import checksum
from ms2img.io.dataset.sources import SOURCES_NAME, Source, read_sources, write_sources
from ms2img.io.dataset.staging import STAGING
from ms2img.io.sheet import Run, Sheet
from ms2img.io.storage import Folder, folder, is_remote, require_access, statuses
from ms2img.ms2toimg.features.aligned import is_aligned
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.onto import ALIGNED, options_of
from pipelines.feature_table import assembly
from pipelines.feature_table.config import FeaturesConfig
from pipelines.feature_table.plan import Held, Plan, Planner, inputs_of
from pipelines.feature_table.staged import read_staged
from pipelines.feature_table.work import Made, Work

CONFIG_NAME = "config.yaml"
OURS = (FEATURES_NAME, ERRORS_NAME, SOURCES_NAME, CONFIG_NAME, LEASE_NAME)


@dataclass(frozen=True)
class FeaturesSummary:
    """What there is now: samples and features of the table, and runs by what became of them.

    `read`: runs whose files were read by this job; 0 where nothing had changed. `about`: as of `FeatureTable`.
    """

    samples: int
    features: int
    read: int
    failed: int
    allowed: int
    about: dict[str, Any]
    output: str
    errors: list[dict[str, Any]]


def features(
    config: FeaturesConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> FeaturesSummary:
    """Bring the feature table at ``config.out`` up to date with the sheet; equal inputs are nothing to do.

    `notice` is told what a person should know though all is well.

    Raises `UsageError` before any work for a wrong sheet, an output that was made otherwise, or one that another job is
    writing; `JobError` when the job cannot go on: run it again later. A bad run is named in ``errors.parquet``.
    """
    sheet = Sheet.read(config.samples, allow_outside=config.allow_outside)
    runs = [run for run in sheet.runs if run.kind in config.kinds.split(",")]
    if not runs:
        raise UsageError(f"{config.samples}: no row of kind {config.kinds.replace(',', ' or ')}; see --kinds")
    features_schema(run.sample_id for run in runs)  # refuses names that cannot be columns
    if not is_remote(config.out) and Path(config.out).exists() and not Path(config.out).is_dir():
        raise UsageError(f"{config.out}: is a file; OUT must be a folder")
    require_access(path for run in runs for path in (run.path, run.quant_path) if path)
    out = folder(config.out)
    job = _Job(config, sheet, runs, out, quiet=quiet)
    job.committed()  # a folder that is refused is not written to; asked again once the lease is ours
    with Lease(out, notice) as lease:
        return job.run(lease)


class _Job:
    """One feature table."""

    def __init__(self, config: FeaturesConfig, sheet: Sheet, runs: list[Run], out: Folder, *, quiet: bool) -> None:
        self._config = config
        self._sheet = sheet
        self._runs = runs
        self._out = out
        self._quiet = quiet
        self._onto = load_features(config.onto) if config.onto else None
        self._is_aligned = self._onto is None and is_aligned(runs)
        self._options = self._comparison_options()
        self._how = self._how_it_is_made()

    def _comparison_options(self) -> FeatureOptions:
        """The user's options, or those of the table the runs are placed onto."""
        options = self._config.feature_options()
        return options if self._onto is None else options_of(self._onto, options)

    def _how_it_is_made(self) -> dict[str, Any]:
        """All that decides what the table holds, beside the runs; the comparison has no part in an aligned table."""
        values = {} if self._is_aligned else self._options.model_dump(mode="json")
        similarity = ALIGNED if self._is_aligned else self._options.similarity
        onto = self._onto.fingerprint if self._onto else ""
        return {**values, **self._config.scope(), "similarity": similarity, "onto": onto}

    def committed(self) -> FeatureManifest | None:
        """The folder's manifest, None before the first commit.

        Raises `UsageError` for a table that was made otherwise, and for a folder that is neither empty nor ours.
        """
        committed = FeatureManifest.read(self._out)
        if committed is None:
            require_ours(self._out, self._out.names(), OURS)
            return None
        before = committed.about["config"]
        for key in sorted({*self._how, *before}):
            if self._how.get(key) != before.get(key):
                raise UsageError(
                    f"{self._out.location}: made with {key}={before.get(key)}, now asked for "
                    f"{key}={self._how.get(key)}; give OUT another folder, or the old option"
                )
        return committed

    def run(self, lease: Lease) -> FeaturesSummary:
        """Plan, work, commit."""
        committed = self.committed()
        held = Held()
        # An aligned table is read in one pass; a merging job may have staged some of its columns.
        left = [] if self._is_aligned else read_staged(self._out, self._out.names(STAGING))
        for staged in left:
            held.add(staged)
        planner, plan = self._plan(held, [staged.sources for staged in left])
        if committed is not None and self._is_current(committed, plan):
            return self._summary(committed, plan, n_read=0)
        n_read = sum(len(group.runs) for group in plan.groups)
        with ExitStack() as connection:
            work = Work(self._out, self._options, plan, planner, held, connection, quiet=self._quiet)
            try:
                rows, heights, counts = self._made_by(work)
            except JobError as error:
                raise JobError(f"{error}; the same command goes on from {len(held.files)} staged samples") from None
        manifest = self._commit(plan, rows, heights, counts, lease)
        sweep(self._out, keep=held.names(plan.identities), present=self._out.names(STAGING))
        return self._summary(manifest, plan, n_read)

    def _is_current(self, committed: FeatureManifest, plan: Plan) -> bool:
        """Whether the committed table is that of these runs, none of them unknown, and ``features.parquet`` is its."""
        known = plan.identities.keys() | plan.failures.keys()
        if any(run.sample_id not in known for run in self._runs) or committed.inputs != self._inputs(plan):
            return False
        content = self._out.read(FEATURES_NAME)
        return content is not None and checksum(content) == committed.checksum

    def _made_by(self, work: Work) -> Made:
        if self._is_aligned:
            return work.take_aligned()
        return work.merge() if self._onto is None else work.place_onto(self._onto)

    def _plan(self, held: Held, staged: list[dict[str, Source]]) -> tuple[Planner, Plan]:
        """`staged`: the sources of each staged file; where the committed ones differ, those are the later."""
        found = statuses(path for run in self._runs for path in (run.path, run.quant_path) if path)
        sources = [] if self._config.rehash else [*staged, read_sources(self._out)]
        failures = read_failures(self._out)
        planner = Planner(self._options, found, sources, failures, retry_errors=self._config.retry_errors)
        return planner, planner.plan(self._runs, held)

    def _inputs(self, plan: Plan) -> str:
        return inputs_of(self._how, plan)

    def _commit(
        self, plan: Plan, rows: pa.Table, heights: assembly.Sparse, counts: dict[str, Any], lease: Lease
    ) -> FeatureManifest:
        """Write what belongs to the table, then, if the lease is still ours, the table and the manifest."""
        samples = sorted(plan.identities)
        if samples != list(heights.sample_ids):
            raise JobError(f"{self._out.location}: the heights are of other samples than planned; nothing is committed")
        content = assembly.encode(rows, heights)
        about = {
            "similarity": self._how["similarity"],
            "config": self._how,
            "sigma_mz_da": counts.pop("sigma_mz_da", None),
            "simulated": self._sheet.is_simulated(),
            "counts": {**counts, "samples": len(samples), "features": rows.num_rows, "failed": len(plan.failures)},
        }
        used = {path for run in self._runs if run.sample_id in plan.identities for path in (run.path, run.quant_path)}
        write_failures(self._out, plan.failures.values())
        write_sources(self._out, {path: source for path, source in plan.sources.items() if path in used})
        values = {**self._config.model_dump(mode="json"), **self._options.model_dump(mode="json")}
        self._out.write(CONFIG_NAME, yaml.safe_dump(values, sort_keys=False).encode())
        lease.require()
        self._out.write(FEATURES_NAME, content)
        manifest = FeatureManifest(
            about=about,
            inputs=self._inputs(plan),
            fingerprint=features_fingerprint(content, self._how),
            n_samples=len(samples),
            n_features=rows.num_rows,
            n_errors=len(plan.failures),
            checksum=checksum(content),
        )
        manifest.write(self._out)
        return manifest

    def _summary(self, manifest: FeatureManifest, plan: Plan, n_read: int) -> FeaturesSummary:
        return FeaturesSummary(
            samples=manifest.n_samples,
            features=manifest.n_features,
            read=n_read,
            failed=len(plan.failures),
            allowed=self._config.failures_allowed(len(self._runs)),
            about=manifest.about,
            output=self._out.location,
            errors=[plan.failures[sample] for sample in sorted(plan.failures)],
        )
