"""The comparison of the paper's Table 1: ion images with known classes in, scores of every method out.

ion images + classes --labelled--> the ions that are scored
ion images --methods, networks--> vectors or similarities --scores--> right or wrong, ion by ion
ISO embeddings + the phantom's truth --pairs--> isotope pairs found
"""
