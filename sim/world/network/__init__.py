"""Regions, delays, links, bandwidth: integer nanoseconds from frozen parameters."""
