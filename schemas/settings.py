"""How a setting is declared: beside its type stand the variable it is read from and its meaning.

`bus.config` reads a declared Struct from the environment; pure cores and messages only declare.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

ENV = "env"
"""Under this key of ``Meta.extra`` stands the variable, or a mapping from keys to variables."""

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


def env(name: str, meaning: str) -> msgspec.Meta:
    """Return the annotation of a field that is read from the variable ``name``."""
    return msgspec.Meta(description=meaning, extra={ENV: name})


def env_each(names: Mapping[str, str], meaning: str) -> msgspec.Meta:
    """Return the annotation of a ``dict`` of which each key is read from a variable of its own.

    What is read is added to the field's default. ``{}`` in ``meaning`` stands for the key.
    """
    return msgspec.Meta(description=meaning, extra={ENV: dict(names)})
