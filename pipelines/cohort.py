"""What a job learns from: the labelled runs of a sheet, joined with their images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Self

import numpy as np

from ms2img.errors import UsageError
from ms2img.io.dataset.images import ImageSet, data_fingerprint, load_images
from ms2img.io.sheet import Sheet
from ms2img.ms2toimg.labels import LabelConfig, Labels, make_labels


@dataclass(frozen=True, eq=False)
class Cohort:
    """Labels, and the images uint8 [n, H, W] in the labels' order."""

    sheet: Sheet
    image_set: ImageSet
    labels: Labels
    images: np.ndarray

    @classmethod
    def load(cls, images: str, samples: str, label: LabelConfig, *, allow_outside: bool = False) -> Self:
        """Join an image data set and a sheet. Raises `UsageError` for a wrong sheet, data set or assay."""
        sheet = Sheet.read(samples, allow_outside=allow_outside)
        sheet.assay(label.assay)  # a misspelt assay is told before any image is loaded
        image_set = load_images(images)
        if not {run.sample_id for run in sheet.runs} & set(image_set.sample_ids):
            raise UsageError(f"{images}: has no image of any run in {samples}; was it converted from another sheet?")
        labels = make_labels(sheet, label, image_set.sample_ids)
        return cls(sheet, image_set, labels, image_set.images[image_set.rows_of(labels.sample_ids)])

    @property
    def simulated(self) -> bool:
        """Whether the sheet says that its study is simulated."""
        return self.sheet.is_simulated()

    def between(self) -> list[str]:
        """Runs between the classes: with an image and a value, but never learned from."""
        return [self.labels.sample_ids[row] for row in np.flatnonzero(self.labels.target < 0)]

    def other_kinds(self) -> dict[str, int]:
        """Runs of the sheet that are no samples, by kind: never learned from."""
        return dict(Counter(run.kind for run in self.sheet.runs if run.kind != "sample"))

    def fingerprint(self) -> str:
        """Which runs with which content, drawn how: of those with a label only, not of the whole data set."""
        sources = self.image_set.source_fingerprints
        return data_fingerprint(
            {sample: sources[sample] for sample in self.labels.sample_ids}, self.image_set.render_fingerprint
        )
