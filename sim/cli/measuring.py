"""`calibrate` and `bench`: measure this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.cli.outcome import MET, UsageError
from sim.cli.screen import console
from sim.compiled.finder import core
from sim.world.crypto.costs import calibrate, costs_text


def bench_machine(agents: Sequence[int], seconds: int) -> int:
    """Measure, and print each figure as soon as it is there."""
    study: Any = import_module("sim.study.bench")
    screen = console()
    screen.print(f"validators: {core()}", markup=False, soft_wrap=True)
    for figure in study.bench(agents, seconds):
        line = f"{figure.what:<44} {figure.value:>16,} {figure.unit}"
        screen.print(line, markup=False, soft_wrap=True)
    return MET


def calibrate_machine(file: Path, samples: int) -> int:
    """Time every suite that is installed; write the cost table and print it."""
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent}: no such folder")
    models = calibrate(samples=samples)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(costs_text(models), encoding="utf-8")
    os.replace(temporary, file)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("suite")
    for name in ("verify", "sign, fixed", "sign, an attempt", "make keys"):
        table.add_column(f"{name} (us)", justify="right")
    for model in models.values():
        figures = (model.verify_ns, model.sign_fixed_ns, model.sign_attempt_ns, model.keygen_ns)
        table.add_row(model.suite, *(f"{figure / 1000:,.1f}" for figure in figures))
    screen = console()
    screen.print(table)
    screen.print(
        f"wrote {file}; use it with --set crypto.costs={file}", markup=False, soft_wrap=True
    )
    return MET
