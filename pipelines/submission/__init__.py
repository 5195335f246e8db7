"""Submitting commands to a Ray cluster, and looking after what was submitted."""
