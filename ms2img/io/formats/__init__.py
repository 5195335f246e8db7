"""Readers of run files, one module a format, each ending in the spectra table of `ms2img.io.schema`."""
