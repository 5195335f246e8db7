"""The third system: ion images of mass-spectrometry imaging, and embeddings of them (DeepION)."""
