"""Assay values from plates: wells, blanks, standard curves, replicates (MS2toImg, "DPPH Radical Scavenging Assay")."""
