"""The image data set on disk: shards, manifest, and how they come to be exactly once."""
