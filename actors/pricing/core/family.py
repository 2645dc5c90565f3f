"""Which models are of one family, by their names: the same but for words of size. Pure."""

import re
from collections.abc import Iterable

SIZES = frozenset(
    {"nano", "micro", "mini", "tiny", "small", "medium", "large", "xlarge", "max", "ultra"}
    | {"haiku", "sonnet", "opus", "flash", "lite", "pro", "plus", "premier", "turbo", "fast"}
)
_PARTS = re.compile(r"[-_:./ ]")
_SIZE = re.compile(r"\d+(x\d+)?b")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|20\d{6}|-\d{4}(?=$|-(?!\d\d))")
_LATEST = frozenset(("latest", ""))


def siblings(model: str, models: Iterable[str]) -> list[str]:
    """Return the models of the same family and another size, the plainest name of each size."""
    own, family = _split(model)
    found: dict[tuple[str, ...], str] = {}
    for name in sorted(models, key=lambda name: (len(name), name)):
        size, other = _split(name)
        if other == family and size != own:
            found.setdefault(size, name)
    return list(found.values())


def _split(model: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of size of a name, and all others but dates."""
    parts = [part for part in _PARTS.split(_DATE.sub("", model.lower())) if part not in _LATEST]
    sizes = tuple(part for part in parts if part in SIZES or _SIZE.fullmatch(part))
    return sizes, tuple(part for part in parts if part not in sizes)
