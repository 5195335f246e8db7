"""Which molecules are learnt from: whole scaffolds, or whole molecules, are dealt to the three parts.

MassFormer, section 4.4: 70 % training, 10 % validation, 20 % test by Murcko scaffold; molecules whose scaffold occurs
in the library held out for testing are dropped. The released code also splits by the first block of the InChIKey.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ms2img.errors import UsageError

TRAIN, VALIDATION, TEST, DROPPED = "train", "validation", "test", "dropped"
#: The parts, in the order of `fractions`.
PARTS = (TRAIN, VALIDATION, TEST)
#: Shares of the molecules; MassFormer, section 4.4.
PAPER_FRACTIONS = (0.7, 0.1, 0.2)
#: What molecules can be grouped by.
SPLIT_BY = ("scaffold", "inchikey")


def split_molecules(
    molecules: pa.Table,
    *,
    by: str,
    seed: int,
    fractions: tuple[float, float, float] = PAPER_FRACTIONS,
    held_out: pa.Table | None = None,
) -> dict[str, str]:
    """The part of each molecule: "train", "validation", "test" or "dropped", by `molecule_id`.

    Parameters
    ----------
    molecules: columns `molecule_id` (each once) and `scaffold`; the order of the rows does not matter.
    by: "scaffold": molecules of one Murcko scaffold stay together, and acyclic ones, which have none, are grouped by
        molecule; "inchikey": by molecule, that is by the first block of the InChIKey.
    seed: equal seeds give equal parts.
    fractions: shares of the molecules that are left after dropping; each part is within one group of its share.
    held_out: the molecules of the library kept for testing alone; a molecule that occurs there is dropped, and so is
        one whose group does. (Two tautomers have one first block and may have two scaffolds.)

    Raises `UsageError` when a molecule is listed twice, the fractions are none, or a part would be left empty.
    """
    shares = _checked(by, fractions)
    group_of = _groups(molecules, by)
    dropped = sharing(molecules, held_out, by=by) if held_out is not None else set()
    part_of_group = _deal(Counter(group for each, group in group_of.items() if each not in dropped), shares, seed)
    return {each: DROPPED if each in dropped else part_of_group[group] for each, group in sorted(group_of.items())}


def sharing(molecules: pa.Table, others: pa.Table, *, by: str) -> set[str]:
    """Ids of the molecules that occur in `others`, or whose group does; tables and `by` as of `split_molecules`."""
    group_of, out = _groups(molecules, by), _groups(others, by)
    groups_out = set(out.values())
    return {each for each, group in group_of.items() if each in out or group in groups_out}


def _checked(by: str, fractions: Sequence[float]) -> dict[str, float]:
    if by not in SPLIT_BY:
        raise UsageError(f"split by '{by}'; expected one of {', '.join(SPLIT_BY)}")
    sound = len(fractions) == len(PARTS) and all(share > 0 for share in fractions)
    if not sound or not math.isclose(sum(fractions), 1.0, abs_tol=1e-9):
        raise UsageError(f"split fractions {tuple(fractions)}; expected three above 0 (train, validation, test), sum 1")
    return dict(zip(PARTS, fractions, strict=True))


def _groups(molecules: pa.Table, by: str) -> dict[str, str]:
    """The group of each molecule. Acyclic ones have a name that no SMILES can have."""
    ids = molecules["molecule_id"].to_pylist()
    if twice := sorted(each for each, count in Counter(ids).items() if count > 1):
        raise UsageError(f"molecule '{twice[0]}' is listed twice; expected each once")
    if by == "inchikey":
        return {each: each for each in ids}
    scaffolds = molecules["scaffold"].to_pylist()
    return {each: scaffold or f"acyclic {each}" for each, scaffold in zip(ids, scaffolds, strict=True)}


def _deal(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """A part for each group: always the part that lacks most molecules.

    Groups come in a seeded order, those larger than half the smallest part first (ours): one common scaffold, such as
    benzene, would else be all of the validation or most of the test part with some seeds and not with others.
    """
    total = sum(sizes.values())
    lacking = {part: share * total for part, share in shares.items()}
    large = min(lacking.values()) / 2
    part_of = {}
    for group in sorted(sizes, key=lambda name: (-sizes[name] if sizes[name] > large else 0, _shuffled(name, seed))):
        part = max(PARTS, key=lambda name: lacking[name])
        part_of[group] = part
        lacking[part] -= sizes[group]
    if empty := [part for part in PARTS if part not in part_of.values()]:
        raise UsageError(
            f"{total} molecules in {len(sizes)} groups leave the {empty[0]} part empty; expected more molecules or "
            "other fractions"
        )
    return part_of


def _shuffled(group: str, seed: int) -> bytes:
    """Where a group stands in the order of a seed, whatever other groups there are."""
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=16).digest()
