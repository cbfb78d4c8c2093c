"""Arguments and options that several commands share. Must not know: the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioFile = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A scenario file, or the name of one in scenarios/.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a setting: --set validators.count=7. May be repeated.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Replace the seed.", show_default=False)]
Replicates = Annotated[
    int | None,
    typer.Option(help="Replace the number of replicates.", show_default=False),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where results are kept.", file_okay=False)
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        help="Processes for sweeps and replicates; 0: this one. Default: all cores that memory "
        "allows.",
        show_default=False,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run on the Dask cluster of this scheduler instead (extra: cluster).",
        show_default=False,
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Wall-clock time of one replicate in a study: '10 min'. One that takes longer fails.",
        show_default=False,
    ),
]
Attempts = Annotated[
    int, typer.Option(min=1, help="Workers that one replicate may cost before it has failed.")
]
Confidence = Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of the intervals.")]
MetricNames = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Show this metric; may be repeated."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the path of the run only.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)
]
IntoRun = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Where to; default: into the run."),
]
