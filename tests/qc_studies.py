"""A converted study in memory that a test can spoil in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ms2img.io.dataset.image_counts import COUNTS, load_counts
from ms2img.io.dataset.images import load_images
from ms2img.io.sheet import Run, Sheet
from ms2img.ms2toimg.qc import Assessment, assess
from ms2img.ms2toimg.qc_findings import Flag
from ms2img.ms2toimg.qc_limits import QcLimits
from ms2img.ms2toimg.qc_table import Placed
from pipelines.convert import ConvertConfig, convert

HOSTILE = "<script>alert('x')</script> & \"co\""
_CONVERTED: list[Path] = []

NO_ERRORS = pd.DataFrame({"code": [], "message": []}, index=pd.Index([], name="sample_id"))


def converted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of the real study (``out``) and its sheet (``converted.csv``), made once a session.

    Two runs were added: one all but empty and of a hostile name, one whose file is gone.
    """
    if _CONVERTED:
        return _CONVERTED[0]
    folder, source = tmp_path_factory.mktemp("qc"), shared / "data" / "qemistree"
    sheet = pd.read_csv(source / "samples.csv", dtype=str)
    sheet["path"] = [str(source / path) for path in sheet["path"]]
    (folder / "bare.mgf").write_text("BEGIN IONS\nPEPMASS=300\nMSLEVEL=2\nSCANS=1\n120 3\n300 9\nEND IONS\n")
    extra = pd.DataFrame(
        {
            "sample_id": [HOSTILE, "gone"],
            "path": ["bare.mgf", "gone.mgf"],
            "kind": "sample",
            "accession": ["0_0_100_0", "0_0_0_100"],
            "injection_order": ["101", "102"],
        }
    )
    pd.concat([sheet, extra]).to_csv(folder / "converted.csv", index=False)
    config = ConvertConfig(samples=str(folder / "converted.csv"), out=str(folder / "out"), size="75x70")
    summary = convert(config, quiet=True)
    assert (summary.converted, summary.failed) == (99, 1)
    _CONVERTED.append(folder)
    return folder


@dataclass
class Study:
    """The runs of a sheet with what `assess` takes; methods change one thing and return the study."""

    placed: list[Placed]
    counts: pd.DataFrame
    images: np.ndarray
    errors: pd.DataFrame = field(default_factory=NO_ERRORS.copy)

    @classmethod
    def load(cls, out: Path, sheet: Path) -> Study:
        runs = Sheet.read(sheet)
        placed = [Placed(run, order) for run, order in zip(runs.runs, runs.assay("injection_order"), strict=True)]
        image_set = load_images(str(out), [run.sample_id for run in runs.runs])
        return cls(placed, load_counts(str(out)).loc[list(image_set.sample_ids)], image_set.images)

    def copy(self) -> Study:
        return Study(list(self.placed), self.counts.copy(), self.images.copy(), self.errors.copy())

    def assess(self, **limits: float) -> Assessment:
        return assess(self.placed, self.counts, self.images, self.errors, QcLimits(**limits))

    def row(self, sample_id: str) -> int:
        return int(self.counts.index.get_loc(sample_id))

    def image(self, sample_id: str) -> np.ndarray:
        return self.images[self.row(sample_id)]

    def run(self, sample_id: str) -> Run:
        return next(each.run for each in self.placed if each.run.sample_id == sample_id)

    def ids(self, kind: str) -> list[str]:
        """Runs of this kind that have an image, by injection order."""
        ordered = sorted(self.placed, key=lambda each: each.order)
        return [
            each.run.sample_id for each in ordered if each.run.kind == kind and each.run.sample_id in self.counts.index
        ]

    def relabel(self, sample_id: str, **changes: str) -> Study:
        self.placed = [
            Placed(replace(each.run, **changes), each.order) if each.run.sample_id == sample_id else each
            for each in self.placed
        ]
        return self

    def become(self, sample_id: str, other: str) -> Study:
        """The run shows what another one shows."""
        self.images[self.row(sample_id)] = self.image(other)
        self.counts.loc[sample_id] = self.counts.loc[other]
        return self

    def add(
        self, sample_id: str, like: str, image: np.ndarray, order: float, *, fragments: int, **labels: str
    ) -> Study:
        """A further run: `like` another one but for its image and what is named."""
        self.placed.append(Placed(replace(self.run(like), sample_id=sample_id, **labels), order))
        self.counts.loc[sample_id] = self.counts.loc[like]
        self.counts.loc[sample_id, "n_fragments"] = fragments
        self.counts = self.counts.astype(dict.fromkeys(COUNTS, "int64"))
        self.images = np.concatenate([self.images, image[None]])
        return self


def flags(found: Assessment, *codes: Flag) -> dict[str, list[str]]:
    """code -> subjects, of these codes (all where none is given)."""
    out: dict[str, list[str]] = {}
    for finding in found.findings:
        if not codes or finding.code in codes:
            out.setdefault(str(finding.code), []).append(finding.subject)
    return out
