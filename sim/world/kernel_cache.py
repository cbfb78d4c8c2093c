"""How kernels are compiled, and where they are kept: a folder for each state of their sources.

An index of a kernel is never negative: Numba asks at each whether it counts from an array's end,
and without the question messages take an eighth less time. Where NUMBA_BOUNDSCHECK=1 a negative
index is an error like one beyond the end.

Numba looks only at the file of the function that it loads, not at what was inlined into it from
other files, so a changed constant would leave stale machine code behind. Keyed by a digest of every
file that a kernel may draw on, the cache cannot. Must not know: what the kernels do.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config as _numba_config
from numba import njit as _njit
from numba import types as _types
from numba.core import compiler as _compiler
from numba.core import compiler_machinery as _machinery
from numba.core import ir as _ir
from numba.core import typed_passes as _passes

config: Any = _numba_config
"""Numba fills its settings in when it is imported, where no type checker sees them."""
njit: Any = _njit
types: Any = _types
compiler: Any = _compiler
machinery: Any = _machinery
ir: Any = _ir
passes: Any = _passes
_FOLDERS_KEPT = 3
_WORLD = Path(__file__).resolve().parent


def sources_digest() -> str:
    """SHA-256 over the files that kernels are made of: agents, routing, registry and the shared."""
    whole = hashlib.sha256()
    folders = [_WORLD / name for name in ("agents", "routing", "registry")]
    files = [*_WORLD.glob("*.py"), *(path for f in folders for path in f.rglob("*.py"))]
    for path in sorted(files):
        whole.update(path.relative_to(_WORLD).as_posix().encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def cache_folder() -> Path:
    """Return the folder of this state of the sources; older ones beyond a few are removed.

    Below NUMBA_CACHE_DIR where that is set, else in the package's own `__pycache__`; where neither
    can be written Numba falls back to the user's cache.
    """
    base = Path(config.CACHE_DIR) if config.CACHE_DIR else _WORLD / "__pycache__"
    folder = base / f"kernels-{sources_digest()[:16]}"
    if not folder.exists():
        old = sorted(base.glob("kernels-*"), key=lambda path: path.stat().st_mtime)
        for path in old[: max(0, len(old) - _FOLDERS_KEPT + 1)]:
            shutil.rmtree(path, ignore_errors=True)
    return folder


_FOLDER = str(cache_folder())


def compiled_before() -> bool:
    """Tell whether this state of the kernels has been compiled here."""
    return any(Path(_FOLDER).rglob("*.nbc"))


@machinery.register_pass(mutates_CFG=False, analysis_only=False)
class UnsignedIndices(machinery.FunctionPass):  # type: ignore[misc]
    """Let arrays be read and written at unsigned indices.

    A pass of a custom pipeline, as Numba's documentation describes them: it changes the signatures
    by which items are read and written, and the indices are cast to what those say.
    """

    _name = "unsigned_indices"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change the types of one function; say whether any changed."""
        changed = False
        for block in state.func_ir.blocks.values():
            reads = (a.value for a in block.find_insts(ir.Assign) if isinstance(a.value, ir.Expr))
            for item in (*block.find_insts(ir.SetItem), *(r for r in reads if r.op == "getitem")):
                owner, index, *rest = state.calltypes[item].args
                if isinstance(owner, types.Array):
                    arguments = (owner, _unsigned(index), *rest)
                    # A plain assignment to a key that is there is refused.
                    state.calltypes[item] = state.calltypes.pop(item).replace(args=arguments)
                    changed = True
        return changed


def _unsigned(index: Any) -> Any:
    if isinstance(index, types.Integer):
        return types.uintp
    if isinstance(index, types.BaseTuple):
        return types.Tuple([_unsigned(part) for part in index.types])
    return index


class Pipeline(compiler.CompilerBase):  # type: ignore[misc]
    """Numba's own, and `UnsignedIndices` once types are known."""

    def define_pipelines(self) -> list[Any]:
        """Return the only one."""
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.add_pass_after(UnsignedIndices, passes.NopythonRewrites)
        manager.finalize()
        return [manager]


def kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return Numba's `njit` with `options`, its machine code kept in `cache_folder()`.

    For kernels that Python calls; what only kernels call is `inner`.
    """
    compile_with = njit(cache=True, pipeline_class=Pipeline, **options)

    def decorate(function: Callable[..., Any]) -> Any:
        before = config.CACHE_DIR
        config.CACHE_DIR = _FOLDER
        try:
            return _one_form(compile_with(function))
        finally:
            config.CACHE_DIR = before

    return decorate


def inner(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return Numba's `njit` with `options` for functions that kernels call, which become part of
    those: nothing of their own is kept, and nothing built that only Python would call.
    """
    unwrapped = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compile_with = njit(pipeline_class=Pipeline, **unwrapped, **options)
    return lambda function: _one_form(compile_with(function))


def _one_form(dispatcher: Any) -> Any:
    """Let a kernel that calls this one pass any signed integer or constant as an int64.

    Numba compiles a function anew for every constant that it is called with, and for every width
    of an integer: a third of all compilation. Unsigned words keep their type, for hashes wrap.
    """
    if config.DISABLE_JIT:
        return dispatcher
    choose = dispatcher.get_call_template

    def choose_wide(arguments: Any, keywords: Any) -> Any:
        return choose(tuple(map(_widened, arguments)), keywords)

    dispatcher.get_call_template = choose_wide
    return dispatcher


def _widened(kind: Any) -> Any:
    plain = types.unliteral(kind)
    if isinstance(plain, types.Integer) and plain.signed:
        return types.int64
    return plain
