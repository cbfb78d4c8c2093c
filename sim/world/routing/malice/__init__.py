"""Nodes that lie: whom they name."""
