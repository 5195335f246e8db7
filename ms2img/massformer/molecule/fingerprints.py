"""The fingerprint of the FP baseline: Morgan, RDKit and MACCS side by side (MassFormer, section 4.2).

The paper gives neither sizes nor radius, and speaks of "a vector of local graph substructure counts" (section 3.2). The
released code takes hashed Morgan counts of radius 3, and the bits of the other two in RDKit's default sizes
(`data_utils.make_morgan_fingerprint`, `make_rdkit_fingerprint`, `make_maccs_fingerprint`); so is it here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rdkit import Chem

#: Circular neighbourhoods of up to this many bonds; released code.
MORGAN_RADIUS = 3
#: RDKit's default `fpSize`; released code.
MORGAN_BITS = 2048
#: RDKit's default `fpSize` (paths of 1 to 7 bonds, two bits each); released code.
RDKIT_BITS = 2048
#: 166 public keys, and bit 0, which is never set.
MACCS_BITS = 167
#: Where each part lies in `fingerprint`.
PARTS = {
    "morgan": slice(0, MORGAN_BITS),
    "rdkit": slice(MORGAN_BITS, MORGAN_BITS + RDKIT_BITS),
    "maccs": slice(MORGAN_BITS + RDKIT_BITS, MORGAN_BITS + RDKIT_BITS + MACCS_BITS),
}
FINGERPRINT_BITS = MORGAN_BITS + RDKIT_BITS + MACCS_BITS
_MAX_COUNT = np.iinfo(np.uint8).max


def fingerprint(mol: Chem.Mol) -> np.ndarray:
    """uint8 [FINGERPRINT_BITS], the parts in the order of `PARTS`: Morgan counts (255 at most), else 0 and 1.

    What compares fingerprints as bits (Tanimoto) takes `fingerprint > 0`.
    """
    from rdkit.Chem import rdMolDescriptors

    morgan, paths = _generators()
    bits = np.zeros(FINGERPRINT_BITS, dtype=np.uint8)
    bits[PARTS["morgan"]] = np.minimum(morgan.GetCountFingerprintAsNumPy(mol), _MAX_COUNT)
    bits[PARTS["rdkit"]] = paths.GetFingerprintAsNumPy(mol)
    bits[PARTS["maccs"]][list(rdMolDescriptors.GetMACCSKeysFingerprint(mol).GetOnBits())] = 1
    return bits


@cache
def _generators() -> tuple[Any, Any]:
    from rdkit.Chem import rdFingerprintGenerator

    return (
        rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS),
        rdFingerprintGenerator.GetRDKitFPGenerator(fpSize=RDKIT_BITS),
    )
