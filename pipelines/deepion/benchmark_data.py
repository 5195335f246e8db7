"""What a benchmark is run on: phantoms, prepared through the real path, or ion images with a list of labels."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ms2img.deepion.benchmark.labelled import Labelled, by_list, by_truth
from ms2img.deepion.image_folder import FORMAT, MANIFEST_NAME
from ms2img.deepion.images import IonImages, read_images
from ms2img.deepion.phantom.truth import read_truth
from ms2img.deepion.phantom.write import IMZML, RECORD, TRUTH
from ms2img.deepion.prepare import prepare
from ms2img.deepion.prepare_settings import PRESETS
from ms2img.errors import RunError, UsageError
from ms2img.io.location import absolute, file_name, join
from ms2img.io.storage import folder, open_bytes
from pipelines.progress import Steps
from pipelines.study.ledger import key_of

if TYPE_CHECKING:
    from pipelines.deepion.benchmark import BenchmarkConfig


def read_labelled(config: BenchmarkConfig, *, quiet: bool) -> list[Labelled]:
    """Every set of ion images with its classes, in the order given; phantoms that are not prepared yet are.

    Raises `UsageError` for a folder that is neither, two of one name, and labels that do not fit.
    """
    names = [file_name(absolute(place)) for place in config.labelled]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"labelled: two folders are named '{twice}'; expected names that differ")
    if config.labels:
        return [_listed(names[0], config.labelled[0], config)]
    return [_phantom(name, place, config, quiet=quiet) for name, place in zip(names, config.labelled, strict=True)]


def _listed(name: str, place: str, config: BenchmarkConfig) -> Labelled:
    ions = read_images(place)
    mz, labels = read_labels(config.labels)
    return by_list(name, ions, mz, labels, source=config.labels, ppm=config.ppm)


def _phantom(name: str, place: str, config: BenchmarkConfig, *, quiet: bool) -> Labelled:
    record = _record(place)
    truth = read_truth(join(place, TRUTH))
    ions = _prepared(name, place, record, config, quiet=quiet)
    return by_truth(name, ions, truth, difficulty=float(record["config"]["difficulty"]), ppm=config.ppm)


def _record(place: str) -> dict[str, dict[str, float]]:
    """What a phantom says of itself."""
    try:
        record = json.loads(folder(place).read(RECORD) or b"")
        float(record["config"]["difficulty"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{place}: no phantom; expected the folder of 'ms2img deepion simulate', or ion images with --labels"
        ) from None
    return dict(record)


def _prepared(
    name: str, place: str, record: dict[str, dict[str, float]], config: BenchmarkConfig, *, quiet: bool
) -> IonImages:
    """The ion images of a phantom: those prepared earlier from the same phantom, else made now and kept."""
    settings = PRESETS.get(config.preset, PRESETS["paper"])
    key = key_of({"phantom": record, "settings": settings.to_dict(), "format": FORMAT})
    kept = join(config.out, f"images/{name}-{key}")
    if folder(kept).read(MANIFEST_NAME) is not None:
        return read_images(kept)
    with _place(kept, config) as where, Steps(2, f"prepare {name}", quiet=quiet) as steps:
        done: dict[str, int] = {}

        def watch(stage: str, at: int, of: int) -> None:
            if at == of and stage not in done:
                done[stage] = at
                steps.advance()

        prepare(join(place, IMZML), where, settings, is_simulated=True, watch=watch)
        return read_images(where)


@contextmanager
def _place(kept: str, config: BenchmarkConfig) -> Iterator[str]:
    """Where ion images are prepared: where they are kept, but for a dry run, which leaves nothing behind."""
    if not config.dry_run:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="ms2img-benchmark-") as scratch:
        yield scratch


def read_labels(place: str) -> tuple[list[float], list[str]]:
    """m/z and labels of a CSV file with the columns ``mz`` and ``label``, local or s3://.

    Raises `UsageError` naming the line: for columns that are missing, an m/z that is no number above 0, no label.
    """
    reader = csv.DictReader(io.StringIO(_text(place)))
    if not {"mz", "label"} <= set(reader.fieldnames or ()):
        found = ", ".join(reader.fieldnames or ()) or "none"
        raise UsageError(f"{place}: columns {found}; expected mz and label")
    mz, labels = [], []
    for row in reader:
        where, label = f"{place}, line {reader.line_num}", (row["label"] or "").strip()
        try:
            value = float(row["mz"] or "")
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{where}: mz {row['mz']!r}; expected a number above 0")
        if not label:
            raise UsageError(f"{where}: no label")
        mz.append(value)
        labels.append(label)
    return mz, labels


def _text(place: str) -> str:
    try:
        with open_bytes(place) as stream:
            return stream.read().decode("utf-8-sig")
    except RunError as error:
        raise UsageError(str(error)) from None
    except UnicodeDecodeError:
        raise UsageError(f"{place}: not UTF-8 text; expected a CSV file with columns mz and label") from None
