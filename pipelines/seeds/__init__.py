"""Trainings over several seeds on Ray, whatever a system trains: options, a seed in its worker, seeds on a cluster."""
