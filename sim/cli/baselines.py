"""`baselines`: the protocols side by side; print a table, write data and curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.cli.outcome import MET


def baselines(
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            min=4, max=1000, metavar="N", help="Validators; once a size (4, 8, ... 512 if none)."
        ),
    ] = None,
    delay: Annotated[
        int, typer.Option(min=1, metavar="MS", help="One-way delay, in milliseconds.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of signing times and turns.")] = 1,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where data and curves are written.")
    ] = Path("results/baselines"),
) -> int:
    """Compare the protocol with PBFT, HotStuff, Tendermint and Streamlet: latency, messages, bytes.

    Blocks without transactions, certificates of ML-DSA-87, nothing wrong. The full table takes
    minutes: three of the five send n * n messages a block.
    """
    import polars as pl

    from sim.cli.dht import laid_out
    from sim.cli.screen import console
    from sim.study import baselines as study

    plan = study.Plan(tuple(sizes or study.SIZES), delay * study.MS, seed)
    screen = console()
    rows = []
    with screen.status("measuring") as status:
        for row in study.compare(plan):
            rows.append(row)
            status.update(f"{row['protocol']}, {row['validators']} validators: done")
    data = pl.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "baselines.parquet"
    data.write_parquet(file)
    screen.print(laid_out(study.show(data)))
    files = [file]
    try:
        files += study.save(data, out)
    except ModuleNotFoundError as error:
        screen.print(f"no curves: {error}", markup=False, soft_wrap=True)
    for file in files:
        screen.print(f"wrote {file}", markup=False, soft_wrap=True)
    return MET
