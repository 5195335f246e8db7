"""Spectral libraries: records of any format -> one table of molecules and one of spectra.

Read in the order the data flows: `sources`, `archives`, `reading` (files -> records), `record`, `massbank`, `entries`
(what a record says), `adducts`, `energy` (in one spelling), `filters` (which records a model may learn from),
`duplicates`, `assemble`, `tables`, `folder` (on disk). `reasons` is why a record is left out.
"""
