"""Speed of the simulation: the work is asserted, the figures are printed."""

from __future__ import annotations

import pytest

from sim.study.bench import (
    ConsensusSpeed,
    Figure,
    PlaneSpeed,
    bench,
    isolated,
    measure_consensus,
    measure_pbft,
    measure_plane,
    measure_reference,
    measure_storm,
)

pytestmark = pytest.mark.benchmark

N = 150


def tell(what: str, speed: ConsensusSpeed | PlaneSpeed) -> None:
    print(
        f"\n{what}: {speed.messages:,} messages in {speed.cpu_ns / 1e9:.2f} CPU-s, "
        f"{speed.messages_per_cpu_s:,} a CPU-second, peak {speed.peak_memory_bytes >> 20:,} MiB"
    )


def test_steady_consensus() -> None:
    """Target: 100,000 deliveries a CPU-second, aiming at 200,000."""
    speed = isolated(measure_consensus, 60)
    tell(f"consensus, {N} validators, steady", speed)
    print(dict(speed.by_kind))
    assert speed.blocks >= 180
    assert speed.by_kind["proposal"] >= (N - 1) * speed.blocks
    assert speed.by_kind["vote"] >= (N - 1) * speed.blocks
    assert sum(speed.by_kind.values()) == speed.messages


def test_view_change_storm() -> None:
    """Every view of one second fails, and each brings n (n - 1) timeouts."""
    speed = isolated(measure_storm, 4)
    tell(f"consensus, {N} validators, view-change storm", speed)
    print(dict(speed.by_kind))
    assert speed.blocks == 0
    assert speed.by_kind["timeout"] >= 3 * N * (N - 1)


def test_pbft() -> None:
    """Target: 100,000 deliveries a CPU-second, in less than 200 MiB above the imports."""
    speed = isolated(measure_pbft, 5)
    tell(f"PBFT, {N} validators", speed)
    print(dict(speed.by_kind))
    assert speed.blocks >= 20
    assert speed.by_kind["prepare"] >= (N - 1) ** 2 * (speed.blocks - 2)
    assert speed.by_kind["commit"] >= N * (N - 1) * (speed.blocks - 2)


def test_plane_against_its_reference() -> None:
    """Target: 3 million messages a CPU-second at 1M agents, 100 times the reference."""
    reference = isolated(measure_reference, 2)
    tell(f"SimPy reference, {reference.agents:,} agents", reference)
    planes = [isolated(measure_plane, agents, 5) for agents in (reference.agents, 1_000_000)]
    for plane in planes:
        tell(f"agent plane, {plane.agents:,} agents", plane)
        print(f"{plane.messages_per_cpu_s / reference.messages_per_cpu_s:,.0f} times the reference")
    for speed in (reference, *planes):
        a_second = speed.messages / (speed.simulated_ns / 1e9) / speed.agents
        # 0.2355 messages an agent and second, nine agents in ten online.
        assert a_second == pytest.approx(0.2, rel=0.1)
        assert speed.conserved
        assert speed.messages <= speed.offered * 1.1


def test_all_figures_of_the_command() -> None:
    figures = list(bench([10_000], seconds=1))
    assert all(isinstance(figure, Figure) and figure.value > 0 for figure in figures)
    for figure in figures:
        print(f"\n{figure.what:<60} {figure.value:>14,} {figure.unit}", end="")
    assert len({figure.what for figure in figures}) == len(figures) == 10
