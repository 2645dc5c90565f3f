"""A refusal says what would be accepted: choices, known fields, a form in words."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from msgspec import inspect

from bus.codec import convert
from bus.errors import ProblemError
from bus.security.secrets import SecretEntry
from schemas.base import REQUESTS
from schemas.budgets import SetBudget
from schemas.executions import Generate


def refusal(kind: type[Any], **fields: Any) -> tuple[str, str | None]:
    with pytest.raises(ProblemError) as refused:
        convert(kind, fields)
    return refused.value.problem.message, refused.value.problem.field


OPENAI = {"type": "openai", "model": "m"}
SAID = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("fields", "message", "field"),
    [
        (
            {"provider": {"type": "opnai"}},
            "Invalid value 'opnai': must be one of openai, azure, anthropic, ",
            "provider.type",
        ),
        (
            {"provider": {"model": "m"}},
            "Object missing required field `type`: must be one of openai, ",
            "provider.type",
        ),
        (
            {"config": {"tool_choice": "maybe"}},
            "Invalid enum value 'maybe': must be one of auto, none, required",
            "config.tool_choice",
        ),
        (
            {"policy": {"fallbacks": [{"provider": OPENAI, "config": {"verbosity": "x"}}]}},
            "Invalid enum value 'x': must be one of high, low, medium",
            "policy.fallbacks[0].config.verbosity",
        ),
        (
            {"config": {"temprature": 1}},
            "Object contains unknown field `temprature`: is temperature meant?",
            "config.temprature",
        ),
        (
            {"limits": {"zonk": 1}},
            "Object contains unknown field `zonk`: there are timeout_seconds, max_attempts",
            "limits.zonk",
        ),
        (
            {"id": "a b"},
            "must be 1 to 64 letters, digits, hyphens or underscores",
            "id",
        ),
    ],
)
def test_it_lists_what_may_stand_there(fields: dict[str, Any], message: str, field: str):
    told = refusal(Generate, **({"provider": OPENAI, "messages": SAID} | fields))

    assert (told[0][: len(message)], told[1]) == (message, field)


def test_every_pattern_that_a_user_may_miss_is_described():
    """A regular expression is nothing for people."""
    bare = [
        f"{kind.__name__}: {info.type.pattern}"
        for kind in (*REQUESTS.values(), SecretEntry)
        for info in walked(inspect.type_info(kind), set())
        if isinstance(info.type, inspect.StrType)
        and info.type.pattern
        and not (info.extra_json_schema or {}).get("description")
    ]
    assert bare == []
    assert "time zone" in refusal(SetBudget, id="a", limit_pico=1, zone="%")[0]


def walked(info: inspect.Type, seen: set[Any]) -> Iterator[inspect.Metadata]:
    """Yield all texts in a type with what is said of them; those unsaid have an empty one."""
    if isinstance(info, inspect.Metadata):
        yield info
    elif isinstance(info, inspect.StrType):
        yield inspect.Metadata(info)
    if isinstance(info, inspect.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
    for name in ("type", "types", "fields", "item_type", "value_type", "key_type"):
        inner = getattr(info, name, ())
        for each in inner if isinstance(inner, tuple) else (inner,):
            of = each.type if isinstance(each, inspect.Field) else each
            if isinstance(of, inspect.Type) and not (
                isinstance(info, inspect.Metadata) and isinstance(of, inspect.StrType)
            ):
                yield from walked(of, seen)


def test_what_cannot_be_looked_up_is_told_as_it_is():
    assert refusal(cast("type[Any]", dict[str, int]), a="x")[0] == "Expected `int`, got `str`"
    assert msgspec.json.decode(b"1") == 1
