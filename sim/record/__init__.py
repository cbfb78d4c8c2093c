"""Run directories, tables, digests."""
