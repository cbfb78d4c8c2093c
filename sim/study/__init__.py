"""Sweeps, statistics, capacity, targets, comparison, benchmarks, reports."""
