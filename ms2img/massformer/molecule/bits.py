"""The bits that say how alike two molecules are: Morgan environments, present or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ms2img.massformer.molecule.fingerprints import MORGAN_BITS, MORGAN_RADIUS


def morgan_bits(smiles: list[str]) -> NDArray[np.uint8]:
    """uint8 [n, MORGAN_BITS], 0 and 1, of n SMILES of a prepared library, whatever its elements.

    Raises `ValueError` for a text that RDKit cannot read: a prepared library has none.
    """
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    bits = np.zeros((len(smiles), MORGAN_BITS), dtype=np.uint8)
    for row, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        if mol is None:
            raise ValueError(f"'{text[:80]}' is no SMILES of a prepared library")
        bits[row] = generator.GetFingerprintAsNumPy(mol)
    return bits
