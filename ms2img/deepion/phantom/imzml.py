"""A phantom as imzML, by pyimzML's writer: one centroid spectrum for each measured pixel."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyimzml.ImzMLWriter import ImzMLWriter

from ms2img.deepion.imzml import SIMULATED_RUN
from ms2img.deepion.phantom.config import PhantomConfig, Stage, stream
from ms2img.deepion.phantom.section import Phantom, Progress
from ms2img.io.atomic import replace_file

_NOISE_COUNTS = 2.0  # of a peak of chance, mean
_LAST_OF_SETTINGS = 'name="max count of pixels y"'
_PIXEL_SIZE = (
    '      <cvParam cvRef="IMS" accession="IMS:{accession}" name="{name}" value="{value:g}" '
    'unitCvRef="UO" unitAccession="UO:0000017" unitName="micrometer"/>\n'
)

Floats = npt.NDArray[np.float64]


def write_imzml(path: Path, phantom: Phantom, progress: Progress | None = None) -> None:
    """Write ``NAME.imzML`` at `path` and ``NAME.ibd`` beside it; equal phantoms give equal bytes.

    `progress` is called with (spectra done, spectra in all). pyimzML keeps a line a spectrum in memory, and the XML.
    """
    config = phantom.config
    pixels = np.argwhere(phantom.measured)
    with ImzMLWriter(
        str(path), mz_dtype=np.float64, intensity_dtype=np.float32, mode=config.mode, polarity=config.polarity
    ) as writer:
        _name(writer, config)
        for done, (y, x) in enumerate(pixels.tolist(), start=1):
            mz, intensity = _spectrum(phantom, y, x)
            writer.addSpectrum(mz, intensity, (x + 1, y + 1, 1))
            if progress is not None:
                progress(done, len(pixels))
    _add_pixel_size(path, config.pixel_um)


def _spectrum(phantom: Phantom, y: int, x: int) -> tuple[Floats, Floats]:
    counts = phantom.counts[:, y, x].astype(np.float64)
    if phantom.config.mode == "continuous":
        return phantom.mz, counts
    config, random = phantom.config, stream(phantom.config.seed, Stage.SPECTRA, y, x)
    seen = np.flatnonzero(counts)
    mz = phantom.mz[seen] * (1 + 1e-6 * config.mz_error_ppm * random.normal(size=len(seen)))
    chance = np.exp(random.uniform(np.log(config.mz_low), np.log(config.mz_high), config.noise_peaks))
    mz = np.concatenate([mz, chance])
    intensity = np.concatenate([counts[seen], random.geometric(1 / _NOISE_COUNTS, config.noise_peaks)])
    if not len(mz):  # pyimzML cannot write a spectrum without peaks, and the pixel was measured
        return phantom.mz[:1], np.zeros(1)
    order = np.argsort(mz, kind="stable")
    return mz[order], intensity[order]


def _name(writer: ImzMLWriter, config: PhantomConfig) -> None:
    """An identity that follows from the config, in place of a random one, and a run named by no path."""
    identity = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).digest()[:16]
    writer.uuid = uuid.UUID(bytes=identity, version=4)
    writer.ibd.seek(0)
    writer.ibd.write(writer.uuid.bytes)
    writer.sha1 = hashlib.sha1(writer.uuid.bytes, usedforsecurity=False)  # the format's own checksum
    writer.run_id = SIMULATED_RUN


def _add_pixel_size(path: Path, micrometres: float) -> None:
    """pyimzML's template has no place for the pixel size; a scale bar needs it."""
    sizes = [("1000046", "pixel size (x)"), ("1000047", "pixel size y")]
    lines = [_PIXEL_SIZE.format(accession=accession, name=name, value=micrometres) for accession, name in sizes]
    with (
        replace_file(path) as temporary,
        path.open(encoding="latin-1") as old,
        temporary.open("w", encoding="latin-1", newline="\n") as new,
    ):
        for line in old:
            new.write(line)
            if _LAST_OF_SETTINGS in line:
                new.writelines(lines)
