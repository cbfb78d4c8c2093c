"""Batches between gateways."""
