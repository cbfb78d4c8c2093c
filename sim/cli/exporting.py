"""`export`: write a scenario's deployment plans and list them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.cli.looking import load
from sim.cli.outcome import FAILED, MET, UsageError, complain
from sim.cli.screen import console


def export_plans(name: str, folder: Path, overrides: Sequence[str]) -> int:
    """Write the plans; return the exit code: 1 where an inspection refuses one."""
    from sim.study import deployment
    from sim.world.cloud.inspection import CHECKS

    scenario = load(name, overrides, None, None)
    try:
        whole = deployment.deployment(scenario)
        made = deployment.write(scenario, folder)
    except deployment.PlanRefused as refused:
        for check, finding in refused.findings:
            complain(f"refused: {check.replace('_', ' ')}: {finding}")
        return FAILED
    except (FileExistsError, ValueError) as error:
        raise UsageError(str(error)) from None
    screen = console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("region", no_wrap=True)
    table.add_column("network", no_wrap=True)
    for head in ("zones", "validators"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("sends to", overflow="fold")
    regions = len(whole.sites)
    for site in whole.sites:
        reached = [other.region for other in whole.reached(site)]
        shown = "all regions" if len(reached) == regions else ", ".join(reached) or "nobody"
        table.add_row(site.region, site.block, str(site.zones), str(site.validators), shown)
    screen.print(table)
    screen.print(f"{len(CHECKS)} checks found nothing wrong", markup=False)
    for what in dict.fromkeys(plan.what for plan in made):
        paths = [plan.path for plan in made if plan.what == what]
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        screen.print(f"wrote {folder / paths[0]}{more} ({what})", markup=False, soft_wrap=True)
    return MET
