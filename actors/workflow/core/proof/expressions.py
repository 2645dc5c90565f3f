"""What is known of an expression in CEL without evaluating it over a token. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from actors.workflow.core.cel_cost import shape
from actors.workflow.core.conditions import Condition
from actors.workflow.core.paths import ROOTS
from actors.workflow.core.proof.findings import NetFindings

_NUMBER = re.compile(r"\b[0-9]{1,6}\b")


class Sample(NamedTuple):
    """A token that rules and expressions look at."""

    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    counters: dict[str, int] = {}
    id: str = ""
    place: str = ""


compiled = lru_cache(maxsize=1024)(Condition)


def check_expression(text: str, path: str, found: NetFindings, *, event: bool = False) -> None:
    """Find what is wrong with an expression; ``event``: it may look at one."""
    condition = compiled(text)
    if condition.fault is not None:
        found.error("bad_expression", path, condition.fault)
    elif "event" in shape(text).fields and not event:
        message = f"there is no event here; there are {', '.join(sorted(ROOTS))}"
        found.error("unknown_name", path, message)


def constant(text: str, counters: Mapping[str, int] | None = None) -> bool | None:
    """Return the value of an expression that depends on counters alone, or on nothing."""
    known = {"counters"} if counters is not None else set[str]()
    if not shape(text).fields.keys() <= known:
        return None
    return compiled(text).holds(Sample(counters=dict(counters or {})))


def counters_in(text: str) -> set[str]:
    """Return whose counters an expression names."""
    return shape(text).fields.get("counters") or set()


def limit_in(text: str) -> int:
    """Return from which value of a counter on an expression can no longer tell values apart."""
    return 1 + max((int(one) for one in _NUMBER.findall(text)), default=0)
