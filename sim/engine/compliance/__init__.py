"""Compliance in a run: people, services, subjects and insiders on the loop's clock.

`office` wires it and is all that the rest of the engine knows; mechanisms are those of
`sim.world.compliance`.
"""
