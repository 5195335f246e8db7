"""The aligned feature table that MS2toImg compares its images with: merged within a sample, then across samples.

MS2toImg, "Feature Table Construction for Multivariate analysis and Random Forest". Read in the order the data flows:
`extract` (a run's spectra to features), `similarity` (the equations), `assignment` (the rule by which features join),
`within`, `across`, and `onto` (the samples of another study placed on an existing table).
"""
