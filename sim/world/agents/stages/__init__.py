"""The passes of a slice, in their order."""
