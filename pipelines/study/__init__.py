"""``ms2img study``: every model on every representation of every assay, over the same folds."""
