"""A SIMULATED section of a brain with a known truth: which ions belong together, and which are isotopes.

The chain, one module each: `regions` (an atlas of smooth `shapes`) -> `classes` (17 patterns of it) -> `formulae` and
`envelopes` (molecules and their isotopes) -> `ions` -> `counts` (what a detector makes of them) -> `section` (all of it
in memory) -> `truth`, `imzml`, `write` (files) and `images` (ion images at once). None of it is from the DeepION paper,
whose labelled images are not public: every constant without a source is ours.
"""
