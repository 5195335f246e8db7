"""Any run of a sample sheet to its spectra table: which reader, and one pass a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ms2img.errors import Code, RunError
from ms2img.io.formats import mgf, msdial_peaklist, msp, quant
from ms2img.io.formats.aligned import AlignedTable
from ms2img.io.formats.dda import read_mzml, read_mzxml
from ms2img.io.formats.merge import merge_repeats
from ms2img.io.formats.msdial_alignment import read_alignment
from ms2img.io.formats.polarity import one_polarity
from ms2img.io.formats.sniff import sniff as sniff
from ms2img.io.formats.spectra import name_sample
from ms2img.io.read_config import ReadOptions
from ms2img.io.sheet import Run

_ONE_RUN: dict[str, Callable[[str, ReadOptions], pa.Table]] = {
    "mgf": lambda path, options: mgf.read_mgf(path),
    "msp": lambda path, options: msp.read_msp(path),
    "msdial-peaklist": lambda path, options: msdial_peaklist.read_peaklist(path),
    "mzml": read_mzml,
    "mzxml": read_mzxml,
}


@dataclass(frozen=True)
class RunSpectra:
    """A run's spectra (schema `SPECTRA`), and whose MS/MS they are: the run's "own", or "representative" ones."""

    table: pa.Table
    ms2_source: str


def read_run(run: Run, options: ReadOptions | None = None) -> RunSpectra:
    """One run's spectra. Raises `RunError`. For several runs of one aligned table use `read_runs`."""
    _, outcome = next(iter(read_runs([run], options)))
    if isinstance(outcome, RunError):
        raise outcome
    return outcome


def read_runs(runs: Sequence[Run], options: ReadOptions | None = None) -> Iterator[tuple[Run, RunSpectra | RunError]]:
    """Each run with its spectra, or with the `RunError` that says why not; grouped by file, in order of appearance.

    `options` default to `ReadOptions()`; a file of one run is asked for one polarity and merged by them.
    Runs that share their files are read in one pass; one group is in memory at a time. What is wrong with a whole
    file is the error of each of its runs.
    """
    groups: dict[tuple[str, str | None, str | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.path, run.quant_path, run.format), []).append(run)
    for group in groups.values():
        try:
            content = _read_files(group, options or ReadOptions())
        except RunError as error:
            yield from ((run, error) for run in group)
            continue
        for run in group:
            try:
                yield run, _of_run(content, run)
            except RunError as error:
                yield run, error


def _read_files(group: Sequence[Run], options: ReadOptions) -> pa.Table | AlignedTable:
    """The content of the files a group of runs shares."""
    first = group[0]
    format_name = first.format or sniff(first.path)
    columns = [run.column for run in group if run.column is not None]
    if first.quant_path is not None:
        if format_name != "mgf":
            message = f"this is {format_name}; the sheet's `quant_path` belongs beside an MGF"
            raise RunError(Code.UNKNOWN_FORMAT, message, path=first.path)
        return quant.read_pair(first.path, first.quant_path, columns)
    if format_name == "msdial-alignment":
        return read_alignment(first.path, columns)
    spectra = one_polarity(_ONE_RUN[format_name](first.path, options), options, path=first.path)
    return merge_repeats(spectra, options)


def _of_run(content: pa.Table | AlignedTable, run: Run) -> RunSpectra:
    if isinstance(content, AlignedTable):
        if run.column is None:
            message = "this file holds many runs; name the run's in the sheet's `column` (ms2img sheet drafts it)"
            raise RunError(Code.NO_COLUMN, message, path=run.quant_path or run.path)
        spectra = content.spectra(run.column, path=run.quant_path or run.path)
        return RunSpectra(name_sample(spectra, run.sample_id), content.ms2_source)
    if run.column is not None:
        message = f"the sheet's `column` is '{run.column}', but this file holds one run and has no columns"
        raise RunError(Code.NO_COLUMN, message, path=run.path)
    return RunSpectra(name_sample(content, run.sample_id), "own")
