"""MassFormer: molecules and acquisition conditions to predicted MS/MS spectra."""
