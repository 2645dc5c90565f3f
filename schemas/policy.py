"""How the calls of an agent are made: other providers, several keys, rules, a cache, safety.

Everything is off unless it is given.
"""

from typing import Annotated, Literal

import msgspec

from schemas.base import StrictValue, Value
from schemas.ids import Token
from schemas.llm import ModelConfig
from schemas.problems import ProblemCode
from schemas.providers import Provider
from schemas.safety import Safety
from schemas.usage import Usage

Keys = Annotated[list[Token], msgspec.Meta(max_length=32)]
"""Names of secrets that serve the same provider in turn; its own ``secret`` if there are none."""

Term = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Fallback(StrictValue, omit_defaults=True):
    """Another provider, or another model of the same one, for when those before it fail.

    ``config`` takes the place of the agent's, because another model may refuse other settings.
    """

    provider: Provider
    keys: Keys = []
    config: ModelConfig | None = None


class When(StrictValue, omit_defaults=True):
    """What must hold of a task, all of it, for a rule to apply. An empty one always holds.

    ``complexity`` is scored in points, see ``actors/agents/core/complexity.py``. ``words`` names
    words of which the task has at least one, in any case.
    """

    complexity_at_least: Annotated[int, msgspec.Meta(ge=0)] | None = None
    complexity_at_most: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tokens_at_least: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tokens_at_most: Annotated[int, msgspec.Meta(ge=0)] | None = None
    turns_at_least: Annotated[int, msgspec.Meta(ge=0)] | None = None
    words: Annotated[list[Term], msgspec.Meta(max_length=200)] = []
    tools: bool | None = None


class Rule(StrictValue, omit_defaults=True):
    """Chooses a model or a temperature by the task. The first rule to choose either decides it."""

    name: Token
    when: When = msgspec.field(default_factory=When)
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    provider: Provider | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None


class Choice(Value):
    """What a rule decided and why, in words that quote nothing of the task."""

    rule: str
    field: Literal["provider", "model", "temperature"]
    value: str
    reason: str


class Detour(Value, omit_defaults=True):
    """A call of a model that failed on the way to an answer, or to the end of the attempt.

    ``place`` is 0 for the agent's own provider and counts the fallbacks from 1. ``key`` is the name
    of the secret. ``usage`` is None where the call cost nothing.
    """

    attempt: int
    place: int
    provider: str
    model: str
    problem: ProblemCode
    key: str | None = None
    usage: Usage | None = None


class Cache(StrictValue, omit_defaults=True):
    """Answers an identical request from an earlier answer, for ``ttl_seconds`` after it."""

    ttl_seconds: Annotated[float, msgspec.Meta(gt=0, le=604_800)] = 3600.0


Continuation = Literal["never", "supported", "always"]
"""Whether an answer that was cut is continued by a provider that takes the beginning of one:
never, where the provider is known for it, or everywhere because the author knows better."""


StructuredOutput = Literal["fail", "retry", "warn"]
"""What becomes of an answer that is not what ``response_format`` asks for: the execution fails, the
model is asked again (as often as attempts are left, and with the fallbacks), or it is accepted with
a warning."""


class Policy(StrictValue, omit_defaults=True):
    """How an agent's calls are made. ``keys`` are those of its own provider."""

    keys: Keys = []
    fallbacks: Annotated[list[Fallback], msgspec.Meta(max_length=8)] = []
    continuation: Continuation = "never"
    rules: Annotated[list[Rule], msgspec.Meta(max_length=32)] = []
    cache: Cache | None = None
    safety: Safety | None = None
    structured_output: StructuredOutput = "fail"
