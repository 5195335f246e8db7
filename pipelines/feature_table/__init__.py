"""The parts of ``ms2img features``: plan, read, merge within samples and across them, commit."""
