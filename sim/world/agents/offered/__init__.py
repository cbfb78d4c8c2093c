"""Draws of the open-loop workload, many at a time."""
