"""Iterative lookups: the asker sends all questions itself."""
