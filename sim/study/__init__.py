"""Benchmarks and (later) sweeps, capacity, reports."""
