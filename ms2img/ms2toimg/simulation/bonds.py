"""Where a deprotonated molecule breaks, and how readily: single acyclic bonds, and the rings known to open.

The weights are a heuristic of ours, ordered as collision-induced spectra of natural products are: glycosidic bonds and
esters first, then amides and phosphates, heteroatom bonds before carbon bonds, bonds beside a carbonyl, a carbinol or
an aromatic ring before plain chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Ring openings, as a pattern and the two ring bonds (pairs of pattern atoms) that break.
_CHROMANE = "[#8;r6]1~[#6]~[#6]~[#6]~c2c1cccc2"  # O1, C2, C3, C4, C4a, C8a of a flavonoid's ring C
_C_GLYCOSIDE = "c[C;r6]1[O;r6][C;r6][C;r6][C;r6][C;r6]1"  # aryl C, then C1, O5, C5, C4, C3, C2 of the sugar


@dataclass(frozen=True)
class _Opening:
    pattern: str
    bonds: tuple[tuple[int, int], tuple[int, int]]
    weight: float
    hydrogens: tuple[tuple[int, float], ...]


_OPENINGS = (
    _Opening(_CHROMANE, ((0, 1), (2, 3)), 0.30, ((0, 1.0),)),  # retro-Diels-Alder, 1,3A and 1,3B
    _Opening(_CHROMANE, ((0, 1), (1, 2)), 0.08, ((1, 0.5), (-1, 0.5))),  # 1,2A and 1,2B
    _Opening(_C_GLYCOSIDE, ((1, 2), (6, 5)), 0.80, ((0, 1.0),)),  # 0,2X: loss of 120.042
    _Opening(_C_GLYCOSIDE, ((1, 2), (5, 4)), 0.50, ((0, 1.0),)),  # 0,3X: loss of 90.032
)


@dataclass(frozen=True)
class Cut:
    """One way to part a molecule in two: its two sides as bit masks over atom indices.

    ``hydrogens`` lists (shift, probability): the first side leaves with `shift` hydrogens more than its share, the
    second with as many less. ``ends`` are the atoms at the broken bonds.
    """

    sides: tuple[int, int]
    weight: float
    hydrogens: tuple[tuple[int, float], ...]
    ends: int


def cuts(molecule: Any) -> list[Cut]:
    """All cuts of an RDKit molecule that leave at least two heavy atoms on either side."""
    found = [cut for bond in molecule.GetBonds() if (cut := _bond_cut(molecule, bond)) is not None]
    for opening in _OPENINGS:
        found += _ring_cuts(molecule, opening)
    return found


def _bond_cut(molecule: Any, bond: Any) -> Cut | None:
    if bond.IsInRing() or bond.GetBondTypeAsDouble() != 1.0:
        return None
    begin, end = bond.GetBeginAtom(), bond.GetEndAtom()
    if begin.GetDegree() == 1 or end.GetDegree() == 1:
        return None  # hydroxyl, methyl, amine: neutral losses know them
    if _is_carboxyl(begin) or _is_carboxyl(end):
        return None  # so do they the carboxyl group
    first = _side(molecule, begin.GetIdx(), [(begin.GetIdx(), end.GetIdx())])
    sides = (first, _everything(molecule) & ~first)
    return Cut(sides, _weight(begin, end), _hydrogens(begin, end), 1 << begin.GetIdx() | 1 << end.GetIdx())


def _ring_cuts(molecule: Any, opening: _Opening) -> list[Cut]:
    from rdkit import Chem

    found = []
    for match in molecule.GetSubstructMatches(Chem.MolFromSmarts(opening.pattern)):
        broken = [(match[a], match[b]) for a, b in opening.bonds]
        first = _side(molecule, broken[0][0], broken)
        second = _everything(molecule) & ~first
        if second == 0 or _side(molecule, broken[0][1], broken) != second:
            continue  # another ring still holds the parts together
        ends = sum(1 << atom for atom in {atom for pair in broken for atom in pair})
        found.append(Cut((first, second), opening.weight, opening.hydrogens, ends))
    return found


def _side(molecule: Any, start: int, broken: list[tuple[int, int]]) -> int:
    """Bit mask of the atoms that `start` still reaches when the bonds in `broken` are gone."""
    gone = {frozenset(pair) for pair in broken}
    reached, border = 1 << start, [start]
    while border:
        atom = border.pop()
        for neighbour in molecule.GetAtomWithIdx(atom).GetNeighbors():
            index = neighbour.GetIdx()
            if not reached >> index & 1 and frozenset((atom, index)) not in gone:
                reached |= 1 << index
                border.append(index)
    return reached


def _everything(molecule: Any) -> int:
    return (1 << molecule.GetNumAtoms()) - 1


def _weight(a: Any, b: Any) -> float:
    """How readily the bond between two atoms breaks, 0-1."""
    if a.GetSymbol() == "C" and b.GetSymbol() == "C":
        return _carbon_bond_weight(a, b)
    hetero, carbon = (a, b) if a.GetSymbol() != "C" else (b, a)
    if carbon.GetSymbol() != "C":
        return 0.5  # P-O, S-O
    if carbon.GetIsAromatic():
        return 0.04
    if _is_acyl(carbon):
        return 0.8 if hetero.GetSymbol() == "O" else 0.4
    if _is_anomeric(carbon):
        return 1.0
    if any(_is_acyl(other) or other.GetSymbol() in "PS" for other in _others(hetero, carbon)):
        return 0.6 if hetero.GetSymbol() == "O" else 0.25
    return 0.2


def _carbon_bond_weight(a: Any, b: Any) -> float:
    aromatic = [atom for atom in (a, b) if atom.GetIsAromatic()]
    if len(aromatic) == 2:
        return 0.005
    if aromatic:
        other = b if a.GetIsAromatic() else a
        if _is_anomeric(other):
            return 0.1
        if _is_acyl(other):
            return 0.15
        return 0.25 if any(n.GetIsAromatic() for n in _others(other, aromatic[0])) else 0.03
    if _is_acyl(a) or _is_acyl(b):
        return 0.15
    weight = 0.008
    for atom, partner in ((a, b), (b, a)):
        for neighbour in _others(atom, partner):
            if neighbour.GetSymbol() in "ON":
                weight = max(weight, 0.08)
            elif neighbour.GetIsAromatic():
                weight = max(weight, 0.12)
    return weight


def _hydrogens(first: Any, second: Any) -> tuple[tuple[int, float], ...]:
    """The heteroatom keeps a hydrogen of the carbon's side; carbon bonds go either way, at times homolytically."""
    hetero = [atom.GetSymbol() != "C" for atom in (first, second)]
    if hetero == [True, False]:
        return _keeps_hydrogen(second, 1)
    if hetero == [False, True]:
        return _keeps_hydrogen(first, -1)
    return ((1, 0.42), (-1, 0.42), (0, 0.16))


