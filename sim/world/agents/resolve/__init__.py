"""Where gateways learn what they do not know: locations, capabilities, registrations.

The seam between gateways and the registry. Messages come in through `kernels.ask`, each located at
its gateway, in order of time at each gateway but not between gateways; they leave through the line
`resolved`, under their gateway, at the time they know, with `note` 1 or 0 for found or not, or
through `lost`. Queries travel through the lines `asking` (on the way to a shard's station) and
`sharded` (services that end after the slice). A directory of another shape, a DHT say, replaces
what lies between `ask` and `shard_pass`.
"""
