"""Cloud regions, where they are, and the round-trip times between them.

Owns: the known regions, the 16-region RTT table, zone figures, the coordinate fit for other pairs,
and the graph that joins them, each edge with the kind and source of its figures.
Must not know: validators, agents, time.

A *site* is what a node of the graph is: a region ("aws:us-east-1", zones unspecified) or one zone
of it ("aws:us-east-1/2", zones counted from 1). Kinds of figures: measured; proxy (a government
region stands in by a commercial one: there are no public measurements of the government regions);
estimated; assumption; intra_region_assumption; fitted (coordinates); given (by a scenario).
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias

import networkx as nx

if TYPE_CHECKING:
    RegionGraph: TypeAlias = "nx.Graph[str]"
else:
    RegionGraph = nx.Graph

US_TO_NS = 1_000
EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""
FIBRE_KM_PER_MS = 299.792458 * 2 / 3
"""Light in fibre: two thirds of c."""
CUSTOM = "custom"
"""Provider and area of a region that a scenario adds."""
CUSTOM_ZONES = 3
"""Its zones, where nothing else is said: what most regions have."""
FIT_AREAS = ("US", "CA", "EU")
"""Areas whose pairs use the tighter of the two coordinate fits; Europe includes the UK."""


@dataclass(frozen=True, slots=True)
class Region:
    """One cloud region. Coordinates are of the named city, in millionths of a degree."""

    name: str
    provider: str
    area: str
    government: bool
    zones: int
    city: str
    latitude_udeg: int
    longitude_udeg: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """RTT between two sites. `error_ns`: median error of the estimate, 0 where none is stated."""

    rtt_p50_ns: int
    rtt_p99_ns: int
    kind: str
    source: str
    error_ns: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rtt_p50_ns <= self.rtt_p99_ns:
            raise ValueError(
                f"RTT p50 {self.rtt_p50_ns} ns, p99 {self.rtt_p99_ns} ns: need 0 < p50 <= p99"
            )


@dataclass(frozen=True, slots=True)
class CoordinateFit:
    """RTT = base + slope x great-circle distance, with its R2 and median error."""

    base_us: int
    slope_ns_per_km: int
    r2_percent: int
    error_us: int
    source: str


ATLANTIC_FIT = CoordinateFit(5_800, 15_540, 95, 5_000, "coordinate-fit-atlantic")
WORLD_FIT = CoordinateFit(18_300, 15_790, 76, 19_000, "coordinate-fit-world")


def _rows(name: str) -> list[dict[str, str]]:
    path = resources.files("sim.world.network") / "data" / name
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@cache
def known_regions() -> Mapping[str, Region]:
    """Return the known regions by name ("provider:region")."""
    return {
        row["name"]: Region(
            name=row["name"],
            provider=row["provider"],
            area=row["area"],
            government=row["government"] == "1",
            zones=int(row["zones"]),
            city=row["city"],
            latitude_udeg=int(row["latitude_udeg"]),
            longitude_udeg=int(row["longitude_udeg"]),
        )
        for row in _rows("regions.csv")
    }


@cache
def sources() -> Mapping[str, str]:
    """Return what each source key of the tables stands for."""
    return {row["key"]: row["text"] for row in _rows("sources.csv")}


@cache
def path_figure(name: str) -> int:
    """Return a bandwidth, loss or ratio figure of `data/path_figures.csv` in the file's unit."""
    figures = {row["name"]: int(row["value"]) for row in _rows("path_figures.csv")}
    return figures[name]


@cache
def _matrix() -> Mapping[tuple[str, str], RoundTrip]:
    table = {}
    for row in _rows("region_rtt.csv"):
        stand_ins = [pair.replace("=", " as ") for pair in row["government_proxy"].split()]
        source = row["source"] + (f" ({', '.join(stand_ins)})" if stand_ins else "")
        p50_ns, p99_ns = int(row["rtt_p50_us"]) * US_TO_NS, int(row["rtt_p99_us"]) * US_TO_NS
        trip = RoundTrip(p50_ns, p99_ns, row["kind"], source)
        table[row["a"], row["b"]] = trip
        table[row["b"], row["a"]] = trip
    return table


def matrix_regions() -> tuple[str, ...]:
    """Return the regions of the RTT table, in its order."""
    return tuple(dict.fromkeys(a for a, _ in _matrix()))


@cache
def _zone_table() -> Mapping[tuple[str, str], RoundTrip]:
    return {
        (row["provider"], row["scope"]): RoundTrip(
            int(row["rtt_p50_us"]) * US_TO_NS,
            int(row["rtt_p99_us"]) * US_TO_NS,
            row["kind"],
            row["source"],
        )
        for row in _rows("intra_region.csv")
    }


def custom_region(
    name: str, latitude_udeg: int, longitude_udeg: int, zones: int = CUSTOM_ZONES
) -> Region:
    """Describe a region that a scenario adds by its coordinates.

    Its pairs take the world fit (its area is "custom"). Raises ValueError for coordinates off
    the globe or a name that is taken.
    """
    if abs(latitude_udeg) > 90_000_000 or abs(longitude_udeg) > 180_000_000:
        raise ValueError(
            f"region {name}: latitude {latitude_udeg / 1e6}, longitude {longitude_udeg / 1e6}: "
            "latitude must be within 90 degrees of the equator, longitude within 180"
        )
    if name in known_regions() or "/" in name:
        raise ValueError(f"region {name}: the name is taken or contains '/'; choose another")
    return Region(name, CUSTOM, CUSTOM, False, zones, name, latitude_udeg, longitude_udeg)


