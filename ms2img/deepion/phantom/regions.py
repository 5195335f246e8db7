"""The atlas: a sagittal section through something like a rat's brain, its parts as soft masks.

Drawn by eye after what every atlas of the rat shows, nose to the left, in shares of the frame; it is no registration of
any atlas. The seed bends it, so that two sections are never quite the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ms2img.deepion.phantom.config import Stage, stream
from ms2img.deepion.phantom.shapes import Field, Frame, band, overlap, soft, union

_WARP = 0.008  # share of the frame, rms
_CORNERS = 4  # power of the superellipse that was measured: it touches every side of the frame and leaves its corners
_LOST = 0.002  # of the pixels, those whose spectrum was lost


@dataclass(frozen=True)
class Atlas:
    """The parts of one section, each [H, W] and 0-1 (``rim`` is the tissue's edge), and which pixels were measured."""

    parts: dict[str, Field]
    measured: npt.NDArray[np.bool_]  # [H, W]


def draw_atlas(height: int, width: int, seed: int) -> Atlas:
    """The section that belongs to `seed`, at any size."""
    random = stream(seed, Stage.ANATOMY)
    frame = Frame(height, width, random, _WARP)
    cerebrum = frame.ellipse(0.40, 0.43, 0.32, 0.34, 4)
    cerebellum = overlap(frame.lobed(0.81, 0.36, 0.15, 0.25, lobes=9, depth=0.08), -cerebrum)
    bulb = frame.ellipse(0.10, 0.55, 0.08, 0.14, -20)
    stem = union(frame.ellipse(0.68, 0.64, 0.26, 0.17, 6), frame.ellipse(0.89, 0.70, 0.09, 0.09))
    tissue = union(cerebrum, cerebellum, bulb, stem)
    fields = _forebrain(frame, cerebrum) | _hindbrain(frame, cerebellum, stem, cerebrum)
    fields |= {"bulb": bulb, "bulb core": frame.ellipse(0.10, 0.55, 0.04, 0.07, -20)}
    parts = {name: soft(field) * soft(tissue) for name, field in fields.items()}
    parts |= {"tissue": soft(tissue), "glass": 1.0 - soft(tissue), "rim": soft(band(tissue, -0.005, 0.015))}
    return Atlas(parts, _measured(height, width, random))


def _measured(height: int, width: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    down, across = (np.abs(2 * (np.arange(n) + 0.5) / n - 1) ** _CORNERS for n in (height, width))
    return (np.add.outer(down, across) <= 1) & (random.random((height, width)) >= _LOST)


def _forebrain(frame: Frame, cerebrum: Field) -> dict[str, Field]:
    inner = frame.ellipse(0.42, 0.51, 0.25, 0.26, 4)
    dorsal = frame.above(0.60, slope=-0.12)
    cortex = overlap(cerebrum, -inner, dorsal)
    callosum = overlap(band(inner, 0.0, 0.035), dorsal)
    hippocampus = overlap(frame.ellipse(0.53, 0.42, 0.115, 0.105, 20), inner - 0.04)
    dentate = frame.ellipse(0.535, 0.43, 0.06, 0.035, 25)
    return {
        "upper cortex": overlap(cortex, 0.075 - cerebrum),
        "deep cortex": overlap(cortex, cerebrum - 0.075),
        "callosum": callosum,
        "hippocampus": overlap(hippocampus, -dentate),
        "dentate": dentate,
        "striatum": overlap(frame.ellipse(0.30, 0.52, 0.095, 0.13), inner - 0.04),
        "thalamus": frame.ellipse(0.47, 0.60, 0.09, 0.075),
        "hypothalamus": overlap(frame.ellipse(0.45, 0.72, 0.10, 0.05), cerebrum),
        "ventricle": frame.ellipse(0.40, 0.46, 0.015, 0.085, 15),
    }


def _hindbrain(frame: Frame, cerebellum: Field, stem: Field, cerebrum: Field) -> dict[str, Field]:
    medulla = union(frame.ellipse(0.85, 0.69, 0.10, 0.08), frame.ellipse(0.90, 0.70, 0.07, 0.07))
    return {
        "molecular layer": overlap(cerebellum, 0.05 - cerebellum),
        "granular layer": band(cerebellum, 0.05, 0.095),
        "arbor vitae": union(cerebellum - 0.095, frame.ellipse(0.79, 0.52, 0.035, 0.08)),
        "midbrain": frame.ellipse(0.63, 0.56, 0.075, 0.10),
        "pons": overlap(frame.ellipse(0.70, 0.74, 0.09, 0.06), stem, -cerebrum, -medulla),
        "medulla": medulla,
    }
