"""Recursive lookups: a question is forwarded from node to node."""