def split_site(site: str) -> tuple[str, int]:
    """Split a site into (region, zone); zone 0 when unspecified."""
    region, slash, zone = site.partition("/")
    if not slash:
        return region, 0
    if not zone.isdecimal() or int(zone) < 1:
        raise ValueError(f"site {site}: write region/zone with the zone counted from 1")
    return region, int(zone)


def resolve_site(site: str, custom: Mapping[str, Region] | None = None) -> tuple[Region, int]:
    """Return (region, zone) of a site; raise ValueError naming close matches if unknown."""
    name, zone = split_site(site)
    region = (custom or {}).get(name) or known_regions().get(name)
    if region is None:
        names = [*known_regions(), *(custom or {})]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ValueError(f"unknown region {name}{hint}")
    if zone > region.zones:
        raise ValueError(f"site {site}: {name} has {region.zones} zone(s)")
    return region, zone


def distance_km(a: Region, b: Region) -> float:
    """Return the great-circle distance (haversine on the mean sphere)."""
    to_radians = math.pi / 180e6
    lat_a, lat_b = a.latitude_udeg * to_radians, b.latitude_udeg * to_radians
    half_lat = (lat_b - lat_a) / 2
    half_lon = (b.longitude_udeg - a.longitude_udeg) * to_radians / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(h)))


def light_rtt_ns(a: Region, b: Region) -> int:
    """Return the RTT of light in fibre along the great circle: no packet is faster."""
    return math.floor(2e6 * distance_km(a, b) / FIBRE_KM_PER_MS)


def fitted_round_trip(a: Region, b: Region) -> RoundTrip:
    """Estimate an RTT from coordinates; kind "fitted", the fit's median error stated.

    Distances are rounded to a kilometre first, so that the figure is an integer of integers.
    """
    atlantic = a.area in FIT_AREAS and b.area in FIT_AREAS
    fit = ATLANTIC_FIT if atlantic else WORLD_FIT
    p50_ns = fit.base_us * US_TO_NS + fit.slope_ns_per_km * round(distance_km(a, b))
    p99_ns = p50_ns * path_figure("fitted_p99_over_p50") // 1000
    return RoundTrip(p50_ns, p99_ns, "fitted", fit.source, fit.error_us * US_TO_NS)


def _zone_round_trip(region: Region, scope: str) -> RoundTrip:
    """Zone figures: the provider's own; the AWS ones as a proxy for clouds without any."""
    table = _zone_table()
    own = table.get((region.provider, scope))
    if own is not None and not region.government:
        return own
    base = own or table["aws", scope]
    return RoundTrip(base.rtt_p50_ns, base.rtt_p99_ns, "proxy", base.source)


def round_trip(site_a: str, site_b: str, custom: Mapping[str, Region] | None = None) -> RoundTrip:
    """Return the RTT between two sites from the best figure there is.

    Same region: same-zone or cross-zone figures where both zones are named, else the region's own
    row. Two regions: the 16-region table, else the coordinate fit.
    """
    a, zone_a = resolve_site(site_a, custom)
    b, zone_b = resolve_site(site_b, custom)
    if a.name == b.name and zone_a and zone_b:
        return _zone_round_trip(a, "same_zone" if zone_a == zone_b else "cross_zone")
    known = _matrix().get((a.name, b.name))
    if known is not None:
        return known
    if a.name == b.name:
        # The assumption is one for all clouds: any region's own row says it.
        return _matrix()["aws:us-east-1", "aws:us-east-1"]
    return fitted_round_trip(a, b)


def region_graph(sites: Iterable[str], custom: Mapping[str, Region] | None = None) -> RegionGraph:
    """Build the graph of `sites`: complete, with a loop at each site for traffic inside it.

    Node attributes: region (Region), zone. Edge attributes: rtt_p50_ns, rtt_p99_ns, kind, source,
    error_ns, light_rtt_ns. Triangles may be broken, as real paths break them: nothing is repaired.
    """
    graph: RegionGraph = nx.Graph()
    nodes = list(sites)
    if len(dict.fromkeys(nodes)) != len(nodes):
        raise ValueError(f"sites must be distinct: {', '.join(nodes)}")
    for site in nodes:
        region, zone = resolve_site(site, custom)
        graph.add_node(site, region=region, zone=zone)
    for i, a in enumerate(nodes):
        for b in nodes[i:]:
            trip = round_trip(a, b, custom)
            graph.add_edge(
                a,
                b,
                rtt_p50_ns=trip.rtt_p50_ns,
                rtt_p99_ns=trip.rtt_p99_ns,
                kind=trip.kind,
                source=trip.source,
                error_ns=trip.error_ns,
                light_rtt_ns=light_rtt_ns(graph.nodes[a]["region"], graph.nodes[b]["region"]),
            )
    return graph


def _provider_and_zones(name: str) -> tuple[str, int]:
    known = known_regions().get(name)
    return (CUSTOM, CUSTOM_ZONES) if known is None else (known.provider, known.zones)


def provider_of(name: str) -> str:
    """Return the provider of a region; "custom" for one that is not known."""
    return _provider_and_zones(name)[0]


def zones_of(name: str) -> tuple[str, ...]:
    """Return the zones of a region ("region/zone"), counted from 1."""
    return tuple(f"{name}/{zone + 1}" for zone in range(_provider_and_zones(name)[1]))


def spread_over_zones(names: Iterable[str]) -> tuple[str, ...]:
    """Return a zone for each of `names`, regions: those of one region in turn.

    As automatic scaling groups balance over zones (assumption). Round trips don't depend on it.
    """
    placed: dict[str, int] = {}
    found = []
    for name in names:
        number = placed.get(name, 0)
        placed[name] = number + 1
        zones = zones_of(name)
        found.append(zones[number % len(zones)])
    return tuple(found)
