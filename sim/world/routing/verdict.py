"""What the tables of a run were: converged, under-filled or stale, with the shares that say so.

Owns: the declaration. Must not know: who prints it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.world.routing.nodes import BUCKETS, CONTACTS, SHORT, STALE, Bundle

PPM = 1_000_000
CONVERGED, UNDER_FILLED, STALE_TABLES = "converged", "under_filled", "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """Tables as lookups met them; a bucket looked at twice counts twice."""

    kind: str
    """`stale` where a contact was dead, else `under_filled` where a bucket held fewer contacts than
    k and than its range, else `converged`."""
    buckets: int
    short_ppm: int
    """Share of the buckets with too few contacts."""
    contacts: int
    stale_ppm: int
    """Share of the contacts that were dead."""


def declare(bundle: Bundle) -> TableState:
    """Say what the tables of all lookups so far were; without any lookup they are converged."""
    buckets, contacts = int(bundle.tally[BUCKETS]), int(bundle.tally[CONTACTS])
    short, stale = int(bundle.tally[SHORT]), int(bundle.tally[STALE])
    return TableState(
        kind=STALE_TABLES if stale else UNDER_FILLED if short else CONVERGED,
        buckets=buckets,
        short_ppm=short * PPM // max(1, buckets),
        contacts=contacts,
        stale_ppm=stale * PPM // max(1, contacts),
    )
