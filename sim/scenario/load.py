"""Load a scenario: read its file and its parents, apply overrides, check, resolve.

Owns: files, `extends`, `--set`, and the place of every finding.
Must not know: what fields mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from sim.scenario.document import REFUSED, Node, Place, Refused, read_document, read_value
from sim.scenario.errors import Key, ScenarioError, ScenarioErrors
from sim.scenario.inherit import merged
from sim.scenario.model import Point, Scenario
from sim.scenario.quantities import QuantityError
from sim.scenario.sweep import MAX_POINTS
from sim.scenario.validate import MISSING, Finding, Path, point_values, validate

__all__ = ["Point", "Scenario", "ScenarioError", "ScenarioErrors", "load_scenario"]

MAX_PARENTS = 16


def load_scenario(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    seed: int | None = None,
    replicates: int | None = None,
) -> Scenario:
    """Load, resolve and check the scenario at `path`.

    `overrides`: `a.b.c=value` each, applied in order, checked as if they stood in the file; `seed`
    and `replicates` replace the file's. Raises ScenarioErrors with everything that is wrong, and
    OSError where the file cannot be read.
    """
    errors: list[ScenarioError] = []
    extra = list(overrides)
    extra += [f"seed={seed}"] if seed is not None else []
    extra += [f"replicates={replicates}"] if replicates is not None else []
    text = FilePath(path).read_bytes()
    root = _read(text, os.fspath(path), (), errors)
    if root is None:
        raise ScenarioErrors(errors)
    assert isinstance(root.content, dict)
    for rank, override in enumerate(extra, 1):
        _override(root, override, rank, errors)
    _own_keys(root, FilePath(path), errors)
    scenario, findings = validate(root.plain())
    if "extends" in root.content:
        # What is missing here may be there in the parent that could not be read.
        findings = [each for each in findings if not each[1].endswith(MISSING)]
    errors += _placed(root, findings)
    if scenario is not None and not errors and scenario.sweep is not None:
        errors += _sweep_errors(root, scenario)
    if errors or scenario is None:
        raise ScenarioErrors(sorted(errors, key=_file_order(os.fspath(path))))
    return scenario


def _file_order(path: str) -> Any:
    """Order errors: the file itself, then its parents, then overrides, each by place."""
    return lambda error: (error.file == "--set", error.file != path, error)


def _read(
    content: bytes, file: str, children: tuple[str, ...], errors: list[ScenarioError]
) -> Node | None:
    """Return a file's tree with what it inherits."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        errors.append(ScenarioError(file, line, 1, "not UTF-8 text"))
        return None
    root = read_document(text, file, errors)
    if root is None:
        return None
    if not isinstance(root.content, dict):
        errors.append(root.place.error("expected a map of settings"))
        return None
    extends = root.content.get("extends")
    if extends is None or isinstance(extends.content, Refused):
        return root
    parent = _parent(extends, file, (*children, file), errors)
    if parent is None:
        root.content["extends"] = Node(extends.place, REFUSED)
        return root
    del root.content["extends"]
    return merged(root, parent)


def _parent(
    extends: Node, file: str, family: tuple[str, ...], errors: list[ScenarioError]
) -> Node | None:
    if not isinstance(extends.content, str):
        errors.append(extends.place.error("`extends` names one file"))
        return None
    path = os.path.normpath(os.path.join(os.path.dirname(file), extends.content))
    seen = [os.path.realpath(member) for member in family]
    if os.path.realpath(path) in seen:
        errors.append(extends.place.error(f"`{extends.content}` extends this file in turn"))
        return None
    if len(family) > MAX_PARENTS:
        errors.append(extends.place.error(f"more than {MAX_PARENTS} generations"))
        return None
    try:
        content = FilePath(path).read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        errors.append(extends.place.error(f"`{extends.content}`: {reason}"))
        return None
    return _read(content, path, family, errors)


def _own_keys(root: Node, path: FilePath, errors: list[ScenarioError]) -> None:
    """Give the scenario its file's name where it has none."""
    assert isinstance(root.content, dict)
    if "name" not in root.content:
        stem = re.sub(r"[^a-z0-9_-]+", "_", path.stem.lower()).strip("_-")
        root.content["name"] = Node(root.place, stem[:60] or "scenario")


