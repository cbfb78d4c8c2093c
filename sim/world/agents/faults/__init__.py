"""What faults take from the plane."""
