"""``ms2img massformer``: molecules to spectra, from a library to a predicted library; a command a module."""
