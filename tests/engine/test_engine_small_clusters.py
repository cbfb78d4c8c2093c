"""Small clusters are exact: how many votes a certificate takes, seen in the tables of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.worlds import ran


@pytest.mark.parametrize(
    ("count", "level", "votes"),
    [(4, 0, 3), (4, 1, 3), (4, 2, 4), (7, 0, 5), (7, 1, 6), (7, 2, 6), (10, 0, 7), (10, 2, 9)],
)
def test_votes_of_a_certificate(count: int, level: int, votes: int, tmp_path: Path) -> None:
    done = ran(
        tmp_path,
        duration="2 s",
        validators={"count": count},
        quorum={"initial_level": level, "cooldown_epochs": 1000},
    )
    rows = done.rows("certificates", kind="quorum")
    assert len(rows) >= 20
    assert {row["signers"] for row in rows} == {votes}
    for row in done.rows("certificates", kind="quorum", epoch=1):
        assert row["weight"] == votes * (1_000_000_000 // count)
    for row in rows:
        assert row["weight"] >= row["quorum"]
        assert row["size_bytes"] == votes * 4_627
    assert {row["level"] for row in done.rows("epochs")} == {level}


@pytest.mark.parametrize("count", [4, 5, 6, 7, 12])
def test_the_effective_cap(count: int, tmp_path: Path) -> None:
    """A cap of 15 % cannot hold below seven validators: one in n is what each has."""
    done = ran(tmp_path, duration="1 s", validators={"count": count})
    caps = {row["effective_cap_ppm"] for row in done.rows("epochs")}
    floor = 1_000_000 // count
    assert len(caps) == 1
    assert caps <= ({150_000} if count >= 7 else {floor, floor + 1})


def test_a_cap_that_holds_binds(tmp_path: Path) -> None:
    """Of one large stake among small ones, 15 % of the weight counts and no more."""
    amounts = [100_000_000, *[1_000_000] * 9]
    done = ran(
        tmp_path,
        duration="1 s",
        validators={"count": 10, "stake": {"kind": "listed", "amounts": amounts}},
    )
    total = done.rows("epochs")[0]["total_weight"]
    weights = [row["weight"] for row in done.rows("validators", epoch=1)]
    assert weights[0] == max(weights)
    assert abs(weights[0] - total * 15 // 100) <= 10
    assert len(set(weights[1:])) == 1
    uncapped = ran(
        tmp_path / "uncapped",
        duration="1 s",
        validators={"count": 10, "stake": {"kind": "listed", "amounts": amounts}},
        weights={"cap": "100 %"},
    )
    assert uncapped.rows("validators", epoch=1, validator=0)[0]["weight"] > total * 35 // 100
