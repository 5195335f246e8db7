"""ms2img: mass-spectrometry data to tensors, deep models on them, and the models back from a registry."""

__version__ = "0.1.0"
