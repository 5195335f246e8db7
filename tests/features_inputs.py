"""Features for tests of the feature table: as the brute force takes them, and as the table they stand in otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from bench.features_brute import Entry, Feature
from ms2img.ms2toimg.features.similarity import SpectrumSimilarity
from ms2img.ms2toimg.features.table import SAMPLE_FEATURES

FRAGMENTS = (80.0, 120.5, 120.515, 188.1, 240.25)  # two of them closer than the tolerance


@st.composite
def feature_lists(draw: st.DrawFn, max_size: int = 24) -> list[Feature]:
    """Features of up to three samples, crowded: ties, absent retention times, m/z at the edge of the window."""
    features = []
    for number in range(draw(st.integers(1, max_size))):
        shares = draw(st.lists(st.sampled_from([0, 1, 2, 40]), min_size=5, max_size=5).filter(any))
        rt = draw(st.one_of(st.none(), st.integers(0, 12)))
        mz = 300 + 0.0034 * draw(st.integers(0, 14)) + draw(st.sampled_from([0.0, 0.0, 0.0001, 500.0]))
        features.append(
            Feature(
                sample=draw(st.sampled_from("abc")),
                spectrum=f"{number:02d}",
                mz=mz,
                rt=None if rt is None else 15.0 * rt,
                height=float(draw(st.integers(1, 4))),
                peaks=np.array(list(zip(FRAGMENTS, map(float, shares), strict=True))),
            )
        )
    return features


def as_table(features: Iterable[Feature]) -> pa.Table:
    rows = [
        {
            "sample_id": each.sample,
            "spectrum_id": each.spectrum,
            "precursor_mz": each.mz,
            "rt_seconds": each.rt,
            "height": each.height,
            "mz": each.peaks[:, 0],
            "intensity": each.peaks[:, 1].astype(np.float32),
        }
        for each in features
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLE_FEATURES)


def as_features(table: pa.Table) -> list[Feature]:
    return [
        Feature(
            row["sample_id"],
            row["spectrum_id"],
            row["precursor_mz"],
            row["rt_seconds"],
            row["height"],
            np.array([row["mz"], row["intensity"]], dtype=np.float64).T,
        )
        for row in table.to_pylist()
    ]


def prepared(features: Iterable[Feature], similarity: SpectrumSimilarity) -> list[Feature]:
    return [
        Feature(each.sample, each.spectrum, each.mz, each.rt, each.height, similarity.prepare(each.peaks))
        for each in features
    ]


def in_rows(entries: Sequence[Entry]) -> list[tuple[Feature, dict[str, float]]]:
    """The rows of a feature table: founders by m/z and retention time, and each sample's height."""

    def place(entry: Entry) -> tuple[object, ...]:
        founder = entry.founder
        rt = (founder.rt is None, founder.rt or 0.0)
        return (founder.mz, rt, -founder.height, founder.sample, founder.spectrum)

    ordered = sorted(entries, key=place)
    return [(entry.founder, {member.sample: member.height for member in entry.members}) for entry in ordered]
