"""Import machine code in the place of sources, where it was made of exactly these sources.

Owns: the decision, once a process, and the import hook that carries it out. All modules come from
one library or none does. Must not know: how the library is made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType

from sim.compiled import cache


class Door(ExtensionFileLoader):
    """Enters the library at one module's own entry: Python looks for the name's last part."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        entry = ModuleSpec(cache.entry_of(spec.name), self, origin=spec.origin)
        module = super().create_module(entry)
        sys.modules.pop(entry.name, None)
        return module


class Finder:
    """Answers for the compiled modules; all others are left to Python."""

    def __init__(self) -> None:
        self._names = {*cache.MODULES, cache.LIBRARY}
        self._file: str | None = None
        self.core = ""
        """What runs: `interpreted`, or what made the machine code. Empty before it is decided."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where to load `name` from; None where that is not this finder's business."""
        if name not in self._names:
            return None
        if not self.core:
            self._decide()
        if self._file is None:
            return None
        kind = ExtensionFileLoader if name == cache.LIBRARY else Door
        loader = kind(name, self._file)
        return spec_from_file_location(name, self._file, loader=loader)

    def _decide(self) -> None:
        self.core = "interpreted"
        if os.environ.get(cache.SWITCH) == "0":
            return
        where = cache.found()
        if where is not None:
            self._file = str(cache.library_file(where))
            self.core = f"compiled by {cache.record_of(where)['made_by']}"


_FINDER = Finder()


def install() -> None:
    """Put the finder before Python's own ones."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def core() -> str:
    """Say what runs, or would: `interpreted`, or `compiled by mypyc x.y.z`."""
    if not _FINDER.core:
        _FINDER._decide()
    return _FINDER.core