def _override(root: Node, override: str, rank: int, errors: list[ScenarioError]) -> None:
    path, equals, text = override.partition("=")
    place = Place("--set", rank, 1)
    if not equals or not path:
        errors.append(place.error(f"`{override}` is not `a.b.c=value`"))
        return
    if path.split(".")[0] == "extends":
        errors.append(place.error("`extends` cannot be overridden"))
        return
    value = read_value(text, rank, len(path) + 1, errors)
    if value is None:
        return
    at = root
    names = path.split(".")
    for index, name in enumerate(names):
        last = index == len(names) - 1
        if isinstance(at.content, dict):
            at.keys[name] = place if last else at.keys.get(name, place)
            if last:
                at.content[name] = value
            else:
                at = at.content.setdefault(name, Node(place, {}))
        elif isinstance(at.content, list) and name.isdecimal() and int(name) < len(at.content):
            if last:
                at.content[int(name)] = value
            else:
                at = at.content[int(name)]
        else:
            errors.append(place.error(f"`{path}` leads nowhere: there is no `{name}`"))
            return


def _placed(root: Node, findings: list[Finding]) -> list[ScenarioError]:
    """Give each finding its place; what is inside a refused value was reported already."""
    placed = []
    for path, message in findings:
        place = _place(root, path)
        if place is not None:
            name = ".".join(str(step) for step in path)
            placed.append(place.error(f"{name}: {message}" if name else message))
    return placed


def _place(root: Node, path: Path) -> Place | None:
    """Return the place of the value at `path`, of its key where unknown, or of the nearest map."""
    at = root
    place = root.place
    for step in path:
        content = at.content
        if isinstance(content, dict) and isinstance(step, Key):
            return at.keys.get(step, place)
        if isinstance(content, dict) and step in content:
            place, at = at.keys.get(str(step), place), content[str(step)]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            at = content[step]
            place = at.place
        else:
            return place
        if isinstance(at.content, Refused):
            return None
        if not isinstance(at.content, dict):
            place = at.place
    return place


def _sweep_errors(root: Node, scenario: Scenario) -> list[ScenarioError]:
    """Check every point; a finding about a setting that varies stands at its value."""
    assert scenario.sweep is not None
    assert isinstance(root.content, dict)
    sweep = scenario.sweep
    kind = next(kind for kind in ("grid", "zip", "sobol") if hasattr(sweep, kind))
    place = _place(root, ("sweep", kind))
    assert place is not None
    if kind == "zip" and any(len(values) != sweep.size for _, values in sweep.axes):
        return [place.error("sweep.zip: all lists must have the same length")]
    if sweep.size > MAX_POINTS:
        return [place.error(f"sweep: {sweep.size} points; at most {MAX_POINTS}")]
    errors: list[ScenarioError] = []
    said: set[tuple[Path, Place]] = set()
    for index, ranks in enumerate(sweep.indices()):
        # The values of a range are drawn: all of them stand where its two ends do.
        nodes: list[tuple[str | int, ...]] = [
            ("sweep", kind, path) if kind == "sobol" else ("sweep", kind, path, rank)
            for (path, _), rank in zip(sweep.axes, ranks, strict=True)
        ]
        try:
            plain, paths = point_values(scenario, ranks)
        except QuantityError as error:
            return [place.error(f"sweep: {error}")]
        _, findings = validate(plain)
        for path, message in findings:
            where = _swept_place(root, path, paths, nodes) or place
            if kind == "sobol":
                # Hundreds of points have one range: the first that is wrong tells.
                if (path, where) in said:
                    continue
                said.add((path, where))
            name = ".".join(str(step) for step in path)
            errors.append(where.error(f"point {index}: {name}: {message}"))
    return errors


def _swept_place(root: Node, path: Path, paths: list[Path], nodes: list[Any]) -> Place | None:
    for swept, node in zip(paths, nodes, strict=True):
        if path[: len(swept)] == swept:
            return _place(root, (*node, *path[len(swept) :]))
    for swept, node in zip(paths, nodes, strict=True):
        if path[:1] == swept[:1]:
            return _place(root, node)
    return None
