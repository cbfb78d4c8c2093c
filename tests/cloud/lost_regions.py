"""Small worlds whose regions are lost and come up elsewhere, with stages of seconds."""

from __future__ import annotations

from typing import Any

WEST, EAST, VIRGINIA = "aws:us-gov-west-1", "aws:us-gov-east-1", "az:usgovvirginia"
S = 10**9


def fixed(value: str) -> dict[str, str]:
    return {"kind": "fixed", "value": value}


def sections(**recovery: Any) -> dict[str, Any]:
    """Return the sections of a world of ten validators; WEST holds four, and no quorum without."""
    return {
        "duration": "60 s",
        "validators": {"count": 10, "placement": {WEST: 4, EAST: 3, VIRGINIA: 3}},
        "consensus": {
            "timer_base": "1 s",
            "timer_max": "4 s",
            "min_block_interval": "250 ms",
            "epoch_blocks": 8,
        },
        "clouds": {
            "recovery": {
                "standby": "warm",
                "sites": {WEST: VIRGINIA, EAST: WEST, VIRGINIA: EAST},
                "checks_every": "1 s",
                "decision": fixed("3 s"),
                "promotion": fixed("2 s"),
                "routing_ttl": "1 s",
                **recovery,
            }
        },
        "faults": [lost()],
        "expect": [
            {"safety": "held"},
            {"metric": "validators_promoted", "at_least": 4},
            {"metric": "offenders_accused", "at_most": 0},
        ],
    }


def lost(*regions: str, at: str = "10 s", **more: Any) -> dict[str, Any]:
    return {"kind": "region_outage", "regions": list(regions) or [WEST], "at": at, **more}


def every_setting() -> dict[str, Any]:
    """Return a short world that states each setting of recovery."""
    asked = sections(
        standby="backup",
        records=[{"at": "0 s", "rate": "1 Mbit/s"}],
        fail_back=fixed("1 s"),
        survives="region",
    )
    return {**asked, "duration": "3 s", "faults": [], "expect": [{"safety": "held"}]}
