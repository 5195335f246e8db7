"""A raw run of gigabytes, made of real scans repeated: how much memory reading and drawing it takes.

``python -m bench.big_run --gb 2`` writes an mzML of that size below a temporary folder, once from each real run: the
text of its own spectra, or psims' for the mzXML, over and over with rising scan numbers and times. It then reads the
run, and reads and draws it, each in a process of its own. One JSON line a row: `max_rss_mb` is what the process held at
most, libraries and all, `start_rss_mb` what it held before the run was opened.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("MS2IMG_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
FILES = ("DDApos_2.mzML.gz", "apple_surface_swab.mzML", "DOM_b.mzXML")

_SPECTRUM = re.compile(r"<spectrum .*?</spectrum>\s*", re.DOTALL)
_ID = re.compile(r'( id=")[^"]*(")')
_TIME = re.compile(r'(name="scan start time" value=")([^"]*)(")')


def spectra_texts(path: Path) -> tuple[str, list[str], str]:
    """An mzML's text before its spectra, each spectrum's, and what closes the file (without an index)."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="latin-1")
    spectra = [found[0] for found in _SPECTRUM.finditer(text)]
    head = text[: text.index(spectra[0])]
    closing = "</spectrumList></run></mzML>" + ("</indexedmzML>" if "<indexedmzML" in head else "")
    return head, spectra, closing


def as_mzml(path: Path, out: Path) -> Path:
    """An mzXML's scans as mzML: zlib, 64-bit m/z and 32-bit intensities."""
    from ms2img.io.formats.mzxml import read_scans

    scans = list(read_scans(str(path)))
    psims: Any = importlib.import_module("psims.mzml")
    with warnings.catch_warnings(), psims.MzMLWriter(str(out), close=True) as writer:
        warnings.simplefilter("ignore")
        writer.controlled_vocabularies()
        writer.file_description(["MS1 spectrum", "MSn spectrum"])
        writer.software_list([{"id": "psims", "version": "1", "params": ["python-psims"]}])
        writer.instrument_configuration_list([writer.InstrumentConfiguration(id="IC", component_list=[])])
        writer.data_processing_list([])
        with writer.run(id="run", instrument_configuration="IC"), writer.spectrum_list(count=len(scans)):
            for scan in scans:
                mz, intensity = scan.peaks()
                ion = scan.precursor
                stated = {"mz": ion.mz, "intensity": ion.intensity, "charge": ion.charge} if ion is not None else {}
                writer.write_spectrum(
                    mz_array=mz,
                    intensity_array=intensity,
                    id=f"scan={scan.id}",
                    polarity="positive scan",
                    params=[{"ms level": scan.ms_level}],
                    scan_start_time=(scan.rt_seconds or 0) / 60,
                    precursor_information={key: value for key, value in stated.items() if value} or None,
                )
    return out


def repeated(spectra: list[str], size: int) -> Iterator[str]:
    """The spectra in their order, again and again up to `size` characters, with new ids and times."""
    written = number = 0
    while written < size:
        for spectrum in spectra:
            number += 1
            text = _ID.sub(rf"\g<1>scan={number}\g<2>", spectrum, count=1)
            text = _TIME.sub(rf"\g<1>{number / 10:.1f}\g<3>", text, count=1)
            written += len(text)
            yield text


def write_big(name: str, size: int, folder: Path) -> Path:
    """The file of about `size` bytes that repeats the scans of a real run."""
    source = SHARED / "data/raw" / name
    head, spectra, closing = spectra_texts(as_mzml(source, folder / "one.mzML") if "mzXML" in name else source)
    path = folder / "big.mzML"
    with path.open("w", encoding="latin-1") as out:
        out.write(head)
        out.writelines(repeated(spectra, size))
        out.write(closing)
    return path


def _peak_rss_mb() -> int:
    """What this process held at most, in MB; its parent's share is not counted, as it is in getrusage. Linux."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) >> 10 if found else 0


def measure(path: str, stage: str) -> dict[str, Any]:
    """Read the run in this process, and draw it if `stage` is "convert"."""
    import pyarrow.compute as pc

    from ms2img.errors import RunError
    from ms2img.io.read import read_run
    from ms2img.io.sheet import Run
    from ms2img.ms2toimg.convert import image_row
    from ms2img.ms2toimg.render_config import RenderConfig

    run = Run("big", path, quant_path=None, column=None, format=None, kind="sample", accession="big", replicate=None, batch=None)  # fmt: skip  # noqa: E501
    row: dict[str, Any] = {"start_rss_mb": _peak_rss_mb()}
    start = time.process_time()
    try:
        spectra = read_run(run)
        row |= {"n_msms": len(spectra.table), "n_peaks": pc.sum(pc.list_value_length(spectra.table["mz"])).as_py()}
        if stage == "convert":
            image_row(run, spectra, RenderConfig(), source_fingerprint="")
    except RunError as error:
        row["error"] = str(error)
    row |= {"cpu_s": round(time.process_time() - start, 1)}
    return row | {"max_rss_mb": _peak_rss_mb()}


def main() -> None:
    """Print one JSON line a file and stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=2.0, help="size of the run, 10^9 bytes")
    parser.add_argument("--file", action="append", choices=FILES, help="the real run to repeat; all by default")
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[1], arguments.one[0])))
        return
    for name in arguments.file or FILES:
        with tempfile.TemporaryDirectory() as folder:
            path = write_big(name, round(arguments.gb * 1e9), Path(folder))
            for stage in ("read", "convert"):
                command = [sys.executable, "-m", "bench.big_run", "--one", stage, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]
                row = json.loads(last) if done.returncode == 0 else {"error": last}
                print(
                    json.dumps({"scans_of": name, "gb": path.stat().st_size / 1e9, "stage": stage, **row}), flush=True
                )


if __name__ == "__main__":
    main()
