"""What a field of a provider's request makes of the price of a call, by kinds of fields. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from schemas.pricing.headers import is_free_beta

MOST_TOKENS: Final = 10_000_000
MOST_ANSWERS: Final = 128
MOST_MODELS: Final = 16


class Effect(msgspec.Struct, frozen=True):
    """What extra fields do to a call.

    ``answers`` multiplies the answer, whose length is at least ``length``. ``aside`` are tokens
    that are paid like an answer's beside it. ``models`` may serve in the place of the one asked.
    """

    answers: int = 1
    length: int = 0
    aside: int = 0
    tier: str | None = None
    models: tuple[str, ...] = ()


NO_EFFECT = Effect()


class RefusedError(Exception):
    """A field has an effect that is not known; ``path`` names it within ``extra``."""

    def __init__(self, *path: str) -> None:
        super().__init__(".".join(path))
        self.path = path


Rule = Callable[[Any, Effect], Effect]
"""Returns what a field's value makes of an effect; raises ``RefusedError``."""


def free(value: Any, effect: Effect) -> Effect:
    """Accept what changes no price."""
    del value
    return effect


def answers(value: Any, effect: Effect) -> Effect:
    """Take how many answers are made."""
    number = _number(value, MOST_ANSWERS)
    return msgspec.structs.replace(effect, answers=max(effect.answers, number))


def length(value: Any, effect: Effect) -> Effect:
    """Take how long an answer may be."""
    return msgspec.structs.replace(effect, length=max(effect.length, _number(value, MOST_TOKENS)))


def budget(value: Any, effect: Effect) -> Effect:
    """Take tokens to think with; none at all (0), or as many as the model likes (-1), are usual."""
    if type(value) is int and value in {0, -1}:
        return effect
    return msgspec.structs.replace(effect, aside=effect.aside + _number(value, MOST_TOKENS))


def written(value: Any, effect: Effect) -> Effect:
    """Take a text that may be paid like an answer: a prediction of one."""
    return msgspec.structs.replace(effect, aside=effect.aside + len(msgspec.json.encode(value)))


def tier(value: Any, effect: Effect) -> Effect:
    """Take a service tier."""
    if not isinstance(value, str):
        raise RefusedError
    return msgspec.structs.replace(effect, tier=value)


def models(value: Any, effect: Effect) -> Effect:
    """Take the names of models that may serve instead."""
    names = _list(value)
    if len(names) > MOST_MODELS or not all(isinstance(name, str) for name in names):
        raise RefusedError
    return msgspec.structs.replace(effect, models=(*effect.models, *map(str, names)))


def betas(value: Any, effect: Effect) -> Effect:
    """Accept features in trial of Anthropic that change no price."""
    if not all(isinstance(name, str) and is_free_beta(name) for name in _list(value)):
        raise RefusedError
    return effect


def only(*values: Any) -> Rule:
    """Accept these values, and of a list any of them."""

    def rule(value: Any, effect: Effect) -> Effect:
        chosen = _list(value) if isinstance(value, list) else [value]
        # Of JSON's values 0 equals false, and is none that is meant.
        if any(type(each) is not type(values[0]) or each not in values for each in chosen):
            raise RefusedError
        return effect

    return rule


def functions(value: Any, effect: Effect) -> Effect:
    """Accept tools that run here: what the provider runs itself has a price of its own."""
    for tool in _list(value):
        if not isinstance(tool, dict) or cast("dict[str, Any]", tool).get("type") != "function":
            raise RefusedError
    return effect


def declared(value: Any, effect: Effect) -> Effect:
    """Accept Gemini's tools if they are declarations of functions and nothing else."""
    for tool in _list(value):
        if not isinstance(tool, dict) or set(cast("dict[str, Any]", tool)) != {_DECLARED}:
            raise RefusedError
    return effect


_DECLARED = "functionDeclarations"


def custom_tools(value: Any, effect: Effect) -> Effect:
    """Accept Anthropic's tools that have no type, or the one for tools that run here."""
    for tool in _list(value):
        if not isinstance(tool, dict):
            raise RefusedError
        if cast("dict[str, Any]", tool).get("type", "custom") != "custom":
            raise RefusedError
    return effect


def texts(value: Any, effect: Effect) -> Effect:
    """Accept a text, or parts that are nothing but text: their bytes are counted."""
    if isinstance(value, str):
        return effect
    for part in _list(value):
        if not isinstance(part, dict) or not set(cast("dict[str, Any]", part)) <= _TEXT_PART:
            raise RefusedError
        if cast("dict[str, Any]", part).get("type", "text") != "text":
            raise RefusedError
    return effect


_TEXT_PART = frozenset({"type", "text", "cache_control"})


def within(table: Mapping[str, Rule]) -> Rule:
    """Take an object whose members have rules of their own; others are refused by name."""

    def rule(value: Any, effect: Effect) -> Effect:
        if not isinstance(value, dict):
            raise RefusedError
        for name, within in cast("dict[str, Any]", value).items():
            known = table.get(name)
            if known is None:
                raise RefusedError(name)
            try:
                effect = known(within, effect)
            except RefusedError as refused:
                raise RefusedError(name, *refused.path) from None
        return effect

    return rule


def _number(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RefusedError
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise RefusedError
    return cast("list[Any]", value)


def all_free(*names: str) -> dict[str, Rule]:
    """Make rules for fields that change no price."""
    return dict.fromkeys(names, free)
