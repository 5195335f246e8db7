"""The tables of a prepared library, field by field with units."""

from __future__ import annotations

import pyarrow as pa

#: One row a molecule.
MOLECULES = pa.schema(
    [
        pa.field("molecule_id", pa.string(), nullable=False),  # first block of the InChIKey, 14 letters
        pa.field("smiles", pa.string(), nullable=False),  # canonical, without stereochemistry
        pa.field("inchikey", pa.string(), nullable=False),  # of `smiles`
        pa.field("formula", pa.string(), nullable=False),  # Hill order
        pa.field("exact_mass", pa.float64(), nullable=False),  # monoisotopic, Da
        pa.field("scaffold", pa.string(), nullable=False),  # SMILES of the Murcko scaffold; "" when acyclic
        pa.field("n_atoms", pa.int32(), nullable=False),  # heavy atoms
    ]
)

#: One row a spectrum of a library.
LIBRARY_SPECTRA = pa.schema(
    [
        pa.field("spectrum_id", pa.string(), nullable=False),  # accession; unique in the table
        pa.field("molecule_id", pa.string(), nullable=False),  # a row of the molecules
        pa.field("library", pa.string(), nullable=False),  # the name of the file or folder it came from
        pa.field("laboratory", pa.string(), nullable=False),  # contributor, as in the accession; "" when not stated
        pa.field("licence", pa.string(), nullable=False),  # as stated ("CC BY-SA"); "" when not stated
        pa.field("instrument", pa.string(), nullable=False),  # as stated
        pa.field("instrument_type", pa.string(), nullable=False),  # as stated ("LC-ESI-QFT")
        pa.field("cell", pa.string(), nullable=False),  # "HCD" | "CID"
        pa.field("adduct", pa.string(), nullable=False),  # in the spelling of `adducts`: "[M+H]+"
        pa.field("polarity", pa.string(), nullable=False),  # "positive" | "negative"
        pa.field("charge", pa.int8(), nullable=False),  # signed
        pa.field("precursor_mz", pa.float64(), nullable=False),  # as stated, else of structure and adduct
        pa.field("collision_energy", pa.string(), nullable=False),  # as stated
        pa.field("energy_ev", pa.float64()),  # eV; a ramp or several steps: their mean; null when not stated
        pa.field("energy_nce", pa.float64()),  # normalised collision energy; null when not stated
        pa.field("energy_unit", pa.string()),  # "eV" | "NCE": the unit stated, the other is computed from it
        pa.field("is_ramp", pa.bool_(), nullable=False),  # a ramp or several steps
        pa.field("mz", pa.list_(pa.float64()), nullable=False),  # ascending, Da / charge
        pa.field("intensity", pa.list_(pa.float32()), nullable=False),  # same length as mz, above 0, maximum 1
    ]
)

#: One row a reason for which records were left out.
REFUSED = pa.schema(
    [
        pa.field("reason", pa.string(), nullable=False),  # of `ms2img.massformer.library.reasons.REASONS`
        pa.field("count", pa.int64(), nullable=False),  # records
        pa.field("example", pa.string(), nullable=False),  # the first one in alphabetical order, and what it says
    ]
)
