"""Which nodes of a range a bucket holds: keyed draws among those who were alive."""
