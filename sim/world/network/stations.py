"""Queueing stations of one validator: link lanes and CPU workers, exact, in integer nanoseconds.

Owns: when a transmission or a job ends, given when it was handed in; busy and waiting time.
Must not know: messages, validators, the event loop. Calls come in non-decreasing time; a station
answers at once with the time of completion, because first-in-first-out service is fixed by the
past alone.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from typing import Final

NS: Final = 1_000_000_000
PPM: Final = 1_000_000
GRID_NS: Final = 100_000_000
"""Cell of the simulated grid on which the lanes of a shared link measure each other."""
SIZES_REMEMBERED = 1024
RATES_REMEMBERED = 64
MEMORY_CELLS = 64
"""Cells of the past a lane remembers: its sibling's clock may lag by this much, not more."""


def serialisation_ns(size_bytes: int, bits_per_s: int) -> int:
    """Return ceil(8e9 x size / rate): the time to put `size_bytes` on the wire."""
    return -(-size_bytes * 8 * NS // bits_per_s)


_MEASURED: dict[int, dict[int, int]] = {}


class Lane:
    """One FIFO transmitter with a reserved rate, exact.

    A transmission starts when the lane is free and ends after its serialisation time. Under a
    flow limit, each flow (a peer, say) is also a FIFO server of its own at that lower rate, which
    the flow's transmissions pass at the same time: a limited flow never blocks the others.
    """

    __slots__ = (
        "_flow_free_ns",
        "_service_ns",
        "bits_per_s",
        "busy_ns",
        "flow_bits_per_s",
        "free_ns",
        "longest_wait_ns",
        "sent_bytes",
        "served",
        "wait_ns",
    )

    def __init__(self, bits_per_s: int, flow_bits_per_s: int | None = None) -> None:
        self.set_rate(bits_per_s)
        if flow_bits_per_s is not None and flow_bits_per_s < 1:
            raise ValueError(f"flow limit {flow_bits_per_s} bit/s: need at least 1")
        self.flow_bits_per_s = flow_bits_per_s
        self._flow_free_ns: dict[int, int] = {}
        self.free_ns = 0
        self.served = 0
        self.sent_bytes = 0
        self.busy_ns = 0
        self.wait_ns = 0
        self.longest_wait_ns = 0

    def set_rate(self, bits_per_s: int) -> None:
        """Change the rate; it holds from the next start, what is on the wire keeps its end."""
        if bits_per_s < 1:
            raise ValueError(f"rate {bits_per_s} bit/s: need at least 1; block the link instead")
        self._use_rate(bits_per_s)

    def send(self, now_ns: int, size_bytes: int, flow: int = 0) -> int:
        """Hand in a transmission at `now_ns`; return when its last bit has left."""
        service = self._service_ns.get(size_bytes)
        if service is None:
            service = self._measure(size_bytes)
        start = self.free_ns
        if start > now_ns:
            wait = start - now_ns
            self.wait_ns += wait
            if wait > self.longest_wait_ns:
                self.longest_wait_ns = wait
        else:
            start = now_ns
        self.free_ns = end = start + service
        self.busy_ns += service
        self.served += 1
        self.sent_bytes += size_bytes
        limit = self.flow_bits_per_s
        if limit is None:
            return end
        return max(end, self._pace(now_ns, size_bytes, flow, limit))

    def receive(self, last_ns: int, size_bytes: int) -> int:
        """Take in what an idle lane would have had in full at `last_ns`; return when it is in.

        Like `send` one service time before `last_ns`; a receiving lane limits no flow.
        """
        service = self._service_ns.get(size_bytes)
        if service is None:
            service = self._measure(size_bytes)
        self.busy_ns += service
        self.served += 1
        self.sent_bytes += size_bytes
        wait = self.free_ns - last_ns + service
        if wait <= 0:
            self.free_ns = last_ns
            return last_ns
        self.wait_ns += wait
        if wait > self.longest_wait_ns:
            self.longest_wait_ns = wait
        self.free_ns = end = last_ns + wait
        return end

    def service_ns(self, size_bytes: int) -> int:
        """Return how long a transmission of this size takes at the present rate."""
        service = self._service_ns.get(size_bytes)
        return self._measure(size_bytes) if service is None else service

    def send_copies(self, now_ns: int, size_bytes: int, flows: list[int]) -> list[int]:
        """Hand in one transmission of equal size for each flow, in that order; return all ends."""
        if self.flow_bits_per_s is not None or not flows:
            return [self.send(now_ns, size_bytes, flow) for flow in flows]
        first = self.send(now_ns, size_bytes)
        service, more = self._service_ns[size_bytes], len(flows) - 1
        ends = [first + service * i for i in range(len(flows))]
        wait = first - service - now_ns
        self.wait_ns += wait * more + service * (more * (more + 1) // 2)
        if more:
            self.longest_wait_ns = max(self.longest_wait_ns, wait + service * more)
        self.free_ns = ends[-1]
        self.busy_ns += service * more
        self.served += more
        self.sent_bytes += size_bytes * more
        return ends

    def backlog_ns(self, now_ns: int) -> int:
        """Return how long a transmission handed in now would wait."""
        return max(0, self.free_ns - now_ns)

    def clear(self, now_ns: int) -> None:
        """Lose what is queued and on the wire (a crash); statistics keep what had been booked."""
        self.busy_ns -= max(0, self.free_ns - now_ns)
        self.free_ns = min(self.free_ns, now_ns)
        self._flow_free_ns.clear()

    def _use_rate(self, bits_per_s: int) -> None:
        # Lanes of one rate share what they remember: most lanes of a run are alike.
        self.bits_per_s = bits_per_s
        known = _MEASURED.get(bits_per_s)
        if known is None:
            if len(_MEASURED) >= RATES_REMEMBERED:
                _MEASURED.clear()
            known = _MEASURED[bits_per_s] = {}
        self._service_ns: dict[int, int] = known

    def _measure(self, size_bytes: int) -> int:
        """Remember the serialisation time of a size: the division costs as much as the rest."""
        if len(self._service_ns) >= SIZES_REMEMBERED:
            self._service_ns.clear()
        service = self._service_ns[size_bytes] = serialisation_ns(size_bytes, self.bits_per_s)
        return service

    def _pace(self, now_ns: int, size_bytes: int, flow: int, limit: int) -> int:
        start = max(now_ns, self._flow_free_ns.get(flow, 0))
        self._flow_free_ns[flow] = end = start + (size_bytes * 8 * NS + limit - 1) // limit
        return end


class SharedLane(Lane):
    """A lane that borrows what its sibling left unused in the previous grid cell.

    In cell c of 100 simulated ms the lane's rate is its reserved rate plus the reserved rate that
    the other lane did not use in cell c - 1. The rate is fixed for a transmission when it is
    handed in. Bias, stated: the measure lags by a cell, so a sibling that wakes up gets its full
    reserve while the loan still runs; the link is then overcommitted by at most that reserve for
    at most one cell (plus what was handed in during it). A fluid fair share would not be, but it
    would make each lane's past depend on the other's future.
    """

    __slots__ = ("_cell", "_told", "_used_bits", "reserved_bits_per_s", "sibling")

    def __init__(self, bits_per_s: int, flow_bits_per_s: int | None = None) -> None:
        super().__init__(bits_per_s, flow_bits_per_s)
        self.reserved_bits_per_s = bits_per_s
        self.sibling: SharedLane | None = None
        self._cell = -1
        self._used_bits: dict[int, int] = {}
        self._told: int | None = None
        """The newest cell whose use was told by `book`; None for a lane that books its own."""

    def reserve(self, bits_per_s: int) -> None:
        """Change the reserved rate (a throttle); holds from the next start."""
        self.set_rate(bits_per_s)
        self.reserved_bits_per_s = bits_per_s
        self._cell = -1

    def send(self, now_ns: int, size_bytes: int, flow: int = 0) -> int:
        """Hand in a transmission at `now_ns`; return when its last bit has left."""
        cell = now_ns // GRID_NS
        if cell != self._cell:
            self._enter(cell)
        end = super().send(now_ns, size_bytes, flow)
        free = self.free_ns
        self.charge(free - self._service_ns[size_bytes], free, size_bytes)
        return end

    def receive(self, last_ns: int, size_bytes: int) -> int:
        """Take in what an idle lane would have had in full at `last_ns`; return when it is in."""
        return self.send(last_ns - self.service_ns(size_bytes), size_bytes)

    def send_copies(self, now_ns: int, size_bytes: int, flows: list[int]) -> list[int]:
        """Hand in one transmission of equal size for each flow, in that order; return all ends."""
        return [self.send(now_ns, size_bytes, flow) for flow in flows]

    def charge(self, start_ns: int, end_ns: int, size_bytes: int) -> None:
        """Book the bits of a transmission to the cells it spans, in proportion to time."""
        bits = size_bytes * 8
        used = self._used_bits
        cell, last = start_ns // GRID_NS, max(start_ns, end_ns - 1) // GRID_NS
        while cell < last:
            edge = (cell + 1) * GRID_NS
            share = bits * (edge - start_ns) // (end_ns - start_ns)
            used[cell] = used.get(cell, 0) + share
            bits -= share
            start_ns = edge
            cell += 1
        used[last] = used.get(last, 0) + bits

    def book(self, cell: int, bits: int) -> None:
        """Note the use of a cell by a lane that is solved elsewhere, when the cell is over.

        What its sibling hands in for a later cell meanwhile has the loan of the present one. Cell
        -1 comes first, before anything is sent.
        """
        self._told = cell
        self._used_bits[cell] = bits
        self._forget(cell)
        if self.sibling is not None:
            self.sibling._cell = -1

    def rate_in(self, cell: int) -> int:
        """Return the lane's rate in a grid cell, reserve and loan, in bit/s."""
        sibling = self.sibling
        if sibling is None or cell < 1:
            return self.reserved_bits_per_s
        before = cell - 1 if sibling._told is None else min(cell - 1, sibling._told)
        used = sibling._used_bits.get(before, 0) * NS // GRID_NS
        return self.reserved_bits_per_s + max(0, sibling.reserved_bits_per_s - used)

    def clear(self, now_ns: int) -> None:
        """Lose what is queued and on the wire (a crash), and what it would have used."""
        cell = now_ns // GRID_NS
        idle_ns = max(0, min(self.free_ns, (cell + 1) * GRID_NS) - now_ns)
        super().clear(now_ns)
        used = {c: bits for c, bits in self._used_bits.items() if c <= cell}
        if idle_ns:
            used[cell] = max(0, used.get(cell, 0) - self.bits_per_s * idle_ns // NS)
        self._used_bits = used

    def _enter(self, cell: int) -> None:
        self._cell = cell
        self._use_rate(self.rate_in(cell))
        self._forget(cell)

    def _forget(self, cell: int) -> None:
        for old in [c for c in self._used_bits if c < cell - MEMORY_CELLS]:
            del self._used_bits[old]


class Link:
    """One direction of a validator's access link: a consensus lane and an agents lane.

    `isolated`: each lane has its share of the rate and nothing else. `shared`: see `SharedLane`.
    `flow_bits_per_s` limits each flow of each lane; at or above the link's rate it never binds and
    costs nothing.
    """

    __slots__ = (
        "agents",
        "bits_per_s",
        "consensus",
        "consensus_share_ppm",
        "flow_bits_per_s",
        "lanes",
    )

    def __init__(
        self,
        bits_per_s: int,
        *,
        consensus_share_ppm: int = PPM // 2,
        lanes: str = "isolated",
        flow_bits_per_s: int | None = None,
    ) -> None:
        if lanes not in ("isolated", "shared"):
            raise ValueError(f"lanes: {lanes}; need isolated or shared")
        if not 0 < consensus_share_ppm < PPM:
            raise ValueError(f"consensus share {consensus_share_ppm} ppm: need 1 to {PPM - 1}")
        self.bits_per_s = bits_per_s
        self.consensus_share_ppm = consensus_share_ppm
        self.lanes = lanes
        self.flow_bits_per_s = flow_bits_per_s
        flow_bits_per_s = self._binding_limit(bits_per_s)
        reserve, rest = self._split(bits_per_s)
        if lanes == "isolated":
            self.consensus = Lane(reserve, flow_bits_per_s)
            self.agents = Lane(rest, flow_bits_per_s)
            return
        consensus = SharedLane(reserve, flow_bits_per_s)
        agents = SharedLane(rest, flow_bits_per_s)
        consensus.sibling, agents.sibling = agents, consensus
        self.consensus, self.agents = consensus, agents

    def set_rate(self, bits_per_s: int) -> None:
        """Change the link's rate (a throttle, or its end); both lanes keep their shares."""
        rates = self._split(bits_per_s)
        self.bits_per_s = bits_per_s
        for lane, rate in zip((self.consensus, self.agents), rates, strict=True):
            if isinstance(lane, SharedLane):
                lane.reserve(rate)
            else:
                lane.set_rate(rate)
            lane.flow_bits_per_s = self._binding_limit(bits_per_s)

    def clear(self, now_ns: int) -> None:
        """Lose what both lanes hold (a crash)."""
        self.consensus.clear(now_ns)
        self.agents.clear(now_ns)

    def _binding_limit(self, bits_per_s: int) -> int | None:
        limit = self.flow_bits_per_s
        return None if limit is None or limit >= bits_per_s else limit

    def _split(self, bits_per_s: int) -> tuple[int, int]:
        reserve = bits_per_s * self.consensus_share_ppm // PPM
        if reserve < 1 or bits_per_s - reserve < 1:
            raise ValueError(f"rate {bits_per_s} bit/s is too low to be split into two lanes")
        return reserve, bits_per_s - reserve


class Cpu:
    """c workers that serve jobs first in, first out, exact (Kiefer-Wolfowitz).

    `slowdown_ppm` stretches service times (10**6 is none): a slow node, from the next start.
    """

    __slots__ = (
        "_free_ns",
        "_last_end_ns",
        "busy_ns",
        "longest_wait_ns",
        "served",
        "slowdown_ppm",
        "wait_ns",
        "workers",
    )

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers: {workers}; need at least 1")
        self.workers = workers
        self._free_ns = [0] * workers
        self._last_end_ns = 0
        """When the last of the workers is free."""
        self.slowdown_ppm = PPM
        self.served = 0
        self.busy_ns = 0
        self.wait_ns = 0
        self.longest_wait_ns = 0

    def serve(self, now_ns: int, service_ns: int) -> int:
        """Hand in a job of `service_ns` at `now_ns`; return when it is done."""
        if self.slowdown_ppm != PPM:
            service_ns = -(-service_ns * self.slowdown_ppm // PPM)
        free = self._free_ns
        start = free[0]
        if start > now_ns:
            wait = start - now_ns
            self.wait_ns += wait
            if wait > self.longest_wait_ns:
                self.longest_wait_ns = wait
        else:
            start = now_ns
        end = start + service_ns
        heapreplace(free, end)
        if end > self._last_end_ns:
            self._last_end_ns = end
        self.busy_ns += service_ns
        self.served += 1
        return end

    def serve_split(self, now_ns: int, service_ns: int) -> int:
        """Hand in a job that all workers share in equal parts; return when the last is done."""
        part = -(-service_ns // self.workers)
        if self.slowdown_ppm == PPM and self._last_end_ns <= now_ns:
            # All are idle, so all start now.
            self._last_end_ns = end = now_ns + part
            self._free_ns = [end] * self.workers
            self.busy_ns += part * self.workers
            self.served += self.workers
            return end
        return max([self.serve(now_ns, part) for _ in range(self.workers)])

    def set_slowdown(self, slowdown_ppm: int) -> None:
        """Stretch service times from the next start; 2,000,000 is half speed."""
        if slowdown_ppm < 1:
            raise ValueError(f"slowdown {slowdown_ppm} ppm: need at least 1")
        self.slowdown_ppm = slowdown_ppm

    def backlog_ns(self, now_ns: int) -> int:
        """Return how long a job handed in now would wait."""
        return max(0, self._free_ns[0] - now_ns)

    def clear(self, now_ns: int) -> None:
        """Lose waiting and running jobs (a crash)."""
        self.busy_ns -= sum(max(0, free - now_ns) for free in self._free_ns)
        self._free_ns = [min(free, now_ns) for free in self._free_ns]
        self._last_end_ns = min(self._last_end_ns, now_ns)
        heapify(self._free_ns)
