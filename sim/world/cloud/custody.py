"""Key services of the clouds: what one grants an account in a region, and how late it answers.

Owns: the providers' figures, and one region's service as a frozen value. Must not know: scenarios,
who signs, the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sim.world.crypto.key_service import KeyService, Tail

_NHZ: Final = 10**9
KEY_SPEC: Final = "ML_DSA_87"
"""What AWS KMS calls keys of the suite that validators sign with."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider grants by default. `quota_per_s` of one account in one region, counted over
    `window_s`; `signs`: whether its keys sign with the validators' suite."""

    service: str
    quota_per_s: int
    window_s: int
    signs: bool
    source: str


OFFERS: Mapping[str, Offer] = {
    "aws": Offer(
        "AWS KMS",
        1_000,
        1,
        True,
        "AWS KMS developer guide, Request quotas: 1,000 a second, shared, for ML-DSA keys",
    ),
    "az": Offer(
        "Azure Key Vault",
        200,
        10,
        False,
        "Azure Key Vault service limits: 2,000 in 10 s, a vault and region, for HSM-protected "
        "elliptic-curve keys; it has no ML-DSA keys",
    ),
}
"""By provider."""


@dataclass(frozen=True, slots=True)
class Custody:
    """The key service of one region, shared by all its validators. Latencies: p50, p99."""

    region: str
    rate_nhz: int
    burst: int
    latency_ns: int
    latency_p99_ns: int

    @property
    def offer(self) -> Offer:
        """What its provider grants by default."""
        return offer_at(self.region)

    @property
    def quota_text(self) -> str:
        """The quota in words, exact."""
        whole, rest = divmod(self.rate_nhz, _NHZ)
        tail = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{whole:,}{tail} signatures a second, {self.burst:,} at once"

    def service(self, key: int) -> KeyService:
        """Open the service; `key`: of the draws of its latencies."""
        tail = Tail(key, self.latency_p99_ns - self.latency_ns)
        return KeyService(self.rate_nhz, self.burst, self.latency_ns, tail)


def offer_at(region: str) -> Offer:
    """Return what the provider of a region grants. Raises KeyError where no plan is written for."""
    return OFFERS[region.partition(":")[0]]


def custody_in(
    region: str,
    *,
    quota_nhz: int | None,
    burst: int | None,
    latency_ns: int,
    latency_p99_ns: int,
) -> Custody:
    """Return a region's service, with its provider's figures where none are stated.

    A burst that is not stated is what the quota grants over the provider's window, at least 1.
    """
    offer = offer_at(region)
    rate_nhz = offer.quota_per_s * _NHZ if quota_nhz is None else quota_nhz
    if burst is None:
        burst = max(1, rate_nhz * offer.window_s // _NHZ)
    return Custody(region, rate_nhz, burst, latency_ns, latency_p99_ns)
