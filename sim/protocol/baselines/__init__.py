"""Published protocols beside the main one, for comparison: HotStuff, PBFT, Tendermint, Streamlet.

Each is a state machine with the main protocol's contract, `handle(event, now_ns) -> effects`, under
the same driver. All weights are equal; there is no ledger, no epoch of membership, no evidence.
"""
