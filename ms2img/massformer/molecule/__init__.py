"""One molecule: parsed or refused, then described as a graph, as fingerprints and as SELFIES tokens."""
