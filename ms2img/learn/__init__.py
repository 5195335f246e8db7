"""What the systems share: splits, the training loop, metrics, checkpoints. Needs numpy and torch only."""
