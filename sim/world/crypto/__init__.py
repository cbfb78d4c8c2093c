"""Signature suites, their costs and sizes."""