def _keeps_hydrogen(carbon: Any, sign: int) -> tuple[tuple[int, float], ...]:
    radical = 0.2 if _is_anomeric(carbon) else 0.05  # aglycones of flavonols leave as radical anions too
    return ((sign, 1.0 - radical), (0, radical))


def _others(atom: Any, partner: Any) -> list[Any]:
    return [n for n in atom.GetNeighbors() if n.GetIdx() != partner.GetIdx()]


def _is_acyl(atom: Any) -> bool:
    return atom.GetSymbol() == "C" and any(
        bond.GetBondTypeAsDouble() == 2.0 and bond.GetOtherAtom(atom).GetSymbol() == "O" for bond in atom.GetBonds()
    )


def _is_carboxyl(atom: Any) -> bool:
    oxygens = [n for n in atom.GetNeighbors() if n.GetSymbol() == "O" and n.GetDegree() == 1]
    return atom.GetSymbol() == "C" and len(oxygens) == 2


def _is_anomeric(atom: Any) -> bool:
    """A saturated carbon that holds a ring oxygen and another oxygen or a nitrogen: C1 of a sugar in a glycoside."""
    if atom.GetIsAromatic() or str(atom.GetHybridization()) != "SP3":
        return False
    ring_oxygen = any(n.GetSymbol() == "O" and n.IsInRing() for n in atom.GetNeighbors())
    hetero = sum(n.GetSymbol() in "ON" for n in atom.GetNeighbors())
    return ring_oxygen and hetero >= 2
