"""Government and commercial clouds: what a deployment consists of, and the plans that make it."""
