"""What MS2toImg compares its network with: random forest, PCA and OPLS-DA on a feature table, and others.

Nothing is imported here: the command line offers `MODELS` before scikit-learn and scipy are needed.
"""

MODELS: tuple[str, ...] = ("forest", "logistic", "boosting", "oplsda", "pca")
