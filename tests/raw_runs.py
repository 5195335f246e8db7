"""Raw runs for tests: by psims, a writer that shares nothing with the readers, and by hand where one must be wrong."""

from __future__ import annotations

import base64
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2img.io.sheet import Run


def raw_run(path: object, **more: Any) -> Run:
    fields = {"quant_path": None, "column": None, "format": None, "replicate": None, "batch": None}
    return Run(sample_id="a", path=str(path), kind="sample", accession="a", **{**fields, **more})


def write_mzml(path: Path, scans: Iterable[dict[str, Any]], **writing: Any) -> Path:
    """Scans as psims takes them (`mz_array`, `intensity_array`, `id`, `params`, `precursor_information`, ...)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of psims, on what it finds missing in the document
        from psims.mzml import MzMLWriter

        scans = list(scans)
        with MzMLWriter(str(path), close=True) as out:
            out.controlled_vocabularies()
            out.file_description(["MS1 spectrum", "MSn spectrum"])
            out.software_list([{"id": "psims", "version": "1", "params": ["python-psims"]}])
            configuration = out.InstrumentConfiguration(id="IC", component_list=[], params=["Q Exactive"])
            out.instrument_configuration_list([configuration])
            out.data_processing_list([])
            with out.run(id="run", instrument_configuration="IC"), out.spectrum_list(count=len(scans)):
                for scan in scans:
                    out.write_spectrum(**{**writing, **scan})
    return path


def ms1(number: int, mz: Sequence[float], intensity: Sequence[float], **more: Any) -> dict[str, Any]:
    return {
        "id": f"scan={number}",
        "mz_array": np.asarray(mz, float),
        "intensity_array": np.asarray(intensity, float),
        "params": [{"ms level": 1}, "MS1 spectrum"],
        "scan_start_time": number / 60,
        **more,
    }


def msms(
    number: int,
    precursor_mz: float,
    mz: Sequence[float] = (100.0,),
    intensity: Sequence[float] = (1.0,),
    *,
    width: float = 1.0,
    precursor_intensity: float | None = None,
    charge: int | None = None,
    level: int = 2,
    **more: Any,
) -> dict[str, Any]:
    ion = {"mz": precursor_mz, "intensity": precursor_intensity, "charge": charge}
    return {
        "id": f"scan={number}",
        "mz_array": np.asarray(mz, float),
        "intensity_array": np.asarray(intensity, float),
        "params": [{"ms level": level}, "MSn spectrum"],
        "scan_start_time": number / 60,
        "precursor_information": {
            **{key: value for key, value in ion.items() if value is not None},
            "isolation_window": [width / 2, precursor_mz, width / 2],
            "activation": ["HCD", {"collision energy": 25.0}],
        },
        **more,
    }


def b64(numbers: Sequence[float], dtype: str = "<f8", *, is_zlib: bool = False) -> str:
    content = np.asarray(numbers, dtype).tobytes()
    return base64.b64encode(zlib.compress(content) if is_zlib else content).decode()


def cv(accession: str, name: str = "", value: object = "", unit: str = "") -> str:
    more = f' unitAccession="{unit}" unitName="{unit}"' if unit else ""
    return f'<cvParam cvRef="MS" accession="MS:{accession}" name="{name}" value="{value}"{more}/>'


def array_xml(kind: str, content: str, *, params: str = cv("1000523") + cv("1000576"), attributes: str = "") -> str:
    return (
        f"<binaryDataArray encodedLength='1'{attributes}>{params}{cv(kind)}<binary>{content}</binary></binaryDataArray>"
    )


def msms_xml(
    number: int = 1,
    *,
    mz: str | None = None,
    intensity: str | None = None,
    length: object = 2,
    precursor: str = cv("1000744", "selected ion m/z", 200.5),
    params: str = cv("1000511", "ms level", 2) + cv("1000130") + cv("1000127"),
    arrays: str | None = None,
) -> str:
    """One MS/MS spectrum of mzML by hand; `precursor` and `params` are its cvParams."""
    if arrays is None:
        arrays = array_xml("1000514", b64([100, 150]) if mz is None else mz)
        arrays += array_xml("1000515", b64([1, 2]) if intensity is None else intensity)
    return (
        f'<spectrum index="{number - 1}" id="scan={number}" defaultArrayLength="{length}">{params}'
        f'<scanList count="1"><scan>{cv("1000016", "scan start time", number, "UO:0000010")}</scan></scanList>'
        f'<precursorList count="1"><precursor><selectedIonList count="1"><selectedIon>{precursor}</selectedIon>'
        f"</selectedIonList></precursor></precursorList><binaryDataArrayList count='2'>{arrays}</binaryDataArrayList>"
        "</spectrum>\n"
    )


def mzml_xml(*spectra: str, prolog: str = '<?xml version="1.0" encoding="utf-8"?>\n', head: str = "") -> str:
    return (
        f'{prolog}<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0">{head}<run id="r"><spectrumList '
        f'count="{len(spectra)}">\n{"".join(spectra)}</spectrumList></run></mzML>\n'
    )
