"""What the baselines are compared on: feature tables, pixels and counts of words, of the same samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ms2img.errors import RunError, UsageError
from ms2img.io.dataset.failures import failure
from ms2img.io.dataset.features import load_features
from ms2img.io.dataset.images import load_images
from ms2img.io.read import read_runs
from ms2img.io.sheet import Run, Sheet
from ms2img.learn.splits import Fold
from ms2img.ms2toimg.baselines.folds import shared_folds
from ms2img.ms2toimg.baselines.models import PIXELS, TAKES_SPARSE, WORDS, default_preprocessing
from ms2img.ms2toimg.baselines.preprocessing import Matrix, Preprocessing
from ms2img.ms2toimg.labels import Labels, make_labels
from ms2img.ms2toimg.memo import MemoConfig, memo_matrix, memo_words
from pipelines.baselines_config import BaselinesConfig
from pipelines.progress import Steps

IMAGE, MEMO = "image", "memo"  # representations beside the tables, which are called by their similarity


@dataclass(frozen=True, eq=False)
class Representation:
    """One way to write samples as rows [n, f], in the order of `sample_ids`, and the models that are tried on it.

    `preprocessing` is that of each model; `is_table` marks what PCA and OPLS-DA describe.
    """

    name: str
    source: str
    fingerprint: str
    sample_ids: tuple[str, ...]
    rows: Matrix
    preprocessing: Mapping[str, Preprocessing]
    is_table: bool = False

    def of(self, sample_ids: Sequence[str]) -> Self:
        """The same of some samples, in their order."""
        row = {sample: index for index, sample in enumerate(self.sample_ids)}
        chosen = np.array([row[sample] for sample in sample_ids], dtype=np.int64)
        return replace(self, sample_ids=tuple(sample_ids), rows=self.rows[chosen])


@dataclass(frozen=True, eq=False)
class BaselineCohort:
    """The labelled runs that every representation has, and each representation in their order.

    `folds`: dealt over all labelled runs of the sheet. `left_out`: labelled runs that some representation lacks.
    `n_read`: how many runs --memo was to read. `errors`: of those, rows of `ms2img.io.schema.ERRORS`.
    """

    sheet: Sheet
    labels: Labels
    folds: tuple[Fold, ...]
    representations: tuple[Representation, ...]
    left_out: tuple[str, ...]
    n_read: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


def load_cohort(config: BaselinesConfig, *, quiet: bool = False) -> BaselineCohort:
    """Load what `config` names. Raises `UsageError` for whatever is wrong with it, folds included."""
    sheet = Sheet.read(config.samples, allow_outside=config.allow_outside)
    values = sheet.assay(config.assay)
    loaded = _tables(config)
    if config.images is not None:
        loaded.append(_pixels(config.images))
    for each in loaded:
        if not {run.sample_id for run in sheet.runs} & set(each.sample_ids):
            raise UsageError(f"{each.source}: has no run of {config.samples}; was it made from another sheet?")
    runs = [run for run, value in zip(sheet.runs, values, strict=True) if run.kind == "sample" and np.isfinite(value)]
    everywhere = set.intersection(*(set(each.sample_ids) for each in loaded))
    shared = [run for run in runs if run.sample_id in everywhere]
    labelled = make_labels(sheet, config.label_config(), [run.sample_id for run in runs])
    labels = make_labels(sheet, config.label_config(), [run.sample_id for run in shared])
    folds = shared_folds(labelled, labels, config.folds, seed=config.seed)  # before the runs are read
    errors: list[dict[str, Any]] = []
    if config.memo:
        words, errors = _words(shared, config, quiet=quiet)
        loaded.append(words)
        labels = make_labels(sheet, config.label_config(), words.sample_ids)
        folds = shared_folds(labelled, labels, config.folds, seed=config.seed)
    used = set(labels.sample_ids)
    return BaselineCohort(
        sheet,
        labels,
        tuple(folds),
        tuple(each.of(labels.sample_ids) for each in loaded),
        tuple(run.sample_id for run in runs if run.sample_id not in used),
        len(shared) if config.memo else 0,
        errors,
    )


def _tables(config: BaselinesConfig) -> list[Representation]:
    tables = [(location, load_features(location)) for location in config.features]
    for location, table in tables:
        if len(table.feature_ids) < 2:
            raise UsageError(f"{location}: has {len(table.feature_ids)} feature; PCA and OPLS-DA need two or more")
    similarities = [str(table.about.get("similarity", "table")) for _, table in tables]
    times = Counter(similarities)
    preprocessing = {name: default_preprocessing(name, scale=config.scale) for name in config.models}
    return [
        Representation(
            similarity if times[similarity] == 1 else f"{similarity} {location.rstrip('/')}",
            location,
            table.fingerprint,
            table.sample_ids,
            table.heights,
            preprocessing,
            is_table=True,
        )
        for (location, table), similarity in zip(tables, similarities, strict=True)
    ]


def _pixels(location: str) -> Representation:
    images = load_images(location)
    rows = images.images.reshape(len(images.sample_ids), -1) / 255
    return Representation(IMAGE, location, images.fingerprint, images.sample_ids, rows, {"forest": PIXELS})


def _words(runs: Sequence[Run], config: BaselinesConfig, *, quiet: bool) -> tuple[Representation, list[dict[str, Any]]]:
    """Counts of words of the runs that can be read, and a row of `ERRORS` for each that cannot."""
    names = [name for name in config.models if name in TAKES_SPARSE]
    if not names:
        raise UsageError(f"--memo works with {', '.join(TAKES_SPARSE)}; --models has {', '.join(config.models)}")
    memo, read, errors = MemoConfig(), [], []

    def counted(done: Callable[[], None]) -> Any:
        for run, spectra in read_runs(runs, config.read_options()):
            done()
            if isinstance(spectra, RunError):
                errors.append(failure(run, "read", spectra, ""))
                continue
            read.append(run.sample_id)
            yield memo_words(spectra.table, memo)

    with Steps(len(runs), "memo", quiet=quiet) as progress:
        matrix, words = memo_matrix(counted(progress.advance))
    if not words:
        raise UsageError(
            f"{config.samples}: --memo finds no word in the {len(read)} of {len(runs)} runs that can be read: "
            f"none has a spectrum of {memo.min_peaks} peaks or more; leave --memo out"
        )
    preprocessing = dict.fromkeys(names, WORDS)
    return Representation(MEMO, config.samples, memo.fingerprint(), tuple(read), matrix, preprocessing), errors
