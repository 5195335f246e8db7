"""Hostile input: what every reader must hold to, and the machinery that tries to break it."""
