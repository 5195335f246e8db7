"""Measurements on real data, each printed as a table: ``python -m bench.NAME``. Set up as a training worker is."""

from __future__ import annotations

from ms2img.learn.environment import prepare_environment

prepare_environment()
