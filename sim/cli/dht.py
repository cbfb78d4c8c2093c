"""`dht`: study lookups by themselves; print a short table, write data and curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.cli.outcome import MET, UsageError
from sim.cli.screen import console
from sim.study.shown import Shown

STUDIES = ("cost", "depth", "hierarchy", "churn", "attack")


def study_dht(
    name: str,
    out: Path,
    nodes: int | None,
    lookups: int | None,
    replicates: int | None,
    seed: int,
) -> int:
    """Run a study of lookups; files are named in what is printed."""
    if name not in STUDIES:
        raise UsageError(f"{name}: know {', '.join(STUDIES)}")
    # Numba and Matplotlib load when they are needed.
    from sim.study import dht, dht_figures

    plan = dht.PLANS[name]
    plan = replace(
        plan,
        nodes=nodes or plan.nodes,
        lookups=lookups or plan.lookups,
        replicates=replicates or plan.replicates,
        seed=seed,
    )
    screen = console()
    data = dht.STUDIES[name](plan)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"dht_{name}.parquet"
    data.write_parquet(file)
    shown = dht_figures.SHOW[name](data)
    screen.print(laid_out(shown))
    try:
        files = [file, *dht_figures.save(name, data, out)]
    except ModuleNotFoundError as error:
        files = [file]
        screen.print(f"no curves: {error}", markup=False, soft_wrap=True)
    for file in files:
        screen.print(f"wrote {file}", markup=False, soft_wrap=True)
    return MET


def laid_out(shown: Shown) -> Table:
    """Lay out a study's short table; heads may wrap, figures must not be cut."""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=shown.caption,
        title_justify="left",
    )
    for place, head in enumerate(shown.heads):
        names = place < 2
        width = max(len(word) for word in (*head.split(), *(row[place] for row in shown.rows)))
        side: Literal["left", "right"] = "left" if names else "right"
        table.add_column(head, justify=side, no_wrap=names, min_width=width)
    for row in shown.rows:
        table.add_row(*row)
    return table
