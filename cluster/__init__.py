"""Where jobs run: connecting to Ray, here or on a cluster."""
