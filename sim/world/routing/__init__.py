"""Hierarchical DHT routing over implicit tables: parameters, nodes, kernels and their twin."""
