"""All runs as one aligned table: an MS-DIAL 4 alignment export, with four header rows and one column a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ms2img.ms2toimg.simulation.acquisition import Acquired, Scan
from ms2img.ms2toimg.simulation.injections import Injection
from ms2img.ms2toimg.simulation.ions import Ions

DETECTED = 1e4  # counts: an ion that is this high in no run is no feature
_CLASS = {"sample": "sample", "blank": "blank", "qc": "qcpool"}
_FILE_TYPE = {"sample": "Sample", "blank": "Blank", "qc": "QC"}
_ADDUCT = {"[M-H]-": "[M-H]-", "[M+HCOO]-": "[M+FA-H]-", "[2M-H]-": "[2M-H]-"}  # as MS-DIAL writes them
_HEAD = (
    "Alignment ID",
    "Average Rt(min)",
    "Average Mz",
    "Metabolite name",
    "Adduct type",
    "Post curation result",
    "Fill %",
    "MS/MS assigned",
    "Reference RT",
    "Reference m/z",
    "Formula",
    "Ontology",
    "INCHIKEY",
    "SMILES",
    "Annotation tag (VS1.0)",
    "RT matched",
    "m/z matched",
    "MS/MS matched",
    "Comment",
    "Manually modified for quantification",
    "Manually modified for annotation",
    "Isotope tracking parent ID",
    "Isotope tracking weight number",
    "Total score",
    "RT similarity",
    "Dot product",
    "Reverse dot product",
    "Fragment presence %",
    "S/N average",
    "Spectrum reference file name",
    "MS1 isotopic spectrum",
    "MS/MS spectrum",
)
_C13 = 1.0033548  # Da
_NOISE_COUNTS = 400.0  # for the signal-to-noise column


class Alignment:
    """Collects runs one after the other; a feature's MS/MS is that of its brightest scan in any run."""

    def __init__(self, ions: Ions) -> None:
        self._ions = ions
        self._runs: list[Injection] = []
        self._heights: list[np.ndarray] = []
        self._rt_sum = np.zeros(len(ions))
        self._mz_sum = np.zeros(len(ions))
        self._n_scans = np.zeros(len(ions), np.int64)
        self._best: dict[int, tuple[Scan, str]] = {}

    def add(self, injection: Injection, acquired: Acquired) -> None:
        """Take one run."""
        self._runs.append(injection)
        self._heights.append(acquired.height)
        self._rt_sum += acquired.rt
        for scan in acquired.scans:
            self._mz_sum[scan.ion] += scan.precursor_mz
            self._n_scans[scan.ion] += 1
            best = self._best.get(scan.ion)
            if best is None or scan.precursor_intensity > best[0].precursor_intensity:
                self._best[scan.ion] = (scan, injection.sample_id)

    def write(self, path: Path) -> None:
        """Write the table: tab-separated, features by rising m/z."""
        heights = np.round(np.stack(self._heights, axis=1)).astype(np.int64)  # [ions, runs]
        features = [int(i) for i in np.argsort(self._ions.mz, kind="stable") if heights[i].max() >= DETECTED]
        classes = sorted({_CLASS[run.kind] for run in self._runs})
        with path.open("w", encoding="ascii", newline="\n") as file:
            for row in self._header(classes):
                file.write("\t".join(row) + "\n")
            for number, ion in enumerate(features):
                file.write(
                    "\t".join([*self._feature(number, ion, heights[ion]), *self._statistics(heights[ion], classes)])
                )
                file.write("\n")

    def _header(self, classes: Sequence[str]) -> Iterator[list[str]]:
        indent = [""] * (len(_HEAD) - 1)
        rows = {
            "Class": [_CLASS[run.kind] for run in self._runs],
            "File type": [_FILE_TYPE[run.kind] for run in self._runs],
            "Injection order": [str(run.order) for run in self._runs],
            "Batch ID": [str(run.batch) for run in self._runs],
        }
        for label, cells in rows.items():
            tail = ["NA"] * (2 * len(classes))
            if label == "Batch ID":
                tail = ["Average"] * len(classes) + ["Stdev"] * len(classes)
            yield [*indent, label, *cells, *tail]
        yield [*_HEAD, *(run.sample_id for run in self._runs), *classes, *classes]

    def _feature(self, number: int, ion: int, heights: np.ndarray) -> list[str]:
        scans = int(self._n_scans[ion])
        mz = self._mz_sum[ion] / scans if scans else float(self._ions.mz[ion])
        best = self._best.get(ion)
        cells = dict.fromkeys(_HEAD, "null")
        cells |= {
            "Alignment ID": str(number),
            "Average Rt(min)": f"{self._rt_sum[ion] / len(self._runs) / 60:.3f}",
            "Average Mz": f"{mz:.5f}",
            "Metabolite name": "Unknown",
            "Adduct type": _ADDUCT[self._ions.adduct[ion]],
            "Post curation result": "",
            "Fill %": f"{np.mean(heights >= DETECTED):.3f}",
            "MS/MS assigned": str(best is not None),
            "Annotation tag (VS1.0)": "999",
            "Comment": "simulated",
            "S/N average": f"{heights.mean() / _NOISE_COUNTS:.2f}",
            "Spectrum reference file name": best[1] if best else self._runs[int(heights.argmax())].sample_id,
            "MS1 isotopic spectrum": f"{mz:.5f}:{heights.max()} {mz + _C13:.5f}:{heights.max() // 5}",
            "MS/MS spectrum": _spectrum(best[0]) if best else "",
        }
        for name in _HEAD:
            if name.endswith("matched") or name.startswith("Manually"):
                cells[name] = "False"
        return [*cells.values(), *map(str, heights.tolist())]

    def _statistics(self, heights: np.ndarray, classes: Sequence[str]) -> list[str]:
        groups = [heights[[_CLASS[run.kind] == name for run in self._runs]] for name in classes]
        return [f"{group.mean():.2f}" for group in groups] + [f"{group.std():.2f}" for group in groups]


def _spectrum(scan: Scan) -> str:
    """``mz:intensity`` pairs, intensities as integers."""
    pairs = zip(scan.mz.tolist(), scan.intensity.tolist(), strict=True)
    return " ".join(f"{mz:.5f}:{max(1, round(intensity))}" for mz, intensity in pairs)
