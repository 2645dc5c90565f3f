"""Templates of agents: what one must hold, and what comes of it with the values of its parameters.

``{name}`` in a text stands for a parameter; a text that is nothing else becomes the value as it is,
a number or an object. ``{{name}}`` is the text ``{name}``. All this is so of parameters alone:
variables of the task's template, and every other brace, stay as they are. Values are never looked
into.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import msgspec

from actors.agents.core.checks import MAX_DEFINITION_BYTES
from actors.agents.core.definitions import lengthened
from schemas.agents import CreateAgent, TemplateUse
from schemas.json_schema import Fault, UnverifiableError, fault
from schemas.patches import converted, merged
from schemas.problems import Problem
from schemas.schema_faults import schema_fault
from schemas.steps import at_once
from schemas.templates import (
    AgentTemplate,
    ApplyTemplate,
    ListTemplates,
    TemplateList,
    TemplateSummary,
)
from schemas.versioned import changed

_PLACE = re.compile(r"\{\{([^\W\d]\w*)\}\}|\{([^\W\d]\w*)\}")
_NAME = re.compile(r"[^\W\d]\w*\Z")

_MEANT = ("template", "template_version", "values")
"""Fields of ``agents.create`` that say what it is made of; no template has them."""

_FIELDS = {*CreateAgent.__struct_fields__} - {*_MEANT}

MAX_FILLED = 2 * MAX_DEFINITION_BYTES
"""Bytes of all values that are put in: a short template could otherwise repeat a long value."""


MAX_CHECKS = 20_000
"""Units of the check of parameters or values, which is made without a pause: some 30 ms."""


class _TooLongError(ValueError):
    """What comes of a template is too long."""


def create(wanted: ApplyTemplate, now: datetime, *, version: int = 1) -> AgentTemplate | Problem:
    """Build a new template."""
    made = AgentTemplate(
        id=wanted.id,
        version=version,
        created_at=now,
        updated_at=now,
        agent=wanted.agent,
        parameters=wanted.parameters,
        description=wanted.description,
    )
    return _check(made) or made


def update(
    standing: AgentTemplate, wanted: ApplyTemplate, now: datetime
) -> AgentTemplate | Problem:
    """Replace all that a template says."""
    after = changed(
        standing,
        now,
        agent=wanted.agent,
        parameters=wanted.parameters,
        description=wanted.description,
    )
    return after if after is standing else _check(after) or after


def summary(template: AgentTemplate) -> TemplateSummary:
    """Return the row of a template."""
    return TemplateSummary(
        id=template.id,
        description=template.description,
        version=template.version,
        parameters=list(_properties(template)),
        created_at=template.created_at,
        updated_at=template.updated_at,
    )


def page(rows: Iterable[TemplateSummary], query: ListTemplates) -> TemplateList:
    """Return one page of the templates that match, by id."""
    wanted = (query.search or "").casefold()
    matching = sorted(
        (row for row in rows if wanted in f"{row.id}\n{row.description}".casefold()),
        key=lambda row: row.id,
    )
    return TemplateList(
        templates=matching[query.offset : query.offset + query.limit],
        total=len(matching),
        limit=query.limit,
        offset=query.offset,
    )


def _check(template: AgentTemplate) -> Problem | None:
    """Return the first reason why a template cannot be stored, None if it can."""
    if len(msgspec.json.encode(template)) > MAX_DEFINITION_BYTES:
        return _invalid(None, f"the template is larger than {MAX_DEFINITION_BYTES:,} bytes")
    strange = next((name for name in template.agent if name not in _FIELDS), None)
    if strange is not None:
        return _invalid(f"agent.{strange[:64]}", "is no field of an agent")
    found = at_once(schema_fault(template.parameters, own=True, checks=MAX_CHECKS))
    if found is not None:
        return _invalid(f"parameters.{found.path}".rstrip("."), found.message)
    if template.parameters.get("type", "object") != "object":
        return _invalid("parameters.type", "must be object")
    odd = next((name for name in _properties(template) if not _NAME.match(name)), None)
    if odd is not None:
        message = "a parameter's name is a letter or underscore, then letters, digits, underscores"
        return _invalid(f"parameters.properties.{odd[:64]}", message)
    return None


def _properties(template: AgentTemplate) -> Mapping[str, Any]:
    return template.parameters.get("properties", {})


# Use


def agent_of(template: AgentTemplate, wanted: CreateAgent) -> CreateAgent | Problem:
    """Return what is asked for without the template: what comes of it, and the own fields over it.

    A value that is missing, wrong or not asked for is ``validation`` at ``values.<name>``.
    """
    values = _values(template, wanted.values)
    if isinstance(values, Problem):
        return values
    try:
        filled = TemplateFilling(values).of(template.agent)
    except _TooLongError:
        return _invalid("values", f"what comes of the template has more than {MAX_FILLED:,} bytes")
    base = converted(CreateAgent, filled, "template")
    return base if isinstance(base, Problem) else _over(base, wanted)


def use_of(template: AgentTemplate) -> TemplateUse:
    """Return what an agent says of the template that it was made of."""
    return TemplateUse(id=template.id, version=template.version)


def _over(base: CreateAgent, own: CreateAgent) -> CreateAgent | Problem:
    under, over = (lengthened(_said(each)) for each in (base, own))
    if isinstance(under, Problem):
        return under
    return over if isinstance(over, Problem) else converted(CreateAgent, merged(under, over))


def _said(wanted: CreateAgent) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(wanted)
    absent = {name for name in ("id", "name") if fields[name] is None}
    return {name: value for name, value in fields.items() if name not in {*_MEANT, *absent}}


def _values(template: AgentTemplate, given: Mapping[str, Any]) -> dict[str, Any] | Problem:
    """Return the value of each parameter that has one, or the first that is wrong."""
    known = _properties(template)
    strange = next((name for name in given if name not in known), None)
    if strange is not None:
        listed = ", ".join(known) or "none"
        return _wrong(Fault(strange[:64], f"is no parameter of the template; it has: {listed}"))
    usual = {name: one["default"] for name, one in known.items() if _has_default(one)}
    values = usual | dict(given)
    used = _used(template.agent)
    missing = next((name for name in known if name in used and name not in values), None)
    if missing is not None:
        return _wrong(Fault(missing, "is missing"))
    try:
        found = at_once(fault(template.parameters, values, checks=MAX_CHECKS, foreign=True))
    except UnverifiableError as error:
        return _wrong(Fault("", str(error)))
    return _wrong(found) if found else values


def _has_default(schema: Any) -> bool:
    return isinstance(schema, dict) and "default" in schema


def _used(value: Any) -> set[str]:
    """Return the names that stand in braces anywhere in a template."""
    match value:
        case str():
            return {found[2] for found in _PLACE.finditer(value) if found[2]}
        case dict():
            return set[str]().union(*map(_used, cast("dict[str, Any]", value).values()))
        case list():
            return set[str]().union(*map(_used, cast("list[Any]", value)))
        case _:
            return set()


class TemplateFilling:
    """Puts values into a template. Raises ``_TooLongError``."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._texts = {name: _text(value) for name, value in values.items()}
        self._room = MAX_FILLED

    def of(self, value: Any) -> Any:
        """Return a part of a template with the values in it."""
        match value:
            case str():
                whole = _PLACE.fullmatch(value)
                if whole is not None and whole[2] in self._values:
                    self._take(whole[2])
                    return self._values[whole[2]]
                return _PLACE.sub(self._replaced, value)
            case dict():
                members = cast("dict[str, Any]", value).items()
                return {name: self.of(member) for name, member in members}
            case list():
                return [self.of(item) for item in cast("list[Any]", value)]
            case _:
                return value

    def _replaced(self, place: re.Match[str]) -> str:
        literal, name = place.groups()
        if (literal or name) not in self._values:
            return place[0]
        return f"{{{literal}}}" if literal else self._take(name)

    def _take(self, name: str) -> str:
        self._room -= len(self._texts[name])
        if self._room < 0:
            raise _TooLongError
        return self._texts[name]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _wrong(found: Fault) -> Problem:
    return _invalid(f"values.{found.path}" if found.path else "values", found.message)


def _invalid(field: str | None, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)
