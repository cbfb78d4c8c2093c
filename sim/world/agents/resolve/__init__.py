"""Where gateways learn what they do not know: locations, capabilities, registrations.

The seam between gateways and the registry. Messages come in through `kernels.ask`, each located at
its gateway, in order of time; they leave through the line `resolved` at the time they know, with
`reason` 1 or 0 for found or not, or through `lost`. Queries travel through the lines `asking`
(on the way to a shard's station) and `sharded` (service ends). A directory of another shape, a
DHT say, replaces what lies between `ask` and `answer_pass`.
"""
