"""The map of all ions that one clicks through without a script: a dot each, and a panel a dot that a link opens.

Every ion is a dot. A panel costs bytes, for its picture and for those of its neighbours: of a large set the ions with
one are chosen so that they cover the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ms2img.deepion.colocalise import nearest
from ms2img.deepion.distances import Neighbours
from ms2img.deepion.embedding_folder import Embedding

SIDE, MARGIN = 1000, 20  # of the map before dots are moved, and around it after, in its own units
MOST_PICTURES = 1000  # ions of a page with a picture (ours): 5 MB at most
MOST_HITS = 5  # neighbours in a panel (ours)
LEAST_RADIUS = 5.0  # of a dot with a panel (ours): a pointer hits it
ROUNDS = 300  # of moving dots apart (ours)


@dataclass(frozen=True)
class Panel:
    """An ion that can be clicked: its row, and its neighbours' rows and distances, nearest first."""

    row: int
    neighbours: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class IonMap:
    """places: int [n, 2], across and down, of every ion; dots with a panel are moved so far that none covers another.

    panels: by rising m/z. pictures: rows that panels show.
    """

    places: NDArray[np.int64]
    panels: list[Panel]
    pictures: list[int]

    def dots(self) -> str:
        """The ions that cannot be clicked, as one path of points."""
        clicked = {panel.row for panel in self.panels}
        return "".join(f"M{x} {y}h0" for row, (x, y) in enumerate(self.places.tolist()) if row not in clicked)

    def links(self, panel: Panel) -> str:
        """Lines from an ion to its neighbours, as a path."""
        x, y = self.places[panel.row].tolist()
        return "".join(f"M{x} {y}L{a} {b}" for a, b in self.places[list(panel.neighbours)].tolist())

    @property
    def view(self) -> str:
        """The square that holds all dots, as a ``viewBox``."""
        low, high = self.places.min(axis=0) - MARGIN, self.places.max(axis=0) + MARGIN
        side = int((high - low).max())
        x, y = ((low + high - side) // 2).tolist()
        return f"{x} {y} {side} {side}"

    @property
    def radius(self) -> float:
        """Of a dot without a panel."""
        return radius_of(len(self.places))

    @property
    def panel_radius(self) -> float:
        """Of a dot with one."""
        return max(self.radius, LEAST_RADIUS)


def ion_map(
    embedding: Embedding,
    vectors: np.ndarray,
    metric: str,
    *,
    first: Sequence[int] = (),
    most: int = MOST_PICTURES,
    hits: int = MOST_HITS,
) -> IonMap:
    """The map of an embedding, with panels about neighbours in `vectors` [n, d] by a metric.

    first: rows that have a panel before others. most: rows in `IonMap.pictures`, but all that `first` needs.
    """
    hits = min(hits, len(embedding) - 1)
    order = spread(embedding.plane, min(len(embedding), most), first)
    found = nearest(vectors, order, top=hits, metric=metric)
    panels, pictures = _within(order, found, most, len(first))
    panels.sort(key=lambda panel: panel.row)
    places = _places(embedding.plane)
    rows = [panel.row for panel in panels]
    places[rows] = apart(places[rows], 2 * max(radius_of(len(embedding)), LEAST_RADIUS) + 1)
    return IonMap(np.rint(places).astype(np.int64), panels, sorted(pictures))


def radius_of(n: int) -> float:
    """Of a dot that is one of n: the more, the smaller."""
    return float(np.clip(160 / np.sqrt(n), 1.6, 8.0))


def apart(points: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Points [n, 2] of the map: those nearer than `least` are pushed apart until none is, or for `ROUNDS` rounds."""
    from scipy.spatial import cKDTree

    # Copies have no direction to part in: each point is moved a little in a direction of its own.
    angle = np.arange(len(points)) * 2.399963  # the golden angle
    aside = 0.01 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(ROUNDS):
        points = points + aside
        pairs = cKDTree(points).query_pairs(least, output_type="ndarray")
        if not len(pairs):
            break
        between = points[pairs[:, 0]] - points[pairs[:, 1]]
        length = np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
        push = 0.5 * (1.02 * least - length) * between / length
        count = np.bincount(pairs.ravel(), minlength=len(points))[:, None]
        move = np.zeros_like(points)
        np.add.at(move, pairs[:, 0], push)
        np.subtract.at(move, pairs[:, 1], push)
        points = points + move / np.sqrt(np.maximum(count, 1))
    return points


def spread(plane: np.ndarray, count: int, first: Sequence[int] = ()) -> NDArray[np.int64]:
    """`count` rows of points [n, 2], `first` before others, then each the one farthest from all before it."""
    points = np.asarray(plane, np.float64)
    chosen = list(dict.fromkeys(first)) or [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    gap = np.full(len(points), np.inf)
    for row in chosen:
        gap = np.minimum(gap, np.square(points - points[row]).sum(axis=1))
    gap[chosen] = -1
    while len(chosen) < count:
        row = int(gap.argmax())
        chosen.append(row)
        gap = np.minimum(gap, np.square(points - points[row]).sum(axis=1))
        gap[row] = -1
    return np.array(chosen, np.int64)


def _within(order: NDArray[np.int64], found: Neighbours, most: int, needed: int) -> tuple[list[Panel], set[int]]:
    """Panels in that order while the pictures they need are no more than `most`."""
    panels: list[Panel] = []
    pictures: set[int] = set()
    for place, row in enumerate(order.tolist()):
        more = {row, *found.rows[place].tolist()}
        if place >= needed and len(pictures | more) > most:
            break
        pictures |= more
        panels.append(Panel(row, tuple(found.rows[place].tolist()), tuple(found.distances[place].tolist())))
    return panels, pictures


def _places(plane: np.ndarray) -> NDArray[np.float64]:
    """Points [n, 2] scaled to the map, the second coordinate upwards."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    scaled = (plane - low) / np.where(high > low, high - low, 1)
    scaled[:, 1] = 1 - scaled[:, 1]
    return np.asarray(scaled * SIDE, np.float64)
