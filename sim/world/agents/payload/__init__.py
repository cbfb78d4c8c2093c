"""Transaction batches: from a gateway to all validators to the commit."""
