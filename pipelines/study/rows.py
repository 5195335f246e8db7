"""What cells learn from: images, feature tables and word counts, made once and loaded by whoever needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder, join
from pipelines.study.cell import Rows
from pipelines.study.config import TABLES, StudyFile
from pipelines.study.sources import Notice, Sources

WORDS_FOLDER = "memo"


@dataclass(frozen=True)
class Place:
    """Where the rows of a data set in one representation lie, what identifies them, and which samples have one."""

    representation: str
    location: str
    fingerprint: str
    sample_ids: tuple[str, ...]


class Preparation:
    """Makes the rows that cells ask for, each once; everything is kept below the study's folder."""

    def __init__(self, study: StudyFile, out: str, sources: Sources, *, quiet: bool, notice: Notice) -> None:
        self._study = study
        self._out = out
        self._sources = sources
        self._quiet = quiet
        self._notice = notice
        self._made: dict[tuple[str, str, str, str], Place] = {}
        self.failed: dict[str, tuple[int, int]] = {}  # what was made -> runs that failed, runs in all

    def place(self, data: str, representation: str, resolution: str = "", *, onto: str = "") -> Place:
        """The rows of a data set; `onto`: of tables, the data set whose features they are placed on.

        Raises `UsageError` for a representation that this data set cannot have, `JobError` when runs failed.
        """
        key = (data, representation, resolution, onto if representation in TABLES else "")
        if key not in self._made:
            if representation == "image":
                self._made[key] = self._images(data, resolution)
            elif representation == "memo":
                self._made[key] = self._words(data)
            else:
                self._made[key] = self._table(data, representation, key[3])
        return self._made[key]

    def _images(self, data: str, resolution: str) -> Place:
        from ms2img.io.dataset.images import load_images
        from pipelines.conversion.config import ConvertConfig
        from pipelines.conversion.job import convert

        out = join(join(join(self._out, "images"), data), resolution)
        config = ConvertConfig(
            samples=self._sources.sheet(data),
            out=out,
            size=resolution,
            allow_outside=self._sources.allow_outside(data),
        )
        summary = convert(config, quiet=self._quiet, notice=self._notice)
        self._tell_failed(summary.failed, summary.converted + summary.unchanged, f"images of {data}", out)
        images = load_images(out)
        return Place("image", out, images.fingerprint, images.sample_ids)

    def _table(self, data: str, representation: str, onto: str) -> Place:
        from ms2img.io.dataset.features import load_features
        from pipelines.features import FeaturesConfig, features

        # A table that was placed onto another one goes with that one: if it changes, so does the folder's name.
        base = self.place(onto, representation) if onto else None
        name = f"{data}_{representation}" + (f"_onto_{onto}-{base.fingerprint}" if base else "")
        out = join(join(self._out, "features"), name)
        options = dict(self._study.features)
        if representation != "aligned":
            options["similarity"] = representation
        config = FeaturesConfig.checked(
            {
                **options,
                "samples": self._sources.sheet(data),
                "out": out,
                "allow_outside": self._sources.allow_outside(data),
                **({"onto": base.location} if base else {}),
            },
            source="features",
        )
        summary = features(config, quiet=self._quiet, notice=self._notice)
        self._tell_failed(summary.failed, summary.samples, f"features of {data}", out)
        table = load_features(out)
        is_aligned = table.about["similarity"] == "aligned"
        if not onto and is_aligned != (representation == "aligned"):
            kind = "is aligned already: its representation is 'aligned'" if is_aligned else "is not aligned"
            raise UsageError(f"data '{data}' {kind}; the study asks for '{representation}'")
        return Place(representation, out, table.fingerprint, table.sample_ids)

    def _words(self, data: str) -> Place:
        from ms2img.io.sheet import Sheet
        from ms2img.ms2toimg.memo import MemoConfig
        from pipelines.study.words import write_words

        out, name = join(self._out, WORDS_FOLDER), f"{data}.parquet"
        sheet = Sheet.read(self._sources.sheet(data), allow_outside=self._sources.allow_outside(data))
        summary = write_words(sheet, out, name, MemoConfig(), quiet=self._quiet)
        self._tell_failed(len(summary.failed), len(summary.sample_ids), f"words of {data}", out)
        return Place("memo", join(out, name), summary.fingerprint, summary.sample_ids)

    def _tell_failed(self, failed: int, good: int, what: str, where: str) -> None:
        if failed:
            self._notice(f"{what}: {failed} of {failed + good} runs failed and are in no cell: {where}")
        self.failed[what] = failed, failed + good


def load(place: Place, sample_ids: Sequence[str], *, words_of: Place | None = None) -> Rows:
    """Rows of these samples, in this order: uint8 [n, H, W], float64 [n, f] or CSR [n, words].

    words_of: for word counts, the data set whose words are the columns (None: their own).
    """
    if place.representation == "image":
        images = _images(place.location, place.fingerprint)
        return images.images[images.rows_of(sample_ids)]
    if place.representation == "memo":
        return _word_rows(place, sample_ids, words_of or place)
    table = _features(place.location, place.fingerprint)
    return table.heights[table.rows_of(sample_ids)]


@lru_cache(maxsize=2)
def _images(location: str, fingerprint: str):  # type: ignore[no-untyped-def]
    from ms2img.io.dataset.images import load_images

    found = load_images(location)
    _require(found.fingerprint, fingerprint, location)
    return found


@lru_cache(maxsize=2)
def _features(location: str, fingerprint: str):  # type: ignore[no-untyped-def]
    from ms2img.io.dataset.features import load_features

    found = load_features(location)
    _require(found.fingerprint, fingerprint, location)
    return found


@lru_cache(maxsize=2)
def _counts(location: str, fingerprint: str) -> dict[str, dict[str, int]]:
    from ms2img.io.location import file_name, parent
    from pipelines.study.words import load_words, read_summary

    store, name = folder(parent(location)), file_name(location)
    found = read_summary(store, name)
    _require(found[1].fingerprint if found else "", fingerprint, location)
    return load_words(store, name)


@lru_cache(maxsize=2)
def _columns(location: str, fingerprint: str) -> dict[str, int]:
    """Word -> column, of all words of a data set."""
    words = {word for of_run in _counts(location, fingerprint).values() for word in of_run}
    return {word: index for index, word in enumerate(sorted(words))}


def _word_rows(place: Place, sample_ids: Sequence[str], words_of: Place) -> Rows:
    """Counts in the columns of another data set's words; words that it has not are left out."""
    import scipy.sparse as sp

    column = _columns(words_of.location, words_of.fingerprint)
    counts = _counts(place.location, place.fingerprint)
    rows, columns, values = [], [], []
    for row, sample in enumerate(sample_ids):
        for word, count in counts[sample].items():
            if word in column:
                rows.append(row)
                columns.append(column[word])
                values.append(float(count))
    matrix = sp.csr_matrix((np.array(values), (rows, columns)), shape=(len(sample_ids), len(column)))
    matrix.sort_indices()
    return matrix


def _require(found: str, expected: str, location: str) -> None:
    """What a worker loads must be what the driver planned with."""
    if found != expected:
        raise JobError(f"{location}: changed while the study ran; run the same command again")
