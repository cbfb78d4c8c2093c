"""The lookup studies on small worlds: what is counted, what theory says, what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.study import dht, dht_figures
from sim.study.dht import Plan
from sim.study.statistics.intervals import mean_interval
from sim.world.agents.draws import weibull_mean_ns
from sim.world.chance import Chance
from sim.world.routing.parameters import DROP, HIERARCHICAL, ITERATIVE, POISON, RECURSIVE


@pytest.fixture(scope="module")
def attack() -> pl.DataFrame:
    return dht.attack(Plan(nodes=2_000, lookups=250, replicates=3))


def success(data: pl.DataFrame, **point: int) -> float:
    rows = data.filter(**point)
    return float(rows["found"].sum() / rows["lookups"].sum())


def test_every_lookup_has_an_outcome(attack: pl.DataFrame) -> None:
    outcomes = attack.select("found", "not_found", "timed_out", "poisoned").sum_horizontal()
    assert (outcomes == attack["lookups"]).all()
    assert success(attack, malicious_percent=0) == 1


def test_one_recursive_path_among_poisoners_is_as_theory_says(attack: pl.DataFrame) -> None:
    for percent in (10, 20, 30, 40, 50):
        single = attack.filter(style=RECURSIVE, malice=POISON, paths=1, malicious_percent=percent)
        p = single["expected_ppm"].mean() / 1e6
        sigma = (p * (1 - p) / single["lookups"].sum()) ** 0.5
        assert success(single) == pytest.approx(p, abs=4.5 * sigma)


def test_a_silent_owner_is_all_that_stops_a_recursive_path(attack: pl.DataFrame) -> None:
    """Whoever is silent is gone round, except for the one node that holds the record."""
    for percent in (10, 30, 50):
        p = 1 - percent / 100
        of = attack.filter(style=RECURSIVE, malice=DROP, paths=1, malicious_percent=percent)
        sigma = (p * (1 - p) / of["lookups"].sum()) ** 0.5
        assert success(of) == pytest.approx(p, abs=4.5 * sigma)
        assert of["timeouts"].sum() > 0


def test_more_paths_find_more_and_cost_more(attack: pl.DataFrame) -> None:
    for style in (RECURSIVE, ITERATIVE):
        point = {"style": style, "malice": POISON, "malicious_percent": 50}
        found = [success(attack, paths=paths, **point) for paths in (1, 2, 8)]
        assert found[0] < found[1] <= found[2]
        rpcs = [attack.filter(paths=paths, **point)["rpcs"].sum() for paths in (1, 2, 8)]
        assert rpcs[0] < rpcs[1] < rpcs[2]


def test_sessions_are_in_equilibrium() -> None:
    chance = Chance(3, 0)
    bundle = dht.equilibrium(dht.world(20_000, chance, dht.network()), chance)
    on = weibull_mean_ns(0.615110, 10_172_310_000_000)
    off = weibull_mean_ns(0.476480, 24_820_590_000_000)
    share = on / (on + off)
    sigma = (share * (1 - share) / 20_000) ** 0.5
    up = bundle.node["up"] == 1
    assert up.mean() == pytest.approx(share, abs=4.5 * sigma)
    # The mean age in equilibrium is E[L^2] / (2 E[L]): Cox, "Renewal Theory", section 5.1.
    second = weibull_mean_ns(0.615110 / 2, 10_172_310_000_000**2)
    ages = -bundle.node["since_ns"][up] / 1e9
    assert mean_interval(ages, 0.99999).covers(second / (2 * on) / 1e9)
    lengths = (bundle.node["since_ns"] - bundle.node["before_ns"])[up] / 1e9
    assert mean_interval(lengths, 0.99999).covers(off / 1e9)


def test_older_tables_hold_more_dead_contacts() -> None:
    data = dht.churn(Plan(nodes=5_000, lookups=100, replicates=1))
    one = data.filter(paths=1, style=RECURSIVE).sort("refresh_min")
    assert one["stale_ppm"].is_sorted()
    assert one["timeouts"].sum() > 0
    assert one["delay_ns"][-1] > one["delay_ns"][0]


def test_rings_keep_lookups_for_the_own_region_inside() -> None:
    data = dht.hierarchy(Plan(nodes=5_000, lookups=500, replicates=2))
    rings = data.filter(kind=HIERARCHICAL)
    assert rings["own_crossings"].sum() == 0
    assert rings["own_lookups"].sum() > 1_000
    flat = data.filter(kind=0)
    assert (flat["lookups"] == flat["found"]).all()
    keys = ["own_percent", "replicate"]
    assert flat.sort(keys)["own_lookups"].equals(rings.sort(keys)["own_lookups"])


def test_the_command_writes_data_and_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sizes = ["--nodes", "2000", "--lookups", "200", "--replicates", "2"]
    for name in ("depth", "hierarchy"):
        result = CliRunner().invoke(app, ["dht", name, "--out", str(tmp_path), *sizes])
        assert result.exit_code == 0, result.output
        data = pl.read_parquet(tmp_path / f"dht_{name}.parquet")
        assert all(kind.is_integer() for kind in data.dtypes)
        assert (tmp_path / f"dht_{name}.svg").stat().st_size > 5_000
        assert (tmp_path / f"dht_{name}.png").stat().st_size > 5_000
    result = CliRunner().invoke(app, ["dht", "length", "--out", str(tmp_path)])
    assert result.exit_code == 2


def test_short_tables_and_curves_of_the_other_studies(attack: pl.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = dht_figures.SHOW["attack"](attack)
    assert len(shown.rows) == 16
    assert all(len(row) == len(shown.heads) for row in shown.rows)
    assert [file.name for file in dht_figures.save("attack", attack, tmp_path)] == [
        "dht_attack.svg",
        "dht_attack.png",
    ]


@pytest.mark.benchmark
@pytest.mark.parametrize("style", [RECURSIVE, ITERATIVE])
def test_cost_of_lookups_in_a_million_nodes(style: int) -> None:
    """Figures are printed; what is asserted is that the work was done, within memory."""
    plan = Plan(nodes=1_000_000, lookups=200_000, replicates=1)
    row = dht.isolated(dht._cost, plan.nodes, style, plan)
    print(dht_figures.show_cost(pl.DataFrame([row])).rows)
    assert row["found"] == row["lookups"] == dht.COST_LOOKUPS[style]
    assert row["rpcs"] > 3 * row["lookups"]
    assert row["bundle_bytes"] < 200 << 20
    assert row["peak_memory_bytes"] < 500 << 20
    assert np.isfinite(row["cpu_ns"])
