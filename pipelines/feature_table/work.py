"""What a job has its workers do, and what comes of it: the rows of the table, its heights, and what was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import RunError, UsageError
from ms2img.io.dataset.features import FEATURE, FeatureTable
from ms2img.io.dataset.shards import identity
from ms2img.io.dataset.sources import Source, hash_file
from ms2img.io.sheet import Run
from ms2img.io.storage import Folder
from ms2img.ms2toimg.convert_group import fingerprint_of
from ms2img.ms2toimg.features.aligned import read_aligned
from ms2img.ms2toimg.features.config import FeatureOptions
from ms2img.ms2toimg.features.onto import Placed
from ms2img.ms2toimg.features.similarity import Tolerances
from pipelines.conversion.cluster_work import cluster_cpus, on_workers
from pipelines.feature_table import assembly
from pipelines.feature_table.merging import merge_range, place_samples, ranges
from pipelines.feature_table.plan import Held, Plan, Planner, tasks
from pipelines.feature_table.reading import FEATURES_STAGE, ReadResult, identity_of, merge_task, read_task
from pipelines.feature_table.staged import StagedFeatures, staged_mz
from pipelines.progress import Steps

Made = tuple[pa.Table, assembly.Sparse, dict[str, Any]]  # rows of schema `FEATURE`, heights, counts


class Work:
    """The work of one job; `plan` has every run among its identities or its failures when it is done."""

    def __init__(
        self,
        out: Folder,
        options: FeatureOptions,
        plan: Plan,
        planner: Planner,
        held: Held,
        connection: ExitStack,
        *,
        quiet: bool,
    ) -> None:
        """`connection`: where a connection to Ray is kept once there is work for it."""
        self._out = out
        self._options = options
        self._plan = plan
        self._planner = planner
        self._held = held
        self._connection = connection
        self._quiet = quiet

    def merge(self) -> Made:
        """Read what is not staged, then merge across the samples."""
        self._read()
        if not self._plan.identities:
            return _nothing()
        options, identities = self._options, self._plan.identities
        if options.sigma_mz_da is None:
            options, identities = self._merge_within(identities)
        wanted = self._wanted(identities)
        mz = np.concatenate([staged_mz(self._out, file.name, samples) for file, samples in wanted])
        samples = sorted(identities)
        parts = ranges(mz, Tolerances(float(options.sigma_mz), options.sigma_rt), self._cores())
        function = partial(
            merge_range,
            out=self._out.location,
            wanted={file.name: names for file, names in wanted},
            sample_ids=samples,
            options=options,
        )
        with Steps(len(mz), "merge", quiet=self._quiet) as progress:
            merged = []
            for part, result in on_workers(parts, function):
                merged.append((part.mz, result))
                progress.advance(part.n_features)
        rows, heights = assembly.of_merged([result for _, result in sorted(merged, key=lambda each: each[0])], samples)
        return rows, heights, {**self._counts(), "sample_features": len(mz), "sigma_mz_da": float(options.sigma_mz)}

    def place_onto(self, table: FeatureTable) -> Made:
        """Read what is not staged, then place each sample onto the features of a table."""
        self._read()
        if not self._plan.identities:
            return _nothing()
        bare = replace(table, sample_ids=(), heights=np.empty((0, len(table.feature_ids))))
        function = partial(place_samples, out=self._out.location, table=bare, options=self._options)
        placed: dict[str, Placed] = {}
        self._cores()
        with Steps(len(self._plan.identities), "place", quiet=self._quiet) as progress:
            for result in on_workers(self._wanted(self._plan.identities), function):
                placed |= result
                progress.advance(len(result))
        rows, heights = assembly.of_placed(table, placed)
        unmatched = sum(each.n_unmatched for each in placed.values())
        counts = {"sample_features": unmatched + len(heights.height), "unmatched": unmatched}
        return rows, heights, {**self._counts(), **counts, "sigma_mz_da": float(self._options.sigma_mz)}

    def take_aligned(self) -> Made:
        """Take the features and heights of the one table whose columns the runs are; read here, in one pass."""
        fit = [run for group in self._plan.groups for run in group.runs]
        if not fit:
            return _nothing()
        statuses = {path: status for group in self._plan.groups for path, status in group.statuses.items()}
        try:
            self._plan.sources |= {path: Source(status, hash_file(path)) for path, status in statuses.items()}
            table = read_aligned(fit)
        except RunError as error:
            self._fail(fit, error)
            return _nothing()
        for run in fit:
            if run.sample_id in table.refused:
                self._fail([run], table.refused[run.sample_id])
            else:
                found = fingerprint_of(run, self._plan.sources)
                self._plan.identities[run.sample_id] = identity_of(run, found, self._options)
        if not table.heights:
            return _nothing()
        samples = tuple(sorted(table.heights))
        heights = np.array([table.heights[sample] for sample in samples])
        sample, feature = np.nonzero(heights)
        names = table.features.rename_columns({"spectrum_id": "feature_id"}).select(FEATURE.names)
        without = int(np.count_nonzero(pc.equal(pc.list_value_length(names["mz"]), 0).to_numpy()))
        sparse = assembly.Sparse(samples, feature, sample, heights[sample, feature])
        return names.cast(FEATURE), sparse, {"without_msms_kept": without}

    def _read(self) -> None:
        """Read the planned runs; each is then staged or failed."""
        known: dict[str, Run] = {run.sample_id: run for group in self._plan.groups for run in group.runs}
        with Steps(
            len(self._plan.identities.keys() | known) + len(self._plan.failures), "read", quiet=self._quiet
        ) as progress:
            progress.advance(progress.total - len(known))
            if not known:
                return
            function = partial(read_task, out=self._out.location, options=self._options)
            for result in on_workers(tasks(self._plan.groups, self._cores()), function):
                self._take(result, known)
                progress.advance(
                    result.n_runs, note=f"{len(self._plan.failures)} failed" if self._plan.failures else ""
                )

    def _take(self, result: ReadResult, known: dict[str, Run]) -> None:
        for staged in result.staged:
            self._held.add(staged)
            self._plan.sources |= staged.sources
            self._plan.identities |= {sample: found.identity for sample, found in staged.samples.items()}
        for sample, error in result.failed:
            self._fail([known[sample]], error)

    def _fail(self, runs: Iterable[Run], error: RunError) -> None:
        for run in runs:
            self._plan.identities.pop(run.sample_id, None)
            self._plan.failures[run.sample_id] = self._planner.failed(run, error)

    def _merge_within(self, identities: Mapping[str, str]) -> tuple[FeatureOptions, dict[str, str]]:
        """Merge within the samples that were staged unmerged: the paper's sigma is known now.

        The options with that sigma, and the identities of the merged samples.
        """
        wanted = self._wanted(identities)
        mz = np.concatenate([staged_mz(self._out, file.name, samples) for file, samples in wanted])
        if mz.min() == mz.max():
            raise UsageError(
                f"sigma_mz 'paper': all {len(mz)} features have precursor m/z {mz[0]}, whose standard deviation is 0; "
                "give a number of Da"
            )
        options = self._options.model_copy(update={"sigma_mz": repr(float(np.std(np.sort(mz))))})
        merged = {
            sample: identity(sample, unmerged, options.fingerprint(), FEATURES_STAGE)
            for sample, unmerged in identities.items()
        }
        left = [
            (file, {sample: merged[sample] for sample in samples if not self._held.has(sample, merged[sample])})
            for file, samples in wanted
        ]
        self._cores()
        with Steps(len(merged), "merge within samples", quiet=self._quiet) as progress:
            function = partial(merge_task, out=self._out.location, options=options)
            progress.advance(len(merged) - sum(len(samples) for _, samples in left))
            for staged in on_workers([work for work in left if work[1]], function):
                self._held.add(staged)
                progress.advance(len(staged.samples))
        return options, merged

    def _wanted(self, identities: Mapping[str, str]) -> list[tuple[StagedFeatures, list[str]]]:
        """Which staged files have these samples' features, each with the samples to take from it."""
        wanted: dict[str, tuple[StagedFeatures, list[str]]] = {}
        for sample in sorted(identities):
            file = self._held.files[sample][identities[sample]]
            wanted.setdefault(file.name, (file, []))[1].append(sample)
        return list(wanted.values())

    def _counts(self) -> dict[str, Any]:
        """What was dropped on the way to the features of all samples, and where heights come from."""
        found = [self._held.files[sample][one].samples[sample].counts for sample, one in self._plan.identities.items()]
        return {
            "spectra": sum(each.n_spectra for each in found),
            "without_msms": sum(each.n_without_msms for each in found),
            "below_cut": sum(each.n_below_cut for each in found),
            "ms1_source": dict(sorted(Counter(each.ms1_source for each in found).items())),
        }

    def _cores(self) -> int:
        """Connect to Ray, if it is not connected yet: its CPUs. A job without work starts none."""
        from cluster.connect import connected

        self._connection.enter_context(connected(writes=[self._out.location]))
        return cluster_cpus()


def _nothing() -> Made:
    """A table without a sample: every run has failed."""
    none = np.zeros(0, np.int64)
    return FEATURE.empty_table(), assembly.Sparse((), none, none, np.zeros(0)), {}
