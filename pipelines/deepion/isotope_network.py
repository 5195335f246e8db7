"""The isotope network (DeepION, Figure 4): ions as nodes, open the monoisotopic, filled the isotopes, pairs as edges.

Each part that hangs together is a picture of its own, in its own small frame: a page wraps them as its width allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ms2img.deepion.embedding_folder import Embedding
from ms2img.deepion.isotopes import RULES
from pipelines.deepion.isotope_search import Found

#: Place of a rule in `RULES[polarity]` -> class of its edges; colour and dashes tell them apart.
KINDS = ("carbon", "second", "third")
_ROOM, _LEAST, _MOST = 9.0, 27.0, 90.0  # around the nodes; radius of the smallest and largest circle, pixels (ours)
_ARC = 24.0  # pixels between two nodes of a circle (ours)
LARGEST = 24  # ions of a part (ours): more make a knot that nobody reads


@dataclass(frozen=True)
class Part:
    """Ions that hang together by accepted pairs: rows by rising m/z, their groups' numbers, and their picture."""

    rows: tuple[int, ...]
    groups: tuple[int, ...]
    svg: Markup


def parts_of(found: Found) -> list[list[int]]:
    """The parts of the network of accepted pairs, each rising, the largest first, then by their least row.

    One of more than `LARGEST` ions falls into its groups; what belongs to none is left out of it.
    """
    in_one = _hanging_together(found.edges())
    large = {row for rows in in_one if len(rows) > LARGEST for row in rows}
    parts = [rows for rows in in_one if len(rows) <= LARGEST]
    fallen = [sorted([group.parent, *(each.ion for each in group.members)]) for group in found.groups]
    parts += [rows for rows in fallen if large.issuperset(rows)]
    return sorted(parts, key=lambda rows: (-len(rows), rows[0]))


def _hanging_together(edges: np.ndarray) -> list[list[int]]:
    """The connected components of pairs [p, 2], each rising."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in edges.tolist():
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    members: dict[int, list[int]] = {}
    for row in sorted(parent):
        members.setdefault(root(row), []).append(row)
    return list(members.values())


def network(embedding: Embedding, found: Found, *, most: int) -> list[Part]:
    """The `most` largest parts, drawn."""
    kind_of = {(group.parent, each.ion): each.row for group in found.groups for each in group.members}
    number_of = {group.parent: number for number, group in enumerate(found.groups, 1)}
    edges: dict[int, list[tuple[int, int]]] = {}
    drawn = parts_of(found)[:most]
    part_of = {row: number for number, rows in enumerate(drawn) for row in rows}
    for one, other in found.edges().tolist():
        if one in part_of and part_of[one] == part_of.get(other):
            edges.setdefault(part_of[one], []).append((one, other))
    isotopes = {child for _, child in kind_of}
    made = []
    for number, rows in enumerate(drawn):
        parents = [row for row in rows if row in number_of]
        picture = _Picture(embedding, found, rows, parents, isotopes)
        for pair in sorted(edges[number], key=lambda pair: pair in kind_of):
            picture.edge(pair, kind_of.get(pair))
        made.append(Part(tuple(rows), tuple(number_of[row] for row in parents), picture.markup()))
    return made


def legend(polarity: str) -> list[tuple[str, str]]:
    """Class of an edge and what it stands for, as the rules of a polarity have it."""
    return [(kind, rule.isotope) for kind, rule in zip(KINDS, RULES[polarity], strict=True)]


class _Picture:
    """One part: its first parent in the middle, the others on a circle around it, clockwise by m/z."""

    def __init__(
        self, embedding: Embedding, found: Found, rows: list[int], parents: list[int], isotopes: set[int]
    ) -> None:
        self._embedding, self._found = embedding, found
        middle = parents[0] if parents else rows[0]
        around = [row for row in rows if row != middle]
        self._radius = min(_MOST, max(_LEAST, _ARC * len(around) / (2 * math.pi)))
        self._half = self._radius + _ROOM
        self._at = {middle: (self._half, self._half)}
        for place, row in enumerate(around):
            angle = 2 * math.pi * place / len(around) - math.pi / 2
            self._at[row] = (
                self._half + self._radius * math.cos(angle),
                self._half + self._radius * math.sin(angle),
            )
        brightest = max(float(embedding.intensity[row]) for row in rows) or 1.0
        self._nodes = [
            self._node(row, "parent" if row in parents else "isotope" if row in isotopes else "loose", brightest)
            for row in rows
        ]
        self._edges: list[str] = []
        self._rows = rows

    def edge(self, pair: tuple[int, int], row: int | None) -> None:
        """A pair; `row` of the candidates where it belongs to a group."""
        (x, y), (a, b) = self._at[pair[0]], self._at[pair[1]]
        kind, title = "loose", "accepted, but in no group"
        if row is not None:
            candidates = self._found.candidates
            kind = KINDS[int(candidates.rule[row])]
            title = (
                f"{candidates.exchanges[row]} x {candidates.isotope(row)}, charge {candidates.charge[row]}, "
                f"distance {self._found.distance[row]:.3f}"
            )
        self._edges.append(
            f'<path class="edge {kind}" d="M{x:.1f} {y:.1f}L{a:.1f} {b:.1f}"><title>{title}</title></path>'
        )

    def markup(self) -> Markup:
        """The picture; its edges lie below its nodes."""
        side = f"{2 * self._half:.0f}"
        low, high = (f"{self._embedding.mz[row]:.4f}" for row in (self._rows[0], self._rows[-1]))
        alt = f"{len(self._rows)} ions from m/z {low} to {high}, {len(self._edges)} pairs"
        opening = f'<svg width="{side}" height="{side}" viewBox="0 0 {side} {side}" role="img" aria-label="{alt}">'
        return Markup("".join([opening, *self._edges, *self._nodes, "</svg>"]))  # noqa: S704 - numbers and our words

    def _node(self, row: int, kind: str, brightest: float) -> str:
        x, y = self._at[row]
        radius = 2.5 + 3.5 * math.sqrt(max(0.0, float(self._embedding.intensity[row]) / brightest))
        title = f"m/z {self._embedding.mz[row]:.4f}"
        return f'<circle class="node {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{title}</title></circle>'
