"""`check`, `show`, `list`, `schema`: look at scenarios without running them.

Owns: finding a scenario by name, and one-line accounts of it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.cli.outcome import MET, USAGE, UsageError, complain
from sim.scenario.estimate import least_memory_bytes, machine_memory_bytes, memory_shortage
from sim.scenario.load import ScenarioErrors, load_scenario
from sim.scenario.model import Scenario
from sim.scenario.offered import offered
from sim.scenario.quantities import DURATION
from sim.scenario.warnings import warnings_of

FOLDER = Path("scenarios")


def find(scenario: str) -> Path:
    """Return the file that a user means: a path, or a name in `scenarios/`."""
    path = Path(scenario)
    if path.is_file():
        return path
    named = FOLDER / f"{scenario}.yaml"
    if named.is_file():
        return named
    if path.is_dir():
        raise UsageError(f"{scenario}: a folder; name a scenario file in it")
    known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    hint = f"; in {FOLDER}/: {', '.join(known)}" if known else ""
    raise UsageError(f"{scenario}: no such scenario{hint}")


def load(
    scenario: str,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    replicates: int | None = None,
) -> Scenario:
    """Load the scenario that a user means; refuse what this machine cannot hold."""
    path = find(scenario)
    loaded = load_scenario(path, overrides, seed, replicates)
    shortage = memory_shortage(loaded, machine_memory_bytes())
    if shortage is not None:
        raise UsageError(f"{path}: {shortage}")
    return loaded


def facts(scenario: Scenario) -> str:
    """Return the size of a scenario in one line."""
    validators = scenario.validators
    parts = [
        f"{validators.count:,} validators in {plural(len(validators.placement.regions), 'region')}"
    ]
    if scenario.agents is not None:
        parts.append(f"{scenario.agents.count:,} agents")
    parts.append(f"{DURATION.format(scenario.duration_ns)} simulated")
    points = len(scenario.points())
    if points > 1:
        parts.append(f"{points} points")
    if scenario.until is not None:
        parts.append(f"{scenario.replicates} to {scenario.until.max_replicates} replicates")
    elif scenario.replicates > 1:
        parts.append(f"{scenario.replicates} replicates")
    parts.append(f"seed {scenario.seed}")
    return ", ".join(parts)


def plural(count: int, noun: str) -> str:
    """Return `1 region`, `3 regions`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def check_scenarios(scenarios: Sequence[str], overrides: Sequence[str]) -> int:
    """Check each; print all errors of all."""
    code = MET
    for scenario in scenarios:
        try:
            loaded = load(scenario, overrides)
        except ScenarioErrors as errors:
            code = USAGE
            for error in errors.errors:
                complain(str(error))
            continue
        except UsageError as error:
            code = USAGE
            complain(str(error))
            continue
        memory = least_memory_bytes(loaded) / 2**20
        load_of = "".join(f"about {count:,} {what}, " for what, count in offered(loaded).items())
        needs = f"{load_of}at least {memory:,.0f} MiB, digest {loaded.digest[:8]}"
        print(f"{find(scenario)}: ok: {facts(loaded)}, {needs}")
        for warning in warnings_of(loaded):
            complain(f"{find(scenario)}: warning: {warning}")
    return code


def show_scenario(
    scenario: str, overrides: Sequence[str], seed: int | None, replicates: int | None
) -> int:
    """Print the resolved YAML."""
    text = load_scenario(find(scenario), overrides, seed, replicates).to_yaml()
    if sys.stdout.isatty():
        from rich.syntax import Syntax

        Console().print(Syntax(text, "yaml", background_color="default"))
    else:
        sys.stdout.write(text)
    return MET


def list_scenarios(folder: Path) -> int:
    """Print name, title and question of each scenario."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UsageError(f"{folder}: no scenarios there; name a folder that has some")
    table = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    code = MET
    for file in files:
        try:
            loaded = load_scenario(file)
        except ScenarioErrors as errors:
            count = plural(len(errors.errors), "error")
            table.add_row(file.stem, Text(f"{count}: creto-sim check {file}", style="red"))
            code = USAGE
            continue
        account = Text.assemble(loaded.title, "\n", (facts(loaded), "dim"), "\n", loaded.question)
        table.add_row(file.stem, account)
    Console(highlight=False).print(table)
    return code


def print_schema(write: bool) -> int:
    """Print the JSON Schema, or write it into this installation."""
    from sim.scenario import schema

    text = schema.schema_text()
    if not write:
        sys.stdout.write(text)
        return MET
    path = Path(schema.__file__).with_name(schema.FILE)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path.name}")
    return MET
