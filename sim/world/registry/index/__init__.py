"""Records as columns, found by identity and by capability and region."""
