"""What all scenario dataclasses share: strictness, naming, documentation.

Owns: the settings under which pydantic reads the plain dataclasses of this package.
Must not know: any field.
"""

from __future__ import annotations

from typing import Any

from sim.scenario.fields import yaml_key

STRICT: Any = {
    "extra": "forbid",
    "alias_generator": yaml_key,
    "use_attribute_docstrings": True,
}
"""`__pydantic_config__` of every scenario dataclass: unknown keys refused, keys without units."""
