"""ML-DSA-87: suites that really sign, their checks, and what signing costs. No event loop."""
