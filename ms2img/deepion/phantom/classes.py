"""The 17 co-localisation classes: where an ion of each is, as weights of the atlas's parts.

Seventeen as in the paper's labelled set (section 4.1). Some are neighbours on purpose, for telling the upper cortex
from the whole of it is what a representation is for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ms2img.deepion.phantom.shapes import Field

#: class -> weight of each part; where nothing is said there is nothing.
CLASSES: dict[str, Mapping[str, float]] = {
    "olfactory bulb": {"bulb": 1.0, "tissue": 0.05},
    "bulb core and hippocampus": {"bulb core": 1.0, "hippocampus": 0.8, "dentate": 0.6, "tissue": 0.05},
    "cortex": {"upper cortex": 1.0, "deep cortex": 1.0, "tissue": 0.1},
    "upper cortex": {"upper cortex": 1.0, "deep cortex": 0.25, "tissue": 0.05},
    "deep cortex": {"deep cortex": 1.0, "upper cortex": 0.2, "tissue": 0.05},
    "cortex and cerebellum": {"upper cortex": 1.0, "deep cortex": 0.9, "molecular layer": 1.0, "granular layer": 0.7},
    "white matter": {"callosum": 1.0, "arbor vitae": 1.0, "medulla": 0.7, "pons": 0.6, "midbrain": 0.3, "tissue": 0.1},
    "hippocampus": {"hippocampus": 1.0, "dentate": 1.0, "tissue": 0.08},
    "cell bodies": {"dentate": 1.0, "granular layer": 1.0, "bulb core": 0.7, "tissue": 0.08},
    "striatum": {"striatum": 1.0, "deep cortex": 0.15, "tissue": 0.05},
    "thalamus and midbrain": {"thalamus": 1.0, "midbrain": 0.9, "tissue": 0.1},
    "hypothalamus": {"hypothalamus": 1.0, "thalamus": 0.15, "tissue": 0.05},
    "cerebellum": {"molecular layer": 0.9, "granular layer": 1.0, "arbor vitae": 0.4, "tissue": 0.05},
    "brain stem": {"pons": 0.9, "medulla": 1.0, "midbrain": 0.5, "tissue": 0.05},
    "ventricle and rim": {"ventricle": 1.0, "rim": 0.9, "tissue": 0.05},
    "tissue": {"tissue": 1.0},
    "matrix": {"glass": 1.0, "tissue": 0.15},
}
NAMES = tuple(CLASSES)


def pattern(label: int, parts: Mapping[str, Field], weights: Mapping[str, float] | None = None) -> Field:
    """Where class number `label` is, [H, W], its highest value 1 (0 everywhere only where no part is on the frame).

    weights: factors on the weights of `CLASSES`, by part; 1 where none is given.
    """
    factors = weights or {}
    total = np.zeros_like(parts["tissue"])
    for part, weight in CLASSES[NAMES[label]].items():
        total += weight * factors.get(part, 1.0) * parts[part]
    highest = total.max()
    return total / highest if highest > 0 else total
