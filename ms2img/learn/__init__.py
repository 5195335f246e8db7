"""What the systems share: splits, the training loop, metrics, checkpoints. Needs numpy and torch only."""

from __future__ import annotations

from ms2img.learn.environment import prepare_environment

prepare_environment()
