"""Measurements on real data, each printed as a table: ``python -m bench.NAME``."""
