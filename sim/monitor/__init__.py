"""Invariants over observations, and the verdict."""
