"""The experiments of the MassFormer paper (sections 4.4-4.7), as arrays in and numbers out."""
