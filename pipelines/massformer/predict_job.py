"""``ms2img massformer predict``, step by step: model, parts of the table, library.

With ``--distributed`` finished parts lie in ``OUT.parts/`` until the library is written: the same command goes on from
them. Parts are put together in the order of the table, so the library is that of an undisturbed job on one machine.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms2img.errors import UsageError
from ms2img.io import storage
from ms2img.io.location import parent, suffix
from ms2img.io.storage import Folder
from pipelines.lists import listed, numbers
from pipelines.massformer.molecule_rows import parts_of
from pipelines.massformer.predict_output import LibraryFile
from pipelines.massformer.predict_work import Asked, PartResult, predict_part
from pipelines.progress import Steps
from pipelines.shipped_model import ShippedModel

if TYPE_CHECKING:
    from ms2img.massformer.predictor import SpectrumPredictor
    from pipelines.massformer.predict import PredictConfig

PARTS_SUFFIX = ".parts"
_NAME = re.compile(r"[0-9a-f]{32}\.(json|part)")


@dataclass(frozen=True)
class PredictSummary:
    """What a prediction did. `refused`: rows of the table of refused molecules; `examples`: the first of them."""

    molecules: int
    spectra: int
    refused: int
    examples: list[dict[str, Any]]
    model: str
    model_version: str
    seconds: float


def predict(
    config: PredictConfig, *, quiet: bool = False, notice: Callable[[str], None] = lambda _: None
) -> PredictSummary:
    """Predict the spectra of a table's molecules and write them as a library.

    Raises `UsageError` before any work: no such model or table, an adduct that the model does not know.
    """
    from ms2img.tracking import flavor
    from ms2img.tracking.pull import pulled

    started = time.monotonic()
    if config.num_gpus and not config.distributed:
        raise UsageError("--num-gpus is for --distributed; without it this machine's CPU predicts")
    storage.require_access([config.molecules, config.out])
    if storage.is_folder(config.out):
        raise UsageError(f"{config.out}: is a folder; --out names a file")
    total = sum(len(part) for part in parts_of(config.molecules, config.part_size))
    with pulled(config.model) as (bundle, source):
        predictor = flavor.load_bundle(bundle, system="massformer")
        asked = _asked(config, predictor)
        work = _on_ray if config.distributed else _here
        if not storage.is_remote(config.out):
            Path(parent(config.out)).mkdir(parents=True, exist_ok=True)
        with (
            LibraryFile(config.out, config.refused_place(), asked.kind) as library,
            Steps(total, "predict", quiet=quiet) as progress,
        ):
            work(config, asked, predictor, bundle, library, progress, notice)
        return PredictSummary(
            molecules=library.molecules,
            spectra=library.spectra,
            refused=library.refused,
            examples=library.examples,
            model=source.uri,
            model_version=predictor.model_version,
            seconds=time.monotonic() - started,
        )


def _asked(config: PredictConfig, predictor: SpectrumPredictor) -> Asked:
    from ms2img.massformer.peaks import PeakRule

    adducts = tuple(listed(config.adduct))
    known = predictor.vocabulary
    for adduct in adducts:
        if adduct not in known.adducts:
            raise UsageError(f"--adduct {adduct}: the model knows {', '.join(known.adducts)}")
    if config.instrument_type and config.instrument_type not in known.instruments:
        raise UsageError(f"--instrument-type {config.instrument_type}: the model knows {', '.join(known.instruments)}")
    return Asked(
        adducts=adducts,
        energies=tuple(numbers(config.energy)),
        energy_unit=config.energy_unit,
        instrument_type=config.instrument_type,
        peaks=PeakRule(cut=config.cut, mass=config.mass),
        kind=suffix(config.out)[1:],
    )


def _here(
    config: PredictConfig,
    asked: Asked,
    predictor: SpectrumPredictor,
    bundle: Path,
    library: LibraryFile,
    progress: Steps,
    notice: Callable[[str], None],
) -> None:
    for rows in parts_of(config.molecules, config.part_size):
        library.append(predict_part(rows, asked, predictor))
        progress.advance(len(rows))
    library.commit()


def _on_ray(
    config: PredictConfig,
    asked: Asked,
    predictor: SpectrumPredictor,
    bundle: Path,
    library: LibraryFile,
    progress: Steps,
    notice: Callable[[str], None],
) -> None:
    from cluster.connect import connected
    from ms2img.io.dataset.lease import Lease
    from ms2img.massformer.bundle import FILE_NAMES
    from pipelines.massformer.predict_on_ray import predict_parts

    out = storage.folder(config.out + PARTS_SUFFIX)
    with Lease(out, notice) as lease:
        finished = out.names()
        keys: list[str] = []

        def left() -> Iterator[tuple[str, list[Any]]]:
            """The parts that are not finished, as the table is read; all keys are noted in order."""
            for rows in parts_of(config.molecules, config.part_size):
                key = asked.key(rows, f"{predictor.model_version} {'gpu' if config.num_gpus else 'cpu'}")
                keys.append(key)
                if f"{key}.json" in finished:
                    progress.advance(len(rows))
                else:
                    yield key, rows

        with connected(writes=[out.location]):
            model = ShippedModel.of(bundle, predictor.model_version, FILE_NAMES)
            for n_rows in predict_parts(left(), asked, model, out.location, num_gpus=config.num_gpus):
                progress.advance(n_rows)
        for key in keys:
            library.append(read_part(out, key))
        lease.require()
        library.commit()
        out.delete(name for name in out.names() if _NAME.fullmatch(name))
    if not storage.is_remote(out.location):
        with suppress(OSError):
            Path(out.location).rmdir()


def write_part(out: Folder, key: str, part: PartResult) -> None:
    """Keep a finished part: the spectra first, what tells of them last."""
    out.write(f"{key}.part", part.content)
    told = {name: value for name, value in asdict(part).items() if name != "content"}
    out.write(f"{key}.json", json.dumps(told).encode())


def read_part(out: Folder, key: str) -> PartResult:
    """A finished part."""
    told, content = out.read(f"{key}.json"), out.read(f"{key}.part")
    if told is None or content is None:
        raise UsageError(f"{out.location}/{key}.part: is gone; start the command again")
    return PartResult(content=content, **json.loads(told))
