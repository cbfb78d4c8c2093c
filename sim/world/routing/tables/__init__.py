"""Implicit tables of contacts: ranges of sorted ids, keyed positions in them."""
