"""Regions, latency, loss, links and how messages spread. No event loop, no chance of its own."""
