"""Ion images whose class is known, and which of them are scored.

Methods see all ion images; scored are ions of known class alone. Of a phantom these are the monoisotopic ions of its
molecules: an isotope shows its parent's pattern, so that any method would know the one by the other, and a decoy is
made to be mistaken. A class of one ion has nothing to be recognised by, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ms2img.deepion.images import IonImages
from ms2img.deepion.phantom.truth import match
from ms2img.errors import UsageError

PPM = 10.0  # between an ion image and the ion it is of: the isotope search's tolerance


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a phantom's ion images: its table, and the table's row of each image, int64 [n], or -1."""

    table: pa.Table
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Ion images by the name of their data, of which `rows` (int64 [m], ascending) are scored, of classes `labels` [m].

    counts: what was left out and why. difficulty: of a phantom. truth: of a phantom, None where isotopes are not known.
    """

    name: str
    ions: IonImages
    rows: NDArray[np.int64]
    labels: np.ndarray
    counts: dict[str, int] = field(default_factory=dict)
    difficulty: float | None = None
    truth: Truth | None = None

    @property
    def n_classes(self) -> int:
        """Classes among the scored ions."""
        return len(np.unique(self.labels))


def by_truth(name: str, ions: IonImages, table: pa.Table, *, difficulty: float, ppm: float = PPM) -> Labelled:
    """The ion images of a phantom, scored on its monoisotopic ions that are no decoys.

    table: `ms2img.deepion.phantom.truth.TRUTH`. Of several images of one ion the nearest in mass is its own, the others
    count as unknown. Raises `UsageError` where less than two classes have two ions.
    """
    rows = _one_image_each(ions.mz, match(ions.mz, table, ppm), table["mz"].to_numpy())
    known = rows >= 0
    isotope = known & (table["isotope"].to_numpy()[rows] > 0)
    decoy = known & table["is_decoy"].to_numpy(zero_copy_only=False)[rows]
    scored = np.flatnonzero(known & ~isotope & ~decoy)
    labels = np.array(table["class"].to_pylist())[rows[scored]]
    counts = {
        "ion_images": len(ions),
        "not_in_truth": int((~known).sum()),
        "isotopes": int(isotope.sum()),
        "decoys": int((decoy & ~isotope).sum()),
    }
    return _with_company(Labelled(name, ions, scored, labels, counts, difficulty, Truth(table, rows)))


def by_list(
    name: str, ions: IonImages, mz: Sequence[float], labels: Sequence[str], *, source: str, ppm: float = PPM
) -> Labelled:
    """Ion images with the class of some m/z, [k] each; those of no image within `ppm` are counted.

    source: the file that the list is of, for messages. Raises `UsageError` for two m/z that are one image's, and where
    less than two classes have two ions.
    """
    wanted = np.asarray(mz, np.float64)
    nearest = np.array([ions.nearest(each) for each in wanted.tolist()], np.int64)
    there = np.abs(ions.mz[nearest] - wanted) <= ppm * 1e-6 * wanted
    of_image: dict[int, int] = {}
    for place in np.flatnonzero(there).tolist():
        row = int(nearest[place])
        if row in of_image:
            both = f"m/z {wanted[of_image[row]]:.5f} and {wanted[place]:.5f}"
            raise UsageError(f"{source}: {both} are the same ion image; expected one label an image")
        of_image[row] = place
    rows = np.array(sorted(of_image), np.int64)
    classes = np.array([labels[of_image[row]] for row in rows.tolist()], dtype=np.str_)
    counts = {"ion_images": len(ions), "labels": len(wanted), "labels_without_image": int((~there).sum())}
    return _with_company(Labelled(name, ions, rows, classes, counts))


def _one_image_each(
    found: NDArray[np.float64], rows: NDArray[np.int64], true: NDArray[np.float64]
) -> NDArray[np.int64]:
    """`rows` with -1 for all images of a row but the nearest in mass."""
    order = np.lexsort((np.abs(found - true[rows]), rows))
    again = np.zeros(len(rows), bool)
    again[order[1:]] = rows[order[1:]] == rows[order[:-1]]
    return np.where(again, -1, rows)


def _with_company(all_known: Labelled) -> Labelled:
    """Without the ions that are alone in their class."""
    _, group, size = np.unique(all_known.labels, return_inverse=True, return_counts=True)
    kept = size[group] > 1 if len(size) else np.zeros(0, bool)
    alone = int((~kept).sum())
    if len(np.unique(all_known.labels[kept])) < 2:
        raise UsageError(
            f"{all_known.name}: {len(all_known.rows)} ion images of known class, {alone} of them alone in theirs; "
            "expected two classes or more of two ions or more"
        )
    return Labelled(
        all_known.name,
        all_known.ions,
        all_known.rows[kept],
        all_known.labels[kept],
        all_known.counts | {"alone_in_class": alone, "scored": int(kept.sum())},
        all_known.difficulty,
        all_known.truth,
    )
