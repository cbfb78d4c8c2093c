"""Unions told apart by the key that is present: `{random: 3}`, `{safety: held}`.

Owns: the marker that makes pydantic read such a union, and its words when no key fits.
Must not know: which unions exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

TAG = "?"
"""Marks the steps of an error's location that name a union's member, not a key of the file."""


@dataclass(frozen=True, eq=False)
class ByKey:
    """`Annotated[A | B, ByKey({"key_of_a": A, "key_of_b": B}, "a thing")]`.

    The first key of `kinds` that is present decides, unless `choose` does; `keys` are then those
    that a file may use.
    """

    kinds: Mapping[str, type[Any]]
    what: str
    choose: Callable[[Any], str | None] | None = None
    keys: tuple[str, ...] = ()

    def tag(self, value: Any) -> str | None:
        """Return the deciding key of a map or of an instance."""
        if self.choose is not None:
            return self.choose(value)
        for key, kind in self.kinds.items():
            if isinstance(value, kind) or (isinstance(value, dict) and key in value):
                return key
        return None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.tagged_union_schema(
            {TAG + key: handler.generate_schema(kind) for key, kind in self.kinds.items()},
            self._tagged,
            custom_error_type="choice",
            custom_error_message=f"expected {self.what}: one of {self._keys()}",
        )

    def _tagged(self, value: Any) -> str | None:
        key = self.tag(value)
        return None if key is None else TAG + key

    def _keys(self) -> str:
        return ", ".join(f"`{key}`" for key in self.keys or self.kinds)


@dataclass(frozen=True, slots=True)
class ByKind:
    """`Annotated[A | B, ByKind()]`: the key `kind` decides."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Discriminator

        return handler.generate_schema(Annotated[source, Discriminator("kind")])
