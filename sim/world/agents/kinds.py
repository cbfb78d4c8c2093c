"""Kinds of traffic and reasons of loss: the codes that columns hold and the names tables show."""

from __future__ import annotations

GRID_NS = 100_000_000
"""The workload grid. Every feedback takes at least this long."""
SECOND_NS = 1_000_000_000
NEVER = 1 << 62
"""A time that does not come."""

MESSAGE, LOOKUP_ID, LOOKUP_CAPABILITY, TRANSACTION, REGISTRATION, RENEWAL = range(6)
KINDS = (
    "message",
    "lookup_id",
    "lookup_capability",
    "transaction",
    "registration",
    "renewal",
)

RE_HOME = len(KINDS)
"""A gateway's own question, that an agent moves to it. No message, so none of `KINDS`."""
QUESTIONS = (*KINDS, "re_home")
"""What the directory is asked for, by code; transactions ask nothing."""
WRITING = (REGISTRATION, RENEWAL, RE_HOME)

REASONS = (
    "access_loss",
    "gateway_down",
    "not_registered",
    "rate_limited",
    "ingress_full",
    "lookup_failed",
    "unknown_target",
    "uplink_full",
    "link_blocked",
    "link_loss",
    "downlink_full",
    "egress_full",
    "crash",
    "store_full",
    "expired",
    "sender_offline",
    "requester_offline",
    "moved",
    "gateway_registrations",
    "all_registrations",
    "relay_full",
)
(
    ACCESS_LOSS,
    GATEWAY_DOWN,
    NOT_REGISTERED,
    RATE_LIMITED,
    INGRESS_FULL,
    LOOKUP_FAILED,
    UNKNOWN_TARGET,
    UPLINK_FULL,
    LINK_BLOCKED,
    LINK_LOSS,
    DOWNLINK_FULL,
    EGRESS_FULL,
    CRASH,
    STORE_FULL,
    EXPIRED,
    SENDER_OFFLINE,
    REQUESTER_OFFLINE,
    MOVED,
    GATEWAY_REGISTRATIONS,
    ALL_REGISTRATIONS,
    RELAY_FULL,
) = range(len(REASONS))
DELIVERED = len(REASONS)
"""Outcome code of success; smaller codes are reasons."""

FINAL_REASONS = frozenset(
    {NOT_REGISTERED, UNKNOWN_TARGET, STORE_FULL, EXPIRED, SENDER_OFFLINE, REQUESTER_OFFLINE}
)
"""Losses that no retry can mend."""

STATIONS = (
    *("ingress", "shard", "uplink", "downlink", "egress"),
    *("relay", "relay_uplink", "relay_downlink"),
)

LOOP_ID_BIT = 1 << 61
RETURN_ID_BIT = 1 << 60
"""Ids: (cell << 24 | index) for drawn messages; these bits and (agent << 24 | number) for those
that follow a commit and those that follow an agent's return."""
RECONNECT_ID_BIT = 1 << 58
"""Marks the registration that follows a mass disconnect; then (agent << 24 | number)."""
RE_HOME_ID_BIT = 1 << 59
"""Marks the question that a message's arrival at another gateway than its sender's home raised."""
ID_INDEX_BITS = 24

PPM = 1_000_000
PPB = 1_000_000_000
