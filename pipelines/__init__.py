"""One module per job a user runs or submits (Ray Data, Ray Train), and the command line."""
