"""``ms2img massformer prepare``, step by step: look, read in parallel on Ray Data, assemble, featurise, commit.

A library folder is written once. Up to its last file, ``library.json``, it is no library; a job that was killed leaves
files that the same command writes again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ms2img.errors import Code, JobError, RunError, UsageError
from ms2img.io.dataset.lease import LEASE_NAME, Lease
from ms2img.io.storage import Folder, folder
from ms2img.massformer.library.assemble import Assembled, Part, assemble, read_part, without
from ms2img.massformer.library.filters import LibraryRules
from ms2img.massformer.library.folder import (
    MANIFEST_NAME,
    MOLECULES_NAME,
    REFUSED_NAME,
    SPECTRA_NAME,
    STAGE,
    Manifest,
    commit,
    write_tables,
)
from ms2img.massformer.library.reading import read_piece
from ms2img.massformer.library.sources import Inputs, Piece, find_inputs, pieces
from ms2img.massformer.molecule.features import FEATURES_FILE, MOLECULE_FEATURES, Features, featurise, write_features
from pipelines.massformer.prepare_config import PrepareConfig
from pipelines.progress import Steps

OURS = (MOLECULES_NAME, SPECTRA_NAME, REFUSED_NAME, FEATURES_FILE, MANIFEST_NAME, LEASE_NAME)
FEATURES_A_TASK = 250  # molecules (ours): a second or two


@dataclass(frozen=True)
class PrepareSummary:
    """What the library folder holds. `was_prepared`: it held it before, and nothing was done."""

    manifest: Manifest
    output: str
    was_prepared: bool


def prepare(
    config: PrepareConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> PrepareSummary:
    """Make the library folder ``config.out`` of the libraries; equal inputs and settings are nothing to do.

    `notice` is told what a person should know though all is well.

    Raises `UsageError` before any work for a place that is not there, and for an output that was made otherwise or is
    being written; after reading, for a file that is damaged, and when no record is left. `JobError` when the job cannot
    go on: run it again later.
    """
    inputs = find_inputs(config.library)
    out = folder(config.out)
    settings = {"stage": STAGE, **config.rules().model_dump(mode="json")}
    if found := _prepared(out, settings, inputs):
        return PrepareSummary(found, out.location, was_prepared=True)
    with Lease(out, notice) as lease:
        if found := _prepared(out, settings, inputs):
            return PrepareSummary(found, out.location, was_prepared=True)
        assembled, features = _work(config, inputs, out, quiet=quiet)
        checksums = write_tables(out, assembled)
        write_features(out.location, features)
        lease.require()
        manifest = commit(out, assembled, checksums, settings=settings, inputs=inputs.identity)
    return PrepareSummary(manifest, out.location, was_prepared=False)


def _prepared(out: Folder, settings: dict[str, Any], inputs: Inputs) -> Manifest | None:
    """The manifest of a folder that holds this library already; None where there is nothing yet.

    Raises `UsageError` for a library that was made otherwise, and for a folder that is neither empty nor ours.
    """
    committed = Manifest.read(out)
    if committed is None:
        if foreign := next((name for name in out.names() if name not in OURS), None):
            found = f"not empty and not a prepared library (it has {foreign})"
            raise UsageError(f"{out.location}: {found}; give OUT a new or empty folder")
        return None
    for key in sorted({*settings, *committed.settings}):
        if settings.get(key) != committed.settings.get(key):
            raise UsageError(
                f"{out.location}: made with {key}={committed.settings.get(key)}, now asked for "
                f"{key}={settings.get(key)}; give OUT another folder, or the old option"
            )
    for place in sorted({*inputs.identity, *committed.inputs}):
        if inputs.identity.get(place) != committed.inputs.get(place):
            is_both = place in inputs.identity and place in committed.inputs
            what = f"{place} has changed since" if is_both else f"{place} is in one and not in the other"
            raise UsageError(f"{out.location}: made of other files, {what}; give OUT another folder")
    return committed


def _work(config: PrepareConfig, inputs: Inputs, out: Folder, *, quiet: bool) -> tuple[Assembled, pa.Table]:
    """Read and featurise on Ray's workers."""
    from cluster.connect import connected
    from pipelines.conversion.cluster_work import cluster_cpus, on_workers

    with connected(writes=[out.location]):
        work = pieces(inputs.sources, cluster_cpus())
        read = partial(_read, rules=config.rules(), max_unpacked=config.max_unpacked())
        parts: list[Part] = []
        with Steps(len(work), "read", quiet=quiet) as progress:
            for found in on_workers(work, read):
                parts.append(_sound(found))
                progress.advance(note=f"{sum(part.n_records for part in parts)} records")
        assembled = assemble(parts)
        molecules = assembled.molecules
        tasks = [molecules.slice(at, FEATURES_A_TASK) for at in range(0, molecules.num_rows, FEATURES_A_TASK)]
        tables: dict[int, pa.Table] = {}
        with Steps(len(tasks), "features", quiet=quiet) as progress:
            for index, table in on_workers(list(enumerate(tasks)), _featurised):
                tables[index] = table
                progress.advance()
    features = pa.concat_tables([MOLECULE_FEATURES.empty_table(), *(tables[index] for index in sorted(tables))])
    left = without(assembled, Features.from_table(features).refused)
    if not left.spectra.num_rows:
        raise UsageError(_nothing_left(left))
    return left, features.filter(pc.is_null(features["refusal"]))


def _read(piece: Piece, *, rules: LibraryRules, max_unpacked: int) -> Part | RunError:
    """A task: the records of a piece in one form; an error of its file is a value, for Ray would try it again."""
    try:
        return read_part(read_piece(piece, max_unpacked), rules)
    except RunError as error:
        return error


def _featurised(task: tuple[int, pa.Table]) -> tuple[int, pa.Table]:
    """A task: the features of some molecules, with its number."""
    index, molecules = task
    return index, featurise(molecules)


def _sound(found: Part | RunError) -> Part:
    """The part, or its error: of the store, which may be well later, or of the file."""
    if isinstance(found, Part):
        return found
    raise (JobError if found.code is Code.STORAGE else UsageError)(str(found))


def _nothing_left(assembled: Assembled) -> str:
    counts: Sequence[str] = [f"{count} {reason}" for reason, count in assembled.refusals.as_dict().items()]
    reasons = f"left out: {', '.join(counts)}" if counts else "no file holds a record"
    return f"none of {assembled.n_records} records is left, {reasons}; see the options of 'ms2img massformer prepare'"
